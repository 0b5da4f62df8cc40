//! `portcullis sync approve`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::hands::read;
use crate::cli::table::{moment, table};
use crate::store::record::Approval;
use crate::sync::step::Plan;
use crate::sync::undoing;

/// Shows a plan, or approves it.
pub fn approve(context: &Context, hash: &str, reason: Option<&str>) -> Result<Answer, Failure> {
    let store = context.store()?;
    let Some(record) = store.plan(hash).map_err(Failure::could_not)? else {
        return Err(Failure::refused("there is no plan with this hash: `portcullis sync status` shows them"));
    };
    let plan = read(&record)?;
    let Some(reason) = reason.map(str::trim).filter(|reason| !reason.is_empty()) else {
        context.print(&plan, steps)?;
        return Ok(Answer::Yes);
    };
    if record.state != "held" && record.state != undoing::HELD {
        return Err(Failure::refused(format!(
            "the plan does not wait for an approval: it is {}",
            record.state
        )));
    }
    let at = context.clock.now();
    let lasts = time::Duration::seconds(i64::from(context.config()?.sync.approval_seconds));
    let approval = Approval {
        plan: hash.to_owned(),
        member: record.member.clone(),
        officer: context.actor.clone(),
        reason: reason.to_owned(),
        at,
        ends_at: at + lasts,
    };
    let detail = json!({"plan": hash, "steps": plan.steps.len(), "reason": reason});
    let audit = context.audit("sync.approve", Some(&record.member), detail);
    store.put_approval(&approval, &audit).map_err(Failure::could_not)?;
    context.print(&approval, |approval| {
        format!("{} approved {} until {}", approval.officer, approval.plan, moment(approval.ends_at))
    })?;
    Ok(Answer::Yes)
}

fn steps(plan: &Plan) -> String {
    let rows: Vec<[String; 4]> = plan
        .steps
        .iter()
        .map(|step| {
            let changed: Vec<&str> = step.changes.iter().map(|change| change.attribute.as_str()).collect();
            let what = step.to.clone().unwrap_or_else(|| changed.join(" "));
            [step.action.as_str().to_owned(), step.dn.clone(), what, step.reason.clone()]
        })
        .collect();
    format!("plan {}\n{}", plan.hash, table(["action", "entry", "what", "why"], &rows))
}
