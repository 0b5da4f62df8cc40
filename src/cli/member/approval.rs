//! `portcullis member approve`: what it answers.

use serde::Serialize;

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
    let mut out = format!("{} {} is {}", member.ods, member.name, member.state);
    if outlook.is_clear() {
        return out;
    }
    let ods = &member.ods;
    match (&outlook.assessment, outlook.assessed_at) {
        (Some(assessment), Some(at)) => out.push_str(&format!(
            "\nBUT IT DOES NOT PASS: assessment {assessment} of {} keeps closed",
            moment(at)
        )),
        _ => out.push_str("\nBUT IT WAS NEVER ASSESSED: until it is, these stay closed"),
    }
    for closed in &outlook.stays_closed {
        out.push_str(&format!("\n  {}", closed.grant));
        for denial in &closed.denials {
            out.push_str(&format!("\n    {}", denial.reason));
        }
    }
    out.push_str(&format!("\nwhat to do: portcullis assess {ods} shows the fix of each; a gate opens by itself when nothing denies it"));
    out
}
