//! Taking a plan back in the national directory: the same lease, guards, executor and journal as a run.
//!
//! The member directory still says what the plan said: the next run would do it again. So the member is paused before
//! anything is taken back, until somebody who mended it resumes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::directory::client::Directory;
use crate::directory::request::{Scope as Depth, Search};
use crate::ldap::dn::Dn;
use crate::ldap::filter::Filter;
use crate::policy::terms::OdsCode;
use crate::store::audit::NewAudit;
use crate::store::record::PlanRecord;
use crate::sync::hand::standing::{Standing, anchors_before};
use crate::sync::hand::undo::{Inverse, Kept, Written, inverse, written};
use crate::sync::keeping::job::{Hands, Job, begin, end, member_base};
use crate::sync::keeping::removals;
use crate::sync::keeping::shelf::Shelf;
use crate::sync::people::guards::{Circumstances, Trip, Verdict};
use crate::sync::planning::propose;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::step::{Action, Plan};
use crate::sync::terms::target::{ANCHOR, TargetEntry, TargetView};
use crate::sync::writing::execute::{Executed, Gate, execute};
use crate::sync::writing::national::National;
use crate::sync::writing::observe;
use crate::sync::writing::pause::{self, Pause, Pauses, Stopped};

/// State of a plan of undoing that waits for an approval: no run supersedes it.
pub const HELD: &str = "undo_held";
/// Key in the member's sync state: what waits of the last undoing that a guard held, JSON.
pub const WAITING: &str = "undo_waits";

/// What waits, and why: whoever approves it learns how many officers must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Its hash.
    pub plan: String,
    pub trips: Vec<Trip>,
}

/// What is to be undone.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Hash of the plan as the journal has it.
    pub plan: String,
    pub by: String,
    pub reason: String,
    /// Plans and says, writes nothing, pauses nothing.
    pub dry_run: bool,
}

/// How undoing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Everything is undone, now or before.
    Undone,
    /// What could be was undone; the rest is listed.
    Partial,
    /// Steps wait for an approval.
    Held,
    /// The gate closed on the way.
    GateClosed,
    /// Somebody asked for an end on the way; undoing it again goes on.
    Interrupted,
    /// There is nothing that can be undone.
    Nothing,
    /// Nothing was written, as asked.
    Planned,
}

impl Ended {
    /// The word for messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ended::Undone => "undone",
            Ended::Partial => "partial",
            Ended::Held => "held",
            Ended::GateClosed => "gate_closed",
            Ended::Interrupted => "interrupted",
            Ended::Nothing => "nothing",
            Ended::Planned => "planned",
        }
    }
}

/// The account of one undoing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub member: OdsCode,
    /// The plan that is undone.
    pub of: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub outcome: Ended,
    /// Steps of it that were done.
    pub written: u64,
    /// Hash of the plan that undoes it.
    pub plan: String,
    pub planned: BTreeMap<Action, u64>,
    /// Hash of the part that is written and stands in the journal, when there is any: undoing can be undone by it.
    pub goes: Option<String>,
    /// Hash of what waits for an approval.
    pub held: Option<String>,
    pub held_steps: u64,
    pub trips: Vec<Trip>,
    pub approved: bool,
    pub executed: Executed,
    /// Steps that are not undone, and why.
    pub kept: Vec<Kept>,
    /// What does not come back although its step is undone.
    pub losses: Vec<String>,
    /// The pause that holds now.
    pub paused: Option<Pause>,
    /// The pause for everybody that stopped it on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Pause>,
}

/// Undoes a plan. Refused while the gate is closed or every member is paused; both are asked again before every batch. A pause of the
/// member alone does not stop it: undoing pauses the member itself.
///
/// # Errors
/// [`SyncError::NotWritten`] when the journal holds nothing of the plan.
pub async fn undo(job: &Job, hands: &Hands, asked: &Asked, gate: &Gate) -> Result<Account, SyncError> {
    if !asked.dry_run && !gate() {
        return Err(SyncError::GateClosed(job.member.clone()));
    }
    let mut shelf = begin(&job.member, hands).await?;
    let stop = pause::also_everybody(gate, &hands.store, &hands.interruption);
    // also asked for the first time under the lease: what begins after a pause is stopped by it
    let paused = shelf.store(|store, _| Pauses::read(store)).await.map(|pauses| pauses.all.is_some());
    let done = match paused {
        Ok(true) if !asked.dry_run => Err(SyncError::Paused(job.member.clone())),
        Ok(_) => under_lease(job, hands, asked, &stop, &mut shelf).await,
        Err(error) => Err(error),
    };
    end(&shelf).await;
    done
}

async fn under_lease(
    job: &Job,
    hands: &Hands,
    asked: &Asked,
    (gate, stopped): &(Gate, Stopped),
    shelf: &mut Shelf,
) -> Result<Account, SyncError> {
    let Ready { written, plan, verdict, kept, losses } =
        hands.interruption.unless(ready(job, hands, asked, shelf)).await?;
    keep(shelf, asked, &plan, &verdict).await?;
    let anything = !plan.steps.is_empty();
    let stands = kept.iter().any(|one| one.stands);
    let paused =
        if asked.dry_run || !anything { paused(shelf).await? } else { Some(pause(shelf, asked).await?) };
    let goes = !asked.dry_run && !verdict.go.steps.is_empty();
    let executed =
        if goes { write(job, hands, &verdict.go, shelf, gate).await? } else { Executed::default() };
    let waits = !verdict.held.steps.is_empty() && !verdict.approved;
    let outcome = match () {
        () if !anything && stands => Ended::Nothing,
        () if asked.dry_run => Ended::Planned,
        () if stopped.is_interrupted() => Ended::Interrupted,
        () if executed.gate_closed => Ended::GateClosed,
        () if waits => Ended::Held,
        () if stands || !executed.undone.is_empty() => Ended::Partial,
        () => Ended::Undone,
    };
    if !asked.dry_run && anything && !(waits && plan.hash == verdict.held.hash) {
        let word = if outcome == Ended::Held { Ended::Partial } else { outcome };
        state(shelf, [&plan.hash, &verdict.go.hash].map(String::clone), word).await?;
    }
    Ok(Account {
        member: job.member.clone(),
        of: asked.plan.clone(),
        at: shelf.now(),
        outcome,
        written,
        planned: plan.counts(),
        plan: plan.hash,
        goes: goes.then_some(verdict.go.hash),
        held: waits.then(|| verdict.held.hash.clone()),
        held_steps: if waits { verdict.held.steps.len() as u64 } else { 0 },
        trips: verdict.trips,
        approved: verdict.approved,
        executed: Executed { gate_closed: executed.gate_closed && !stopped.is_interrupted(), ..executed },
        kept,
        losses,
        paused,
        stopped: stopped.pause().cloned(),
    })
}

/// What is to be done, before anything is.
struct Ready {
    /// Steps of the plan that were done.
    written: u64,
    plan: Plan,
    verdict: Verdict,
    kept: Vec<Kept>,
    losses: Vec<String>,
}

async fn ready(job: &Job, hands: &Hands, asked: &Asked, shelf: &Shelf) -> Result<Ready, SyncError> {
    let base = member_base(job)?;
    let mut target = job.target.connect(SyncError::Target).await?;
    let view = observe::view(&mut target, &base, &job.scope).await?;
    // what a killed run had begun is done or not: only what is done is undone
    observe::settle_journal(shelf, &mut target, &job.scope).await?;
    let plan = asked.plan.clone();
    let lines = shelf.store(move |store, ods| store.journal_of(ods, &plan)).await?;
    let done = written(lines);
    let outside = outside(job, &base, &done, &mut target).await?;
    let taken = taken(&base, &done, &mut target).await?;
    target.unbind().await;
    if done.is_empty() {
        return Err(SyncError::NotWritten(asked.plan.clone()));
    }
    let mut standing = Standing::read(job, shelf, &view, done.iter().map(|one| &one.step)).await?;
    standing.taken = taken;
    let mut around = view.clone();
    around.entries.extend(outside);
    let Inverse { plan, kept, losses } = inverse(&job.member, &asked.plan, &done, &around, &standing);
    let (plan, verdict) = weigh(job, hands, shelf, plan, &view).await?;
    Ok(Ready { written: done.len() as u64, plan, verdict, kept, losses })
}

/// What outside the member's unit has the names that entries have now or would go back to: another member may have given them to others since.
async fn outside(
    job: &Job,
    base: &Dn,
    done: &[Written],
    target: &mut Directory,
) -> Result<Vec<TargetEntry>, SyncError> {
    let national = National::of(target).await?;
    let names = observe::attributes(&job.scope, &national);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let renames = done.iter().map(|one| &one.step).filter(|step| step.action == Action::Rename);
    let places: BTreeSet<&String> =
        renames.flat_map(|step| [Some(&step.dn), step.to.as_ref()]).flatten().collect();
    let mut found = Vec::new();
    for place in places {
        if !Dn::parse(place).is_ok_and(|dn| dn.is_at_or_below(base)) {
            found.extend(observe::entry_at(target, &national, place, &names).await?);
        }
    }
    Ok(found)
}

/// Anchors of other members' people that entries would be given back, and that others carry by now.
async fn taken(base: &Dn, done: &[Written], target: &mut Directory) -> Result<BTreeSet<String>, SyncError> {
    let identity = National::of(target).await?.identity;
    let mut found = BTreeSet::new();
    for step in done.iter().map(|one| &one.step).filter(|step| step.action == Action::Claim) {
        for anchor in anchors_before(step).map(|anchor| anchor.to_string()) {
            let everywhere = base.parent().unwrap_or_else(|| base.clone());
            let filter = Filter::equal(ANCHOR, anchor.as_bytes()).into_owned();
            let search = Search::new(&everywhere.to_string(), Depth::Subtree, filter, &[identity]);
            let (entries, done) = target.read(&search).await.map_err(SyncError::Target)?;
            if !done.is_complete() {
                let text = format!(
                    "looking for anchors ended with result code {}: lift its limits for our account",
                    done.code
                );
                return Err(SyncError::Unusable(text));
            }
            if entries.iter().any(|entry| entry.text(identity) != step.entry_uuid.as_deref()) {
                found.insert(anchor);
            }
        }
    }
    Ok(found)
}

/// The same guards as for every plan. Nothing was read from the member directory, so that nothing of it shrinks or is unseen.
async fn weigh(
    job: &Job,
    hands: &Hands,
    shelf: &Shelf,
    plan: Plan,
    view: &TargetView,
) -> Result<(Plan, Verdict), SyncError> {
    let (today, most) = (removals::today(shelf).await?, hands.settings.national_removals_per_day);
    let around = Circumstances {
        published: view.published(),
        people: plan.people,
        national: Some((today, most)),
        ..Circumstances::default()
    };
    let (plan, verdict, _) = propose::weigh(job, hands, shelf, plan, around).await?;
    Ok((plan, verdict))
}

/// Keeps the plan of undoing, what goes of it and what waits.
async fn keep(shelf: &Shelf, asked: &Asked, plan: &Plan, verdict: &Verdict) -> Result<(), SyncError> {
    let at = shelf.now();
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
    let running = if asked.dry_run { "planned" } else { "running" };
    let mut records = Vec::new();
    if !plan.steps.is_empty() {
        records.push(record(plan, running)?);
    }
    if !asked.dry_run && verdict.go.hash != plan.hash && !verdict.go.steps.is_empty() {
        records.push(record(&verdict.go, running)?);
    }
    if !verdict.held.steps.is_empty() {
        records.push(record(&verdict.held, if verdict.approved { "approved" } else { HELD })?);
    }
    if verdict.approved && !asked.dry_run {
        records.push(record(plan, running)?);
    }
    let waiting = verdict.held.hash.clone();
    if !verdict.held.steps.is_empty() {
        let waits = Waits { plan: waiting.clone(), trips: verdict.trips.clone() };
        let value = serde_json::to_vec(&waits).map_err(|error| SyncError::Internal(error.to_string()))?;
        shelf.set(vec![(WAITING.to_owned(), Some(value))]).await?;
    }
    shelf
        .store(move |store, ods| {
            store.move_plans(ods, HELD, "superseded", Some(&waiting))?;
            records.iter().try_for_each(|record| store.put_plan(record))
        })
        .await
}

async fn write(
    job: &Job,
    hands: &Hands,
    go: &Plan,
    shelf: &mut Shelf,
    gate: &Gate,
) -> Result<Executed, SyncError> {
    let connections = job.target.several(go.steps.len(), &hands.settings).await?;
    removals::reserve(shelf, go).await?;
    execute(go, connections, shelf, &hands.settings, gate).await
}

/// Says of plans that are kept what became of them.
async fn state(shelf: &Shelf, hashes: [String; 2], outcome: Ended) -> Result<(), SyncError> {
    shelf
        .store(move |store, _| {
            hashes.iter().try_for_each(|hash| store.set_plan_state(hash, outcome.as_str()))
        })
        .await
}

async fn paused(shelf: &Shelf) -> Result<Option<Pause>, SyncError> {
    let pauses = shelf.store(|store, _| Pauses::read(store)).await?;
    Ok(pauses.of(&shelf.ods).cloned())
}

/// Records the undoing and pauses the member with it, unless it is paused by itself already. A pause for everybody may end any time: it is not enough.
async fn pause(shelf: &Shelf, asked: &Asked) -> Result<Pause, SyncError> {
    let pauses = shelf.store(|store, _| Pauses::read(store)).await?;
    let audit = |paused: bool| NewAudit {
        at: shelf.now(),
        actor: asked.by.clone(),
        action: "sync.undo".to_owned(),
        member: Some(shelf.ods.clone()),
        detail: serde_json::json!({"plan": asked.plan, "reason": asked.reason, "paused": paused}),
    };
    if let Some(own) = pauses.members.get(&shelf.ods) {
        let audit = audit(false);
        shelf.store(move |store, _| store.append_audit(&[audit]).map(|_| ())).await?;
        return Ok(own.clone());
    }
    let short: String = asked.plan.chars().take(12).collect();
    let pause = Pause {
        by: asked.by.clone(),
        reason: format!("plan {short} is undone: {}", asked.reason),
        since: shelf.now(),
        everybody: false,
    };
    let audit = audit(true);
    let value = pause::kept(&pause)?;
    shelf.store(move |store, ods| store.change_sync(Some(ods), &[value], &audit)).await?;
    Ok(pause)
}
