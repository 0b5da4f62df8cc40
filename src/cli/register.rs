//! `portcullis register`: people of organisations without a directory of their own, from a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::ambient::chance;
use crate::ambient::sheet::Fault;
use crate::cli::context::{Context, tell};
use crate::cli::failure::{Answer, Failure};
use crate::cli::interrupt::Interrupt;
use crate::cli::live::Live;
use crate::cli::sync::hands::waiting;
use crate::cli::sync::officers::Officers;
use crate::cli::table::table;
use crate::cli::{input, output};
use crate::policy::signature::hex;
use crate::policy::terms::OdsCode;
use crate::sync::hand::register::answer::{self, Word};
use crate::sync::hand::register::check::Checked;
use crate::sync::hand::register::organisation::Organisations;
use crate::sync::hand::register::run::{Answers, REGISTERED, Registrar, Summary};
use crate::sync::keeping::job::Hands;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::interruption::Interruption;
use crate::sync::terms::settings::Settings;
use crate::sync::terms::step::Action;

/// Faults that are printed; the file of results has all.
const FAULTS_TOLD: usize = 1_000;
/// Organisations in the text; JSON has all.
const ORGANISATIONS_TOLD: usize = 30;
/// The rows cannot be told without the heading.
const HEADING_WRONG: &str = "the heading is wrong: no row was read, and nothing was written";
const TABLE_WRONG: &str = "this is no table that can be read: no row was taken, and nothing was written";
const LOOKED: &str = "what is registered was looked at, nothing was written; --apply goes on with it";
/// How often a person hears that it goes on.
const EVERY: Duration = Duration::from_secs(5);

/// What `--template` prints.
const TEMPLATE: &str = "\
ods,local_id,given_name,sn,mail,account,title,telephone,mobile,department,site,employee_number,listing,status
";

/// What the template's columns mean, for people: it is printed to standard error.
const MEANING: &str = "\
A row is a person. The columns may come in any order, and those that are not needed may be left out.

  ods              code of the organisation, which `portcullis programme` must know and which has no directory of its own
  local_id         the person's key at the organisation: never given to somebody else, never changed; the case of letters does not count,
                   zeros in front do: a spreadsheet takes them away unless the column is formatted as text
  given_name, sn   first name and surname; a table of leavers alone needs neither
  mail             in a domain of the organisation
  account          name of the national entry; empty: as before, else the local id
  title, telephone, mobile, department, site, employee_number
  listing          how the person is listed, in the words of the release agreements and the sync scope; empty: like everybody
  status           `active` (or empty), or `leaver`: the entry is marked and hidden at once, and deleted after the time to keep

A column that is not there leaves what was registered; an empty cell empties it. Somebody who is not in the file stays as they are.
Columns `result` and `detail` are passed over, so that a file of results can be mended and given again.";

/// What `--help` says beyond the first line.
pub const WAY: &str = "\
Register the people of organisations that have no directory of their own, from a table (CSV, UTF-8, commas).

Without --apply nothing is written: every fault of every row is told, and what would become of each row. With --apply it is done, by
the same plan, guards, approvals and journal as a sync of a member directory. While any row is wrong nothing is applied;
--skip-faulty applies the others.

The key is organisation and local id. The same file may be given again at any time: what was done is left as it is, what was
interrupted goes on, nobody is there twice. A row is wrong that would make one person two (a new local id with the mail of somebody
who is registered and neither leaves nor gets another mail in the table) or two people one (given name, surname and mail all change): a
local id is one person's for ever. Two tables at the same time wait for one another, organisation by organisation.

A guard that stops steps names the hash of their plan: look at it with `portcullis sync approve HASH`, approve it with --reason, and
run the same command again. Without a file, --organisation or --all goes on with what is registered: it finishes what was
approved or interrupted, and deletes leavers whose time is over. The gateway does that by itself once a day (`sync.registered_seconds`).

The file of results has the rows as they were and two more columns: `result` (create, change, join, leave, delete, nothing,
not_published, waits, held_back, not_done, not_applied, refused) and `detail`. It holds what the table holds: only its owner can read it.

Ctrl-C or SIGTERM lets the writes under way end; a second one ends it at once, and the next command may have to wait a minute.

Exit code 0: every row is, or would be, as it says; 1: some are not; 2: it could not be told or done; 130 or 143: interrupted.";

/// How it is called. What is made of the options alone would name those that the environment gives as needed.
pub const USAGE: &str = "\
portcullis register [OPTIONS] <FILE>
       portcullis register [OPTIONS] --organisation <ODS> | --all
       portcullis register --template";

/// The options.
#[derive(Debug, Args)]
pub struct Register {
    /// The table; `-` is standard input. `--template` prints an empty one.
    #[arg(value_name = "FILE", conflicts_with_all = ["organisations", "all"],
          required_unless_present_any = ["template", "organisations", "all"])]
    file: Option<PathBuf>,
    /// Do it.
    #[arg(long)]
    apply: bool,
    /// Apply the rows that are right although others are not.
    #[arg(long, requires = "apply")]
    skip_faulty: bool,
    /// Where the rows go with what became of each; FILE.results.csv when absent.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Go on with what is registered of this organisation. Can be given several times.
    #[arg(long = "organisation", value_name = "ODS")]
    organisations: Vec<OdsCode>,
    /// Go on with what is registered of every organisation.
    #[arg(long, conflicts_with = "organisations")]
    all: bool,
    /// Print an empty table, and what its columns mean.
    #[arg(long)]
    template: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Page {
    applied: bool,
    rows: u64,
    /// Rows by what became, or would become, of them.
    results: BTreeMap<Word, u64>,
    /// The first of them.
    faults: Vec<Fault>,
    faults_in_all: u64,
    organisations: Vec<Part>,
    /// Where the file of results is.
    results_file: Option<PathBuf>,
    /// Why it ended early.
    error: Option<String>,
    /// What is said instead of how many rows came to what, where no row was looked at.
    #[serde(skip)]
    unread: Option<&'static str>,
}

/// What one organisation's part came to, and how far the approval of what waits is.
#[derive(Debug, Serialize)]
struct Part {
    #[serde(flatten)]
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    officers: Option<Officers>,
}

fn parts(context: &Context, summaries: Vec<Summary>) -> Result<Vec<Part>, Failure> {
    let part = |summary: Summary| {
        let officers = Officers::waiting(context, summary.held.as_ref(), &summary.trips)?;
        Ok(Part { summary, officers })
    };
    summaries.into_iter().map(part).collect()
}

/// Runs the command.
pub fn run(command: &Register, context: &Context) -> Result<Answer, Failure> {
    if command.template {
        context.note(MEANING);
        context.coloured(TEMPLATE.trim_end())?;
        return Ok(Answer::Yes);
    }
    if command.apply
        && let Some(trouble) = Live::ask(context.config()?.listen.metrics).trouble()
    {
        return Err(Failure::refused(trouble));
    }
    match &command.file {
        Some(file) => of_table(command, file, context),
        None => of_registered(command, context),
    }
}

fn registrar(context: &Context, table: String) -> Result<Registrar, Failure> {
    let config = context.config()?;
    let store = Arc::clone(context.store()?);
    let set = Arc::new(context.policies()?);
    let organisations = Organisations::read(store.as_ref(), set).map_err(Failure::could_not)?;
    let gateway = config.listen.metrics;
    let mark = chance::bytes::<4>().map_err(Failure::could_not)?;
    Ok(Registrar {
        hands: Hands {
            store,
            clock: context.clock.clone(),
            settings: Settings { plan_people: usize::MAX, ..config.sync.clone() },
            holder: format!("{}/{}/{}", context.actor, std::process::id(), hex(&mark)),
            interruption: Interruption::default(),
        },
        national: config.national.for_sync(),
        organisations: Arc::new(organisations),
        alive: Arc::new(move || Live::ask(gateway).is_ready()),
        waits: Arc::new(now_and_then(|ods| tell(waiting(ods)))),
        actor: context.actor.clone(),
        table,
    })
}

/// Tells the first, and of many only one now and then.
fn now_and_then(tell: impl Fn(&OdsCode)) -> impl Fn(&OdsCode) {
    let last = Mutex::new(None::<Instant>);
    move |ods| {
        if let Ok(mut last) = last.lock()
            && last.is_none_or(|last| last.elapsed() >= EVERY)
        {
            *last = Some(Instant::now());
            tell(ods);
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::could_not)
}

/// Tells a person who waits how far it is, now and then.
struct Told<'a> {
    context: &'a Context,
    last: Instant,
}

impl Told<'_> {
    fn on(context: &Context) -> Told<'_> {
        Told { context, last: Instant::now() }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.context.is_watched() && self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            self.context.note(text());
        }
    }
}

fn of_table(command: &Register, file: &Path, context: &Context) -> Result<Answer, Failure> {
    let limits = &context.config()?.tables;
    let bytes = input::table(file, limits.bytes)?;
    let results = results_file(command, file)?;
    let registrar = registrar(context, hex(&Sha256::digest(&bytes)))?;
    let mut told = Told::on(context);
    let checked = Checked::of(&bytes, limits, &registrar.organisations, &mut |rows| {
        told.note(|| format!("... {rows} rows read"));
    });
    let mut checked = match checked {
        Ok(checked) => checked,
        Err(faults) => return nothing_read(context, unread(&faults), faults),
    };
    if checked.is_empty() {
        // an empty file is no file of people who stay as they are: somebody meant another one
        let text = "no row stands beneath the heading: nothing is applied; name the file with the people";
        if command.apply {
            return nothing_read(context, "nothing was written", vec![Fault::row(1, text)]);
        }
        context.note(format_args!("{}: with --apply this is refused: {text}", file.display()));
    }
    let runtime = runtime()?;
    let interrupt = Interrupt::heed(&registrar.hands.interruption)?;
    let beside = runtime.block_on(Box::pin(async {
        registrar.check_mails(&mut checked).await?;
        registrar.check_registered(&mut checked).await
    }));
    let answers = match beside {
        Err(SyncError::Interrupted) => {
            Answers { broken: Some("interrupted".to_owned()), interrupted: true, ..Answers::default() }
        }
        Err(error) => Answers { broken: Some(error.to_string()), ..Answers::default() },
        Ok(()) if command.apply && !command.skip_faulty && !checked.faults().is_empty() => {
            not_applied(checked.len())
        }
        Ok(()) => {
            let mut done = 0;
            let work = checked.organisations();
            let (all, rows) = (work.len(), checked.len());
            runtime.block_on(Box::pin(registrar.run(
                work,
                rows,
                command.apply,
                |ods| checked.people(ods),
                &mut |one| {
                    done += 1;
                    told.note(|| format!("... {done} of {all} organisations, {} the last", one.organisation));
                },
            )))
        }
    };
    if let Some(path) = &results {
        output::replace_private(path, |out| answer::write(&checked, &answers.rows, out))?;
    }
    let faults = checked.faults().values().flatten();
    let page = Page {
        applied: command.apply,
        rows: checked.len() as u64,
        results: answer::count(&checked, &answers.rows),
        faults: faults.clone().take(FAULTS_TOLD).cloned().collect(),
        faults_in_all: faults.count() as u64,
        organisations: parts(context, answers.organisations)?,
        results_file: results,
        error: answers.broken,
        unread: None,
    };
    finish(context, &page, answers.interrupted.then(|| interrupt.answer()))
}

fn of_registered(command: &Register, context: &Context) -> Result<Answer, Failure> {
    let registrar = registrar(context, String::new())?;
    let mut work = command.organisations.clone();
    if command.all {
        for ods in registrar.organisations.codes() {
            let kept = registrar.hands.store.sync_value(ods, REGISTERED).map_err(Failure::could_not)?;
            work.extend(kept.map(|_| ods.clone()));
        }
    }
    work.sort();
    work.dedup();
    let mut told = Told::on(context);
    let interrupt = Interrupt::heed(&registrar.hands.interruption)?;
    let answers =
        runtime()?.block_on(Box::pin(registrar.run(work, 0, command.apply, |_| Vec::new(), &mut |one| {
            told.note(|| format!("... {} is done", one.organisation));
        })));
    let page = Page {
        applied: command.apply,
        rows: 0,
        results: BTreeMap::new(),
        faults: Vec::new(),
        faults_in_all: 0,
        organisations: parts(context, answers.organisations)?,
        results_file: None,
        error: answers.broken,
        unread: Some(if command.apply { "what is registered was gone on with" } else { LOOKED }),
    };
    finish(context, &page, answers.interrupted.then(|| interrupt.answer()))
}

fn results_file(command: &Register, file: &Path) -> Result<Option<PathBuf>, Failure> {
    let path = match &command.results {
        Some(path) => path.clone(),
        // standard input lies nowhere
        None if file == Path::new("-") => return Ok(None),
        None => file.with_extension("results.csv"),
    };
    let same = std::fs::canonicalize(&path)
        .is_ok_and(|path| std::fs::canonicalize(file).is_ok_and(|file| path == file));
    if same {
        return Err(Failure::refused(
            "the file of results would replace the table: name another with --results",
        ));
    }
    Ok(Some(path))
}

fn not_applied(rows: usize) -> Answers {
    let text = "other rows are wrong: mend them, or give --skip-faulty";
    let row = answer::Answer::of(Word::NotApplied, text);
    Answers { rows: vec![Some(row); rows], ..Answers::default() }
}

/// What of a table keeps its rows from being read.
fn unread(faults: &[Fault]) -> &'static str {
    if faults.iter().all(|fault| fault.line == 1) { HEADING_WRONG } else { TABLE_WRONG }
}

fn nothing_read(context: &Context, unread: &'static str, faults: Vec<Fault>) -> Result<Answer, Failure> {
    let page = Page {
        unread: Some(unread),
        applied: false,
        rows: 0,
        results: BTreeMap::new(),
        faults_in_all: faults.len() as u64,
        faults,
        organisations: Vec::new(),
        results_file: None,
        error: None,
    };
    finish(context, &page, None)
}

/// Prints the page. `interrupted` is the answer when a signal ended it early.
fn finish(context: &Context, page: &Page, interrupted: Option<Answer>) -> Result<Answer, Failure> {
    context.print(page, text)?;
    if let Some(answer) = interrupted {
        return Ok(answer);
    }
    let well = page.results.keys().all(|word| word.is_well())
        && page.organisations.iter().all(|Part { summary, .. }| {
            matches!(summary.outcome, "done" | "planned") && summary.held.is_none()
        });
    Ok(match () {
        () if page.error.is_some() => Answer::Unknown,
        () if well && page.faults_in_all == 0 => Answer::Yes,
        () => Answer::No,
    })
}

fn text(page: &Page) -> String {
    let mut out = String::new();
    for fault in &page.faults {
        let column = fault.column.as_deref().map(|column| format!(" {column}")).unwrap_or_default();
        out.push_str(&format!("line {}{column}: {}\n", fault.line, fault.text));
    }
    if page.faults_in_all > page.faults.len() as u64 {
        let more = page.faults_in_all - page.faults.len() as u64;
        out.push_str(&format!("and {more} more faults: see the file of results\n"));
    }
    out.push_str(&format!("{}\n", page.unread.map_or_else(|| counted(page), str::to_owned)));
    let rows: Vec<[String; 6]> = page.organisations.iter().take(ORGANISATIONS_TOLD).map(row).collect();
    if !rows.is_empty() {
        out.push_str(&table(["organisation", "rows", "outcome", "planned", "done", "published"], &rows));
    }
    if page.organisations.len() > ORGANISATIONS_TOLD {
        out.push_str(&format!("and {} more: --json\n", page.organisations.len() - ORGANISATIONS_TOLD));
    }
    for (number, Part { summary: one, officers }) in page.organisations.iter().enumerate() {
        for plan in one.written.iter().filter(|_| number < ORGANISATIONS_TOLD) {
            out.push_str(&format!("{}: written as plan {plan}\n", one.organisation));
        }
        for trip in &one.trips {
            out.push_str(&format!("{} guard {}: {}\n", one.organisation, trip.guard.as_str(), trip.text));
        }
        if let Some(held) = &one.held {
            let officers = officers.as_ref().map(|one| format!(": {}", one.told())).unwrap_or_default();
            out.push_str(&format!(
                "{}: {} steps wait in plan {held}{officers}\n",
                one.organisation, one.held_steps
            ));
        }
        if let Some(note) = one.closed.as_ref().filter(|_| number < ORGANISATIONS_TOLD) {
            out.push_str(&format!("{note}\n"));
        }
        if let Some(error) = &one.error {
            out.push_str(&format!("{}: {error}\n", one.organisation));
        }
    }
    if let Some(error) = &page.error {
        out.push_str(&format!("ended early: {error}\nrun the same command again: it goes on\n"));
    }
    if let Some(path) = &page.results_file {
        out.push_str(&format!("every row with its result: {}\n", path.display()));
    }
    out
}

/// How many rows came, or would come, to what.
fn counted(page: &Page) -> String {
    let done = match page.applied {
        true => "applied",
        false if page.rows == 0 => "nothing was written",
        false if page.faults_in_all > 0 => {
            "nothing was written; mend the rows that are wrong, then --apply does it"
        }
        false => "nothing was written; --apply does it",
    };
    let counts: Vec<String> =
        page.results.iter().map(|(word, count)| format!("{count} {}", word.as_str())).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    format!("{} rows, {done}{counts}", page.rows)
}

fn row(Part { summary: one, .. }: &Part) -> [String; 6] {
    let counts = |counts: &BTreeMap<Action, u64>| {
        let words: Vec<String> =
            counts.iter().map(|(action, count)| format!("{count} {}", action.as_str())).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
    };
    [
        one.organisation.to_string(),
        one.rows.to_string(),
        one.outcome.to_owned(),
        counts(&one.planned),
        counts(&one.done),
        one.published.to_string(),
    ]
}
