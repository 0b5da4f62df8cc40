//! What a baseline says about an evidence document.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::fault::Place;
use crate::policy::terms::{Grant, OdsCode, Severity, Stage};

/// What a control says. Unknown never passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Pass,
    Fail,
    /// Could not tell.
    Unknown,
    NotApplicable,
    /// Failed or unknown, and set aside by an exception that is in force.
    Excepted,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 5] =
        [Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::NotApplicable, Verdict::Excepted];

    /// The verdict as documents, labels and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Unknown => "unknown",
            Verdict::NotApplicable => "not-applicable",
            Verdict::Excepted => "excepted",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One assessment. The same evidence, policy, exceptions and time give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// The first 32 hex digits of a SHA-256 over everything below.
    pub id: String,
    pub member: OdsCode,
    pub baseline: String,
    pub revision: String,
    pub profile: Option<String>,
    pub policy_hash: String,
    pub evidence_hash: String,
    #[serde(with = "time::serde::rfc3339")]
    pub collected_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub assessed_at: OffsetDateTime,
    /// What the member stated of what the baseline asks; what it did not is not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<Stated>,
    /// In the order of the baseline.
    pub findings: Vec<Finding>,
    pub grants: BTreeMap<Grant, GrantVerdict>,
    /// 1 to 5: the lowest rung with a control that fails or is unknown; 5 when none does.
    pub maturity: u8,
    /// 0 to 1000: the weight of what passes in the weight of what applies.
    pub score: u16,
}

/// What one control says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    pub control: String,
    pub title: String,
    pub theme: String,
    /// After grading and tailoring.
    pub severity: Severity,
    pub stage: Stage,
    #[serde(with = "time::serde::rfc3339::option")]
    pub enforce_from: Option<OffsetDateTime>,
    pub verdict: Verdict,
    /// What decided, most telling first; empty for a pass.
    pub explanation: Vec<Reason>,
    /// The first failing records, in the order of the evidence ([`NAMED`](crate::baseline::evaluate::NAMED)). They go to the member and to
    /// nobody else.
    pub offenders: Vec<Offender>,
    /// How many records fail, those that an exception covers included; more than are named where they are many.
    #[serde(default)]
    pub failing: u64,
    /// How many of them an exception covers.
    #[serde(default)]
    pub excepted: u64,
    /// How many records were judged; 1 for a control without `for_each`.
    pub judged: u64,
    /// The exception in force, when the verdict is excepted (or some offenders are).
    pub exception: Option<ExceptionNote>,
    /// Subjects of the attestations that it rests on: it was stated by the member, not measured. Empty when all of it was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stated: Vec<String>,
    pub why: String,
    pub fix: String,
    pub references: BTreeMap<String, Vec<String>>,
}

/// One part of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The fact, by full name.
    pub fact: String,
    /// What was found, as text (`not set`, `could not be read: ...`).
    pub found: String,
    /// What is required, as text (`at most 180d`).
    pub required: String,
    /// Where the policy says so.
    pub place: Place,
    /// The search or probe that produced the fact, the controller asked, and when; empty when the evidence does not say.
    pub provenance: String,
}

/// A record that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offender {
    pub name: String,
    /// Empty when the record has none.
    pub dn: String,
    /// What was found, as text.
    pub found: String,
    /// Set aside by an exception for this object.
    pub excepted: bool,
}

/// The exception that set a finding aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExceptionNote {
    pub owner: String,
    pub reason: String,
    pub compensating_control: String,
    pub approver: String,
    /// Exclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
}

/// An attestation that the assessment rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// The full name of its fact.
    pub subject: String,
    pub statement: String,
    /// Name and role.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub signed_at: OffsetDateTime,
    /// Exclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// The public key that signed it, lower-case hex.
    pub key: String,
    /// The key was not held against one that the member registered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unregistered: bool,
    /// Why it does not hold; none when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What the assessment by itself says of a grant; `gate::decide` has the last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantVerdict {
    /// Whether nothing denies it, neither at once nor after a grace.
    pub would_open: bool,
    /// Everything that denies it, most severe first.
    pub denials: Vec<Denial>,
}

/// A control that denies a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    pub control: String,
    pub title: String,
    pub severity: Severity,
    /// `fail` or `unknown`.
    pub verdict: Verdict,
    /// Seconds that it is borne after it first denied; 0: it denies at once.
    pub grace: i64,
    /// One sentence.
    pub reason: String,
}

impl Assessment {
    /// How many findings have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// The finding of a control.
    pub fn finding(&self, control: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.control == control)
    }

    /// A finding that was set aside by an exception that is over at `now`: what it says of gates is not true any more.
    pub fn outlived(&self, now: OffsetDateTime) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.exception.as_ref().is_some_and(|note| note.until <= now))
    }

    /// Canonical JSON: the same assessment gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
