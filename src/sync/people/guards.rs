//! Limits that stop harm before the first harmful write. A trip holds the steps of its kind; harmless steps go on. Held steps
//! wait for an approval of exactly their plan. What we cannot see (an incomplete pass, a missing canary) no approval makes
//! seen: those steps wait until it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::scope::{Guard, Guards};
use crate::store::record::{Approval, person};
use crate::sync::people::desired::{NOT_PUBLISHED, UNSEEN};
use crate::sync::people::naming::RENAME_FIRST;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::step::{Action, Plan, Step};

/// What guards look at beside the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Entries published now.
    pub published: u64,
    /// People read in scope now, and at the last complete pass or approved plan.
    pub people: u64,
    pub people_before: Option<u64>,
    /// People who are to be changed as well, and are left for the next plan.
    pub deferred: u64,
    /// The organisational units of those who leave: where they are, and where they were moved from.
    pub units_of: BTreeMap<Guid, Vec<Guid>>,
    pub units: BTreeMap<Guid, Unit>,
    /// What nobody approved of the last 24 hours.
    pub recent: Recent,
    /// People who had asked not to be listed as others are, and of whom no wish was read any more; and how many had asked.
    pub withdrawn: BTreeSet<Guid>,
    pub wishes: u64,
    /// Entries removed today for all members, and how many may be; none: not counted.
    pub national: Option<(u64, u64)>,
    /// Why what was read does not tell who has gone; none when it does.
    pub blind: Option<String>,
}

/// What was done without an approval, in 24 hours: what comes in many small runs is one large one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    pub gone: u64,
    pub hidden: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub renames: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub mails: u64,
    /// People whose wish not to be listed as others are was no longer there.
    #[serde(skip_serializing_if = "is_zero")]
    pub wishes: u64,
    /// Who left which unit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<Guid, u64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Recent {
    /// What this plan does.
    pub fn of(plan: &Plan, around: &Circumstances) -> Recent {
        let count = |guard: Kind| count(plan, guard);
        Recent {
            gone: count(Kind::Day),
            hidden: count(Kind::DayHides),
            renames: count(Kind::Renames),
            mails: count(Kind::Mails),
            wishes: lists(plan, around),
            units: leaving(plan, around),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, more: &Recent) -> Recent {
        self.with(more, u64::saturating_add)
    }

    /// Without what was not done after all.
    #[must_use]
    pub fn without(self, less: &Recent) -> Recent {
        self.with(less, u64::saturating_sub)
    }

    fn with(mut self, other: &Recent, sum: fn(u64, u64) -> u64) -> Recent {
        for (mine, theirs) in [
            (&mut self.gone, other.gone),
            (&mut self.hidden, other.hidden),
            (&mut self.renames, other.renames),
            (&mut self.mails, other.mails),
            (&mut self.wishes, other.wishes),
        ] {
            *mine = sum(*mine, theirs);
        }
        for (unit, count) in &other.units {
            let mine = self.units.entry(*unit).or_insert(0);
            *mine = sum(*mine, *count);
        }
        self.units.retain(|_, count| *count > 0);
        self
    }
}

/// An organisational unit of a member directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its own relative name.
    pub name: String,
    /// People of it who stay.
    pub staying: u64,
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Deletes,
    Disables,
    Hides,
    Unit,
    Renames,
    Joins,
    Succession,
    Mails,
    Changes,
    Shrink,
    Day,
    DayHides,
    Wishes,
    Unseen,
    National,
    Blind,
}

impl Kind {
    pub const ALL: [Kind; 16] = [
        Kind::Deletes,
        Kind::Disables,
        Kind::Hides,
        Kind::Unit,
        Kind::Renames,
        Kind::Joins,
        Kind::Succession,
        Kind::Mails,
        Kind::Changes,
        Kind::Shrink,
        Kind::Day,
        Kind::DayHides,
        Kind::Wishes,
        Kind::Unseen,
        Kind::National,
        Kind::Blind,
    ];

    /// The word for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Deletes => "deletes",
            Kind::Disables => "disables",
            Kind::Hides => "hides",
            Kind::Unit => "unit",
            Kind::Renames => "renames",
            Kind::Joins => "joins",
            Kind::Succession => "succession",
            Kind::Mails => "mails",
            Kind::Changes => "changes",
            Kind::Shrink => "shrink",
            Kind::Day => "day",
            Kind::DayHides => "day_hides",
            Kind::Wishes => "wishes",
            Kind::Unseen => "unseen",
            Kind::National => "national",
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
    /// What of `go` nobody approved.
    pub recent: Recent,
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
    let emptied = emptied(plan, around, guards);
    let trips = trips(plan, around, guards, &emptied, second_officer_at);
    let stopped = |step: &Step| trips.iter().any(|trip| stops(trip.guard, step, around, &emptied));
    let go = plan.only(|_, step| !stopped(step));
    let held = complement(plan, &stopped);
    let recent = Recent::of(&go, around);
    let approved = !held.steps.is_empty() && is_approved(&held, &trips, now, approvals);
    let go = if approved { plan.clone() } else { go };
    Verdict { go, held, trips, approved, recent }
}

/// The steps that wait: the stopped ones, and those that need them.
fn complement(plan: &Plan, stopped: &impl Fn(&Step) -> bool) -> Plan {
    let mut held: BTreeSet<usize> = BTreeSet::new();
    for (number, step) in plan.steps.iter().enumerate() {
        if stopped(step) || step.needs.iter().any(|need| held.contains(need)) {
            held.insert(number);
        }
    }
    plan.rest(&held.into_iter().collect::<Vec<_>>())
}

/// The rule of a step that takes a mail from somebody who stays, because somebody else is to have it.
pub const RELEASE: &str = "release";

/// How many people have a step of this kind; one without a person counts by itself.
fn count(plan: &Plan, guard: Kind) -> u64 {
    let steps = || plan.steps.iter().filter(|step| is_of(guard, step));
    let people: BTreeSet<_> = steps().filter_map(|step| step.anchor.as_ref()).collect();
    people.len() as u64 + steps().filter(|step| step.anchor.is_none()).count() as u64
}

/// How many people are published by this plan with an entry that is there and does not list them.
fn coming(plan: &Plan) -> u64 {
    let comes = |step: &&Step| matches!(step.action, Action::Join | Action::Claim) || step.rule == "return";
    plan.steps.iter().filter(comes).count() as u64
}

/// Whether a step is of a kind that is counted.
fn is_of(guard: Kind, step: &Step) -> bool {
    let removes = step.action.removes();
    match guard {
        Kind::Disables => removes && step.rule == "disabled",
        Kind::Hides | Kind::DayHides => removes && matches!(step.rule.as_str(), "hidden" | NOT_PUBLISHED),
        Kind::Deletes => removes && !is_of(Kind::Disables, step) && !is_of(Kind::Hides, step),
        Kind::Day => removes && !is_of(Kind::Hides, step),
        Kind::Unseen => removes && step.rule == UNSEEN,
        Kind::Unit | Kind::Shrink | Kind::National | Kind::Blind => removes,
        // hiding waits for it: that is counted where it is done
        Kind::Renames => step.action == Action::Rename && step.rule != RENAME_FIRST,
        Kind::Joins => matches!(step.action, Action::Join | Action::Claim),
        Kind::Succession => step.rule == "succession",
        Kind::Mails => {
            let mail = step.changes.iter().find(|change| change.attribute == "mail");
            // a mail that goes to somebody else is released first
            let changes =
                step.action == Action::Modify || (step.action == Action::Release && step.rule == RELEASE);
            changes && mail.is_some_and(|mail| !mail.before.is_empty())
        }
        Kind::Changes => {
            let changes =
                matches!(step.action, Action::Modify | Action::Join | Action::Claim | Action::Release);
            changes && step.rule != NOT_PUBLISHED
        }
        Kind::Wishes => {
            matches!(step.action, Action::Create | Action::Modify | Action::Join | Action::Claim)
        }
    }
}

/// Whether a step is of somebody whose wish not to be listed as others are is no longer there.
fn is_withdrawn(step: &Step, around: &Circumstances) -> bool {
    step.anchor.as_ref().is_some_and(|anchor| around.withdrawn.contains(&anchor.guid))
}

/// How many people a plan lists against a wish that was there before.
fn lists(plan: &Plan, around: &Circumstances) -> u64 {
    plan.steps
        .iter()
        .filter_map(listed)
        .filter(|guid| around.withdrawn.contains(guid))
        .collect::<BTreeSet<_>>()
        .len() as u64
}

/// Whom a step lists, or tells more of.
pub fn listed(step: &Step) -> Option<Guid> {
    step.anchor.as_ref().filter(|_| is_of(Kind::Wishes, step)).map(|anchor| anchor.guid)
}

fn stops(guard: Kind, step: &Step, around: &Circumstances, emptied: &BTreeMap<Guid, u64>) -> bool {
    // that somebody is not to be listed was read and not concluded, and protects a person: it is never held because others left
    let hides = is_of(Kind::Hides, step) && !matches!(guard, Kind::Hides | Kind::DayHides);
    is_of(guard, step)
        && !hides
        && match guard {
            Kind::Unit => units(step, around).any(|unit| emptied.contains_key(&unit)),
            Kind::Wishes => is_withdrawn(step, around),
            _ => true,
        }
}

/// The units that somebody who leaves is missed in.
fn units<'a>(step: &Step, around: &'a Circumstances) -> impl Iterator<Item = Guid> + use<'a> {
    let guid = step.anchor.as_ref().map(|anchor| anchor.guid);
    guid.and_then(|guid| around.units_of.get(&guid)).into_iter().flatten().copied()
}

/// How many people of each unit are marked as leavers.
fn leaving(plan: &Plan, around: &Circumstances) -> BTreeMap<Guid, u64> {
    let mut leaving: BTreeMap<Guid, u64> = BTreeMap::new();
    // whoever was marked before has left before
    for step in plan.steps.iter().filter(|step| step.action == Action::Mark) {
        for unit in units(step, around).collect::<BTreeSet<_>>() {
            *leaving.entry(unit).or_insert(0) += 1;
        }
    }
    leaving
}

/// Units that lose more people than both limits allow, with those who left in the last 24 hours, and how many.
fn emptied(plan: &Plan, around: &Circumstances, guards: &Guards) -> BTreeMap<Guid, u64> {
    let mut leaving = leaving(plan, around);
    for (unit, gone) in &mut leaving {
        *gone += around.recent.units.get(unit).copied().unwrap_or(0);
    }
    leaving.retain(|unit, gone| {
        let staying = around.units.get(unit).map_or(0, |unit| unit.staying);
        let share = staying.saturating_add(*gone).saturating_mul(u64::from(guards.unit.share)) / 10_000;
        *gone > guards.unit.count && *gone > share
    });
    leaving
}

const UNSEEN_TOLD: &str = "people whom a complete reading did not bring though no deletion of them was told (may our account read them?)";

/// In a small practice a few may leave in a day: no guard that looks over time stops fewer.
const FEW: u64 = 5;

/// The smaller of count and share, but never less than one: a member of five people may lose one.
fn limit(guard: Guard, published: u64) -> u64 {
    let share = published.saturating_mul(u64::from(guard.share)) / 10_000;
    guard.count.min(share.max(1))
}

/// Guards of one run, each with its limit and how many more there are to do.
fn simple(around: &Circumstances, guards: &Guards) -> [(Kind, Guard, u64, &'static str); 7] {
    [
        (Kind::Deletes, guards.deletes, 0, "leavers and deletions"),
        (Kind::Disables, guards.disables, 0, "people whose accounts were disabled"),
        (Kind::Hides, guards.hides, 0, "people who are no longer to be listed"),
        (Kind::Renames, guards.renames, 0, "renames"),
        (Kind::Joins, guards.joins, 0, "entries taken over"),
        (Kind::Mails, guards.mails, 0, "people whose mail changes"),
        (Kind::Changes, guards.changes, around.deferred, "changed entries"),
    ]
}

fn trips(
    plan: &Plan,
    around: &Circumstances,
    guards: &Guards,
    emptied: &BTreeMap<Guid, u64>,
    second_officer_at: u64,
) -> Vec<Trip> {
    let count = |guard: Kind| count(plan, guard);
    let removing = count(Kind::Blind);
    let mut trips = Vec::new();
    let mut check = |guard: Kind, found: u64, limit: u64, what: &str| {
        if found > limit {
            // of few wishes the share is nobody: one of them is no mass
            let least = u64::from(matches!(guard, Kind::Wishes | Kind::Unseen));
            let far = found > limit.max(least).saturating_mul(second_officer_at.max(1));
            let officers = if far { 2 } else { 1 };
            let advice = match guard {
                Kind::Unseen => {
                    "see whether our account may still read them; when it may again, have everything read (sync resync), and approve only if they are gone"
                }
                _ => "look at the plan, then approve it or mend the source",
            };
            let text = format!("{found} {what}, more than {limit}: {advice}");
            trips.push(Trip { guard, found, limit, officers: Some(officers), text });
        }
    };
    for (kind, guard, more, what) in simple(around, guards) {
        let found = count(kind);
        // whoever comes back is changed, and is published by then
        let of = around.published + if kind == Kind::Changes { coming(plan) } else { 0 };
        check(kind, if found > 0 { found + more } else { 0 }, limit(guard, of), what);
    }
    // whoever lets everybody change in one run sets no share: what comes again and again is more than everybody
    let over_time = |guard: Guard, of: u64| match guard.share {
        10_000.. => guard.count,
        _ => limit(guard, of).max(FEW.min(guard.count)),
    };
    let (recent, most) = (&around.recent, around.published + around.recent.gone + around.recent.hidden);
    for (kind, guard, before, what) in [
        (Kind::Day, guards.day, recent.gone, "removals in 24 hours that nobody approved"),
        (Kind::DayHides, guards.day, recent.hidden, "people in 24 hours who are no longer to be listed"),
        (Kind::Renames, guards.renames, recent.renames, "renames in 24 hours"),
        (Kind::Mails, guards.mails, recent.mails, "people in 24 hours whose mail changes"),
    ] {
        let found = count(kind);
        // this plan by itself was looked at above
        let found = if found > 0 && (before > 0 || guard == guards.day) { before + found } else { 0 };
        check(kind, found, over_time(guard, most), what);
    }
    let listed = lists(plan, around);
    if listed > 0 {
        let of = around.wishes + recent.wishes;
        // a few of a few are all: nobody's wish is taken for withdrawn unasked unless it is one of many
        let limit = guards.wishes.count.min(of.saturating_mul(u64::from(guards.wishes.share)) / 10_000);
        let what = "people of whom no wish not to be listed is read any more (withdrawn, or not readable?)";
        check(Kind::Wishes, recent.wishes + listed, limit, what);
    }
    check(Kind::Unseen, count(Kind::Unseen), 0, UNSEEN_TOLD);
    if let (Some(before), true) = (around.people_before, removing > 0) {
        let fewer = before.saturating_sub(around.people);
        let what = "people fewer than at the last complete pass or approved plan";
        check(Kind::Shrink, fewer, over_time(guards.shrink, before), what);
    }
    trips.extend(beyond(plan, around, emptied, guards, second_officer_at));
    if let (Some(why), true) = (&around.blind, removing > 0) {
        trips.push(Trip { guard: Kind::Blind, found: removing, limit: 0, officers: None, text: why.clone() });
    }
    trips
}

/// The guards that look beyond a count of this plan's steps.
fn beyond(
    plan: &Plan,
    around: &Circumstances,
    emptied: &BTreeMap<Guid, u64>,
    guards: &Guards,
    second_officer_at: u64,
) -> Vec<Trip> {
    let count = |guard: Kind| count(plan, guard);
    let mut trips = Vec::new();
    if !emptied.is_empty() {
        let units: Vec<String> = emptied
            .iter()
            .map(|(guid, gone)| {
                let before = around.recent.units.get(guid).copied().unwrap_or(0);
                let ago = if before > 0 {
                    format!(" ({before} of them before, in 24 hours)")
                } else {
                    String::new()
                };
                match around.units.get(guid) {
                    Some(unit) => format!("{gone} of {} leave {}{ago}", gone + unit.staying, unit.name),
                    None => format!("{gone} leave {guid}{ago}"),
                }
            })
            .collect();
        let text = format!("{}: look at the plan, then approve it or mend the source", units.join(", "));
        let (found, limit) = (emptied.values().copied().max().unwrap_or(0), guards.unit.count);
        let officers = if found > limit.saturating_mul(second_officer_at.max(1)) { 2 } else { 1 };
        trips.push(Trip { guard: Kind::Unit, found, limit, officers: Some(officers), text });
    }
    trips.extend(everybody(plan, around, guards));
    let taken = count(Kind::Succession);
    if taken > 0 {
        let text =
            format!("{taken} published entries of another organisation are taken over: two officers approve");
        trips.push(Trip { guard: Kind::Succession, found: taken, limit: 0, officers: Some(2), text });
    }
    let removing = count(Kind::National);
    if let Some((today, limit)) = around.national.filter(|_| removing > 0)
        && today + removing > limit
    {
        let text = format!(
            "{removing} removals after {today} of all members today, more than {limit} in a day: see whether something is wrong everywhere, then two officers approve"
        );
        trips.push(Trip { guard: Kind::National, found: today + removing, limit, officers: Some(2), text });
    }
    trips
}

/// Nobody is left: of a few people a few are all. A document that lets everybody go in a day is not asked.
fn everybody(plan: &Plan, around: &Circumstances, guards: &Guards) -> Option<Trip> {
    let leave = |step: &&Step| step.action == Action::Mark && is_of(Kind::Day, step);
    let gone = plan.steps.iter().filter(leave).count() as u64;
    let hidden = plan.steps.iter().filter(|step| is_of(Kind::DayHides, step)).count() as u64;
    let (found, of) = (gone + around.recent.gone, around.published + around.recent.gone);
    if gone == 0 || gone + hidden < around.published || of < 2 || guards.day.share >= 10_000 {
        return None;
    }
    let text = format!(
        "nobody of {of} is left ({found} leave in 24 hours): look at the plan, then approve it or mend the source"
    );
    Some(Trip { guard: Kind::Day, found, limit: of - 1, officers: Some(1), text })
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
