//! `portcullis sync pause` and `resume`.

use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::hands::known;
use crate::cli::table::moment;
use crate::policy::terms::OdsCode;
use crate::sync::writing::pause::{PAUSED, Pause, Pauses, kept};

/// Whose sync is meant.
#[derive(Debug, Clone, clap::Args)]
pub struct Whose {
    /// The member.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    member: Option<OdsCode>,
    /// Every member, those that come later too.
    #[arg(long)]
    all: bool,
}

/// What holds after the command.
#[derive(Debug, Serialize)]
struct Answered {
    /// None: every member.
    member: Option<OdsCode>,
    /// The pause that holds now, for the member or for all.
    paused: Option<Pause>,
    /// Members that stay paused by themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still: Vec<OdsCode>,
}

/// Refuses to go on while a member is paused, saying who paused it, why, and how it ends.
pub fn paused(context: &Context, member: &OdsCode) -> Result<(), Failure> {
    pauses(context)?.of(member).map_or(Ok(()), |pause| refused(pause, member))
}

/// As [`paused`], while every member is: what pauses the member by itself goes on while only that member is paused.
pub fn everybody_paused(context: &Context, member: &OdsCode) -> Result<(), Failure> {
    pauses(context)?.all.map_or(Ok(()), |pause| refused(&pause, member))
}

/// What stopped a run or an undoing on its way.
pub fn stopped(pause: &Pause) -> String {
    let whom = if pause.everybody { "every member" } else { "it" };
    format!("stopped: {} paused {whom} at {}: {}\n", pause.by, moment(pause.since), pause.reason)
}

/// A pause that holds.
pub fn holds(pause: &Pause) -> String {
    let whom = if pause.everybody { " for every member" } else { "" };
    format!("PAUSED{whom} since {} by {}: {}", moment(pause.since), pause.by, pause.reason)
}

fn refused(pause: &Pause, member: &OdsCode) -> Result<(), Failure> {
    Err(Failure::refused(format!(
        "sync of {} is paused since {} by {}: {}; when it may go on: {}",
        if pause.everybody { "every member".to_owned() } else { member.to_string() },
        moment(pause.since),
        pause.by,
        pause.reason,
        pause.ended_by(member)
    )))
}

fn pauses(context: &Context) -> Result<Pauses, Failure> {
    Pauses::read(context.store()?.as_ref()).map_err(Failure::could_not)
}

fn reasoned(reason: &str) -> Result<&str, Failure> {
    match reason.trim() {
        "" => Err(Failure::refused("a reason is missing: say why with --reason TEXT")),
        reason => Ok(reason),
    }
}

/// Pauses a member, or all.
pub fn pause(context: &Context, whose: &Whose, reason: &str) -> Result<Answer, Failure> {
    let reason = reasoned(reason)?;
    if let Some(member) = &whose.member {
        known(context, member)?;
    }
    let pauses = pauses(context)?;
    let there = match &whose.member {
        Some(member) => pauses.members.get(member),
        None => pauses.all.as_ref(),
    };
    if let Some(pause) = there {
        return Err(Failure::refused(format!(
            "it is paused already, since {} by {}: {}",
            moment(pause.since),
            pause.by,
            pause.reason
        )));
    }
    let pause = Pause {
        by: context.actor.clone(),
        reason: reason.to_owned(),
        since: context.clock.now(),
        everybody: whose.all,
    };
    let audit =
        context.audit("sync.pause", whose.member.as_ref(), json!({"reason": reason, "all": whose.all}));
    let value = kept(&pause).map_err(Failure::could_not)?;
    let store = context.store()?;
    store.change_sync(whose.member.as_ref(), &[value], &audit).map_err(Failure::could_not)?;
    let answered = Answered { member: whose.member.clone(), paused: Some(pause), still: Vec::new() };
    context.print(&answered, told)?;
    Ok(Answer::Yes)
}

/// Ends a pause.
pub fn resume(context: &Context, whose: &Whose, reason: &str) -> Result<Answer, Failure> {
    let reason = reasoned(reason)?;
    let mut pauses = pauses(context)?;
    if let Some(member) = &whose.member {
        known(context, member)?;
    }
    let ended = match &whose.member {
        Some(member) => pauses.members.remove(member),
        None => pauses.all.take(),
    };
    let Some(ended) = ended else {
        return Err(Failure::refused(match (&whose.member, &pauses.all) {
            (Some(member), Some(_)) => format!(
                "{member} is not paused by itself: every member is; end that: portcullis sync resume --all --reason TEXT"
            ),
            (Some(member), None) => format!("sync of {member} is not paused"),
            (None, _) => {
                "no pause for every member holds: `portcullis sync status` shows those of members".to_owned()
            }
        }));
    };
    let detail = json!({
        "reason": reason, "all": whose.all, "paused_by": ended.by, "paused_since": ended.since.unix_timestamp()
    });
    let audit = context.audit("sync.resume", whose.member.as_ref(), detail);
    let store = context.store()?;
    store
        .change_sync(whose.member.as_ref(), &[(PAUSED.to_owned(), None)], &audit)
        .map_err(Failure::could_not)?;
    let still = if whose.all { pauses.members.into_keys().collect() } else { Vec::new() };
    let answered =
        Answered { member: whose.member.clone(), paused: pauses.all.filter(|_| !whose.all), still };
    context.print(&answered, told)?;
    // it was resumed and does not go on: that is probably not what was wanted
    Ok(if answered.paused.is_some() { Answer::DoneInVain } else { Answer::Yes })
}

fn told(answered: &Answered) -> String {
    let whom = answered.member.as_ref().map_or("every member".to_owned(), OdsCode::to_string);
    let mut text = match &answered.paused {
        None => format!("sync of {whom} goes on\n"),
        Some(pause) if pause.everybody && answered.member.is_some() => format!(
            "{whom} is not paused by itself any more, but every member is, since {} by {}: {}\n",
            moment(pause.since),
            pause.by,
            pause.reason
        ),
        Some(pause) => format!("sync of {whom} is paused by {}: {}\n", pause.by, pause.reason),
    };
    if !answered.still.is_empty() {
        let codes: Vec<&str> = answered.still.iter().map(OdsCode::as_str).collect();
        text.push_str(&format!("paused by themselves: {}\n", codes.join(", ")));
    }
    text
}
