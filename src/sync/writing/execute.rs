//! Doing what a plan says, and nothing else.
//!
//! Steps run in groups: a step runs after everything that it needs, deletions after everything else, and the steps of
//! one group at the same time over several connections. Before each batch the gate is asked again, the lease prolonged
//! and the intention written to the journal; afterwards what came of it. Each write of an existing entry holds that it still
//! is the entry that was planned against ([`crate::sync::writing::national`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ambient::clock::Clock;
use crate::directory::client::Directory;
use crate::directory::request::Outcome;
use crate::store::error::StoreError;
use crate::store::record::{Lease, NewJournalEntry};
use crate::sync::keeping::shelf::Shelf;
use crate::sync::people::books::INTENDED;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::settings::Settings;
use crate::sync::terms::step::{Action, Plan, Step};
use crate::sync::terms::target::to_generalized_time;
use crate::sync::writing::national::{ASSERTION_FAILED, National};
use crate::sync::writing::record;

const ALREADY_EXISTS: u32 = 68;

/// Asked before each batch; false ends the run.
pub type Gate = Arc<dyn Fn() -> bool + Send + Sync>;

/// A step that was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    pub step: usize,
    pub action: Action,
    /// The account's GUID.
    pub guid: Option<String>,
    /// The result code (RFC 4511 section 4.1.9); none when a step that it needs was not done.
    pub code: Option<u32>,
    /// One sentence.
    pub text: String,
}

/// What came of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    pub done: BTreeMap<Action, u64>,
    pub undone: Vec<Undone>,
    /// The numbers of the steps that were done.
    #[serde(skip)]
    pub which: BTreeSet<usize>,
    /// The gate closed on the way: the rest was not begun.
    pub gate_closed: bool,
}

impl Executed {
    /// Adds what came of another plan of the same run.
    pub fn add(&mut self, more: Executed) {
        for (action, count) in more.done {
            *self.done.entry(action).or_insert(0) += count;
        }
        self.undone.extend(more.undone);
        self.gate_closed |= more.gate_closed;
    }
}

/// Executes the plan over `connections`, of which there is at least one.
pub async fn execute(
    plan: &Plan,
    connections: Vec<Directory>,
    shelf: &mut Shelf,
    settings: &Settings,
    gate: &Gate,
) -> Result<Executed, SyncError> {
    let mut connections = connections;
    let first = connections.first_mut();
    let first = first.ok_or_else(|| SyncError::Internal("no connection to write over".to_owned()))?;
    let mut run = Running {
        plan,
        national: National::of(first).await?,
        connections,
        csn: HashMap::new(),
        failed: vec![false; plan.steps.len()],
        executed: Executed::default(),
        lines: Vec::new(),
        in_flight: settings.in_flight.max(1),
    };
    let done = run.all(shelf, settings, gate).await;
    // whatever ended it: what is known of the last batch is written down
    if !run.lines.is_empty() {
        shelf.journal(std::mem::take(&mut run.lines)).await?;
    }
    done?;
    for connection in run.connections {
        connection.unbind().await;
    }
    Ok(run.executed)
}

/// Step numbers by when they can run.
fn groups(plan: &Plan) -> Vec<Vec<usize>> {
    let mut level: Vec<(bool, usize)> = Vec::with_capacity(plan.steps.len());
    let mut groups: BTreeMap<(bool, usize), Vec<usize>> = BTreeMap::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let after = step.needs.iter().filter_map(|need| level.get(*need)).map(|(_, depth)| depth + 1).max();
        // undoing may give away what a deletion frees: what needs a deletion comes after it
        let late = step.needs.iter().filter_map(|need| level.get(*need)).any(|(late, _)| *late);
        let at = (late || step.action == Action::Delete, after.unwrap_or(0));
        level.push(at);
        groups.entry(at).or_default().push(number);
    }
    groups.into_values().collect()
}

struct Running<'a> {
    plan: &'a Plan,
    national: National,
    connections: Vec<Directory>,
    /// What we know of entries' versions after our own writes, by their identity.
    csn: HashMap<String, String>,
    failed: Vec<bool>,
    executed: Executed,
    /// Lines for the journal: what came of the batch before, and what the next one is to do. They are written together and while a batch is
    /// carried out, so that nothing waits for the disk. Outcomes that a crash loses are found out by looking, like those of writes that it
    /// cut off.
    lines: Vec<NewJournalEntry>,
    /// Requests under way on each connection.
    in_flight: usize,
}

type Answer = (usize, Result<Outcome, SyncError>);

impl Running<'_> {
    async fn all(&mut self, shelf: &mut Shelf, settings: &Settings, gate: &Gate) -> Result<(), SyncError> {
        if self.plan.steps.is_empty() {
            return Ok(());
        }
        let progress = shelf.meter.plan(self.plan.steps.len(), shelf.now());
        shelf.set(vec![progress]).await?;
        let groups = groups(self.plan);
        // planning may have taken long
        shelf.renew_when_due().await?;
        for group in groups {
            let mut batches = group.chunks(settings.batch.max(1));
            let mut next = batches.next().map(|batch| self.intend(batch, shelf));
            shelf.journal(std::mem::take(&mut self.lines)).await?;
            while let Some(intended) = next {
                if !gate() {
                    self.executed.gate_closed = true;
                    self.never_begun(&intended, shelf);
                    return Ok(());
                }
                shelf.renew_when_due().await?;
                // no step of a group needs another one of it: the next intentions reach the disk while these are carried out
                next = batches.next().map(|batch| self.intend(batch, shelf));
                let (lines, count) = (std::mem::take(&mut self.lines), intended.len());
                let (written, kept) = tokio::join!(self.spread(intended, shelf), shelf.journal(lines));
                let (answers, broken) = written?;
                self.take_in(answers, shelf);
                kept?;
                // a write without an answer stays "intended": the next run looks what became of it
                broken.map_or(Ok(()), Err)?;
                if let Some(value) = shelf.meter.written(shelf.ods.as_str(), count, shelf.now()) {
                    shelf.set(vec![value]).await?;
                }
            }
        }
        Ok(())
    }

    /// What of a batch is to be done, with a line for each.
    fn intend(&mut self, batch: &[usize], shelf: &Shelf) -> Vec<(usize, Step)> {
        let now = to_generalized_time(shelf.now());
        let mut todo: Vec<(usize, Step)> = Vec::with_capacity(batch.len());
        for number in batch {
            let Some(step) = self.plan.steps.get(*number) else { continue };
            if step.needs.iter().any(|need| self.failed.get(*need).copied().unwrap_or(true)) {
                self.undone(*number, step, None, "a step that it needs was not done".to_owned());
                continue;
            }
            let step = self.ready(step, &now);
            self.lines.push(line(shelf, self.plan, *number, INTENDED, serde_json::to_vec(&step)));
            todo.push((*number, step));
        }
        todo
    }

    fn never_begun(&mut self, intended: &[(usize, Step)], shelf: &Shelf) {
        let said = json!({"text": "it was not begun: the run was stopped before"});
        for (number, _) in intended {
            let document = serde_json::to_vec(&said);
            self.lines.push(line(shelf, self.plan, *number, "failed", document));
        }
    }

    fn take_in(&mut self, answers: Vec<(usize, Outcome)>, shelf: &Shelf) {
        for (number, outcome) in answers {
            let Some(step) = self.plan.steps.get(number) else { continue };
            let exists = outcome.code == ALREADY_EXISTS && step.action == Action::Prepare;
            if outcome.is_success() || exists {
                self.note_version(&outcome, step);
                *self.executed.done.entry(step.action).or_insert(0) += 1;
                self.executed.which.insert(number);
                let record = record::of(&outcome, &self.national);
                self.lines.push(line(shelf, self.plan, number, "done", Ok(record)));
            } else {
                let text = explain(&outcome);
                let said = serde_json::to_vec(&json!({"code": outcome.code, "text": text}));
                self.lines.push(line(shelf, self.plan, number, "failed", said));
                self.undone(number, step, Some(outcome.code), text);
            }
        }
    }

    /// The step with what is only known now: the time, and the version that our own writes gave the entry.
    fn ready(&self, step: &Step, now: &str) -> Step {
        let mut step = step.clone().at(now);
        let version = step.entry_uuid.as_ref().and_then(|uuid| self.csn.get(uuid));
        step.entry_csn = version.cloned().or(step.entry_csn);
        step
    }

    fn note_version(&mut self, outcome: &Outcome, step: &Step) {
        let after = self.national.version_after(outcome);
        if let (Some(identity), Some(version)) = (step.entry_uuid.clone(), after) {
            self.csn.insert(identity, version);
        }
    }

    fn undone(&mut self, number: usize, step: &Step, code: Option<u32>, text: String) {
        if let Some(failed) = self.failed.get_mut(number) {
            *failed = true;
        }
        let guid = step.anchor.as_ref().map(|anchor| anchor.guid.to_string());
        self.executed.undone.push(Undone { step: number, action: step.action, guid, code, text });
    }

    /// Runs the steps, spread over the connections, each taking the next one when it has room. A connection that breaks takes no more;
    /// and nothing is sent any more when the lease is over: somebody else may hold it by then, and has looked what became of our steps.
    async fn spread(
        &mut self,
        todo: Vec<(usize, Step)>,
        shelf: &Shelf,
    ) -> Result<(Vec<(usize, Outcome)>, Option<SyncError>), SyncError> {
        let queue = Arc::new(Queue {
            next: AtomicUsize::new(0),
            todo,
            national: self.national,
            clock: shelf.clock.clone(),
            lease: shelf.lease.clone(),
        });
        let mut tasks = Vec::new();
        for connection in std::mem::take(&mut self.connections) {
            let (queue, in_flight) = (Arc::clone(&queue), self.in_flight);
            tasks.push(tokio::spawn(async move {
                let answers = queue.drain(&connection, in_flight).await;
                (connection, answers)
            }));
        }
        let (mut outcomes, mut broken) = (Vec::new(), None);
        for task in tasks {
            let (connection, answers) = task.await?;
            self.connections.push(connection);
            for (number, answer) in answers {
                match answer {
                    Ok(outcome) => outcomes.push((number, outcome)),
                    Err(error) => broken = Some(error),
                }
            }
        }
        outcomes.sort_by_key(|(number, _)| *number);
        Ok((outcomes, broken))
    }
}

/// The steps of a batch, for whoever has room for one.
struct Queue {
    next: AtomicUsize,
    todo: Vec<(usize, Step)>,
    national: National,
    clock: Clock,
    lease: Lease,
}

impl Queue {
    /// Takes steps until there are no more or the connection breaks, so many at the same time.
    async fn drain(&self, connection: &Directory, in_flight: usize) -> Vec<Answer> {
        let broken = AtomicBool::new(false);
        let one = || async {
            let mut answers: Vec<Answer> = Vec::new();
            while !broken.load(Ordering::Relaxed)
                && let Some((number, step)) = self.todo.get(self.next.fetch_add(1, Ordering::Relaxed))
            {
                let answer = self.write(connection, step).await;
                if answer.is_err() {
                    broken.store(true, Ordering::Relaxed);
                }
                answers.push((*number, answer));
            }
            answers
        };
        join_all((0..in_flight).map(|_| one())).await.into_iter().flatten().collect()
    }

    async fn write(&self, connection: &Directory, step: &Step) -> Result<Outcome, SyncError> {
        if self.clock.now() >= self.lease.ends_at {
            let (name, epoch) = (self.lease.name.clone(), self.lease.epoch);
            return Err(SyncError::Store(StoreError::Fenced { name, epoch }));
        }
        self.national.write(connection, step).await.map_err(SyncError::Target)
    }
}

fn line(
    shelf: &Shelf,
    plan: &Plan,
    number: usize,
    phase: &str,
    document: Result<Vec<u8>, serde_json::Error>,
) -> NewJournalEntry {
    NewJournalEntry {
        plan: plan.hash.clone(),
        step: number as u64,
        phase: phase.to_owned(),
        at: shelf.now(),
        document: document.unwrap_or_default(),
    }
}

fn explain(outcome: &Outcome) -> String {
    match outcome.code {
        ASSERTION_FAILED => "the entry changed since the plan was made: it is planned anew".to_owned(),
        code => format!("the national directory refused with result code {code}: {}", outcome.text),
    }
}
