//! What a run has to say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::terms::OdsCode;
use crate::sync::people::guards::Trip;
use crate::sync::terms::pass::Pass;
use crate::sync::terms::step::{Action, Quarantine};
use crate::sync::writing::execute::Executed;
use crate::sync::writing::pause::Pause;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The national directory is as it should be.
    Done,
    /// Everything that may be done is done; the rest waits for an approval or for sight.
    Held,
    /// Some steps were not done; the next run tries again.
    Partial,
    /// The gate closed on the way.
    GateClosed,
    /// Somebody paused sync on the way.
    Paused,
    /// Somebody asked for an end on the way; the next run goes on.
    Interrupted,
    /// Nothing was written, as asked.
    Planned,
}

impl Outcome {
    /// The word for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Held => "held",
            Outcome::Partial => "partial",
            Outcome::GateClosed => "gate_closed",
            Outcome::Paused => "paused",
            Outcome::Interrupted => "interrupted",
            Outcome::Planned => "planned",
        }
    }

    /// Whether nothing went wrong.
    pub const fn is_success(self) -> bool {
        matches!(self, Outcome::Done | Outcome::Held | Outcome::Planned)
    }
}

/// The account of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub member: OdsCode,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub ended_at: OffsetDateTime,
    pub outcome: Outcome,
    pub pass: Pass,
    /// Hash of the whole plan.
    pub plan: String,
    pub planned: BTreeMap<Action, u64>,
    /// Hash of the plan that was written, under which the journal has it: the whole plan, or what no guard held of it.
    #[serde(default)]
    pub written: Option<String>,
    /// Hashes of the plans that the same run wrote after it, each undone by its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<String>,
    /// The pause that stopped the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Hash of the steps that wait, to be approved; none when none wait.
    pub held: Option<String>,
    pub held_steps: u64,
    /// Steps that are left to do, by kind: held ones, and those that the next run does.
    #[serde(default)]
    pub pending: BTreeMap<Action, u64>,
    pub trips: Vec<Trip>,
    /// What somebody should know, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The held steps were approved and done.
    pub approved: bool,
    pub executed: Executed,
    pub quarantine: Vec<Quarantine>,
    /// Steps of an earlier run whose outcome was found out by looking.
    pub found_out: u64,
    /// Steps that are still to do after reading back, held ones not counted.
    pub remaining: u64,
    /// Entries published after the run.
    pub published: u64,
    /// How long reading, planning and writing took, in milliseconds.
    pub read_ms: u64,
    pub plan_ms: u64,
    pub write_ms: u64,
}

impl Report {
    /// How many are held back for each reason.
    pub fn quarantine_counts(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for one in &self.quarantine {
            *counts.entry(one.code.as_str()).or_insert(0) += 1;
        }
        counts
    }
}
