//! `portcullis exception list`: all exceptions in one table, whether a command or a policy file made them.

use crate::assess::exceptions::{self, Listed, Standing};
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::standing;
use crate::cli::table::table;
use crate::policy::terms::OdsCode;

/// Names of objects that a line shows; JSON has all.
const OBJECTS_SHOWN: usize = 3;

/// Lists them.
pub fn run(member: Option<&OdsCode>, everything: bool, context: &Context) -> Result<Answer, Failure> {
    if let Some(member) = member {
        standing(context, member)?;
    }
    let records = context.store()?.exceptions(member).map_err(Failure::could_not)?;
    let taken = context.taken()?;
    if !taken.faults.is_empty() {
        context.note(
            "the policies have faults: exceptions in them are not shown; run `portcullis policy active`",
        );
    }
    let now = context.clock.now();
    let mut listed = exceptions::all(taken.faults.is_empty().then_some(&taken.set), &records, now);
    listed.retain(|one| member.is_none_or(|member| one.member == *member));
    listed.retain(|one| everything || !one.standing.is_over());
    context.print(&listed, |listed| {
        if listed.is_empty() {
            let none = if everything { "no exceptions" } else { "no exceptions are requested or in force" };
            return format!("{none}; `portcullis exception request` asks for one");
        }
        let rows: Vec<[String; 9]> = listed.iter().map(|one| row(one, one.told(now))).collect();
        table(
            [
                "id",
                "member",
                "control",
                "objects",
                "standing",
                "last day",
                "asked by",
                "approved by",
                "reason",
            ],
            &rows,
        )
    })?;
    Ok(Answer::Yes)
}

fn row(one: &Listed, told: String) -> [String; 9] {
    let asked = match (&one.requested_by, one.from_policy_file) {
        (Some(asked), _) => asked.clone(),
        (None, true) => "policy file".to_owned(),
        (None, false) => String::new(),
    };
    let reason = match (one.standing, &one.withdrawal_reason) {
        (Standing::Refused | Standing::Withdrawn, Some(why)) => format!("{} ({}: {why})", one.reason, told),
        _ => one.reason.clone(),
    };
    [
        one.id.clone(),
        one.member.to_string(),
        one.control.clone(),
        objects(&one.objects),
        told,
        one.last_day.clone(),
        asked,
        one.approver.clone().unwrap_or_default(),
        reason,
    ]
}

fn objects(objects: &[String]) -> String {
    let shown: Vec<&str> = objects.iter().take(OBJECTS_SHOWN).map(String::as_str).collect();
    match objects.len().saturating_sub(OBJECTS_SHOWN) {
        _ if objects.is_empty() => "all".to_owned(),
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}
