//! `portcullis member approve`: what it answers.

use serde::Serialize;

use crate::ambient::text::printable;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::refused;
use crate::cli::table::moment;
use crate::enrol::error::EnrolError;
use crate::enrol::outlook::{Outlook, outlook};
use crate::store::member::Member;

/// The member as it stands now, and what of it stays closed all the same.
#[derive(Debug, Serialize)]
struct Approved {
    #[serde(flatten)]
    member: Member,
    outlook: Outlook,
}

/// Prints where the member stands now and, loudly, which gates stay closed and why.
pub fn answer(context: &Context, done: Result<Member, EnrolError>) -> Result<Answer, Failure> {
    let member = done.map_err(refused)?;
    let outlook = outlook(context.store()?.as_ref(), &member.ods).map_err(refused)?;
    let answer = if outlook.is_clear() { Answer::Yes } else { Answer::DoneInVain };
    context.print(&Approved { member, outlook }, text)?;
    Ok(answer)
}

fn text(approved: &Approved) -> String {
    let (member, outlook) = (&approved.member, &approved.outlook);
    let ods = &member.ods;
    let standing = printable(&format!("{ods} {} is {}", member.name, member.state));
    if outlook.is_clear() {
        return standing;
    }
    let closed: Vec<&str> = outlook.stays_closed.iter().map(|closed| closed.grant.as_str()).collect();
    let closed = match closed.as_slice() {
        [one] => format!("{one} stays closed"),
        all => format!("{} stay closed", all.join(" and ")),
    };
    let mut lines = vec![standing];
    lines.push(match (&outlook.assessment, outlook.assessed_at) {
        (Some(assessment), Some(at)) => {
            format!("BUT IT DOES NOT PASS: {closed}, by assessment {assessment} of {}", moment(at))
        }
        _ => format!("BUT IT WAS NEVER ASSESSED: {closed} until it is"),
    });
    lines.extend(denials(outlook));
    lines.push(format!(
        "the fixes: portcullis assess {ods}; a gate opens by itself when nothing denies it any more"
    ));
    lines.join("\n")
}

/// Each denial once, with the grants that it denies.
fn denials(outlook: &Outlook) -> Vec<String> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for closed in &outlook.stays_closed {
        for denial in &closed.denials {
            let grant = closed.grant.as_str();
            match out.iter_mut().find(|(reason, _)| *reason == denial.reason) {
                Some((_, grants)) => grants.push(grant),
                None => out.push((&denial.reason, vec![grant])),
            }
        }
    }
    out.into_iter().map(|(reason, grants)| format!("  {}: {reason}", grants.join(" and "))).collect()
}
