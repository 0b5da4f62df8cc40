//! `portcullis policy diff`: what two sets say differently.

use std::path::PathBuf;

use clap::Args;

use crate::ambient::text::printable;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::policy::{look, sound};
use crate::policy::diff::{Change, Changed, Difference, difference};

/// Say what NEW says differently from OLD: by control and value, not by line, and which controls a baseline judges that it did not, or not
/// any more. Values are compared exactly, each blank in them, too; where things stand in files, their order and remarks make no difference. The answer is no (exit code 1) when something differs.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder (or file) that is compared with.
    old: PathBuf,
    /// The new one; the set that counts for the gateway when left out.
    new: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: Arguments, context: &Context) -> Result<Answer, Failure> {
    let (old, new) = (look(Some(arguments.old), context)?, look(arguments.new, context)?);
    let mut sources = Vec::new();
    for one in [old, new] {
        let origin = one.origin.clone();
        match sound(one, context)? {
            Ok(taken) => sources.push(taken.sources),
            Err(_) => {
                return Err(Failure::could_not(format!("{origin} has faults: mend them before you compare")));
            }
        }
    }
    let [old, new] = sources.as_slice() else {
        return Err(Failure::could_not("there is nothing to compare"));
    };
    let found = difference(old, new);
    context.print(&found, |found| text(found))?;
    Ok(if found.is_empty() { Answer::Yes } else { Answer::No })
}

fn text(found: &[Difference]) -> String {
    if found.is_empty() {
        return "nothing differs".to_owned();
    }
    let mut out = String::new();
    for one in found {
        let change = match one.change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        };
        let title = one.title.as_deref().map(|title| format!(": {}", printable(title))).unwrap_or_default();
        out.push_str(&format!("{change} {} {}{title} ({})\n", one.kind, one.id, one.place));
        one.values.iter().for_each(|value| out.push_str(&line(value)));
        one.joins.iter().for_each(|control| out.push_str(&format!("  now judges {control}\n")));
        one.leaves.iter().for_each(|control| out.push_str(&format!("  does not judge {control} any more\n")));
    }
    out
}

fn line(value: &Changed) -> String {
    let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "(not written)".to_owned());
    let (before, after) = (side(&value.before), side(&value.after));
    const SHORT: usize = 60;
    let mut out = match before.chars().count() + after.chars().count() <= SHORT {
        true => format!("  {}: {before} -> {after}\n", value.key),
        false => format!("  {}:\n    - {before}\n    + {after}\n", value.key),
    };
    if !value.used_by.is_empty() {
        out.push_str(&format!("    used by {}\n", value.used_by.join(", ")));
    }
    out
}
