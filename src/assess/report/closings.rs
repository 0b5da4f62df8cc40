//! When a finding closes a gate.

use std::collections::BTreeMap;

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::baseline::compile::Compiled;
use crate::policy::documents::{GrantRule, OnUnknown};
use crate::policy::terms::{Grant, Stage};

/// Why a gate closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// It denies now.
    Denies,
    /// A gate that is open bears it until its grace ends.
    GraceEnds,
    /// The control decides from a day on; where it has a grace, that is counted in.
    Enforced,
    /// An exception ends, and the control denies again, without any grace.
    ExceptionEnds,
}

/// One grant that one finding closes, unless it is mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Closing {
    pub control: String,
    pub grant: Grant,
    pub because: Because,
    /// When; none: now.
    #[serde(with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
}

/// What the gate decides by.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How far the baseline is rolled out; no control goes beyond it.
    pub stage: Stage,
    pub grants: BTreeMap<Grant, GrantRule>,
}

impl Rules {
    /// Those of a baseline as it is for one member.
    pub fn of(baseline: &Compiled) -> Rules {
        Rules { stage: baseline.stage, grants: baseline.grants.clone() }
    }
}

/// What is known of the member's gates; unknown where evidence is judged without a store.
#[derive(Debug, Clone, Default)]
pub struct Gates {
    /// Whether a gate passes. One that was never decided is closed.
    pub passes: BTreeMap<Grant, bool>,
    /// Since when each control denies, as the gateway counts graces.
    pub denied_since: BTreeMap<String, OffsetDateTime>,
}

/// In the order of the findings, then of the grants. A grace never opens a closed gate, so that a closed gate has no date.
pub fn closings(assessment: &Assessment, rules: &Rules, gates: Option<&Gates>) -> Vec<Closing> {
    let of = |finding: &Finding| {
        let each = rules.grants.iter().filter_map(|(grant, rule)| {
            let (because, at) = match finding.verdict {
                Verdict::Fail | Verdict::Unknown if finding.stage == Stage::Enforce => {
                    denying(assessment, finding, *grant, gates)?
                }
                Verdict::Fail | Verdict::Unknown => announced(finding, rule, rules.stage)?,
                Verdict::Excepted => excepted(finding, rule)?,
                Verdict::Pass | Verdict::NotApplicable => return None,
            };
            Some(Closing { control: finding.control.clone(), grant: *grant, because, at })
        });
        each.collect::<Vec<_>>()
    };
    assessment.findings.iter().flat_map(of).collect()
}

type When = (Because, Option<OffsetDateTime>);

fn denying(assessment: &Assessment, finding: &Finding, grant: Grant, gates: Option<&Gates>) -> Option<When> {
    let denials = &assessment.grants.get(&grant)?.denials;
    let denial = denials.iter().find(|denial| denial.control == finding.control)?;
    let passes = gates.is_none_or(|gates| gates.passes.get(&grant).copied().unwrap_or(false));
    let known = gates.and_then(|gates| gates.denied_since.get(&denial.control)).copied();
    let since = known.unwrap_or(assessment.assessed_at).min(assessment.assessed_at);
    let until = later(since, denial.grace);
    if passes && until > assessment.assessed_at {
        return Some((Because::GraceEnds, Some(until)));
    }
    Some((Because::Denies, None))
}

fn announced(finding: &Finding, rule: &GrantRule, stage: Stage) -> Option<When> {
    let from = finding.enforce_from.filter(|_| stage == Stage::Enforce)?;
    if !rule.deny_on.contains(&finding.severity) {
        return None;
    }
    let grace = match (finding.verdict, rule.unknown) {
        (Verdict::Unknown, OnUnknown::Deny) => 0,
        _ => rule.grace.get(&finding.severity).map_or(0, |grace| grace.whole_seconds()),
    };
    Some((Because::Enforced, Some(later(from, grace))))
}

fn excepted(finding: &Finding, rule: &GrantRule) -> Option<When> {
    let note = finding.exception.as_ref().filter(|_| finding.stage == Stage::Enforce)?;
    rule.deny_on.contains(&finding.severity).then_some((Because::ExceptionEnds, Some(note.until)))
}

fn later(at: OffsetDateTime, seconds: i64) -> OffsetDateTime {
    at.checked_add(Duration::seconds(seconds.max(0))).unwrap_or(at)
}

#[cfg(test)]
mod tests;
