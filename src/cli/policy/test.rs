//! `portcullis policy test`: runs the tests that policies bring along.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use notify::{RecursiveMode, Watcher};
use serde_json::json;

use crate::app::in_force::{self, Origin, Taken};
use crate::baseline::facts::Evidence;
use crate::baseline::trial::{self, Cases, Trial};
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::input;
use crate::cli::policy::{sound, written};
use crate::cli::table::table;
use crate::policy::fault::Fault;
use crate::policy::folder::is_bundle;
use crate::policy::render::render;

/// The most bytes of recorded evidence that a test starts from.
const EVIDENCE_BYTES_MAX: u64 = 64 << 20;
/// Editors write a file in several steps: so long nothing must happen before the tests run again.
const QUIET: Duration = Duration::from_millis(150);

/// Run every `PolicyTest`, and name controls without a passing or a failing case. The answer is no when a test does not hold.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder or file; the configured policies when left out.
    path: Option<PathBuf>,
    /// Show for every control in how many tests it passes, fails and cannot be told.
    #[arg(long)]
    coverage: bool,
    /// Run again whenever a file changes, until interrupted.
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
pub fn run(arguments: Arguments, context: &Context) -> Result<Answer, Failure> {
    let folder = written(arguments.path, context)?;
    match arguments.watch {
        false => once(&folder, arguments.coverage, context),
        true => watch(&folder, arguments.coverage, context),
    }
}

fn once(folder: &Path, coverage: bool, context: &Context) -> Result<Answer, Failure> {
    let taken = match sound(in_force::at(folder.to_owned(), None), context)? {
        Ok(taken) => taken,
        Err(answer) => return Ok(answer),
    };
    let trial = match tried(&taken) {
        Ok(trial) => trial,
        Err(faults) => {
            context.print(&json!({ "faults": faults }), |_| render(&faults, context.is_terminal()))?;
            return Ok(Answer::No);
        }
    };
    context.print(&trial, |trial| text(trial, coverage))?;
    Ok(if trial.holds() { Answer::Yes } else { Answer::No })
}

/// Runs every test; those that start from recorded evidence only where it lies, in a folder.
pub fn tried(taken: &Taken) -> Result<Trial, Vec<Fault>> {
    let root = match &taken.origin {
        Origin::Path { path } if is_bundle(path) => None,
        Origin::Path { path } if path.is_file() => Some(path.parent().unwrap_or(Path::new(""))),
        Origin::Path { path } => Some(path.as_path()),
        Origin::Activated { .. } => None,
    };
    let recorded = root.map(|root| move |name: &str| recorded(root, name));
    match &recorded {
        Some(recorded) => trial::run_with(&taken.set, Some(recorded)),
        None => trial::run(&taken.set),
    }
}

/// Evidence of a file that lies below the policy folder; a link that leads out of it is none.
fn recorded(root: &Path, name: &str) -> Result<Evidence, String> {
    let said = |error: std::io::Error| error.to_string();
    let (root, path) = (root.canonicalize().map_err(said)?, root.join(name).canonicalize().map_err(said)?);
    if !path.starts_with(&root) {
        return Err("the link leads out of the policy folder".to_owned());
    }
    let bytes = input::read(&path, EVIDENCE_BYTES_MAX).map_err(|failure| failure.message)?;
    Evidence::from_json(&bytes).map_err(|error| error.to_string())
}

/// Each change is one more run; what a run says does not end it.
fn watch(folder: &Path, coverage: bool, context: &Context) -> Result<Answer, Failure> {
    // that there was a change is all that counts: one that waits to be seen is enough
    let (tell, told) = mpsc::sync_channel(1);
    let on_event = move |event: notify::Result<notify::Event>| {
        // what is only looked at is no change: reading the folder would wake us for ever
        if event.map_or(true, |event| !event.kind.is_access()) {
            let _ = tell.try_send(());
        }
    };
    let fail =
        |error: notify::Error| Failure::could_not(format!("cannot watch {}: {error}", folder.display()));
    let mut watcher = notify::recommended_watcher(on_event).map_err(fail)?;
    watcher.watch(folder, RecursiveMode::Recursive).map_err(fail)?;
    loop {
        once(folder, coverage, context)?;
        context.note("waiting for a change; Ctrl-C ends");
        if told.recv().is_err() {
            return Ok(Answer::Unknown);
        }
        while told.recv_timeout(QUIET).is_ok() {}
    }
}

/// What does not hold, and what is not covered.
pub fn text(trial: &Trial, coverage: bool) -> String {
    let mut out = String::new();
    for outcome in trial.outcomes.iter().filter(|o| !o.failures.is_empty()) {
        out.push_str(&format!("{}: `{}` does not hold\n", outcome.place, outcome.name));
        for failure in &outcome.failures {
            out.push_str(&format!("  {failure}\n"));
        }
    }
    if coverage {
        let row = |cases: &Cases| {
            let count = |count: usize| if count == 0 { "-".to_owned() } else { count.to_string() };
            [cases.control.clone(), count(cases.pass), count(cases.fail), count(cases.unknown)]
        };
        let rows: Vec<[String; 4]> = trial.coverage.iter().map(row).collect();
        out.push_str(&table(["control", "passes", "fails", "unknown"], &rows));
    }
    for (what, controls) in [("passing", &trial.without_pass), ("failing", &trial.without_fail)] {
        if !controls.is_empty() {
            out.push_str(&format!("without a {what} case: {}\n", controls.join(", ")));
        }
    }
    let blind = trial.coverage.iter().filter(|cases| cases.unknown == 0).count();
    if blind > 0 {
        let all = trial.coverage.len();
        let hint = if coverage { "" } else { " (--coverage names them)" };
        out.push_str(&format!("without an unknown case: {blind} of {all} controls{hint}\n"));
    }
    let skipped = trial.outcomes.iter().filter(|o| o.skipped.is_some()).count();
    if skipped > 0 {
        out.push_str(&format!(
            "not run: {skipped} that start from recorded evidence, which lies in the folder alone\n"
        ));
    }
    let failed = trial.outcomes.iter().filter(|o| !o.failures.is_empty()).count();
    out.push_str(&format!("{} tests, {failed} do not hold", trial.outcomes.len()));
    out
}
