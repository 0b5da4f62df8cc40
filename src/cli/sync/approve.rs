//! `portcullis sync approve`.

use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::hands::read;
use crate::cli::sync::officers::{Officers, trips};
use crate::cli::table::{moment, table};
use crate::store::record::{Approval, same_person};
use crate::sync::hand::undoing;
use crate::sync::terms::step::Plan;

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
    let trips = trips(context, &record.member, hash)?;
    if let Some(blind) = trips.iter().flatten().find(|trip| trip.officers.is_none()) {
        return Err(Failure::refused(format!(
            "no approval helps here, it waits until that is mended: {}",
            blind.text
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
    let before = store.approvals(hash).map_err(Failure::could_not)?;
    let again = before
        .iter()
        .any(|one| same_person(&one.officer, &approval.officer) && one.at <= at && at < one.ends_at);
    store.put_approval(&approval, &audit).map_err(Failure::could_not)?;
    let officers = trips.map(|trips| Officers::of(context, hash, &trips)).transpose()?;
    context.print(&Shown { approval, again, officers }, told)?;
    Ok(Answer::Yes)
}

/// What was approved, and whether that is enough.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    approval: Approval,
    /// The same officer had approved it before.
    again: bool,
    /// None: what made it wait is not known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    officers: Option<Officers>,
}

fn told(Shown { approval, again, officers }: &Shown) -> String {
    let Approval { officer, plan, ends_at, .. } = approval;
    let mut text = format!("{officer} approved {plan} until {}\n", moment(*ends_at));
    if *again {
        text.push_str("the same officer had approved it already: that counts once\n");
    }
    match officers {
        Some(officers) if officers.missing() > 0 => {
            text.push_str(&format!("{}: another officer must approve it as well\n", officers.told()));
        }
        Some(officers) => text.push_str(&format!("{}: that is enough\n", officers.told())),
        None => {}
    }
    text
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
