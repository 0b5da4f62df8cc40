//! `portcullis sync resync`.

use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::hands::{failure, in_turn, runtime, syncer, with_directory};
use crate::cli::sync::run;
use crate::policy::terms::OdsCode;
use crate::sync::hand::resync::forget;
use crate::sync::keeping::job::Mode;
use crate::sync::writing::pause::{Pause, Pauses};

#[derive(Debug, Serialize)]
struct Forgotten {
    member: OdsCode,
    /// The next run waits for the end of this.
    paused: Option<Pause>,
}

/// Shows what a complete pass would change, or has the next run make one.
pub fn go(context: &Context, member: &OdsCode, reason: Option<&str>, bases: bool) -> Result<Answer, Failure> {
    let Some(reason) = reason else {
        let seen = run::go(context, member, Mode { dry_run: true, complete: true })?;
        context.note(format!(
            "nothing is forgotten yet: portcullis sync resync {member} --reason TEXT has the next run read everything"
        ));
        return Ok(seen);
    };
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Failure::refused("a reason is missing: say why with --reason TEXT"));
    }
    with_directory(context, member)?;
    let syncer = syncer(context)?;
    let audit = context.audit("sync.resync", Some(member), json!({"reason": reason, "bases": bases}));
    let work = async || forget(member, &syncer.hands, bases, audit.clone()).await;
    runtime()?.block_on(in_turn(context, member, work)).map_err(failure)?;
    let pauses = Pauses::read(context.store()?.as_ref()).map_err(Failure::could_not)?;
    let forgotten = Forgotten { member: member.clone(), paused: pauses.of(member).cloned() };
    context.print(&forgotten, |it| {
        let member = &it.member;
        let pause = it.paused.as_ref().map(|pause| format!("; it is paused: {}", pause.ended_by(member)));
        format!("the next run of {member} reads everything{}", pause.unwrap_or_default())
    })?;
    Ok(Answer::Yes)
}
