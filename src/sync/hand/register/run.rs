//! Previews or applies a table, one organisation at a time under its lease, several organisations at once.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::ambient::sheet::Fault;
use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::store::audit::NewAudit;
use crate::store::record::StagedPage;
use crate::sync::hand::register::answer::{Answer, Findings, Unpublished, Word};
use crate::sync::hand::register::beside::{self, Found};
use crate::sync::hand::register::check::{Checked, Claim, Number};
use crate::sync::hand::register::mails::{self, Held};
use crate::sync::hand::register::organisation::{Organisations, may_write};
use crate::sync::hand::register::person::Person;
use crate::sync::keeping::job::{Hands, Job, Mode, Reach, begin, end};
use crate::sync::keeping::shelf::{self, Shelf};
use crate::sync::people::guards::Trip;
use crate::sync::planning::propose::make_of;
use crate::sync::running::member::National;
use crate::sync::running::report::Outcome;
use crate::sync::running::run::{Brought, after_reading, milliseconds};
use crate::sync::terms::error::SyncError;
use crate::sync::terms::pass::Pass;
use crate::sync::terms::staged::Object;
use crate::sync::terms::step::{Action, Plan};
use crate::sync::writing::execute::Gate;
use crate::sync::writing::pause::{Pause, Pauses};

/// Key of an organisation's sync state: [`Registered`], JSON.
pub const REGISTERED: &str = "registered";
/// People staged in one transaction.
const PAGE: usize = 1_000;
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How many people of an organisation are registered by file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// When the first was, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    pub people: u64,
    pub leavers: u64,
}

/// What one organisation's part came to.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub organisation: OdsCode,
    pub rows: u64,
    /// `planned`, `done`, `held`, `partial`, `gate_closed`, `paused`, `interrupted`; `failed` when it ended early.
    pub outcome: &'static str,
    pub planned: BTreeMap<Action, u64>,
    pub done: BTreeMap<Action, u64>,
    /// Hashes under which the journal has what was written, each undone by its own.
    pub written: Vec<String>,
    /// Hash of the steps that wait for an approval.
    pub held: Option<String>,
    pub held_steps: u64,
    pub trips: Vec<Trip>,
    /// Entries published now.
    pub published: u64,
    /// That the organisation is closed, and who takes over, where what is registered of it was gone on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Why it ended early.
    pub error: Option<String>,
}

/// What everything came to.
#[derive(Debug, Default)]
pub struct Answers {
    /// By row; none for one that was not come to.
    pub rows: Vec<Option<Answer>>,
    /// By organisation's code.
    pub organisations: Vec<Summary>,
    /// Something ended early that is not an organisation's own matter.
    pub broken: Option<String>,
    /// It was interrupted.
    pub interrupted: bool,
}

/// Registers people. Cheap to clone.
#[derive(Clone)]
pub struct Registrar {
    pub hands: Hands,
    pub national: National,
    pub organisations: Arc<Organisations>,
    /// Whether anything may be written now at all.
    pub alive: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Hears of each organisation that another run is under way there, and is waited for.
    pub waits: Arc<dyn Fn(&OdsCode) + Send + Sync>,
    /// Who registers.
    pub actor: String,
    /// SHA-256 of the table, lower-case hex, for the audit; empty without one.
    pub table: String,
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("holder", &self.hands.holder).finish_non_exhaustive()
    }
}

type Rows = Arc<[(Number, Person)]>;

/// One organisation's part, done.
struct Part {
    answers: Vec<(Number, Answer)>,
    summary: Summary,
}

impl Registrar {
    /// Holds the table's mails against the national directory: rows whose mail somebody else has become faulty.
    pub async fn check_mails(&self, checked: &mut Checked<'_>) -> Result<(), SyncError> {
        let (reach, people) = (self.reach().await?, self.people()?);
        let asking = async {
            let mut directory = reach.connect(SyncError::Target).await?;
            let held = mails::held(&mut directory, &people, checked.mails()).await?;
            directory.unbind().await;
            Ok(held)
        };
        for one in self.hands.interruption.unless(asking).await? {
            let line = checked.line(one.row);
            checked.fault(one.row, vec![Fault::cell(line, "mail", taken(&one))]);
        }
        Ok(())
    }

    /// Holds the table against who is registered already: rows that would make one person two, or two one, become faulty.
    pub async fn check_registered(&self, checked: &mut Checked<'_>) -> Result<(), SyncError> {
        let comparing = async {
            let mut found = Vec::new();
            for ods in checked.organisations() {
                found.extend(self.beside(&ods, checked.people(&ods).into()).await?);
            }
            Ok(found)
        };
        for one in self.hands.interruption.unless(comparing).await? {
            let line = checked.line(one.row);
            checked.fault(one.row, vec![Fault::cell(line, one.column, one.text)]);
        }
        Ok(())
    }

    async fn beside(&self, ods: &OdsCode, rows: Rows) -> Result<Vec<Found>, SyncError> {
        let (store, scope, ods) =
            (Arc::clone(&self.hands.store), self.organisations.scope(ods)?, ods.clone());
        let name = self.organisations.get(&ods).map(|one| one.name.clone()).unwrap_or_default();
        let compare = move || beside::compare(store.as_ref(), &ods, &name, &scope, &rows);
        Ok(tokio::task::spawn_blocking(compare).await??)
    }

    /// Previews or applies for each of these organisations. `people` gives the people of one; `told` hears of each that is done.
    pub async fn run(
        &self,
        organisations: Vec<OdsCode>,
        rows: usize,
        apply: bool,
        mut people: impl FnMut(&OdsCode) -> Vec<(Number, Person)>,
        told: &mut (dyn FnMut(&Summary) + Send),
    ) -> Answers {
        let mut answers = Answers { rows: vec![None; rows], ..Answers::default() };
        let (mut waiting, mut tasks) = (organisations.into_iter(), JoinSet::new());
        loop {
            let goes_on = answers.broken.is_none() && !self.hands.interruption.is_asked();
            while goes_on && tasks.len() < self.hands.settings.parallel.max(1) {
                let Some(ods) = waiting.next() else { break };
                let (this, rows) = (self.clone(), Rows::from(people(&ods)));
                tasks.spawn(async move {
                    let done = Box::pin(this.organisation(&ods, &rows, apply)).await;
                    (ods, rows, done)
                });
            }
            let Some(done) = tasks.join_next().await else { break };
            match done {
                Ok((_, _, Ok(part))) => answers.take(part, told),
                Ok((ods, rows, Err(error))) => {
                    if matches!(error, SyncError::Interrupted) {
                        answers.interrupted = true;
                    } else {
                        tracing::error!(member = %ods, party = %error.party(), %error, "people not registered");
                    }
                    if is_everybodys(&error) {
                        answers.broken = Some(error.to_string());
                    }
                    let outcome =
                        if matches!(error, SyncError::Interrupted) { error.code() } else { "failed" };
                    answers.take(early(ods, &rows, outcome, error.to_string()), told);
                }
                Err(error) => answers.broken = Some(format!("an internal task failed: {error}")),
            }
        }
        answers.interrupted |= self.hands.interruption.is_asked() && waiting.len() > 0;
        if answers.interrupted {
            answers.broken = Some("interrupted".to_owned());
        }
        answers.organisations.sort_by(|a, b| a.organisation.cmp(&b.organisation));
        answers
    }

    async fn organisation(&self, ods: &OdsCode, rows: &Rows, apply: bool) -> Result<Part, SyncError> {
        let hides = || rows.iter().all(|(_, person)| self.organisations.hides(person));
        if let Some(why) = self.organisations.refusal(ods, hides) {
            return Err(SyncError::NotRegistered(ods.clone(), why));
        }
        let job = self.organisations.job(ods, &self.national, self.reach().await?)?;
        if apply && let Some(pause) = self.paused(ods).await? {
            return Ok(early(ods.clone(), rows, Outcome::Paused.as_str(), stopped_by(&pause, ods)));
        }
        let mut shelf = self.turn(ods).await?;
        let result = if apply {
            self.apply(&job, rows, &mut shelf).await
        } else {
            self.hands.interruption.unless(self.preview(&job, rows, &shelf)).await
        };
        end(&shelf).await;
        result
    }

    fn closed(&self, ods: &OdsCode, rows: &Rows) -> Option<String> {
        self.organisations.closed(ods).filter(|_| rows.is_empty())
    }

    async fn paused(&self, ods: &OdsCode) -> Result<Option<Pause>, SyncError> {
        let (store, ods) = (Arc::clone(&self.hands.store), ods.clone());
        let pauses = tokio::task::spawn_blocking(move || Pauses::read(store.as_ref())).await??;
        Ok(pauses.of(&ods).cloned())
    }

    /// The lease, as soon as nobody else has it.
    async fn turn(&self, ods: &OdsCode) -> Result<Shelf, SyncError> {
        let (mut waited, longest) = (Duration::ZERO, self.hands.settings.wait_for_other_run());
        loop {
            match begin(ods, &self.hands).await {
                Err(SyncError::Busy(_)) if waited < longest => {
                    if waited.is_zero() {
                        (self.waits)(ods);
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                    waited += LOOK_AGAIN;
                }
                ended => return ended,
            }
        }
    }

    async fn preview(&self, job: &Job, rows: &Rows, shelf: &Shelf) -> Result<Part, SyncError> {
        let (mut instead, mut unpublished) = (BTreeMap::new(), Vec::with_capacity(rows.len()));
        for page in rows.chunks(PAGE) {
            for (_, object) in self.objects(job, page, shelf).await? {
                unpublished.push(object.as_ref().and_then(|object| Unpublished::of(object, &job.scope)));
                instead.extend(object.map(|object| (object.guid, object)));
            }
        }
        let mut target = job.target.connect(SyncError::Target).await?;
        let (pass, everybody) = (pass(rows.len()), usize::MAX);
        let made = make_of(job, &self.hands, &pass, shelf, &mut target, everybody, instead).await?;
        target.unbind().await;
        let waits = !made.verdict.held.steps.is_empty() && !made.verdict.approved;
        let held = waits.then_some(&made.verdict.held);
        let findings = Findings::of(&made.plan, held, &made.plan.quarantine, &[]);
        let summary = Summary {
            organisation: job.member.clone(),
            rows: rows.len() as u64,
            outcome: Outcome::Planned.as_str(),
            planned: made.plan.counts(),
            done: BTreeMap::new(),
            written: Vec::new(),
            held: held.map(|held| held.hash.clone()),
            held_steps: held.map_or(0, |held| held.steps.len() as u64),
            trips: made.verdict.trips,
            published: made.published,
            closed: self.closed(&job.member, rows),
            error: None,
        };
        Ok(Part { answers: answered(rows, &unpublished, &findings), summary })
    }

    async fn apply(&self, job: &Job, rows: &Rows, shelf: &mut Shelf) -> Result<Part, SyncError> {
        let started_at = self.hands.clock.now();
        let begun = Instant::now();
        let ods = job.member.clone();
        // a page that is under way is staged as a whole or not at all
        let staging = async {
            let mut refused = self.taken_meanwhile(job, rows, shelf).await?;
            let good = without(rows, &refused);
            let found = match good.is_empty() {
                true => Vec::new(),
                false => self.beside(&job.member, Arc::clone(&good)).await?,
            };
            refused.extend(found.into_iter().map(|one| (one.row, format!("{} {}", one.column, one.text))));
            let good = without(&good, &refused);
            let unpublished = self.stage(job, &good, shelf).await?;
            Ok((refused, good, unpublished))
        };
        let (refused, good, unpublished) = self.hands.interruption.unless(staging).await?;
        let (store, alive) = (Arc::clone(&self.hands.store), Arc::clone(&self.alive));
        let gate: Gate = Arc::new(move || alive() && may_write(store.as_ref(), &ods));
        let brought = Brought { pass: pass(rows.len()), started_at, read_ms: milliseconds(begun.elapsed()) };
        let report =
            Box::pin(after_reading(job, &self.hands, Mode::default(), &gate, shelf, brought)).await?;
        let plan = kept_plan(shelf, Some(report.plan.clone())).await?;
        let held = kept_plan(shelf, report.held.clone()).await?;
        let plan = plan.unwrap_or_else(|| Plan::new(job.member.clone(), Vec::new(), Vec::new(), 0));
        let mut findings = Findings::of(&plan, held.as_ref(), &report.quarantine, &report.executed.undone);
        let paused = report.paused.as_ref().map(|pause| stopped_by(pause, &job.member));
        if let Some(why) = &paused {
            findings.stop(why.clone());
        } else if report.executed.gate_closed {
            findings.stop("the gateway or the organisation let nothing more through: run this again");
        } else if report.outcome == Outcome::Interrupted {
            findings.stop("it was interrupted: run this again");
        } else if report.remaining > 0 && report.executed.undone.is_empty() {
            findings.stop("the national directory is not yet as planned: run this again");
        }
        let done: u64 = report.executed.done.values().sum();
        tracing::info!(
            member = %job.member, outcome = report.outcome.as_str(), rows = rows.len(), done,
            held = report.held_steps, "people registered"
        );
        let summary = Summary {
            organisation: job.member.clone(),
            rows: rows.len() as u64,
            outcome: report.outcome.as_str(),
            planned: report.planned,
            written: match report.executed.done.is_empty() {
                true => Vec::new(),
                false => report.written.into_iter().chain(report.later).collect(),
            },
            done: report.executed.done,
            held: report.held,
            held_steps: report.held_steps,
            trips: report.trips,
            published: report.published,
            closed: self.closed(&job.member, rows),
            error: paused,
        };
        if !summary.planned.is_empty() {
            self.record(shelf, "register.done", json!({
                "table": self.table, "outcome": summary.outcome, "done": summary.done, "plan": report.plan,
                "held": summary.held, "published": summary.published,
            }))
            .await?;
        }
        let mut answers = answered(&good, &unpublished, &findings);
        answers.extend(refused.into_iter().map(|(number, text)| (number, Answer::of(Word::Refused, text))));
        Ok(Part { answers, summary })
    }

    /// Rows whose mail somebody of another organisation took since the table was checked: another table may be applied at the same time. A mail that the
    /// person was registered with before is no longer asked for.
    async fn taken_meanwhile(
        &self,
        job: &Job,
        rows: &Rows,
        shelf: &Shelf,
    ) -> Result<HashMap<Number, String>, SyncError> {
        let mut claims: HashMap<String, Claim> = HashMap::new();
        for page in rows.chunks(PAGE) {
            for ((before, _), (row, person)) in self.objects(job, page, shelf).await?.into_iter().zip(page) {
                let Some(mail) = person.mail() else { continue };
                let kept = before.as_ref().and_then(|object| object.first("mail"));
                if kept.is_none_or(|kept| kept.to_lowercase() != mail) {
                    claims.insert(mail, Claim { row: *row, ods: person.ods.clone(), guid: person.guid });
                }
            }
        }
        if claims.is_empty() {
            return Ok(HashMap::new());
        }
        let mut target = job.target.connect(SyncError::Target).await?;
        let held = mails::held(&mut target, &self.people()?, &claims).await?;
        target.unbind().await;
        Ok(held.into_iter().map(|one| (one.row, format!("mail {}", taken(&one)))).collect())
    }

    /// What is staged of these people, and what it is to be.
    async fn objects(
        &self,
        job: &Job,
        page: &[(Number, Person)],
        shelf: &Shelf,
    ) -> Result<Vec<(Option<Object>, Option<Object>)>, SyncError> {
        let name = self.organisations.get(&job.member).map_or("", |one| one.name.as_str());
        let before = shelf.objects(page.iter().map(|(_, person)| person.guid).collect()).await?;
        let both = before.into_iter().zip(page);
        Ok(both.map(|(before, (_, person))| (before.clone(), person.object(before, name))).collect())
    }

    /// Stages the people; tells of each why the scope does not publish it. A page, and how many people there are, is one transaction.
    async fn stage(
        &self,
        job: &Job,
        rows: &Rows,
        shelf: &mut Shelf,
    ) -> Result<Vec<Option<Unpublished>>, SyncError> {
        let mut unpublished = Vec::with_capacity(rows.len());
        let mut registered = shelf.json::<Registered>(REGISTERED).await?.unwrap_or(Registered {
            since: self.hands.clock.now(),
            people: 0,
            leavers: 0,
        });
        let mut recorded = false;
        for page in rows.chunks(PAGE) {
            let mut put = Vec::new();
            for (before, after) in self.objects(job, page, shelf).await? {
                unpublished.push(after.as_ref().and_then(|object| Unpublished::of(object, &job.scope)));
                let Some(after) = after.filter(|after| before.as_ref() != Some(after)) else { continue };
                registered.count(before.as_ref(), &after);
                put.push(shelf::kept(&after, 0)?);
            }
            if put.is_empty() {
                continue;
            }
            if !recorded {
                let detail = json!({"table": self.table, "rows": rows.len()});
                self.record(shelf, "register.apply", detail).await?;
                recorded = true;
            }
            let value = serde_json::to_vec(&registered).map_err(|e| SyncError::Internal(e.to_string()))?;
            let values = vec![(REGISTERED.to_owned(), Some(value))];
            shelf.apply(StagedPage { put, values, ..StagedPage::default() }).await?;
        }
        shelf.renew_when_due().await?;
        Ok(unpublished)
    }

    async fn record(&self, shelf: &Shelf, action: &str, detail: serde_json::Value) -> Result<(), SyncError> {
        let record = NewAudit {
            at: self.hands.clock.now(),
            actor: self.actor.clone(),
            action: action.to_owned(),
            member: Some(shelf.ods.clone()),
            detail,
        };
        shelf.store(move |store, _| store.append_audit(&[record]).map(|_| ())).await
    }

    async fn reach(&self) -> Result<Reach, SyncError> {
        let national = self.national.clone();
        tokio::task::spawn_blocking(move || national.reach()).await?
    }

    fn people(&self) -> Result<Dn, SyncError> {
        let base = &self.national.people_base;
        Dn::parse(base).map_err(|_| SyncError::Unusable(format!("`{base}` is not a name")))
    }
}

impl Registered {
    fn count(&mut self, before: Option<&Object>, after: &Object) {
        if let Some(before) = before {
            let count = if before.is_disabled() { &mut self.leavers } else { &mut self.people };
            *count = count.saturating_sub(1);
        }
        *(if after.is_disabled() { &mut self.leavers } else { &mut self.people }) += 1;
    }
}

impl Answers {
    fn take(&mut self, part: Part, told: &mut (dyn FnMut(&Summary) + Send)) {
        for (number, answer) in part.answers {
            if let Some(row) = self.rows.get_mut(number) {
                *row = Some(answer);
            }
        }
        self.interrupted |= part.summary.outcome == Outcome::Interrupted.as_str();
        told(&part.summary);
        self.organisations.push(part.summary);
    }
}

/// The rows that were not refused.
fn without(rows: &Rows, refused: &HashMap<Number, String>) -> Rows {
    if refused.is_empty() {
        return Arc::clone(rows);
    }
    rows.iter().filter(|(number, _)| !refused.contains_key(number)).cloned().collect()
}

/// Why a pause lets nothing be registered, and how it ends.
fn stopped_by(pause: &Pause, ods: &OdsCode) -> String {
    let whose = if pause.everybody { "every member" } else { "it" };
    format!("{} paused {whose}: {}; when it may go on: {}", pause.by, pause.reason, pause.ended_by(ods))
}

/// A table is all that there is to be read.
fn pass(rows: usize) -> Pass {
    Pass {
        complete: true,
        because: Some("registered by file".to_owned()),
        pages: 1,
        objects: rows as u64,
        deletions_told: true,
        canary_seen: true,
        controller: "a file".to_owned(),
        ..Pass::default()
    }
}

fn taken(held: &Held) -> String {
    match &held.holder {
        Some(anchor) => format!(
            "belongs to somebody of {} in the national directory: correct it, or have that person marked as a leaver there, by a table before this one",
            anchor.member
        ),
        None => "belongs to another entry of the national directory: correct it, or free it there".to_owned(),
    }
}

async fn kept_plan(shelf: &Shelf, hash: Option<String>) -> Result<Option<Plan>, SyncError> {
    let Some(hash) = hash else { return Ok(None) };
    let record = shelf.store(move |store, _| store.plan(&hash)).await?;
    // a plan of nothing is not kept
    Ok(record.and_then(|record| serde_json::from_slice(&record.document).ok()))
}

fn answered(rows: &Rows, unpublished: &[Option<Unpublished>], findings: &Findings) -> Vec<(Number, Answer)> {
    let both = rows.iter().zip(unpublished);
    both.map(|((number, person), why)| (*number, findings.answer(person, *why))).collect()
}

/// A part that ended before anything of it was planned.
fn early(ods: OdsCode, rows: &Rows, outcome: &'static str, text: String) -> Part {
    let answers = rows.iter().map(|(number, _)| (*number, Answer::of(Word::NotDone, text.clone())));
    Part {
        answers: answers.collect(),
        summary: Summary {
            organisation: ods,
            rows: rows.len() as u64,
            outcome,
            planned: BTreeMap::new(),
            done: BTreeMap::new(),
            written: Vec::new(),
            held: None,
            held_steps: 0,
            trips: Vec::new(),
            published: 0,
            closed: None,
            error: Some(text),
        },
    }
}

/// Whether the next organisation would fail by it, too.
fn is_everybodys(error: &SyncError) -> bool {
    matches!(error, SyncError::Target(_) | SyncError::Unusable(_) | SyncError::Store(_) | SyncError::Stopping)
}
