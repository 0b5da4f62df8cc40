//! `portcullis sync history`.

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::hands::known;
use crate::cli::table::{moment, table};
use crate::policy::terms::OdsCode;
use crate::sync::keeping::shelf::json;
use crate::sync::running::ledger::{HISTORY, Ran};

/// Shows how a member's past runs ended.
pub fn go(context: &Context, member: &OdsCode) -> Result<Answer, Failure> {
    known(context, member)?;
    let store = context.store()?.as_ref();
    let past: Vec<Ran> = json(store, member, HISTORY).map_err(Failure::could_not)?.unwrap_or_default();
    context.print(&past, |past| {
        if past.is_empty() {
            return "no run was recorded yet".to_owned();
        }
        let rows: Vec<[String; 7]> = past.iter().map(row).collect();
        table(["ended", "outcome", "read", "done", "not done", "waits", "held back"], &rows)
    })?;
    Ok(Answer::Yes)
}

fn row(ran: &Ran) -> [String; 7] {
    let done: Vec<String> =
        ran.done.iter().map(|(action, count)| format!("{count} {}", action.as_str())).collect();
    let outcome = match (&ran.error, ran.party) {
        (Some(error), Some(party)) => format!("{} ({party}): {error}", ran.outcome),
        _ => ran.outcome.clone(),
    };
    let read = match &ran.complete {
        Some(why) => format!("everything ({why}), {}", ran.objects),
        None => format!("{} changed", ran.objects),
    };
    [
        moment(ran.ended_at),
        outcome,
        if ran.error.is_some() && ran.objects == 0 { String::new() } else { read },
        if ran.through > 0 { format!("{} steps were through", ran.through) } else { done.join(", ") },
        ran.undone.to_string(),
        ran.held.to_string(),
        ran.quarantine.to_string(),
    ]
}
