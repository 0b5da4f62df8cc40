//! Every exception as it stands at a time, those of policy files beside those granted by command.

use serde::{Serialize, Serializer};
use time::{Duration, OffsetDateTime};

use crate::baseline::attestation::{SOON, last_day};
use crate::policy::documents::{Exception, Exceptions};
use crate::policy::set::PolicySet;
use crate::policy::terms::OdsCode;
use crate::store::record::ExceptionRecord;

/// Where an exception stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It waits for a second person, and sets nothing aside.
    Requested,
    /// Written in a policy file, with a first day to come.
    Later,
    InForce,
    /// In force, for 30 days at most.
    EndsSoon,
    /// Granted, but it sets nothing aside.
    WithoutEffect,
    Ended,
    Refused,
    Withdrawn,
}

impl Standing {
    /// As JSON and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Requested => "requested",
            Standing::Later => "later",
            Standing::InForce => "in force",
            Standing::EndsSoon => "ends soon",
            Standing::WithoutEffect => "without effect",
            Standing::Ended => "ended",
            Standing::Refused => "refused",
            Standing::Withdrawn => "withdrawn",
        }
    }

    /// Whether it sets something aside.
    pub const fn holds(self) -> bool {
        matches!(self, Standing::InForce | Standing::EndsSoon)
    }

    /// Whether nothing comes of it any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Standing::Ended | Standing::Refused | Standing::Withdrawn)
    }
}

impl Serialize for Standing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One exception.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The id of one that was asked for by command, or the place of one in a policy file.
    pub id: String,
    pub member: OdsCode,
    pub control: String,
    /// DNs or names of the records it covers; empty: the whole control.
    pub objects: Vec<String>,
    pub standing: Standing,
    /// Why it sets nothing aside although it was granted.
    pub problem: Option<&'static str>,
    /// The last day that it holds.
    pub last_day: String,
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// Exclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    pub owner: String,
    pub reason: String,
    pub compensating_control: String,
    pub requested_by: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub requested_at: Option<OffsetDateTime>,
    /// None while nobody approved it.
    pub approver: Option<String>,
    pub approval_reason: Option<String>,
    /// When it was withdrawn or refused.
    #[serde(with = "time::serde::rfc3339::option")]
    pub withdrawn_at: Option<OffsetDateTime>,
    pub withdrawn_by: Option<String>,
    pub withdrawal_reason: Option<String>,
    /// Whether it is written in a policy file.
    pub from_policy_file: bool,
}

impl Listed {
    /// Its standing at a time, with the days that are left of one that ends soon.
    pub fn told(&self, now: OffsetDateTime) -> String {
        match (self.standing, self.problem) {
            (Standing::EndsSoon, _) => ends_in(self.until - now),
            (Standing::WithoutEffect, Some(problem)) => format!("without effect: {problem}"),
            (standing, _) => standing.as_str().to_owned(),
        }
    }

    /// Whether both cover the same record of the same control at the same time. Objects are compared as they are written.
    pub fn overlaps(&self, other: &Wanted<'_>) -> bool {
        let same = |one: &String| other.objects.iter().any(|o| o.to_lowercase() == one.to_lowercase());
        let share = self.objects.is_empty() || other.objects.is_empty() || self.objects.iter().any(same);
        self.member == *other.member
            && self.control == other.control
            && share
            && self.from < other.until
            && other.from < self.until
    }
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub member: &'a OdsCode,
    pub control: &'a str,
    pub objects: &'a [String],
    pub from: OffsetDateTime,
    pub until: OffsetDateTime,
}

/// When what an exception sets aside decides again: its end, or that of what was approved to follow it without a gap.
pub fn lasts(one: &Listed, all: &[Listed]) -> OffsetDateTime {
    let covers = |other: &Listed| {
        let whole = other.objects.is_empty();
        let has = |object: &String| other.objects.iter().any(|o| o.to_lowercase() == object.to_lowercase());
        whole || (!one.objects.is_empty() && one.objects.iter().all(has))
    };
    let mut until = one.until;
    // each adds a time that is later, so that this ends
    while let Some(next) = all.iter().find(|other| {
        (other.standing.holds() || other.standing == Standing::Later)
            && other.member == one.member
            && other.control == one.control
            && other.from <= until
            && until < other.until
            && covers(other)
    }) {
        until = next.until;
    }
    until
}

/// `ends in 12 days`; `ends within a day` on the last.
pub fn ends_in(left: Duration) -> String {
    match left.whole_days() {
        ..=0 => "ends within a day".to_owned(),
        1 => "ends in 1 day".to_owned(),
        days => format!("ends in {days} days"),
    }
}

/// All of them, by member, control and end. Without a set it is not known which controls may be set aside.
pub fn all(set: Option<&PolicySet>, records: &[ExceptionRecord], now: OffsetDateTime) -> Vec<Listed> {
    let written = set.into_iter().flat_map(|set| &set.exceptions).map(|e| of_file(e, set, now));
    let mut all: Vec<Listed> = records.iter().map(|r| of_record(r, set, now)).chain(written).collect();
    all.sort_by(|a, b| (&a.member, &a.control, a.until, &a.id).cmp(&(&b.member, &b.control, b.until, &b.id)));
    all
}

/// One that was asked for by command.
pub fn of_record(record: &ExceptionRecord, set: Option<&PolicySet>, now: OffsetDateTime) -> Listed {
    let until = record.ends();
    let nobody = record.approver.trim().is_empty();
    let problem = match (record.is_approved(), nobody) {
        (true, _) => barred(set, &record.control),
        (false, true) => Some("nobody approved it"),
        (false, false) => Some("one person asked for it and approved it"),
    };
    let standing = if record.withdrawn_at.is_some_and(|at| at <= now) {
        if nobody { Standing::Refused } else { Standing::Withdrawn }
    } else if until <= now {
        Standing::Ended
    } else if record.is_request() {
        Standing::Requested
    } else {
        granted(problem, record.granted_at, until, now)
    };
    let (approver, record) = ((!nobody).then(|| record.approver.clone()), record.clone());
    Listed {
        id: record.id,
        member: record.member,
        control: record.control,
        objects: record.objects,
        standing,
        problem: problem.filter(|_| standing == Standing::WithoutEffect),
        last_day: last_day(until),
        from: record.granted_at,
        until,
        owner: record.owner,
        reason: record.reason,
        compensating_control: record.compensating_control,
        requested_by: record.requested_by,
        requested_at: record.requested_at,
        approver,
        approval_reason: record.approval_reason,
        withdrawn_at: record.withdrawn_at,
        withdrawn_by: record.withdrawn_by,
        withdrawal_reason: record.withdrawal_reason,
        from_policy_file: false,
    }
}

fn of_file(written: &Exception, set: Option<&PolicySet>, now: OffsetDateTime) -> Listed {
    let problem = barred(set, &written.control);
    let standing = match written.until <= now {
        true => Standing::Ended,
        false => granted(problem, written.from, written.until, now),
    };
    let one = written.clone();
    Listed {
        id: one.at.to_string(),
        member: one.member,
        control: one.control,
        objects: one.objects,
        standing,
        problem: problem.filter(|_| standing == Standing::WithoutEffect),
        last_day: last_day(one.until),
        from: one.from,
        until: one.until,
        owner: one.owner,
        reason: one.reason,
        compensating_control: one.compensating_control,
        requested_by: None,
        requested_at: None,
        approver: Some(one.approver),
        approval_reason: None,
        withdrawn_at: None,
        withdrawn_by: None,
        withdrawal_reason: None,
        from_policy_file: true,
    }
}

fn granted(
    problem: Option<&'static str>,
    from: OffsetDateTime,
    until: OffsetDateTime,
    now: OffsetDateTime,
) -> Standing {
    match problem {
        Some(_) => Standing::WithoutEffect,
        None if from > now => Standing::Later,
        None if until - now <= SOON => Standing::EndsSoon,
        None => Standing::InForce,
    }
}

/// Why the policies let nobody set a control aside.
fn barred(set: Option<&PolicySet>, control: &str) -> Option<&'static str> {
    match set?.controls.get(control) {
        None => Some("the policies have no such control"),
        Some(control) if control.exceptions == Exceptions::Forbidden => Some("the policies forbid it"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
