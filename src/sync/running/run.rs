//! One run for one member, from lease to read-back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::directory::client::Directory;
use crate::store::record::PlanRecord;
use crate::sync::keeping::job::{Hands, Job, Mode, begin, end};
use crate::sync::keeping::removals;
use crate::sync::keeping::rewritten;
use crate::sync::keeping::shelf::{self, Shelf};
use crate::sync::keeping::wishes;
use crate::sync::people::guards::{Recent, Verdict};
use crate::sync::people::naming;
use crate::sync::planning::propose::{Planned, make};
use crate::sync::reading::source::read_source;
use crate::sync::running::ledger;
use crate::sync::running::report::{Outcome, Report};
use crate::sync::terms::error::SyncError;
use crate::sync::terms::pass::Pass;
use crate::sync::terms::step::{Action, Plan, Quarantine};
use crate::sync::writing::execute::{Executed, Gate, execute};
use crate::sync::writing::observe;
use crate::sync::writing::pause::{self, Pause, Pauses};
use crate::sync::writing::refused;

/// Runs once. Two runs of one member never overlap: the second is [`SyncError::Busy`]. The gate is asked before anything
/// is read and again before every batch of writes. Whatever happens, running again goes on from there.
pub async fn run_member(job: &Job, hands: &Hands, mode: Mode, gate: &Gate) -> Result<Report, SyncError> {
    if !mode.dry_run && !gate() {
        return Err(SyncError::GateClosed(job.member.clone()));
    }
    if !mode.dry_run {
        let (store, ods) = (hands.store.clone(), job.member.clone());
        let pauses = tokio::task::spawn_blocking(move || Pauses::read(store.as_ref())).await??;
        if pauses.of(&ods).is_some() {
            return Err(SyncError::Paused(ods));
        }
    }
    let mut shelf = begin(&job.member, hands).await?;
    ledger::left(&shelf).await?;
    let result = under_lease(job, hands, mode, gate, &mut shelf).await;
    if let Err(error) = result.as_ref()
        && !mode.dry_run
    {
        // whoever cannot even write this down has told it already
        let _ = ledger::failed(&shelf, error).await;
    }
    end(&shelf).await;
    result
}

/// How what is staged was brought up to date.
#[derive(Debug)]
pub struct Brought {
    pub pass: Pass,
    pub started_at: OffsetDateTime,
    pub read_ms: u64,
}

/// What a run wrote, over all of its plans.
#[derive(Default)]
struct Written {
    executed: Executed,
    /// Counts of the plans after the first one.
    planned: BTreeMap<Action, u64>,
    /// Hashes of what was written of them.
    later: Vec<String>,
    /// The plan that was written last, whose fate is the run's.
    last: Option<Names>,
    /// It was interrupted: what was left of the plan that was written last.
    cut: Option<BTreeMap<Action, u64>>,
    writing: Duration,
    /// Making the plans after the first one.
    planning: Duration,
}

/// By what a plan is known: its hash, that of what no guard held of it, and that of what waits.
#[derive(Debug, Clone)]
struct Names {
    plan: String,
    go: String,
    held: Option<String>,
}

impl Names {
    fn of(plan: &Plan, verdict: &Verdict) -> Names {
        let waits = !verdict.held.steps.is_empty() && !verdict.approved;
        Names {
            plan: plan.hash.clone(),
            go: verdict.go.hash.clone(),
            held: waits.then(|| verdict.held.hash.clone()),
        }
    }

    /// Says what became of the plan. What waits keeps its state; what was written beside it is done.
    async fn keep(self, shelf: &Shelf, outcome: Outcome) -> Result<(), SyncError> {
        let rest = if outcome == Outcome::Held { Outcome::Done } else { outcome };
        shelf
            .store(move |store, _| {
                if self.held.as_ref() != Some(&self.plan) {
                    store.set_plan_state(&self.plan, outcome.as_str())?;
                }
                if self.go == self.plan { Ok(()) } else { store.set_plan_state(&self.go, rest.as_str()) }
            })
            .await
    }
}

async fn under_lease(
    job: &Job,
    hands: &Hands,
    mode: Mode,
    gate: &Gate,
    shelf: &mut Shelf,
) -> Result<Report, SyncError> {
    let started_at = hands.clock.now();
    let begun = Instant::now();
    // a page that is under way is kept as a whole or not at all
    let pass = hands.interruption.unless(read_source(job, hands, mode, shelf)).await?;
    let brought = Brought { pass, started_at, read_ms: milliseconds(begun.elapsed()) };
    after_reading(job, hands, mode, gate, shelf, brought).await
}

/// Everything after what is staged was brought up to date, whatever it was brought from: plans, guards, writes, reads back.
pub async fn after_reading(
    job: &Job,
    hands: &Hands,
    mode: Mode,
    gate: &Gate,
    shelf: &mut Shelf,
    brought: Brought,
) -> Result<Report, SyncError> {
    let started_at = brought.started_at;
    let begun = Instant::now();
    // staging may have taken long
    shelf.renew_when_due().await?;
    let planning = async {
        let mut target = job.target.connect(SyncError::Target).await?;
        let found_out = observe::settle_journal(shelf, &mut target, &job.scope).await?;
        let planned = make(job, hands, &brought.pass, shelf, &mut target).await?;
        Ok((target, found_out, planned))
    };
    let (mut target, found_out, planned) = hands.interruption.unless(planning).await?;
    let first_planned = begun.elapsed();
    keep_plans(shelf, Some(&planned.plan), &planned.verdict, started_at, mode).await?;
    if !mode.dry_run {
        wishes::keep(shelf, &planned.asking, &planned.over).await?;
    }
    let (gate, stopped) = pause::also(gate, &hands.store, &hands.interruption, &job.member);
    let (mut written, left) = match mode.dry_run {
        true => (Written::default(), None),
        false => write(job, hands, &gate, shelf, &brought.pass, &planned, started_at, &mut target).await?,
    };
    target.unbind().await;
    written.planning += first_planned;
    let last = written.last.take().unwrap_or_else(|| Names::of(&planned.plan, &planned.verdict));
    let people = planned.plan.people;
    let made = Made { planned, written, left, found_out, paused: stopped.pause().cloned() };
    let report = made.report(job, hands, mode, brought);
    if report.outcome != Outcome::Planned && !report.planned.is_empty() {
        last.keep(shelf, report.outcome).await?;
    }
    keep_outcome(shelf, &report, people).await?;
    Ok(report)
}

/// What a run came to after reading.
struct Made {
    planned: Planned,
    written: Written,
    /// What was planned after the last write.
    left: Option<Planned>,
    found_out: u64,
    /// There is a pause by now.
    paused: Option<Pause>,
}

impl Made {
    fn report(self, job: &Job, hands: &Hands, mode: Mode, brought: Brought) -> Report {
        let Made { planned, written, left, found_out, paused } = self;
        let Written { mut executed, planned: more, later, last: _, cut, writing, planning } = written;
        let after = left.as_ref().unwrap_or(&planned);
        let waits = !after.verdict.held.steps.is_empty() && !after.verdict.approved;
        let to_do = match &cut {
            Some(rest) => rest.clone(),
            None if left.is_some() || mode.dry_run => after.verdict.go.counts(),
            None => BTreeMap::new(),
        };
        let deferred = if cut.is_some() || left.is_some() || mode.dry_run { after.deferred } else { 0 };
        let remaining = to_do.values().sum::<u64>() + deferred;
        let paused = paused.filter(|_| executed.gate_closed);
        executed.gate_closed &= paused.is_none() && cut.is_none();
        let outcome = match &paused {
            _ if mode.dry_run => Outcome::Planned,
            Some(_) => Outcome::Paused,
            None if cut.is_some() => Outcome::Interrupted,
            None => ended(&executed, remaining, waits),
        };
        let pending = pending(after, waits, to_do);
        let (held, held_steps) = match waits {
            true => (Some(after.verdict.held.hash.clone()), after.verdict.held.steps.len() as u64),
            false => (None, 0),
        };
        let (published, quarantine) = (after.published, quarantine(&planned.plan, &after.plan));
        // what waits is told with what it waits for
        let trips = if waits { after.verdict.trips.clone() } else { planned.verdict.trips.clone() };
        let Planned { plan, verdict, notes, .. } = planned;
        let mut counts = plan.counts();
        more.into_iter().for_each(|(action, more)| *counts.entry(action).or_insert(0) += more);
        Report {
            member: job.member.clone(),
            started_at: brought.started_at,
            ended_at: hands.clock.now(),
            outcome,
            planned: counts,
            written: (!mode.dry_run && !verdict.go.steps.is_empty()).then(|| verdict.go.hash.clone()),
            later,
            paused,
            plan: plan.hash,
            held_steps,
            held,
            pending,
            trips,
            notes,
            approved: verdict.approved,
            executed,
            quarantine,
            pass: brought.pass,
            found_out,
            remaining,
            published,
            read_ms: brought.read_ms,
            plan_ms: milliseconds(planning),
            write_ms: milliseconds(writing),
        }
    }
}

/// Whom the first plan holds back, and whom only the last one came to.
fn quarantine(first: &Plan, last: &Plan) -> Vec<Quarantine> {
    let key = |one: &Quarantine| (one.guid, one.attribute.clone(), one.code.clone());
    let known: BTreeSet<_> = first.quarantine.iter().map(key).collect();
    let more = last.quarantine.iter().filter(|one| !known.contains(&key(one)));
    first.quarantine.iter().chain(more).cloned().collect()
}

/// What is left to do, by kind.
fn pending(after: &Planned, waits: bool, to_do: BTreeMap<Action, u64>) -> BTreeMap<Action, u64> {
    let mut pending = to_do;
    for (action, count) in waits.then(|| after.verdict.held.counts()).into_iter().flatten() {
        *pending.entry(action).or_insert(0) += count;
    }
    pending
}

/// What is left of a plan after so much of it was done.
fn rest(plan: &Plan, done: &BTreeMap<Action, u64>) -> BTreeMap<Action, u64> {
    let mut rest = plan.counts();
    rest.iter_mut().for_each(|(action, count)| *count -= done.get(action).copied().unwrap_or(0).min(*count));
    rest.retain(|_, count| *count > 0);
    rest
}

/// How a run ended that nobody paused.
fn ended(executed: &Executed, remaining: u64, waits: bool) -> Outcome {
    match () {
        () if executed.gate_closed => Outcome::GateClosed,
        () if remaining > 0 || !executed.undone.is_empty() => Outcome::Partial,
        () if waits => Outcome::Held,
        () => Outcome::Done,
    }
}

/// In whole milliseconds.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn keep_plans(
    shelf: &Shelf,
    whole: Option<&Plan>,
    verdict: &Verdict,
    at: OffsetDateTime,
    mode: Mode,
) -> Result<(), SyncError> {
    let record = |plan: &Plan, state: &str| {
        let document = serde_json::to_vec(plan).map_err(|error| SyncError::Internal(error.to_string()))?;
        Ok::<_, SyncError>(PlanRecord {
            hash: plan.hash.clone(),
            member: plan.member.clone(),
            made_at: at,
            state: state.to_owned(),
            document,
        })
    };
    let mut records = Vec::new();
    if let Some(plan) = whole.filter(|plan| !plan.steps.is_empty()) {
        records.push(record(plan, if mode.dry_run { "planned" } else { "running" })?);
        // what is written is undone by its own hash, so that it is kept by it
        if !mode.dry_run && verdict.go.hash != plan.hash && !verdict.go.steps.is_empty() {
            records.push(record(&verdict.go, "running")?);
        }
    }
    if !verdict.held.steps.is_empty() {
        records.push(record(&verdict.held, if verdict.approved { "approved" } else { "held" })?);
    }
    let begins = whole.is_some();
    let waiting = (!verdict.held.steps.is_empty()).then(|| verdict.held.hash.clone());
    shelf
        .store(move |store, ods| {
            // under the lease nobody else runs: one that still seems to was cut off
            if begins {
                store.move_plans(ods, "running", "interrupted", None)?;
            }
            // a plan that waited and is not what would be done now can no longer be approved
            store.move_plans(ods, "held", "superseded", waiting.as_deref())?;
            records.iter().try_for_each(|record| store.put_plan(record))
        })
        .await
}

async fn keep_outcome(shelf: &Shelf, report: &Report, people: u64) -> Result<(), SyncError> {
    let clean = report.held.is_none() && matches!(report.outcome, Outcome::Done | Outcome::Partial);
    let mut values = Vec::new();
    // a level that every run lowers would never tell of a source that shrinks in many small steps
    let level = shelf.number(shelf::PEOPLE).await?.is_none_or(|before| people > before);
    if clean && (level || report.pass.complete || report.approved) {
        values.push((shelf::PEOPLE.to_owned(), Some(people.to_string().into_bytes())));
    }
    values.push((LAST_REPORT.to_owned(), serde_json::to_vec(report).ok()));
    values.extend(ledger::values(shelf, report).await?);
    shelf.set(values).await
}

/// Key of the last run's report in the member's sync state, JSON.
pub const LAST_REPORT: &str = "report";

/// What was done counts for the guards' memory, and nothing else; and whose wish was withdrawn is listed by what was done alone.
async fn settle(shelf: &Shelf, planned: &Planned, executed: &Executed) -> Result<(), SyncError> {
    let go = &planned.verdict.go;
    // what was approved was not counted
    if !planned.verdict.approved {
        let rest: Vec<usize> =
            (0..go.steps.len()).filter(|number| !executed.which.contains(number)).collect();
        removals::take_back(shelf, &Recent::of(&go.rest(&rest), &planned.around)).await?;
    }
    wishes::keep(shelf, &planned.asking, &wishes::listed_by(go, &executed.which)).await
}

/// A server tells of one value of a change at a time. So many plans in a row go round it; the next run goes on.
const REFUSALS_IN_A_ROW: u32 = 8;

/// Whether a plan renames entries that are named by something else than their account names: what is to be done with them may follow.
fn names_anew(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.action == Action::Rename && !naming::is_plain(&step.dn))
}

/// Writes, and reads back: what is left to do is left by the directory, not by the plan. Where a plan left people for the next one, that
/// is made and done as well, as long as there is progress.
#[expect(clippy::too_many_arguments, reason = "everything of a run comes together here, once")]
async fn write(
    job: &Job,
    hands: &Hands,
    gate: &Gate,
    shelf: &mut Shelf,
    pass: &Pass,
    first: &Planned,
    started_at: OffsetDateTime,
    target: &mut Directory,
) -> Result<(Written, Option<Planned>), SyncError> {
    let begun = Instant::now();
    let mut written = Written::default();
    let mut left: Option<Planned> = None;
    let mut retries = 0;
    loop {
        let now = left.as_ref().unwrap_or(first);
        let (go, deferred) = (&now.verdict.go, now.deferred);
        if go.steps.is_empty() {
            break;
        }
        let connections = job.target.several(go.steps.len(), &hands.settings).await?;
        removals::reserve(shelf, go).await?;
        removals::note(shelf, &now.verdict.recent).await?;
        let mut executed = execute(go, connections, shelf, &hands.settings, gate).await?;
        // what is held back from now on lets the rest of its people go on at once
        let refused = refused::note(shelf, go, &mut executed).await? && retries < REFUSALS_IN_A_ROW;
        retries = if refused { retries + 1 } else { 0 };
        rewritten::note(shelf, &now.plan).await?;
        settle(shelf, now, &executed).await?;
        let progress = !executed.done.is_empty();
        let closed = executed.gate_closed;
        let names = Names::of(&now.plan, &now.verdict);
        let fate = ended(&executed, 0, names.held.is_some());
        let rest = rest(go, &executed.done);
        if left.is_some() {
            written.later.push(names.go.clone());
        }
        written.executed.add(executed);
        let begun_planning = Instant::now();
        let next = match hands.interruption.unless(make(job, hands, pass, shelf, target)).await {
            Err(SyncError::Interrupted) => {
                // what was written is told all the same
                (written.cut, written.last) = (Some(rest), Some(names));
                break;
            }
            next => next?,
        };
        written.planning += begun_planning.elapsed();
        // more people than a plan has, or what waits for a name
        let more = deferred > 0 || names_anew(go);
        let again = (refused || (more && progress)) && !closed && !next.verdict.go.steps.is_empty();
        if again {
            names.keep(shelf, fate).await?;
            // what was refused is planned once more, and counted once
            let new = if more { next.plan.counts() } else { BTreeMap::new() };
            new.into_iter().for_each(|(action, more)| *written.planned.entry(action).or_insert(0) += more);
        } else {
            written.last = Some(names);
        }
        wishes::keep(shelf, &next.asking, &next.over).await?;
        // what waits is named as it is after the writes: the next run finds it under that hash
        keep_plans(shelf, again.then_some(&next.plan), &next.verdict, started_at, Mode::default()).await?;
        left = Some(next);
        if !again {
            break;
        }
    }
    written.writing = begun.elapsed().saturating_sub(written.planning);
    Ok((written, left))
}
