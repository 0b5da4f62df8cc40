//! One assessment against the one before it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::OffsetDateTime;

use crate::assess::report::count::open;
use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::policy::terms::{Grant, Severity, Stage};

/// Objects of which half may go without a word.
const SEVERAL: u64 = 10;

/// What became different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trend {
    /// What is compared with.
    pub before: Before,
    /// The two were not judged by the same policies, so that a difference may be the policy's and not the member's.
    pub policy_changed: bool,
    /// Both were made from the same evidence: every difference is the policy's, an exception's or the time's.
    pub same_evidence: bool,
    /// Score before and now, 0 to 1000.
    pub score: Pair<u16>,
    /// Maturity before and now, 1 to 5.
    pub maturity: Pair<u8>,
    /// Grants that something denies now and nothing did before.
    pub newly_denied: Vec<Grant>,
    /// Grants that nothing denies any more.
    pub no_longer_denied: Vec<Grant>,
    /// Controls that decide now and did not before: their day came, or the policies changed.
    pub newly_enforced: Vec<String>,
    /// Controls that are over far fewer objects than before: what became fewer may have been hidden, and then a pass says less.
    pub shrunk: Vec<Shrunk>,
    /// Every control that fails or is unknown now, or did before: by movement, heaviest first.
    pub changes: Vec<Change>,
}

/// Controls that were over so many objects and are over so many now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shrunk {
    pub judged: Pair<u64>,
    pub controls: Vec<String>,
}

/// The assessment before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Before {
    pub id: String,
    #[serde(with = "time::serde::rfc3339")]
    pub assessed_at: OffsetDateTime,
    pub baseline: String,
    pub revision: String,
    pub profile: Option<String>,
    pub policy_hash: String,
    pub evidence_hash: String,
}

/// A value before and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    pub before: T,
    pub now: T,
}

/// Where a control went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Movement {
    /// Fails, and did not before.
    NewlyFailing,
    /// Cannot be told any more.
    NewlyUnknown,
    /// Failed or was unknown, and passes.
    Mended,
    /// Failed or was unknown, and an exception covers it now. Nothing was mended.
    SetAside,
    /// Failed or was unknown, and does not apply any more.
    NotApplicable,
    /// Failed or was unknown, and the policies do not ask for it any more.
    NotAsked,
    StillFailing,
    StillUnknown,
}

impl Movement {
    /// Every movement, in the order of reports.
    pub const ALL: [Movement; 8] = [
        Movement::NewlyFailing,
        Movement::NewlyUnknown,
        Movement::Mended,
        Movement::SetAside,
        Movement::NotApplicable,
        Movement::NotAsked,
        Movement::StillFailing,
        Movement::StillUnknown,
    ];

    /// The movement as reports write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Movement::NewlyFailing => "newly failing",
            Movement::NewlyUnknown => "newly unknown",
            Movement::Mended => "mended",
            Movement::SetAside => "set aside by an exception, not mended",
            Movement::NotApplicable => "does not apply any more",
            Movement::NotAsked => "not asked any more",
            Movement::StillFailing => "still failing",
            Movement::StillUnknown => "still unknown",
        }
    }
}

/// One control that moved, or stayed where it should not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub control: String,
    pub title: String,
    pub movement: Movement,
    /// The verdict before; none: the control was not asked before, so that its verdict says nothing about the member's way.
    pub verdict_before: Option<Verdict>,
    /// None: it is not asked any more.
    pub verdict: Option<Verdict>,
    pub severity_before: Option<Severity>,
    pub severity: Option<Severity>,
    /// Records that failed and that no exception covered.
    pub offenders_before: u64,
    pub offenders: u64,
    /// Named offenders that were not among the named ones before.
    pub offenders_appeared: u64,
    /// Named offenders before that are not among the named ones now.
    pub offenders_gone: u64,
}

impl Change {
    /// Whether it became heavier or lighter.
    pub fn severity_changed(&self) -> bool {
        self.severity_before.is_some() && self.severity.is_some() && self.severity != self.severity_before
    }

    /// Whether a control that stays where it was is otherwise as it was.
    pub fn is_quiet(&self) -> bool {
        let stays = matches!(self.movement, Movement::StillFailing | Movement::StillUnknown);
        stays
            && !self.severity_changed()
            && self.offenders == self.offenders_before
            && self.offenders_appeared == 0
            && self.offenders_gone == 0
    }
}

/// Compares. Both are of one member; `before` is the older one.
pub fn trend(before: &Assessment, now: &Assessment) -> Trend {
    let was: BTreeMap<&str, &Finding> = before.findings.iter().map(|f| (f.control.as_str(), f)).collect();
    let is: BTreeSet<&str> = now.findings.iter().map(|f| f.control.as_str()).collect();
    let gone = before.findings.iter().filter(|f| !is.contains(f.control.as_str()));
    let pairs = now.findings.iter().map(|f| (was.get(f.control.as_str()).copied(), Some(f)));
    let mut changes: Vec<Change> =
        pairs.chain(gone.map(|f| (Some(f), None))).filter_map(|(was, is)| change(was, is)).collect();
    changes.sort_by_key(|c| (c.movement, std::cmp::Reverse(c.severity.or(c.severity_before))));
    Trend {
        before: Before {
            id: before.id.clone(),
            assessed_at: before.assessed_at,
            baseline: before.baseline.clone(),
            revision: before.revision.clone(),
            profile: before.profile.clone(),
            policy_hash: before.policy_hash.clone(),
            evidence_hash: before.evidence_hash.clone(),
        },
        policy_changed: before.policy_hash != now.policy_hash
            || before.baseline != now.baseline
            || before.revision != now.revision
            || before.profile != now.profile,
        same_evidence: before.evidence_hash == now.evidence_hash,
        score: Pair { before: before.score, now: now.score },
        maturity: Pair { before: before.maturity, now: now.maturity },
        newly_denied: denied_only(now, before),
        no_longer_denied: denied_only(before, now),
        newly_enforced: enforced(&was, now),
        shrunk: shrunk(&was, now),
        changes,
    }
}

/// The grants that the one denies and the other does not.
fn denied_only(one: &Assessment, other: &Assessment) -> Vec<Grant> {
    let opens = |of: &Assessment, grant: &Grant| of.grants.get(grant).is_some_and(|g| g.would_open);
    Grant::ALL.into_iter().filter(|grant| !opens(one, grant) && opens(other, grant)).collect()
}

fn enforced(was: &BTreeMap<&str, &Finding>, now: &Assessment) -> Vec<String> {
    let decides = |finding: &&Finding| finding.stage == Stage::Enforce;
    let before = |control: &str| was.get(control).is_some_and(decides);
    let new = now.findings.iter().filter(|f| decides(f) && !before(&f.control));
    new.map(|f| f.control.clone()).collect()
}

/// Less than half of what were several.
fn shrunk(was: &BTreeMap<&str, &Finding>, now: &Assessment) -> Vec<Shrunk> {
    let mut found: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for finding in now.findings.iter().filter(|f| f.verdict != Verdict::NotApplicable) {
        let before = was.get(finding.control.as_str()).map_or(0, |was| was.judged);
        if before >= SEVERAL && finding.judged < before / 2 {
            found.entry((before, finding.judged)).or_default().push(finding.control.clone());
        }
    }
    let shrunk = |((before, now), controls)| Shrunk { judged: Pair { before, now }, controls };
    found.into_iter().rev().map(shrunk).collect()
}

fn change(was: Option<&Finding>, is: Option<&Finding>) -> Option<Change> {
    let movement = movement(was.map(|f| f.verdict), is.map(|f| f.verdict))?;
    let told = is.or(was)?;
    let (then, now) = (was.map(offenders).unwrap_or_default(), is.map(offenders).unwrap_or_default());
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Some(Change {
        control: told.control.clone(),
        title: told.title.clone(),
        movement,
        verdict_before: was.map(|f| f.verdict),
        verdict: is.map(|f| f.verdict),
        severity_before: was.map(|f| f.severity),
        severity: is.map(|f| f.severity),
        offenders_before: was.map_or(0, open),
        offenders: is.map_or(0, open),
        offenders_appeared: count(now.difference(&then).count()),
        offenders_gone: count(then.difference(&now).count()),
    })
}

/// Unknown is never called mended, nor is what merely stopped being asked.
fn movement(was: Option<Verdict>, is: Option<Verdict>) -> Option<Movement> {
    let bad = matches!(was, Some(Verdict::Fail | Verdict::Unknown));
    match (was, is) {
        (Some(Verdict::Fail), Some(Verdict::Fail)) => Some(Movement::StillFailing),
        (_, Some(Verdict::Fail)) => Some(Movement::NewlyFailing),
        (Some(Verdict::Unknown), Some(Verdict::Unknown)) => Some(Movement::StillUnknown),
        (_, Some(Verdict::Unknown)) => Some(Movement::NewlyUnknown),
        (_, Some(Verdict::Pass)) if bad => Some(Movement::Mended),
        (_, Some(Verdict::Excepted)) if bad => Some(Movement::SetAside),
        (_, Some(Verdict::NotApplicable)) if bad => Some(Movement::NotApplicable),
        (_, None) if bad => Some(Movement::NotAsked),
        _ => None,
    }
}

/// What is found of an offender may change by itself (an age), so that it is told by name and place.
fn offenders(finding: &Finding) -> BTreeSet<(&str, &str)> {
    let named = finding.offenders.iter().filter(|o| !o.excepted);
    named.map(|o| (o.dn.as_str(), o.name.as_str())).collect()
}

#[cfg(test)]
mod tests;
