//! One run for one member, from lease to read-back.

use std::collections::BTreeSet;
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
use crate::sync::error::SyncError;
use crate::sync::execute::{Executed, Gate, execute};
use crate::sync::guards::{Circumstances, Verdict, judge};
use crate::sync::guid::Guid;
use crate::sync::input::Input;
use crate::sync::observe;
use crate::sync::plan::plan;
use crate::sync::read::{Pass, Reading, read};
use crate::sync::report::{Outcome, Report};
use crate::sync::settings::{Scope, Settings};
use crate::sync::shelf::{self, Shelf};
use crate::sync::staged::Staged;
use crate::sync::step::Plan;
use crate::sync::target::TargetView;

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
    /// Connects to the first endpoint that answers.
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
    /// None: the member has no directory of its own, and its people are registered by file.
    pub source: Option<Reach>,
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
    let mut shelf = take(&job.member, hands).await?;
    let result = under_lease(job, hands, mode, gate, &mut shelf).await;
    give_back(&shelf).await;
    result
}

/// Takes the member's lease, or is [`SyncError::Busy`].
pub async fn take(member: &OdsCode, hands: &Hands) -> Result<Shelf, SyncError> {
    let (store, name, holder) = (hands.store.clone(), lease_name(member), hands.holder.clone());
    let (now, lasts) = (hands.clock.now(), hands.settings.lease());
    let taken = tokio::task::spawn_blocking(move || store.acquire_lease(&name, &holder, now, lasts)).await;
    let lease = taken??.ok_or_else(|| SyncError::Busy(member.clone()))?;
    let (store, clock, ods) = (hands.store.clone(), hands.clock.clone(), member.clone());
    Ok(Shelf { store, clock, ods, lease, lasts })
}

/// Gives it back; one that cannot be given back ends by itself.
pub async fn give_back(shelf: &Shelf) {
    let lease = shelf.lease.clone();
    let _ = shelf.store(move |store, _| store.release_lease(&lease)).await;
}

/// How what is staged was brought up to date.
#[derive(Debug)]
pub struct Brought {
    pub pass: Pass,
    pub started_at: OffsetDateTime,
    pub read_ms: u64,
}

/// What planning came to.
#[derive(Debug)]
pub struct Planned {
    pub plan: Plan,
    pub verdict: Verdict,
    pub view: TargetView,
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
    let brought = Brought { pass, started_at, read_ms: milliseconds(begun) };
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
    let Brought { pass, started_at, read_ms } = brought;
    let begun = Instant::now();
    let base = member_base(job)?;
    let mut target = job.target.connect(SyncError::Target).await?;
    let view = observe::view(&mut target, &base, &job.scope).await?;
    let found_out = observe::settle_journal(shelf, &view).await?;
    let planned = make(job, hands, &pass, shelf, &base, view).await?;
    let plan_ms = milliseconds(begun);
    keep_plans(shelf, Some(&planned.plan), &planned.verdict, started_at, mode).await?;
    let begun = Instant::now();
    let (executed, left) = if mode.dry_run {
        (Executed::default(), None)
    } else {
        write(job, hands, gate, shelf, &base, &pass, &planned.verdict.go, &mut target).await?
    };
    let write_ms = milliseconds(begun);
    target.unbind().await;
    let Planned { plan, verdict, view } = planned;
    // what waits is named as it is after the writes: the next run finds it under that hash
    let left = left.as_ref();
    if let Some(left) = left {
        keep_plans(shelf, None, &left.verdict, started_at, mode).await?;
    }
    let after = left.map_or(&verdict, |left| &left.verdict);
    let waits = !after.held.steps.is_empty() && !after.approved;
    let remaining = if left.is_some() || mode.dry_run { after.go.steps.len() as u64 } else { 0 };
    let published = left.map_or(&view, |left| &left.view).published();
    let outcome = match () {
        () if mode.dry_run => Outcome::Planned,
        () if executed.gate_closed => Outcome::GateClosed,
        () if remaining > 0 || !executed.undone.is_empty() => Outcome::Partial,
        () if waits => Outcome::Held,
        () => Outcome::Done,
    };
    let report = Report {
        member: job.member.clone(),
        started_at,
        ended_at: hands.clock.now(),
        outcome,
        planned: plan.counts(),
        plan: plan.hash,
        held: waits.then(|| after.held.hash.clone()),
        held_steps: if waits { after.held.steps.len() as u64 } else { 0 },
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

/// Milliseconds since then.
pub fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn read_source(job: &Job, hands: &Hands, mode: Mode, shelf: &Shelf) -> Result<Pass, SyncError> {
    let source = job.source.as_ref().ok_or_else(|| SyncError::NoDirectory(job.member.clone()))?;
    let mut source = source.connect(SyncError::Source).await?;
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

async fn make(
    job: &Job,
    hands: &Hands,
    pass: &Pass,
    shelf: &Shelf,
    base: &Dn,
    view: TargetView,
) -> Result<Planned, SyncError> {
    let staged = shelf.staged().await?;
    make_of(job, hands, pass, shelf, base, view, &staged).await
}

/// Plans from these staged objects.
pub async fn make_of(
    job: &Job,
    hands: &Hands,
    pass: &Pass,
    shelf: &Shelf,
    base: &Dn,
    view: TargetView,
    staged: &Staged,
) -> Result<Planned, SyncError> {
    // a file never says who has gone: whoever is not in it stays, and a leaver is named
    let by_file = job.source.is_none();
    let whole = !by_file && shelf.value(shelf::COMPLETE_AT).await?.is_some();
    let (bases, lost) = pins(staged, &job.scope, shelf).await?;
    let plan = plan(&Input {
        member: &job.member,
        base,
        staged,
        whole,
        scope: &job.scope,
        bases: bases.as_ref(),
        target: &view,
        national: &hands.settings.national_attributes,
        now: hands.clock.now(),
    });
    let blind = match () {
        () if by_file => None,
        () if !pass.canary_seen => {
            Some("the canary cannot be read: mend the account's rights in the member directory")
        }
        () if !whole => Some("not everything was read yet: a complete pass is needed"),
        () if lost => Some("a base of the scope does not exist: correct the scope or the member directory"),
        () => None,
    };
    let around = Circumstances {
        published: view.published(),
        people: plan.people,
        people_before: shelf.number(shelf::PEOPLE).await?,
        blind: blind.map(str::to_owned),
    };
    let (guards, now) = (job.scope.guards, hands.clock.now());
    let second = hands.settings.second_officer_at;
    let verdict = shelf
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
    Ok(Planned { plan: verdict.0, verdict: verdict.1, view })
}

/// The scope's bases by GUID. A base is looked up by name once, and then followed; only when it is deleted is its name
/// looked up again. The second value tells that one is nowhere.
async fn pins(
    staged: &Staged,
    scope: &Scope,
    shelf: &Shelf,
) -> Result<(Option<BTreeSet<Guid>>, bool), SyncError> {
    if scope.bases.is_empty() {
        return Ok((None, false));
    }
    let kept = shelf.pins().await?;
    let (mut bases, mut lost, mut new) = (BTreeSet::new(), false, Vec::new());
    for base in &scope.bases {
        let key = format!("{}{}", shelf::PIN, base.to_lowercase());
        let pinned = kept.iter().find(|(name, _)| *name == key).and_then(|(_, value)| Guid::from_wire(value));
        let living = pinned.filter(|guid| staged.get(guid).is_some_and(|object| !object.deleted));
        let found = living.or_else(|| staged.find(&Dn::parse(base).ok()?));
        match found {
            Some(guid) => {
                bases.insert(guid);
                if living.is_none() {
                    new.push((key, Some(guid.0.to_vec())));
                }
            }
            None => lost = true,
        }
    }
    if !new.is_empty() {
        shelf.set(new).await?;
    }
    Ok((Some(bases), lost))
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
    }
    let clean = report.held.is_none() && matches!(report.outcome, Outcome::Done | Outcome::Partial);
    let mut values = Vec::new();
    if clean {
        values.push((shelf::PEOPLE.to_owned(), Some(people.to_string().into_bytes())));
    }
    values.push((LAST_REPORT.to_owned(), serde_json::to_vec(report).ok()));
    shelf.set(values).await
}

/// Key of the last run's report in the member's sync state, JSON.
pub const LAST_REPORT: &str = "report";

/// Writes, and reads back: what is left to do is left by the directory, not by the plan.
#[expect(clippy::too_many_arguments, reason = "everything of a run comes together here, once")]
async fn write(
    job: &Job,
    hands: &Hands,
    gate: &Gate,
    shelf: &mut Shelf,
    base: &Dn,
    pass: &Pass,
    go: &Plan,
    target: &mut Directory,
) -> Result<(Executed, Option<Planned>), SyncError> {
    if go.steps.is_empty() {
        return Ok((Executed::default(), None));
    }
    let several = hands.settings.connections.clamp(1, 16).min(go.steps.len().div_ceil(20));
    let mut connections = Vec::new();
    for _ in 0..several {
        connections.push(job.target.connect(SyncError::Target).await?);
    }
    let executed = execute(go, connections, shelf, &hands.settings, gate).await?;
    let view = observe::view(target, base, &job.scope).await?;
    Ok((executed, Some(make(job, hands, pass, shelf, base, view).await?)))
}
