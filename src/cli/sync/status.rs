//! `portcullis sync status`.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::standing;
use crate::cli::sync::hands::read;
use crate::cli::sync::run::told;
use crate::cli::table::{moment, table};
use crate::policy::terms::OdsCode;
use crate::sync::pause::{Pause, Pauses};
use crate::sync::report::Report;
use crate::sync::run::LAST_REPORT;

/// What `status` answers.
#[derive(Debug, Serialize)]
struct Status {
    paused: Option<Pause>,
    last: Option<Report>,
    plans: Vec<Summary>,
}

/// A plan in a list.
#[derive(Debug, Serialize)]
struct Summary {
    plan: String,
    #[serde(with = "time::serde::rfc3339")]
    made_at: time::OffsetDateTime,
    state: String,
    steps: usize,
}

/// Shows how a member's last run went, and its plans.
pub fn status(context: &Context, member: &OdsCode) -> Result<Answer, Failure> {
    standing(context, member)?;
    let store = context.store()?;
    let last = store.sync_value(member, LAST_REPORT).map_err(Failure::could_not)?;
    let last: Option<Report> = last.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut plans = Vec::new();
    for record in store.plans(member, 20).map_err(Failure::could_not)? {
        let steps = read(&record)?.steps.len();
        plans.push(Summary { plan: record.hash, made_at: record.made_at, state: record.state, steps });
    }
    let paused = Pauses::read(store.as_ref()).map_err(Failure::could_not)?.of(member).cloned();
    context.print(&Status { paused, last, plans }, |status| {
        let rows: Vec<[String; 4]> = status
            .plans
            .iter()
            .map(|plan| [moment(plan.made_at), plan.state.clone(), plan.steps.to_string(), plan.plan.clone()])
            .collect();
        let last = status.last.as_ref().map_or_else(|| "never ran\n".to_owned(), told);
        let paused = status.paused.as_ref().map(|pause| pause_line(pause, member)).unwrap_or_default();
        format!("{paused}{last}\n{}", table(["made", "state", "steps", "plan"], &rows))
    })?;
    Ok(Answer::Yes)
}

/// A pause as people read it, with how it ends.
fn pause_line(pause: &Pause, member: &OdsCode) -> String {
    format!(
        "PAUSED{} since {} by {}: {}; end it: {}\n",
        if pause.everybody { " for every member" } else { "" },
        moment(pause.since),
        pause.by,
        pause.reason,
        pause.ended_by(member)
    )
}
