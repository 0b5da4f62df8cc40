//! The decision: a pure function of membership, assessments, settings and time.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::baseline::assessment::{Assessment, Verdict};
use crate::policy::terms::{Grant, Membership, OdsCode};

/// Where a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    Open,
    /// Open although a control fails, until its grace ends.
    Held {
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
    Closed,
}

impl GateState {
    /// Whether requests may pass (open or held).
    pub const fn passes(self) -> bool {
        matches!(self, GateState::Open | GateState::Held { .. })
    }

    /// The state as labels, records and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            GateState::Open => "open",
            GateState::Held { .. } => "held",
            GateState::Closed => "closed",
        }
    }
}

/// Why a gate stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReason {
    /// A fixed word for labels: `suspended`, `membership`, `policy`, `no_evidence`, `stale_evidence`,
    /// `broken_evidence`, `exception_ended`, `control`, `grace`, `reopening`, `clean`.
    pub code: String,
    /// The control, when one decides.
    pub control: Option<String>,
    /// One sentence.
    pub text: String,
}

/// The decision for one member and grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateDecision {
    pub state: GateState,
    /// Never empty; the deciding one first.
    pub reasons: Vec<GateReason>,
    /// The id of the assessment that says so.
    pub assessment: Option<String>,
    /// When this decision must be taken again at the latest: the evidence or a grace ends.
    #[serde(with = "time::serde::rfc3339::option")]
    pub valid_until: Option<OffsetDateTime>,
}

/// One assessment with what is known of its evidence.
#[derive(Debug, Clone, Copy)]
pub struct Assessed<'a> {
    pub assessment: &'a Assessment,
    /// Hash, signature and chain of its evidence hold (`Evidence::verify`).
    pub evidence_valid: bool,
}

/// Everything that decides for one member.
#[derive(Debug, Clone)]
pub struct GateInput<'a> {
    pub member: &'a OdsCode,
    pub membership: Membership,
    /// The hash of the policy set in force; `None` when no set that checks is loaded.
    pub policy_hash: Option<&'a str>,
    /// Newest first; at least `reopen_after` of them when there are so many.
    pub assessments: &'a [Assessed<'a>],
    pub settings: GateSettings,
    /// What was decided last, per grant; empty for a member that never had a decision (closed).
    pub previous: &'a BTreeMap<Grant, GateState>,
    /// When each denying control first denied: kept by the caller from decision to decision (see
    /// [`GateOutcome::denied_since`]).
    pub denied_since: &'a BTreeMap<String, OffsetDateTime>,
    pub now: OffsetDateTime,
}

/// The baseline's settings that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateSettings {
    /// At least 1.
    pub reopen_after: u32,
    /// Seconds.
    pub evidence_valid_for: i64,
}

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateOutcome {
    /// One decision for every grant.
    pub grants: BTreeMap<Grant, GateDecision>,
    /// Control to the time from which it denies without a break, long ago where an exception covers it; give it back at the next decision.
    pub denied_since: BTreeMap<String, OffsetDateTime>,
}

/// The code of a gate that is closed because an exception ended and what it set aside was not judged since.
pub const EXCEPTION_ENDED: &str = "exception_ended";

/// Evidence from a clock that is further ahead than this is not relied on.
pub const AHEAD_MAX: Duration = Duration::minutes(5);

/// Decides. Every doubt closes.
///
/// A gate that passes closes at once when something denies it, unless the denial has a grace that still runs; a closed
/// gate opens after `reopen_after` clean assessments of different evidence, and a grace never opens it.
pub fn decide(input: &GateInput<'_>) -> GateOutcome {
    let newest = input.assessments.first();
    if let Some(reason) = obstacle(input, newest) {
        let assessment = newest.map(|n| n.assessment.id.clone());
        let closed = |_| GateDecision {
            state: GateState::Closed,
            reasons: vec![reason.clone()],
            assessment: assessment.clone(),
            valid_until: None,
        };
        return GateOutcome {
            grants: Grant::ALL.into_iter().map(|grant| (grant, closed(grant))).collect(),
            // a grace goes on running while nothing can be told
            denied_since: input.denied_since.clone(),
        };
    }
    let Some(newest) = newest else { return GateOutcome::default() };
    let denied_since = denied_since(input, newest.assessment);
    let grants = Grant::ALL
        .into_iter()
        .map(|grant| (grant, decide_grant(input, newest.assessment, grant, &denied_since)))
        .collect();
    GateOutcome { grants, denied_since }
}

fn because(code: &str, text: String) -> GateReason {
    GateReason { code: code.to_owned(), control: None, text }
}

/// What closes every gate of the member, whatever its assessment says.
fn obstacle(input: &GateInput<'_>, newest: Option<&Assessed<'_>>) -> Option<GateReason> {
    let member = input.member;
    if input.membership == Membership::Suspended {
        return Some(because("suspended", format!("{member} is suspended by an officer")));
    }
    if !input.membership.may_federate() {
        let text =
            format!("{member} is {}: only piloting and federated members have open gates", input.membership);
        return Some(because("membership", text));
    }
    let Some(policy_hash) = input.policy_hash else {
        return Some(because("policy", "no policy set that checks is in force".into()));
    };
    let Some(newest) = newest else {
        return Some(because("no_evidence", format!("{member} was never assessed")));
    };
    let assessment = newest.assessment;
    if assessment.member != *member || !newest.evidence_valid {
        let text = "the evidence does not match its hash, its signature or the evidence before it";
        return Some(because("broken_evidence", text.into()));
    }
    let age = input.now - assessment.collected_at;
    if age < -AHEAD_MAX {
        return Some(because("broken_evidence", "the evidence comes from a time that lies ahead".into()));
    }
    if age.whole_seconds() >= input.settings.evidence_valid_for {
        let text = format!(
            "the newest evidence is {} s old and counts for {} s",
            age.whole_seconds(),
            input.settings.evidence_valid_for
        );
        return Some(because("stale_evidence", text));
    }
    if assessment.policy_hash != policy_hash {
        let text = "the newest assessment was made with another policy set than the one in force";
        return Some(because("policy", text.into()));
    }
    let outlived = assessment.outlived(input.now)?;
    let control = &outlived.control;
    let text = format!("the exception for {control} ended, and nothing was judged without it yet");
    Some(GateReason { control: Some(control.clone()), ..because(EXCEPTION_ENDED, text) })
}

fn denied_since(input: &GateInput<'_>, assessment: &Assessment) -> BTreeMap<String, OffsetDateTime> {
    let denials = assessment.grants.values().flat_map(|verdict| &verdict.denials);
    let denying = denials.map(|denial| {
        let known = input.denied_since.get(&denial.control).copied();
        let since = known.unwrap_or(assessment.assessed_at).min(input.now);
        (denial.control.clone(), since)
    });
    // whoever was excepted had time to mend it: what an exception leaves behind has no grace
    let excepted = assessment.findings.iter().filter(|finding| finding.verdict == Verdict::Excepted);
    denying.chain(excepted.map(|f| (f.control.clone(), OffsetDateTime::UNIX_EPOCH))).collect()
}

fn decide_grant(
    input: &GateInput<'_>,
    assessment: &Assessment,
    grant: Grant,
    denied_since: &BTreeMap<String, OffsetDateTime>,
) -> GateDecision {
    let decision = |state, reasons, valid_until| GateDecision {
        state,
        reasons,
        assessment: Some(assessment.id.clone()),
        valid_until,
    };
    let Some(verdict) = assessment.grants.get(&grant) else {
        let text = format!("the baseline does not say what `{grant}` requires");
        return decision(GateState::Closed, vec![because("policy", text)], None);
    };
    let passes = input.previous.get(&grant).is_some_and(|state| state.passes());
    let mut denying = Vec::new();
    let mut borne: Vec<(OffsetDateTime, GateReason)> = Vec::new();
    for denial in &verdict.denials {
        let since = denied_since.get(&denial.control).copied().unwrap_or(input.now);
        let until = since.checked_add(Duration::seconds(denial.grace.max(0))).unwrap_or(since);
        let reason = |code: &str| GateReason {
            code: code.to_owned(),
            control: Some(denial.control.clone()),
            text: denial.reason.clone(),
        };
        if passes && denial.grace > 0 && input.now < until {
            borne.push((until, reason("grace")));
        } else {
            denying.push(reason("control"));
        }
    }
    if !denying.is_empty() || (verdict.denials.is_empty() && !verdict.would_open) {
        if denying.is_empty() {
            denying.push(because("policy", "the assessment denies without a reason".into()));
        }
        return decision(GateState::Closed, denying, None);
    }
    let valid_until = good_until(input, assessment);
    if let Some(until) = borne.iter().map(|(until, _)| *until).min() {
        borne.sort_by_key(|(until, _)| *until);
        let reasons = borne.into_iter().map(|(_, reason)| reason).collect();
        return decision(GateState::Held { until }, reasons, Some(valid_until.min(until)));
    }
    let clean = clean_run(input, grant);
    let wanted = input.settings.reopen_after.max(1);
    if !passes && clean < wanted {
        let text = format!("{clean} of {wanted} clean assessments that open it");
        return decision(GateState::Closed, vec![because("reopening", text)], None);
    }
    let text = format!("nothing denies `{grant}`");
    decision(GateState::Open, vec![because("clean", text)], Some(valid_until))
}

/// How many assessments of different evidence were clean in a row, newest first.
fn clean_run(input: &GateInput<'_>, grant: Grant) -> u32 {
    let mut seen = BTreeSet::new();
    input
        .assessments
        .iter()
        .take_while(|a| {
            let clean = a.assessment.grants.get(&grant).is_some_and(|v| v.would_open && v.denials.is_empty());
            a.evidence_valid && clean && a.assessment.member == *input.member
        })
        .for_each(|a| {
            seen.insert(a.assessment.evidence_hash.as_str());
        });
    u32::try_from(seen.len()).unwrap_or(u32::MAX)
}

/// Until when an open gate may stay open without another decision: the evidence or an exception ends.
fn good_until(input: &GateInput<'_>, assessment: &Assessment) -> OffsetDateTime {
    let evidence = assessment.collected_at.checked_add(Duration::seconds(input.settings.evidence_valid_for));
    let exceptions = assessment.findings.iter().filter_map(|f| f.exception.as_ref().map(|e| e.until));
    exceptions.chain(evidence).min().unwrap_or(input.now)
}

#[cfg(test)]
mod tests;
