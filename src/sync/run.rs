//! One run for one member, from lease to read-back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use time::OffsetDateTime;

use crate::ambient::clock::Clock;
use crate::directory;
use crate::directory::client::Directory;
use crate::directory::endpoint::Endpoint;
use crate::directory::request::Credential;
use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::store::port::Store;
use crate::store::record::PlanRecord;
use crate::sync::decision::{decisions, names};
use crate::sync::error::SyncError;
use crate::sync::execute::{Executed, Gate, execute};
use crate::sync::guards::{Circumstances, Unit, Verdict, judge};
use crate::sync::guid::Guid;
use crate::sync::input::{Beside, Input};
use crate::sync::ledger;
use crate::sync::observe;
use crate::sync::pause::{self, Pauses};
use crate::sync::plan::plan;
use crate::sync::read::{Pass, Reading, read};
use crate::sync::removals;
use crate::sync::report::{Outcome, Report};
use crate::sync::rewritten;
use crate::sync::settings::{Scope, Settings};
use crate::sync::shelf::{self, Shelf};
use crate::sync::sight::{Look, look};
use crate::sync::staged::Staged;
use crate::sync::step::{Action, Plan};
use crate::sync::survey::{Frame, Others, Sight};

/// A directory and how to reach it.
#[derive(Debug, Clone)]
pub struct Reach {
    /// In order of preference; the first that answers is used.
    pub endpoints: Vec<Endpoint>,
    pub tls: Arc<rustls::ClientConfig>,
    pub credential: Credential,
    pub settings: directory::settings::Settings,
}

impl Reach {
    /// The first endpoint that answers.
    pub async fn connect(
        &self,
        wrap: fn(directory::error::DirectoryError) -> SyncError,
    ) -> Result<Directory, SyncError> {
        let mut last = SyncError::Internal("no endpoint to connect to".to_owned());
        for endpoint in &self.endpoints {
            match Directory::connect(endpoint, self.tls.clone(), &self.credential, &self.settings).await {
                Ok(directory) => return Ok(directory),
                Err(error) => last = wrap(error),
            }
        }
        Err(last)
    }
}

/// One member's work.
#[derive(Debug, Clone)]
pub struct Job {
    pub member: OdsCode,
    pub source: Reach,
    /// The naming context that is published.
    pub source_base: String,
    /// A DN of the member directory that must be readable; none means the base.
    pub canary: Option<String>,
    pub target: Reach,
    /// Where people are published, for example `ou=people,dc=national,dc=test`.
    pub people_base: String,
    pub scope: Scope,
}

/// What a run works with.
#[derive(Debug, Clone)]
pub struct Hands {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub settings: Settings,
    /// Who runs, unlike any other process: holder of the lease.
    pub holder: String,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    /// Reads and plans exactly like a run, and writes nothing to the national directory.
    pub dry_run: bool,
    /// Reads everything whatever the cookie says.
    pub complete: bool,
}

/// How far back plans that wait are looked for.
const RECENT_PLANS: u32 = 100;

/// The name of a member's lease.
pub fn lease_name(member: &OdsCode) -> String {
    format!("sync/{member}")
}

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

/// Takes the member's lease, or is [`SyncError::Busy`].
pub async fn begin(member: &OdsCode, hands: &Hands) -> Result<Shelf, SyncError> {
    let (store, name, holder) = (hands.store.clone(), lease_name(member), hands.holder.clone());
    let (now, lasts) = (hands.clock.now(), hands.settings.lease());
    let taken = tokio::task::spawn_blocking(move || store.acquire_lease(&name, &holder, now, lasts)).await;
    let lease = taken??.ok_or_else(|| SyncError::Busy(member.clone()))?;
    let (store, clock, ods) = (hands.store.clone(), hands.clock.clone(), member.clone());
    Ok(Shelf { store, clock, ods, lease, lasts })
}

/// Gives the lease back; one that cannot be given back ends by itself.
pub async fn end(shelf: &Shelf) {
    let lease = shelf.lease.clone();
    let _ = shelf.store(move |store, _| store.release_lease(&lease)).await;
}

/// What planning came to.
struct Planned {
    plan: Plan,
    verdict: Verdict,
    /// Entries published.
    published: u64,
    /// People who need something, and whom the plan leaves for the next one.
    deferred: u64,
}

/// What a run wrote, over all of its plans.
#[derive(Default)]
struct Written {
    executed: Executed,
    /// Counts of the plans after the first one.
    planned: BTreeMap<Action, u64>,
    milliseconds: u64,
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
    let pass = read_source(job, hands, mode, shelf).await?;
    shelf.renew().await?;
    let (read_ms, begun) = (milliseconds(begun), Instant::now());
    let mut target = job.target.connect(SyncError::Target).await?;
    let found_out = observe::settle_journal(shelf, &mut target, &job.scope).await?;
    let planned = make(job, hands, &pass, shelf, &mut target).await?;
    let plan_ms = milliseconds(begun);
    keep_plans(shelf, Some(&planned.plan), &planned.verdict, started_at, mode).await?;
    let (gate, stopped) = pause::also(gate, &hands.store, &job.member);
    let (written, left) = match mode.dry_run {
        true => (Written::default(), None),
        false => write(job, hands, &gate, shelf, &pass, &planned, started_at, &mut target).await?,
    };
    target.unbind().await;
    let Written { mut executed, planned: later, milliseconds: write_ms } = written;
    let after = left.as_ref().unwrap_or(&planned);
    let waits = !after.verdict.held.steps.is_empty() && !after.verdict.approved;
    let remaining = match left.is_some() || mode.dry_run {
        true => after.verdict.go.steps.len() as u64 + after.deferred,
        false => 0,
    };
    let paused = stopped.get().filter(|_| executed.gate_closed).cloned();
    executed.gate_closed &= paused.is_none();
    let outcome = match &paused {
        _ if mode.dry_run => Outcome::Planned,
        Some(_) => Outcome::Paused,
        None => ended(&executed, remaining, waits),
    };
    let (held, held_steps, published) = (
        waits.then(|| after.verdict.held.hash.clone()),
        after.verdict.held.steps.len() as u64,
        after.published,
    );
    let Planned { plan, verdict, .. } = planned;
    let mut counts = plan.counts();
    later.into_iter().for_each(|(action, more)| *counts.entry(action).or_insert(0) += more);
    let report = Report {
        member: job.member.clone(),
        started_at,
        ended_at: hands.clock.now(),
        outcome,
        planned: counts,
        written: (!mode.dry_run && !verdict.go.steps.is_empty()).then(|| verdict.go.hash.clone()),
        paused,
        plan: plan.hash,
        held,
        held_steps: if waits { held_steps } else { 0 },
        trips: verdict.trips,
        approved: verdict.approved,
        executed,
        quarantine: plan.quarantine,
        pass,
        found_out,
        remaining,
        published,
        read_ms,
        plan_ms,
        write_ms,
    };
    keep_outcome(shelf, &report, plan.people).await?;
    Ok(report)
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

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn read_source(job: &Job, hands: &Hands, mode: Mode, shelf: &Shelf) -> Result<Pass, SyncError> {
    let mut source = job.source.connect(SyncError::Source).await?;
    let reading = Reading {
        base: &job.source_base,
        canary: job.canary.as_deref(),
        scope: &job.scope,
        settings: &hands.settings,
        complete: mode.complete,
    };
    let pass = read(&mut source, shelf, &reading).await?;
    source.unbind().await;
    Ok(pass)
}

/// The member's organisational unit: `ou=RXA` below the people.
pub fn member_base(job: &Job) -> Result<Dn, SyncError> {
    let people = Dn::parse(&job.people_base)
        .map_err(|_| SyncError::Unusable(format!("`{}` is not a name", job.people_base)))?;
    people
        .child("ou", job.member.as_str())
        .map_err(|_| SyncError::Internal("a member without a code".to_owned()))
}

/// Where those are, or were, who are to be marked; and what is left of these units.
fn units(plan: &Plan, staged: &Staged, others: &Others) -> (BTreeMap<Guid, Vec<Guid>>, BTreeMap<Guid, Unit>) {
    let (mut units_of, mut units) = (BTreeMap::new(), BTreeMap::new());
    for step in plan.steps.iter().filter(|step| step.action == Action::Mark) {
        let guid = step.anchor.as_ref().map(|anchor| anchor.guid);
        let Some(object) = guid.and_then(|guid| staged.get(&guid)) else { continue };
        let of: Vec<Guid> = object.parent.into_iter().chain(object.moved_from).collect();
        for unit in &of {
            units.entry(*unit).or_insert_with(|| Unit {
                name: staged.get(unit).map_or_else(|| unit.to_string(), |unit| unit.rdn.clone()),
                staying: others.units.get(unit).copied().unwrap_or(0),
            });
        }
        units_of.insert(object.guid, of);
    }
    (units_of, units)
}

/// Plans. Where everybody who was looked at is held, others who are left for the next plan would never have their turn: then more are
/// looked at.
async fn make(
    job: &Job,
    hands: &Hands,
    pass: &Pass,
    shelf: &Shelf,
    target: &mut Directory,
) -> Result<Planned, SyncError> {
    let mut most = hands.settings.plan_people;
    loop {
        let planned = make_for(job, hands, pass, shelf, target, most).await?;
        if planned.deferred == 0 || !planned.verdict.go.steps.is_empty() {
            return Ok(planned);
        }
        most = most.saturating_mul(4);
    }
}

async fn make_for(
    job: &Job,
    hands: &Hands,
    pass: &Pass,
    shelf: &Shelf,
    target: &mut Directory,
    most: usize,
) -> Result<Planned, SyncError> {
    let (base, now) = (member_base(job)?, hands.clock.now());
    let whole = shelf.value(shelf::COMPLETE_AT).await?.is_some();
    let frame = Frame {
        member: job.member.clone(),
        base: base.clone(),
        scope: job.scope.clone(),
        national: hands.settings.national_attributes.clone(),
        now,
        most,
    };
    let Look { sight: Sight { staged, view, others }, bases, lost, elsewhere } =
        look(frame, shelf, target).await?;
    let decided = shelf.store(decisions).await?;
    let beside = Beside {
        others,
        elsewhere,
        succeeds: BTreeSet::new(),
        rewritten: rewritten::known(shelf).await?.left_alone(),
        decided: names(&decided),
    };
    let plan = plan(&Input {
        member: &job.member,
        base: &base,
        staged: &staged,
        whole,
        scope: &job.scope,
        bases: bases.as_ref(),
        target: &view,
        national: &hands.settings.national_attributes,
        beside: &beside,
        now,
    });
    let blind = match () {
        () if !pass.canary_seen => {
            Some("the canary cannot be read: mend the account's rights in the member directory")
        }
        () if !whole => Some("not everything was read yet: a complete pass is needed"),
        () if lost => Some("a base of the scope does not exist: correct the scope or the member directory"),
        () => None,
    };
    let published = view.published() + beside.others.published;
    let (units_of, units) = units(&plan, &staged, &beside.others);
    let (today, most_today) = (removals::today(shelf).await?, hands.settings.national_removals_per_day);
    let around = Circumstances {
        published,
        people: plan.people,
        people_before: shelf.number(shelf::PEOPLE).await?,
        deferred: beside.others.deferred,
        units_of,
        units,
        national: Some((today, most_today)),
        blind: blind.map(str::to_owned),
    };
    let (guards, second) = (job.scope.guards, hands.settings.second_officer_at);
    let (plan, verdict) = shelf
        .store(move |store, _| {
            let mut failed = None;
            let verdict = judge(&plan, &around, &guards, second, now, |hash| {
                store.approvals(hash).unwrap_or_else(|error| {
                    failed = Some(error);
                    Vec::new()
                })
            });
            failed.map_or(Ok((plan, verdict)), Err)
        })
        .await?;
    Ok(Planned { plan, verdict, published, deferred: beside.others.deferred })
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
    let waiting = (!verdict.held.steps.is_empty()).then(|| verdict.held.hash.clone());
    shelf
        .store(move |store, ods| {
            // a plan that waited and is not what would be done now can no longer be approved
            for old in store.plans(ods, RECENT_PLANS)? {
                if old.state == "held" && Some(&old.hash) != waiting.as_ref() {
                    store.put_plan(&PlanRecord { state: "superseded".to_owned(), ..old })?;
                }
            }
            records.iter().try_for_each(|record| store.put_plan(record))
        })
        .await
}

async fn keep_outcome(shelf: &Shelf, report: &Report, people: u64) -> Result<(), SyncError> {
    let (hash, word) = (report.plan.clone(), report.outcome.as_str());
    if report.outcome != Outcome::Planned {
        let held = report.held.clone();
        shelf
            .store(move |store, _| match store.plan(&hash)? {
                Some(record) if held.as_ref() != Some(&record.hash) => {
                    store.put_plan(&PlanRecord { state: word.to_owned(), ..record })
                }
                _ => Ok(()),
            })
            .await?;
        keep_written(shelf, report).await?;
    }
    let clean = report.held.is_none() && matches!(report.outcome, Outcome::Done | Outcome::Partial);
    let mut values = Vec::new();
    if clean {
        values.push((shelf::PEOPLE.to_owned(), Some(people.to_string().into_bytes())));
    }
    values.push((LAST_REPORT.to_owned(), serde_json::to_vec(report).ok()));
    values.extend(ledger::values(shelf, report).await?);
    shelf.set(values).await
}

/// What became of the part of a plan that no guard held.
async fn keep_written(shelf: &Shelf, report: &Report) -> Result<(), SyncError> {
    let Some(hash) = report.written.clone().filter(|hash| *hash != report.plan) else { return Ok(()) };
    let word = if report.outcome == Outcome::Held { Outcome::Done } else { report.outcome }.as_str();
    shelf
        .store(move |store, _| match store.plan(&hash)? {
            Some(record) => store.put_plan(&PlanRecord { state: word.to_owned(), ..record }),
            None => Ok(()),
        })
        .await
}

/// Key of the last run's report in the member's sync state, JSON.
pub const LAST_REPORT: &str = "report";

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
    loop {
        let now = left.as_ref().unwrap_or(first);
        let (go, deferred) = (&now.verdict.go, now.deferred);
        if go.steps.is_empty() {
            break;
        }
        let several = hands.settings.connections.clamp(1, 16).min(go.steps.len().div_ceil(20));
        let mut connections = Vec::new();
        for _ in 0..several {
            connections.push(job.target.connect(SyncError::Target).await?);
        }
        removals::reserve(shelf, go).await?;
        let executed = execute(go, connections, shelf, &hands.settings, gate).await?;
        rewritten::note(shelf, &now.plan).await?;
        let progress = !executed.done.is_empty();
        let ended = executed.gate_closed;
        written.executed.add(executed);
        let next = make(job, hands, pass, shelf, target).await?;
        let again = deferred > 0 && progress && !ended && !next.verdict.go.steps.is_empty();
        // what waits is named as it is after the writes: the next run finds it under that hash
        keep_plans(shelf, again.then_some(&next.plan), &next.verdict, started_at, Mode::default()).await?;
        if again {
            next.plan.counts().into_iter().for_each(|(action, more)| {
                *written.planned.entry(action).or_insert(0) += more;
            });
        }
        left = Some(next);
        if !again {
            break;
        }
    }
    written.milliseconds = milliseconds(begun);
    Ok((written, left))
}
