//! `portcullis sync undo`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::interrupt::Interrupt;
use crate::cli::sync::hands::{in_turn, runtime, syncer, trouble};
use crate::cli::sync::officers::Officers;
use crate::cli::sync::pause::{everybody_paused, holds, stopped};
use crate::cli::sync::publisher::{Publisher, gate, job};
use crate::policy::terms::OdsCode;
use crate::store::port::Store;
use crate::sync::hand::undo::Kept;
use crate::sync::hand::undoing::{Account, Asked, Ended, undo};
use crate::sync::running::report::Report;
use crate::sync::running::run::LAST_REPORT;
use crate::sync::terms::step::Action;

/// Entries that are named for one reason; `--json` has all.
const NAMED: usize = 5;
/// Steps that are listed one by one; `--json` has all.
const LISTED: usize = 20;

/// Undoes a plan, or shows what that would be.
pub fn go(context: &Context, hash: &str, reason: &str, dry_run: bool) -> Result<Answer, Failure> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Failure::refused("a reason is missing: say why with --reason TEXT"));
    }
    let member = member(context.store()?.as_ref(), hash)?;
    if !dry_run {
        everybody_paused(context, &member)?;
    }
    if let Some(trouble) = trouble(context, !dry_run)? {
        return Err(Failure::refused(trouble));
    }
    let syncer = syncer(context)?;
    let asked =
        Asked { plan: hash.to_owned(), by: context.actor.clone(), reason: reason.to_owned(), dry_run };
    let publisher = Publisher::of(context, &member)?;
    let gate = gate(context, &publisher, &syncer)?;
    let interrupt = Interrupt::heed(&syncer.hands.interruption)?;
    let work = async || {
        let job = job(&syncer, &member).await?;
        undo(&job, &syncer.hands, &asked, &gate).await
    };
    let done = runtime()?.block_on(in_turn(context, &member, work));
    let account = done.map_err(|error| interrupt.failure(error))?;
    let officers = Officers::waiting(context, account.held.as_ref(), &account.trips)?;
    context.print(&Shown { account: &account, officers, registers: publisher.registers() }, told)?;
    Ok(match account.outcome {
        Ended::Interrupted => interrupt.answer(),
        Ended::Undone | Ended::Planned => Answer::Yes,
        Ended::Partial | Ended::Held | Ended::GateClosed | Ended::Nothing => Answer::No,
    })
}

/// Whose plan it is.
fn member(store: &dyn Store, hash: &str) -> Result<OdsCode, Failure> {
    let Some(record) = store.plan(hash).map_err(Failure::could_not)? else {
        return Err(Failure::refused(
            "there is no plan with this hash: `portcullis sync status MEMBER` shows them",
        ));
    };
    // a guard may have held a part: then what was written has a hash of its own
    let last = store.sync_value(&record.member, LAST_REPORT).map_err(Failure::could_not)?;
    let last: Option<Report> = last.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let written = last.filter(|last| last.plan == hash).and_then(|last| last.written);
    match written.filter(|written| written != hash) {
        Some(written) => Err(Failure::refused(format!(
            "a guard held a part of this plan: what was written of it is plan {written}, undo that"
        ))),
        None => Ok(record.member),
    }
}

fn counts(counts: &BTreeMap<Action, u64>) -> String {
    let words: Vec<String> =
        counts.iter().map(|(action, count)| format!("{count} {}", action.as_str())).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// What was done, and how far the approval of what was not is.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    account: &'a Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    officers: Option<Officers>,
    #[serde(skip)]
    registers: bool,
}

fn told(Shown { account, officers, registers }: &Shown<'_>) -> String {
    let mut text = format!(
        "{} {}: plan {} had {} steps done\nto undo it: {}\ndone {}\n",
        account.member,
        account.outcome.as_str(),
        account.of,
        account.written,
        counts(&account.planned),
        counts(&account.executed.done),
    );
    let several = |text: &mut String, lines: Vec<String>| {
        for line in lines.iter().take(LISTED) {
            text.push_str(line);
            text.push('\n');
        }
        if lines.len() > LISTED {
            text.push_str(&format!("and {} more: --json has all\n", lines.len() - LISTED));
        }
    };
    let mut kept: BTreeMap<(&str, Action), Vec<&Kept>> = BTreeMap::new();
    for one in &account.kept {
        kept.entry((&one.text, one.action)).or_default().push(one);
    }
    let kept = kept.into_iter().map(|((why, action), all)| {
        let which: Vec<&str> = all.iter().take(NAMED).map(|one| one.dn.as_str()).collect();
        let more = all.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("not undone: {action} {}{more}: {why}", which.join("; "), action = action.as_str())
    });
    several(&mut text, kept.collect());
    several(&mut text, account.losses.iter().map(|loss| format!("does not come back: {loss}")).collect());
    let undone = account.executed.undone.iter();
    several(&mut text, undone.map(|one| format!("failed: {}: {}", one.action.as_str(), one.text)).collect());
    for trip in &account.trips {
        text.push_str(&format!("guard {}: {}\n", trip.guard.as_str(), trip.text));
    }
    if let Some(held) = &account.held {
        text.push_str(&format!(
            "{} steps wait in plan {held}{}: approve it (portcullis sync approve), then undo again\n",
            account.held_steps,
            officers.as_ref().map(|officers| format!(": {}", officers.told())).unwrap_or_default()
        ));
    }
    if account.outcome == Ended::Interrupted {
        text.push_str("interrupted: the same command goes on from there\n");
    }
    if let Some(pause) = &account.stopped {
        text.push_str(&stopped(pause));
    }
    if let Some(goes) = account.goes.as_ref().filter(|_| !account.executed.done.is_empty()) {
        text.push_str(&format!("to take this back: portcullis sync undo {goes} --reason TEXT\n"));
    }
    if let Some(pause) = &account.paused {
        let ended_by = pause.ended_by(&account.member);
        let then = if *registers {
            format!(
                "what is registered still says what was undone: have a mended table ready, then {ended_by}, and apply it at once"
            )
        } else {
            format!("the next run would do it all again: mend the member directory first, then {ended_by}")
        };
        text.push_str(&format!("{}\n{then}\n", holds(pause)));
    }
    text
}
