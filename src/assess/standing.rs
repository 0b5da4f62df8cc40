//! Where a member's gates would stand by an assessment that nobody keeps: `gate::decide` says it, graces and all.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::baseline::assessment::Assessment;
use crate::baseline::value::duration_text;
use crate::gate::decide::{Assessed, GateInput, GateSettings, GateState, decide};
use crate::policy::terms::{Grant, Membership};
use crate::store::member::Member;

/// What is known of the gates before.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Where each stands; one that was never decided is closed.
    pub states: BTreeMap<Grant, GateState>,
    /// Since when each control denies.
    pub denied_since: BTreeMap<String, OffsetDateTime>,
}

/// Why no gate of a member is open, whatever its controls say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Its state opens no gate.
    State(Membership),
    /// Seconds that its evidence is old, and seconds that evidence counts for.
    Stale { age: i64, counts_for: i64 },
}

impl Idle {
    /// In a few words.
    pub fn text(self) -> String {
        match self {
            Idle::State(state) => state.to_string(),
            Idle::Stale { age, counts_for } => {
                format!("evidence {} old, counts for {}", about(age), duration_text(counts_for))
            }
        }
    }
}

/// Where the gates stand.
#[derive(Debug, Clone)]
pub struct Standing {
    pub gates: Known,
    pub idle: Option<Idle>,
}

impl Standing {
    /// The grants whose gates pass.
    pub fn passing(&self) -> BTreeSet<Grant> {
        self.gates.states.iter().filter(|(_, state)| state.passes()).map(|(grant, _)| *grant).collect()
    }

    /// Until when a gate is held.
    pub fn held(&self, grant: Grant) -> Option<OffsetDateTime> {
        match self.gates.states.get(&grant)? {
            GateState::Held { until } => Some(*until),
            GateState::Open | GateState::Closed => None,
        }
    }
}

/// Decides by an assessment at the time for which it was made. `counts_for` is how many seconds its evidence counts at `asked`, the time
/// of today: what is looked at ahead is looked at by the evidence of today. One clean assessment opens here, however many the baseline asks
/// for.
pub fn standing(
    member: &Member,
    assessment: &Assessment,
    counts_for: i64,
    asked: OffsetDateTime,
    known: &Known,
) -> Standing {
    let ahead = (assessment.assessed_at - asked).whole_seconds().max(0);
    let outcome = decide(&GateInput {
        member: &member.ods,
        membership: member.state,
        policy_hash: Some(&assessment.policy_hash),
        assessments: &[Assessed { assessment, evidence_valid: true }],
        settings: GateSettings { reopen_after: 1, evidence_valid_for: counts_for.saturating_add(ahead) },
        previous: &known.states,
        denied_since: &known.denied_since,
        now: assessment.assessed_at,
    });
    let age = (asked - assessment.collected_at).whole_seconds();
    let idle = match member.state.may_federate() {
        false => Some(Idle::State(member.state)),
        true => (age >= counts_for).then_some(Idle::Stale { age, counts_for }),
    };
    let states = outcome.grants.into_iter().map(|(grant, decision)| (grant, decision.state)).collect();
    Standing { gates: Known { states, denied_since: outcome.denied_since }, idle }
}

/// A time as people say it: days from two days on, then hours, then minutes.
pub fn about(seconds: i64) -> String {
    let units = [Duration::DAY, Duration::HOUR, Duration::MINUTE].map(Duration::whole_seconds);
    let unit = units.into_iter().find(|unit| seconds >= unit * 2).unwrap_or(1);
    duration_text(seconds - seconds % unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_largest_unit() {
        for (seconds, text) in [
            (14 * 86_400, "14d"),
            (14 * 86_400 - 1, "13d"),
            (90_000, "25h"),
            (7_300, "2h"),
            (150, "2m"),
            (9, "9s"),
        ] {
            assert_eq!(about(seconds), text);
        }
    }
}
