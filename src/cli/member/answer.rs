//! What the commands of the group share.

use crate::ambient::text::printable;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::enrol::error::EnrolError;
use crate::enrol::run::By;
use crate::policy::terms::OdsCode;
use crate::store::member::Member;

/// The person at the keyboard, now.
pub fn by<'a>(context: &'a Context, reason: &'a str) -> By<'a> {
    By { actor: &context.actor, reason, now: context.clock.now() }
}

/// Prints where the member stands now, or ends the command as the failed step demands.
pub fn answer(context: &Context, done: Result<Member, EnrolError>) -> Result<Answer, Failure> {
    let member = done.map_err(refused)?;
    context
        .print(&member, |member| printable(&format!("{} {} is {}", member.ods, member.name, member.state)))?;
    Ok(Answer::Yes)
}

/// The member, or a refusal that says how to see those that are there.
pub fn standing(context: &Context, ods: &OdsCode) -> Result<Member, Failure> {
    let member = context.store()?.member(ods).map_err(Failure::could_not)?;
    member.ok_or_else(|| Failure::refused(EnrolError::NoMember(ods.clone())))
}

/// How a failed step ends a command: refused, or could not run.
pub fn refused(error: EnrolError) -> Failure {
    match error {
        EnrolError::Store(error) => Failure::could_not(error),
        other => Failure::refused(other),
    }
}
