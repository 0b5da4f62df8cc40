//! Limits that stop harm before the first harmful write. A trip holds the steps of its kind; harmless steps go on. Held steps
//! wait for an approval of exactly their plan. What we cannot see (an incomplete pass, a missing canary) no approval makes
//! seen: those steps wait until it is.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::documents::{Guard, Guards};
use crate::store::record::{Approval, person};
use crate::sync::step::{Action, Plan};

/// What guards look at beside the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// Entries published now.
    pub published: u64,
    /// People read in scope now, and at the last complete pass.
    pub people: u64,
    pub people_before: Option<u64>,
    /// Why what was read does not tell who has gone; none when it does.
    pub blind: Option<String>,
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Deletes,
    Renames,
    Changes,
    Shrink,
    Blind,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Deletes, Kind::Renames, Kind::Changes, Kind::Shrink, Kind::Blind];

    /// The word for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Deletes => "deletes",
            Kind::Renames => "renames",
            Kind::Changes => "changes",
            Kind::Shrink => "shrink",
            Kind::Blind => "blind",
        }
    }
}

/// One limit that was passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    pub guard: Kind,
    pub found: u64,
    pub limit: u64,
    /// How many officers must approve; none when no approval helps.
    pub officers: Option<u32>,
    /// One sentence.
    pub text: String,
}

/// What may be done now, and what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub go: Plan,
    /// Its hash is what is approved. Empty when no guard tripped.
    pub held: Plan,
    pub trips: Vec<Trip>,
    /// The held steps were approved and are part of `go`; `held` stays to say which.
    pub approved: bool,
}

/// Splits the plan. `approvals` are those of the held plan's hash, asked for by it.
pub fn judge(
    plan: &Plan,
    around: &Circumstances,
    guards: &Guards,
    second_officer_at: u64,
    now: OffsetDateTime,
    approvals: impl FnOnce(&str) -> Vec<Approval>,
) -> Verdict {
    let trips = trips(plan, around, guards, second_officer_at);
    let stopped = |action: Action| trips.iter().any(|trip| stops(trip.guard, action));
    let go = plan.only(|_, step| !stopped(step.action));
    let held = complement(plan, &stopped);
    let approved = !held.steps.is_empty() && is_approved(&held, &trips, now, approvals);
    let go = if approved { plan.clone() } else { go };
    Verdict { go, held, trips, approved }
}

/// The steps that wait: the stopped ones, and those that need them.
fn complement(plan: &Plan, stopped: &impl Fn(Action) -> bool) -> Plan {
    let mut held: BTreeSet<usize> = BTreeSet::new();
    for (number, step) in plan.steps.iter().enumerate() {
        if stopped(step.action) || step.needs.iter().any(|need| held.contains(need)) {
            held.insert(number);
        }
    }
    plan.rest(&held.into_iter().collect::<Vec<_>>())
}

fn stops(guard: Kind, action: Action) -> bool {
    match guard {
        Kind::Deletes | Kind::Shrink | Kind::Blind => action.removes(),
        Kind::Renames => action == Action::Rename,
        Kind::Changes => matches!(action, Action::Modify | Action::Join | Action::Release),
    }
}

/// The smaller of count and share, but never less than one: a member of five people may lose one.
fn limit(guard: Guard, published: u64) -> u64 {
    let share = published.saturating_mul(u64::from(guard.share)) / 10_000;
    guard.count.min(share.max(1))
}

fn trips(plan: &Plan, around: &Circumstances, guards: &Guards, second_officer_at: u64) -> Vec<Trip> {
    let counts = plan.counts();
    let count = |actions: &[Action]| actions.iter().filter_map(|action| counts.get(action)).sum::<u64>();
    let removing = count(&[Action::Mark, Action::Delete]);
    let mut trips = Vec::new();
    let mut check = |guard: Kind, found: u64, limit: u64, what: &str| {
        if found > limit {
            let officers = if found > limit.saturating_mul(second_officer_at.max(1)) { 2 } else { 1 };
            trips.push(Trip {
                guard,
                found,
                limit,
                officers: Some(officers),
                text: format!(
                    "{found} {what}, more than {limit}: look at the plan, then approve it or mend the source"
                ),
            });
        }
    };
    check(Kind::Deletes, removing, limit(guards.deletes, around.published), "leavers and deletions");
    check(Kind::Renames, count(&[Action::Rename]), limit(guards.renames, around.published), "renames");
    let changes = count(&[Action::Modify, Action::Join, Action::Release]);
    check(Kind::Changes, changes, limit(guards.changes, around.published), "changed entries");
    if let (Some(before), true) = (around.people_before, removing > 0) {
        let fewer = before.saturating_sub(around.people);
        check(
            Kind::Shrink,
            fewer,
            limit(guards.shrink, before),
            "people fewer than at the last complete pass",
        );
    }
    if let (Some(why), true) = (&around.blind, removing > 0) {
        trips.push(Trip { guard: Kind::Blind, found: removing, limit: 0, officers: None, text: why.clone() });
    }
    trips
}

fn is_approved(
    held: &Plan,
    trips: &[Trip],
    now: OffsetDateTime,
    approvals: impl FnOnce(&str) -> Vec<Approval>,
) -> bool {
    let Some(officers) = trips.iter().map(|trip| trip.officers).try_fold(0, |most, one| Some(most.max(one?)))
    else {
        return false;
    };
    let given: BTreeSet<String> = approvals(&held.hash)
        .into_iter()
        .filter(|one| {
            one.plan == held.hash && one.member == held.member && one.at <= now && now < one.ends_at
        })
        .map(|one| person(&one.officer))
        .collect();
    u32::try_from(given.len()).unwrap_or(u32::MAX) >= officers
}
