//! `portcullis sync plan` and `run`.

use std::path::Path;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::interrupt::Interrupt;
use crate::cli::sync::hands::{in_turn, read, runtime, syncer, trouble, with_directory};
use crate::cli::sync::officers::Officers;
use crate::cli::sync::pause::{paused, stopped};
use crate::cli::sync::plans::save;
use crate::cli::table::moment;
use crate::policy::terms::OdsCode;
use crate::sync::keeping::job::Mode;
use crate::sync::running::report::{Outcome, Report};
use crate::sync::terms::step::Plan;

/// Plans, and keeps the plan in a file when asked for.
pub fn plan(
    context: &Context,
    member: &OdsCode,
    complete: bool,
    out: Option<&Path>,
) -> Result<Answer, Failure> {
    let (report, _) = once(context, member, Mode { dry_run: true, complete })?;
    if let Some(path) = out {
        let record = context.store()?.plan(&report.plan).map_err(Failure::could_not)?;
        let plan = match record {
            Some(record) => read(&record)?,
            // one without steps is not kept
            None => Plan::new(member.clone(), Vec::new(), report.quarantine.clone(), 0),
        };
        save(&plan, path)?;
    }
    show(context, &report)?;
    Ok(Answer::Yes)
}

/// Runs once, or only plans.
pub fn go(context: &Context, member: &OdsCode, mode: Mode) -> Result<Answer, Failure> {
    let (report, interrupt) = once(context, member, mode)?;
    show(context, &report)?;
    Ok(match report.outcome {
        Outcome::Interrupted => interrupt.answer(),
        Outcome::Done | Outcome::Planned => Answer::Yes,
        Outcome::Held | Outcome::Partial | Outcome::GateClosed | Outcome::Paused => Answer::No,
    })
}

fn once(context: &Context, member: &OdsCode, mode: Mode) -> Result<(Report, Interrupt), Failure> {
    with_directory(context, member)?;
    if !mode.dry_run {
        paused(context, member)?;
    }
    // planning writes nothing to the national directory and needs no gateway
    if let Some(trouble) = trouble(context, !mode.dry_run)? {
        return Err(Failure::refused(trouble));
    }
    let syncer = syncer(context)?;
    let interrupt = Interrupt::heed(&syncer.hands.interruption)?;
    let turn = in_turn(context, member, async || syncer.sync(member, mode).await);
    let report = runtime()?.block_on(turn).map_err(|error| interrupt.failure(error))?;
    Ok((report, interrupt))
}

fn show(context: &Context, report: &Report) -> Result<(), Failure> {
    let officers = Officers::waiting(context, report.held.as_ref(), &report.trips)?;
    context.print(&Shown { report, officers }, |shown| told(shown.report, shown.officers.as_ref()))
}

/// A report, and how far the approval of what waits is.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    officers: Option<Officers>,
}

/// A report as people read it.
pub fn told(report: &Report, officers: Option<&Officers>) -> String {
    let counts = |counts: &std::collections::BTreeMap<crate::sync::terms::step::Action, u64>| {
        let words: Vec<String> =
            counts.iter().map(|(action, count)| format!("{count} {}", action.as_str())).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    };
    let pass = &report.pass;
    let kind = pass.because.as_deref().map_or("what changed".to_owned(), |why| format!("everything ({why})"));
    let mut text = format!(
        "{} {} at {}\nread {kind} from {}: {} objects, {} deleted{}\nplanned {}\ndone {}\n",
        report.member,
        report.outcome.as_str(),
        moment(report.ended_at),
        pass.controller,
        pass.objects,
        pass.deleted,
        if pass.unseen > 0 {
            format!(", {} no longer there though not told as deleted", pass.unseen)
        } else {
            String::new()
        },
        counts(&report.planned),
        counts(&report.executed.done),
    );
    match report.outcome {
        // nobody looked after the writes
        Outcome::Interrupted => text.push_str(&format!(
            "interrupted: {} steps are left; the same command goes on from there\n",
            report.remaining
        )),
        _ => text.push_str(&format!("published {}\n", report.published)),
    }
    if let Some(written) = report.written.as_ref().filter(|_| !report.executed.done.is_empty()) {
        text.push_str(&format!("written as plan {written}\n"));
        for later in &report.later {
            text.push_str(&format!("and then as plan {later}\n"));
        }
    }
    if let Some(pause) = &report.paused {
        text.push_str(&stopped(pause));
    }
    for trip in &report.trips {
        let approved = if report.approved { " (approved)" } else { "" };
        text.push_str(&format!("guard {}{approved}: {}\n", trip.guard.as_str(), trip.text));
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if let Some(held) = &report.held {
        let officers = officers.map(|officers| format!(": {}", officers.told())).unwrap_or_default();
        text.push_str(&format!("{} steps wait in plan {held}{officers}\n", report.held_steps));
    }
    for undone in report.executed.undone.iter().take(20) {
        text.push_str(&format!(
            "not done: {} {}: {}\n",
            undone.action.as_str(),
            undone.guid.as_deref().unwrap_or("-"),
            undone.text
        ));
    }
    for (reason, count) in report.quarantine_counts() {
        text.push_str(&format!("held back: {count} for {reason}\n"));
    }
    text
}
