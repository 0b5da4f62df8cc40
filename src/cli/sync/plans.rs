//! `portcullis sync show`, `diff` and the file of `plan --out`: plans as people read and hand them on.

use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::ambient::text::printable;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::output::replace_private;
use crate::cli::sync::hands::read;
use crate::sync::people::compare::{Difference, How, compare};
use crate::sync::terms::step::{Action, Change, Plan, Step};

/// The largest plan file that is read: half a million steps of a kibibyte each.
const PLAN_BYTES_MAX: u64 = 1 << 30;
/// The longest value that is shown whole.
const VALUE_CHARS: usize = 80;

/// The plan of a hash from the store, or of a file.
pub fn load(context: &Context, name: &str) -> Result<Plan, Failure> {
    let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash && !Path::new(name).exists() {
        let record = context.store()?.plan(name).map_err(Failure::could_not)?;
        return record.as_ref().map_or_else(
            || Err(Failure::refused(format!("there is no plan {name}: `portcullis sync status` shows them"))),
            read,
        );
    }
    let fail = |error: &dyn std::fmt::Display| Failure::could_not(format!("the plan file {name}: {error}"));
    let file = std::fs::File::open(name).map_err(|error| fail(&error))?;
    let mut bytes = Vec::new();
    file.take(PLAN_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| fail(&error))?;
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| fail(&error))?;
    if plan.is_sound() { Ok(plan) } else { Err(fail(&"its steps are not what its hash says")) }
}

/// Writes a plan to a file that only its owner reads: it names people.
pub fn save(plan: &Plan, path: &Path) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(plan).map_err(Failure::could_not)?;
    replace_private(path, |out| {
        out.write_all(&text)?;
        out.write_all(b"\n")
    })
}

/// What of a plan is shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Only steps of this kind: prepare, release, mark, modify, join, rename, create or delete. May be given several times.
    #[arg(long, value_parser = action)]
    action: Vec<Action>,
    /// Only steps whose entry, anchor or new name contains this text.
    #[arg(long)]
    entry: Option<String>,
}

fn action(text: &str) -> Result<Action, String> {
    Action::ALL.into_iter().find(|action| action.as_str() == text).ok_or_else(|| {
        let words = Action::ALL.map(Action::as_str).join(", ");
        format!("`{text}` is no kind of step: {words}")
    })
}

impl Filter {
    fn lets(&self, step: &Step) -> bool {
        let anchor = step.anchor.as_ref().map(ToString::to_string);
        let has = |text: &str| {
            let places = [Some(step.dn.as_str()), step.to.as_deref(), anchor.as_deref()];
            places.into_iter().flatten().any(|place| place.to_lowercase().contains(&text.to_lowercase()))
        };
        (self.action.is_empty() || self.action.contains(&step.action))
            && self.entry.as_deref().is_none_or(has)
    }
}

/// A plan with what is shown of it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    counts: std::collections::BTreeMap<Action, u64>,
}

/// Shows a plan, or some of its steps.
pub fn show(context: &Context, name: &str, filter: &Filter) -> Result<Answer, Failure> {
    let plan = load(context, name)?;
    let counts = plan.counts();
    // the hash stays that of the whole plan
    let mut part = plan.clone();
    part.steps.retain(|step| filter.lets(step));
    context.print(&Shown { plan: &part, counts }, |shown| text(shown, plan.steps.len()))?;
    Ok(Answer::Yes)
}

fn text(shown: &Shown<'_>, all: usize) -> String {
    let plan = shown.plan;
    let mut out = format!("plan {} of {}\n", plan.hash, plan.member);
    let counts: Vec<String> =
        shown.counts.iter().map(|(action, count)| format!("{count} {}", action.as_str())).collect();
    let counts = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    out.push_str(&format!(
        "{counts}; {} people in scope, {} held back\n",
        plan.people,
        plan.quarantine.len()
    ));
    if plan.steps.len() < all {
        out.push_str(&format!("shown: {} of {all} steps\n", plan.steps.len()));
    }
    for action in Action::ALL {
        let mut steps = plan.steps.iter().filter(|step| step.action == action).peekable();
        if steps.peek().is_some() {
            out.push_str(&format!("\n{}\n", action.as_str()));
        }
        for step in steps {
            out.push_str(&line(step));
        }
    }
    out
}

fn line(step: &Step) -> String {
    let to = step.to.as_ref().map(|to| format!(" -> {}", printable(to))).unwrap_or_default();
    let mut out = format!("  {}{to}: {}\n", printable(&step.dn), printable(&step.reason));
    // what goes with an entry is no news, and what a new one has stands there by itself
    for change in step.changes.iter().filter(|_| step.action != Action::Delete) {
        out.push_str(&format!("    {}\n", changed(change)));
    }
    out
}

fn changed(change: &Change) -> String {
    let side = |values: &[String]| {
        let text = printable(&values.join(" | "));
        match text.char_indices().nth(VALUE_CHARS) {
            Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
            None if text.is_empty() => "(none)".to_owned(),
            None => text,
        }
    };
    match change.before.is_empty() {
        true => format!("{}: {}", change.attribute, side(&change.after)),
        false => format!("{}: {} -> {}", change.attribute, side(&change.before), side(&change.after)),
    }
}

/// What two plans would do differently.
#[derive(Debug, Serialize)]
struct Compared {
    first: String,
    second: String,
    added: usize,
    dropped: usize,
    changed: usize,
    steps: Vec<Difference>,
}

/// Compares two plans; the answer is no when a step differs.
pub fn diff(context: &Context, first: &str, second: &str) -> Result<Answer, Failure> {
    let (first, second) = (load(context, first)?, load(context, second)?);
    if first.member != second.member {
        let (one, other) = (&first.member, &second.member);
        return Err(Failure::could_not(format!(
            "one plan is {one}'s, the other {other}'s: compare plans of one member"
        )));
    }
    let steps = compare(&first, &second);
    let count = |how: How| steps.iter().filter(|one| one.how == how).count();
    let compared = Compared {
        first: first.hash,
        second: second.hash,
        added: count(How::Added),
        dropped: count(How::Dropped),
        changed: count(How::Changed),
        steps,
    };
    let colour = context.is_terminal();
    context.print_coloured(&compared, |it| differences(it, colour))?;
    Ok(if compared.steps.is_empty() { Answer::Yes } else { Answer::No })
}

fn differences(compared: &Compared, colour: bool) -> String {
    let mut out =
        format!("{} added, {} dropped, {} changed\n", compared.added, compared.dropped, compared.changed);
    for one in &compared.steps {
        let (sign, code) = match one.how {
            How::Added => ('+', "32"),
            How::Dropped => ('-', "31"),
            How::Changed => ('~', "33"),
        };
        let mut text = format!("{sign} {}", one.step.action.as_str());
        text.push_str(&format!(" {}", line(&one.step).trim()));
        if let Some(before) = &one.before {
            let was: Vec<String> = before.changes.iter().map(changed).collect();
            let to = before.to.iter().map(|to| format!("to {}", printable(to)));
            let was: Vec<String> = to.chain(was).collect();
            text.push_str(&format!("\n    before: {}", was.join("; ")));
        }
        out.push_str(&if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m\n") } else { format!("{text}\n") });
    }
    out
}
