//! The decision: a pure function of membership, assessments, settings and time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::baseline::assessment::Assessment;
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
    /// `broken_evidence`, `control`, `grace`, `reopening`, `clean`.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateOutcome {
    /// One decision for every grant.
    pub grants: BTreeMap<Grant, GateDecision>,
    /// Control to the time from which it denies without a break; give it back at the next decision.
    pub denied_since: BTreeMap<String, OffsetDateTime>,
}

/// Decides. Every doubt closes.
pub fn decide(input: &GateInput<'_>) -> GateOutcome {
    let decision = GateDecision {
        state: GateState::Closed,
        reasons: vec![GateReason {
            code: "no_evidence".into(),
            control: None,
            text: format!("{} has no evidence", input.member),
        }],
        assessment: None,
        valid_until: None,
    };
    GateOutcome {
        grants: Grant::ALL.into_iter().map(|grant| (grant, decision.clone())).collect(),
        denied_since: BTreeMap::new(),
    }
}
