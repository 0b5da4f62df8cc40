//! `portcullis policy activate`, `rollback`, `deactivate`, `active` and `history`: which set counts for the gateway.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::ambient::text::{printable, printable_lines};
use crate::app::in_force::{self, Origin, Taken};
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::policy::bundle::{Counts, packed, standings};
use crate::cli::policy::{folder, proven, sound};
use crate::cli::table::{moment, table};
use crate::policy::bundle::add;
use crate::policy::render::render;
use crate::policy::signature::{Standing, Verified};
use crate::store::error::StoreError;
use crate::store::packed::Packed;
use crate::store::record::{PolicyChange, PolicyStep};

/// Put a set in force. It must have no fault, its tests must hold, and enough officers must have signed it. The store keeps it, and the
/// configured folder is not read any more. A running gateway takes it within seconds, whole: no request is judged by half of it.
#[derive(Debug, Args)]
pub struct Activate {
    /// The bundle or folder.
    path: PathBuf,
    /// Why, for the audit.
    #[arg(long)]
    reason: String,
}

/// Put an earlier set in force again: the one before, or the one with this hash. It must still load with this program, and its signatures
/// must still be enough.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The hash, or its first 8 digits or more, as `policy history` lists it.
    hash: Option<String>,
    /// Why, for the audit.
    #[arg(long)]
    reason: String,
}

/// Go back to the folder of the configuration, which must hold a set that can be in force.
#[derive(Debug, Args)]
pub struct Deactivate {
    /// Why, for the audit.
    #[arg(long)]
    reason: String,
}

/// The fewest digits of a hash that name a set.
const DIGITS_MIN: usize = 8;

/// Puts a set in force.
pub fn activate(arguments: &Activate, context: &Context) -> Result<Answer, Failure> {
    given(&arguments.reason)?;
    let required = context.config()?.policy_signatures.as_ref();
    let taken = in_force::at(folder(Some(arguments.path.clone()), context)?, required);
    let taken = match proven(taken, context)? {
        Ok(taken) => taken,
        Err(answer) => return Ok(answer),
    };
    does_something(&taken)?;
    let counts = Counts::of(&taken);
    let verified = taken.verified.clone();
    let store = context.store()?.as_ref();
    let mut bundle = packed(taken)?;
    // who signed the same set before stays who signed it
    for kept in in_force::bundle(store, &counts.hash).map(|kept| kept.signatures).unwrap_or_default() {
        if !bundle.signatures.iter().any(|other| other.officer == kept.officer) {
            add(&mut bundle.signatures, kept);
        }
    }
    let kept = Packed::of(&bundle.encode().map_err(Failure::refused)?).map_err(Failure::could_not)?;
    let changes = store.policy_changes().map_err(Failure::could_not)?;
    let change =
        change(PolicyStep::Activate, Some(&counts.hash), &arguments.reason, Some(&verified), context);
    record(&changes, &change, Some(&kept), context)?;
    if let Some(earlier) =
        changes.iter().rev().skip(1).find(|earlier| earlier.hash.as_ref() == Some(&counts.hash))
    {
        context.note(format!(
            "this set was put in force before, on {}: others came after it, so make sure that it is the one you mean",
            moment(earlier.at)
        ));
    }
    let answer = json!({ "change": change, "set": counts, "signatures": verified });
    context.print(&answer, |_| {
        format!("activated {}\n{}\n{}\n{TAKEN}", counts.hash, counts.text(), standings(&verified))
    })?;
    Ok(Answer::Yes)
}

const TAKEN: &str =
    "a running gateway takes it within seconds; until `policy deactivate` the configured folder is not read";

/// Puts an earlier set in force again.
pub fn rollback(arguments: &Rollback, context: &Context) -> Result<Answer, Failure> {
    given(&arguments.reason)?;
    let store = context.store()?.as_ref();
    let changes = store.policy_changes().map_err(Failure::could_not)?;
    let hash = match &arguments.hash {
        Some(start) => named(&changes, start)?,
        None => before(&changes).ok_or_else(|| {
            Failure::refused("no set was activated before: `portcullis policy history` lists them")
        })?,
    };
    let mut change = change(PolicyStep::Rollback, Some(hash), &arguments.reason, None, context);
    let required = context.config()?.policy_signatures.as_ref();
    let taken = in_force::activated(change.clone(), store, required);
    let taken = match sound(taken, context)? {
        Ok(taken) => taken,
        Err(answer) => return Ok(answer),
    };
    does_something(&taken)?;
    change.signed_by = signers(&taken.verified);
    record(&changes, &change, None, context)?;
    let counts = Counts::of(&taken);
    let answer = json!({ "change": change, "set": counts, "signatures": taken.verified });
    context.print(&answer, |_| {
        format!("rolled back to {}\n{}\n{}\n{TAKEN}", counts.hash, counts.text(), standings(&taken.verified))
    })?;
    Ok(Answer::Yes)
}

/// Goes back to the folder.
pub fn deactivate(arguments: &Deactivate, context: &Context) -> Result<Answer, Failure> {
    given(&arguments.reason)?;
    let config = context.config()?;
    let changes = context.store()?.policy_changes().map_err(Failure::could_not)?;
    if changes.last().is_none_or(|change| change.hash.is_none()) {
        return Err(Failure::refused("no set is activated: the configured folder counts already"));
    }
    // without a good set every gate would be closed after a restart
    let taken = in_force::at(config.policies.clone(), config.policy_signatures.as_ref());
    let taken = match sound(taken, context)? {
        Ok(taken) => taken,
        Err(answer) => return Ok(answer),
    };
    does_something(&taken)?;
    let change = change(PolicyStep::Deactivate, None, &arguments.reason, None, context);
    record(&changes, &change, None, context)?;
    let counts = Counts::of(&taken);
    context.print(&json!({ "change": change, "from": taken.origin, "set": counts }), |_| {
        format!("the set in {} counts again: {}\n{}", taken.origin, counts.hash, counts.text())
    })?;
    Ok(Answer::Yes)
}

/// Says which set counts.
pub fn active(context: &Context) -> Result<Answer, Failure> {
    let taken = context.taken()?;
    let counts = Counts::of(&taken);
    let answer = json!({
        "origin": taken.origin, "set": counts, "signatures": taken.verified, "faults": taken.faults,
    });
    context.print_coloured(&answer, |_| {
        let mut out = printable_lines(&origin(&taken, context));
        if taken.faults.is_empty() {
            let text = format!("hash {}\n{}\n{}", counts.hash, counts.text(), standings(&taken.verified));
            out.push_str(&printable_lines(&text));
        } else {
            out.push_str("IT CANNOT BE IN FORCE: a running gateway keeps the last good set, and one that starts closes every gate\n");
            out.push_str(&render(&taken.faults, context.is_terminal()));
        }
        out
    })?;
    Ok(if taken.faults.is_empty() { Answer::Yes } else { Answer::No })
}

fn origin(taken: &Taken, context: &Context) -> String {
    match &taken.origin {
        Origin::Path { path } => format!("the set in {} counts; none is activated\n", path.display()),
        Origin::Activated { change } => {
            let folder = context.config().map(|config| config.policies.display().to_string());
            format!(
                "AN ACTIVATED SET COUNTS: {} is not read\nactivated {} by {}: {}\n",
                folder.unwrap_or_else(|_| "the configured folder".to_owned()),
                moment(change.at),
                printable(&change.actor),
                printable(&change.reason)
            )
        }
    }
}

/// One line of the history.
#[derive(Serialize)]
struct Line<'c> {
    counts: bool,
    #[serde(flatten)]
    change: &'c PolicyChange,
}

/// Lists the changes, newest first.
pub fn history(context: &Context) -> Result<Answer, Failure> {
    let changes = context.store()?.policy_changes().map_err(Failure::could_not)?;
    let newest = changes.len().checked_sub(1);
    let line = |(n, change)| Line { counts: Some(n) == newest, change };
    let lines: Vec<Line<'_>> = changes.iter().enumerate().rev().map(line).collect();
    context.print(&lines, |lines| {
        if lines.is_empty() {
            return "no set was ever activated: the configured folder counts".to_owned();
        }
        let row = |line: &Line<'_>| {
            let step = match line.change.step {
                PolicyStep::Activate => "activated",
                PolicyStep::Rollback => "rolled back to",
                PolicyStep::Deactivate => "deactivated",
            };
            let hash = line.change.hash.as_deref().unwrap_or("(the configured folder)");
            [
                if line.counts { "*" } else { "" }.to_owned(),
                moment(line.change.at),
                step.to_owned(),
                hash.to_owned(),
                line.change.actor.clone(),
                line.change.signed_by.join(", "),
                line.change.reason.clone(),
            ]
        };
        let rows: Vec<[String; 7]> = lines.iter().map(row).collect();
        table(["", "when", "what", "set", "by", "signed by", "why"], &rows)
    })?;
    Ok(Answer::Yes)
}

/// Whose signatures lie with the set.
fn signers(verified: &Verified) -> Vec<String> {
    let name = |one: &Standing| match verified.required {
        Some(_) => one.officer.clone(),
        None => format!("{} (not checked)", one.officer),
    };
    verified.signatures.iter().filter(|one| one.holds || verified.required.is_none()).map(name).collect()
}

fn change(
    step: PolicyStep,
    hash: Option<&str>,
    reason: &str,
    verified: Option<&Verified>,
    context: &Context,
) -> PolicyChange {
    PolicyChange {
        signed_by: verified.map(signers).unwrap_or_default(),
        step,
        hash: hash.map(str::to_owned),
        at: context.clock.now(),
        actor: context.actor.clone(),
        reason: reason.to_owned(),
    }
}

fn record(
    before: &[PolicyChange],
    change: &PolicyChange,
    set: Option<&Packed>,
    context: &Context,
) -> Result<(), Failure> {
    let action = match change.step {
        PolicyStep::Activate => "policy.activate",
        PolicyStep::Rollback => "policy.rollback",
        PolicyStep::Deactivate => "policy.deactivate",
    };
    let was = before.last().and_then(|change| change.hash.as_deref());
    let detail =
        json!({ "hash": change.hash, "before": was, "reason": change.reason, "signed_by": change.signed_by });
    let audit = context.audit(action, None, detail);
    let after = u64::try_from(before.len()).unwrap_or(u64::MAX);
    context.store()?.change_policy(after, change, set, &audit).map_err(|error| match error {
        StoreError::Conflict(_) => Failure::refused(error),
        error => Failure::could_not(error),
    })
}

/// What holds nobody against anything is not put in force.
fn does_something(taken: &Taken) -> Result<(), Failure> {
    match taken.idle() {
        Some(fault) => {
            Err(Failure::refused(format!("{}; {}", fault.message, fault.hint.unwrap_or_default())))
        }
        None => Ok(()),
    }
}

/// A change of what everybody is judged by has a reason.
fn given(reason: &str) -> Result<(), Failure> {
    match reason {
        empty if empty.trim().is_empty() => Err(Failure::refused("say why: --reason must not be empty")),
        text if text.chars().any(|c| c.is_control() && c != '\n') => {
            Err(Failure::refused("--reason has characters that cannot be seen: write it anew"))
        }
        _ => Ok(()),
    }
}

/// The one set that was in force once and whose hash begins so.
fn named<'c>(changes: &'c [PolicyChange], start: &str) -> Result<&'c str, Failure> {
    if start.len() < DIGITS_MIN {
        return Err(Failure::refused(format!("give at least {DIGITS_MIN} digits of the hash")));
    }
    let start = start.to_lowercase();
    let mut all: Vec<&str> = changes.iter().filter_map(|change| change.hash.as_deref()).collect();
    all.retain(|hash| hash.starts_with(&start));
    all.sort_unstable();
    all.dedup();
    match all.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::refused(format!(
            "no set with the hash {start} was ever activated: `portcullis policy history` lists them"
        ))),
        _ => Err(Failure::refused(format!("several sets begin with {start}: give more digits of the hash"))),
    }
}

/// The set that was in force before the one that is: further back with each rollback, whatever was rolled back from. After going back to
/// the folder it is the set that was left then.
fn before(changes: &[PolicyChange]) -> Option<&str> {
    let mut stack: Vec<&str> = Vec::new();
    for change in changes {
        let Some(hash) = change.hash.as_deref() else { continue };
        match stack.iter().rposition(|other| *other == hash) {
            Some(at) if change.step == PolicyStep::Rollback => stack.truncate(at + 1),
            _ if stack.last() == Some(&hash) => {}
            _ => stack.push(hash),
        }
    }
    if changes.last().is_some_and(|change| change.hash.is_some()) {
        stack.pop();
    }
    stack.pop()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn rolling_back_goes_further_back_each_time() {
        use PolicyStep::{Activate, Deactivate, Rollback};
        let at = datetime!(2026-11-24 12:00 UTC);
        let told = |steps: &[(PolicyStep, &str)]| {
            let one = |(step, hash): &(PolicyStep, &str)| PolicyChange {
                signed_by: Vec::new(),
                step: *step,
                hash: (*step != Deactivate).then(|| (*hash).to_owned()),
                at,
                actor: String::new(),
                reason: String::new(),
            };
            let changes: Vec<PolicyChange> = steps.iter().map(one).collect();
            before(&changes).map(str::to_owned)
        };
        let (a, b, c) = ((Activate, "a"), (Activate, "b"), (Activate, "c"));
        let (to_a, to_b, off) = ((Rollback, "a"), (Rollback, "b"), (Deactivate, ""));
        for (steps, expected) in [
            (&[][..], None),
            (&[a], None),
            (&[a, b], Some("a")),
            (&[a, b, b], Some("a")),
            (&[a, b, to_a], None),
            (&[a, b, c, to_b], Some("a")),
            (&[a, b, c, to_b, to_a], None),
            (&[a, b, c, to_a], None),
            (&[a, b, to_a, c], Some("a")),
            // the way back from a set that was in force twice is to what was between
            (&[a, b, a], Some("b")),
            (&[a, b, off], Some("b")),
            (&[a, off, b], Some("a")),
        ] {
            assert_eq!(told(steps).as_deref(), expected, "{steps:?}");
        }
    }

    #[test]
    fn a_set_is_named_by_enough_of_its_hash() {
        let change = |hash: &str| PolicyChange {
            signed_by: Vec::new(),
            step: PolicyStep::Activate,
            hash: Some(hash.to_owned()),
            at: datetime!(2026-11-24 12:00 UTC),
            actor: String::new(),
            reason: String::new(),
        };
        let changes = [change("aaaaaaaa1"), change("aaaaaaaa2"), change("bbbbbbbb"), change("bbbbbbbb")];
        assert_eq!(named(&changes, "BBBBBBBB").unwrap(), "bbbbbbbb");
        assert!(named(&changes, "bbbb").unwrap_err().message.contains("at least 8"));
        assert!(named(&changes, "aaaaaaaa").unwrap_err().message.contains("several"));
        assert!(named(&changes, "cccccccc").unwrap_err().message.contains("policy history"));
    }
}
