//! `portcullis exception`: controls set aside for one member, by two persons and always with an end.

mod list;
mod request;

use clap::{Args, Subcommand};
use serde_json::json;
use time::{Date, OffsetDateTime};

use crate::assess::exceptions::{self, Listed, Standing, Wanted};
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::standing;
use crate::cli::policy::control;
use crate::cli::table::{date, moment};
use crate::policy::documents::{Control, Exceptions};
use crate::policy::set::PolicySet;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::record::{EXCEPTION_LONGEST, ExceptionRecord, same_person};

/// Exceptions.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List exceptions that are requested or in force, those of policy files included.
    List {
        /// Only this member's.
        member: Option<OdsCode>,
        /// Those that ended, or were refused or withdrawn, too.
        #[arg(long)]
        all: bool,
    },
    /// Ask for a control to be set aside for a member until a day. Nothing is, before another officer approves it.
    ///
    /// Exit code 3: it was requested, but no record of the latest evidence has the name of an --object.
    Request(Box<Request>),
    /// Approve what another officer requested: from now until its end the control is set aside.
    Approve(Said),
    /// End a request that is not wanted.
    Refuse(Said),
    /// End an exception now, before its last day. The gate closes on what it set aside, without any grace.
    #[command(visible_alias = "withdraw")]
    Expire(Said),
    /// What one person did alone once; it says what to do instead.
    #[command(hide = true, disable_help_flag = true)]
    Add {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

/// What is asked for.
#[derive(Debug, Args)]
pub struct Request {
    pub member: OdsCode,
    /// The control's id.
    pub control: String,
    /// Who answers for it.
    #[arg(long)]
    pub owner: String,
    /// Why it is needed.
    #[arg(long)]
    pub reason: String,
    /// What is done instead.
    #[arg(long)]
    pub compensating_control: String,
    /// The first day that it holds, as YYYY-MM-DD, at most 90 days away: so that it follows one that ends. Without it, it holds from its
    /// approval on.
    #[arg(long, value_parser = date, value_name = "DAY")]
    pub from: Option<Date>,
    /// The last day that it holds, as YYYY-MM-DD: from tomorrow on, and at most a year from its first.
    #[arg(long, value_parser = date)]
    pub until: Date,
    /// The name or DN of a record that is set aside, as the report names it; may be given several times. Without it the whole
    /// control is.
    #[arg(long = "object", value_name = "NAME")]
    pub objects: Vec<String>,
}

/// One exception, and what is said of it.
#[derive(Debug, Args)]
pub struct Said {
    /// Its id, as `exception list` shows it.
    id: String,
    /// Why, for the audit.
    #[arg(long)]
    reason: String,
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::List { member, all } => list::run(member.as_ref(), all, context),
        Command::Request(request) => request::run(*request, context),
        Command::Approve(said) => approve(&said, context),
        Command::Refuse(said) => refuse(&said, context),
        Command::Expire(said) => expire(&said, context),
        Command::Add { .. } => Err(Failure::refused(
            "nobody sets a control aside alone any more: ask with `portcullis exception request MEMBER CONTROL ...`, then another \
             officer approves it with `portcullis exception approve ID --reason ...`",
        )),
    }
}

fn approve(said: &Said, context: &Context) -> Result<Answer, Failure> {
    let now = context.clock.now();
    let (record, listed) = found(&said.id, context)?;
    says_something(&[("--reason", &said.reason)])?;
    let (approver, id) = (person(context)?, &record.id);
    let asked = record.requested_by.as_deref().unwrap_or_default();
    match listed.standing {
        Standing::Requested => {}
        Standing::Ended if record.is_request() => {
            let message = format_args!("the last day of request {id} was {}: ask anew", listed.last_day);
            return Err(Failure::refused(message));
        }
        Standing::Refused => {
            return Err(Failure::refused(format_args!("request {id} was refused{}: ask anew", by(&record))));
        }
        _ => {
            let (by, told) = (&record.approver, listed.told(now));
            return Err(Failure::refused(format_args!(
                "exception {id} was approved already, by {by}; it is {told}"
            )));
        }
    }
    if same_person(asked, approver) {
        return Err(Failure::refused(format_args!(
            "{asked} asked for exception {id}: another officer approves it (--actor or PORTCULLIS_ACTOR says who you are)"
        )));
    }
    standing(context, &record.member)?;
    // the policies may have changed since it was asked for
    let set = context.policies()?;
    allowed(&set, &record.control, &record.objects)?;
    let begins = record.granted_at.max(now);
    if record.ends_at > begins + EXCEPTION_LONGEST {
        return Err(Failure::refused(
            "an exception ends within a year of its first day: ask anew, with an earlier last day",
        ));
    }
    in_the_way(&set, &wanted(&record, begins), Some(id), context)?;
    let approved = ExceptionRecord {
        approver: approver.to_owned(),
        approval_reason: Some(said.reason.clone()),
        granted_at: begins,
        ..record.clone()
    };
    keep(context, &approved, Some(&record), "exception.approve", &said.reason)
}

fn refuse(said: &Said, context: &Context) -> Result<Answer, Failure> {
    let (record, listed) = found(&said.id, context)?;
    let id = &record.id;
    match listed.standing {
        Standing::Requested => end(&record, "exception.refuse", said, context),
        Standing::Refused => {
            Err(Failure::refused(format_args!("request {id} was refused already{}", by(&record))))
        }
        Standing::Ended if record.is_request() => Err(Failure::refused(format_args!(
            "request {id} ended by itself: its last day was {}",
            listed.last_day
        ))),
        _ => Err(Failure::refused(format_args!(
            "exception {id} is no request any more; portcullis exception expire {id} --reason ... ends it"
        ))),
    }
}

fn expire(said: &Said, context: &Context) -> Result<Answer, Failure> {
    let (record, listed) = found(&said.id, context)?;
    let id = &record.id;
    match listed.standing {
        Standing::InForce | Standing::EndsSoon | Standing::Later | Standing::WithoutEffect => {
            end(&record, "exception.expire", said, context)
        }
        Standing::Requested => Err(Failure::refused(format_args!(
            "exception {id} is only requested; portcullis exception refuse {id} --reason ... ends the request"
        ))),
        Standing::Withdrawn => {
            Err(Failure::refused(format_args!("exception {id} was withdrawn already{}", by(&record))))
        }
        Standing::Refused | Standing::Ended => {
            let last = &listed.last_day;
            Err(Failure::refused(format_args!(
                "exception {id} is over: it was refused, or its last day was {last}"
            )))
        }
    }
}

fn end(record: &ExceptionRecord, action: &str, said: &Said, context: &Context) -> Result<Answer, Failure> {
    says_something(&[("--reason", &said.reason)])?;
    let ended = ExceptionRecord {
        withdrawn_at: Some(context.clock.now()),
        withdrawn_by: Some(context.actor.trim().to_owned()),
        withdrawal_reason: Some(said.reason.clone()),
        ..record.clone()
    };
    keep(context, &ended, Some(record), action, &said.reason)
}

/// ` on DAY by SOMEBODY`, of one that was withdrawn or refused.
fn by(record: &ExceptionRecord) -> String {
    let at = record.withdrawn_at.map(|at| format!(" on {}", moment(at))).unwrap_or_default();
    let by = record.withdrawn_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    format!("{at}{by}")
}

/// Who is asking; the two-person rule needs a name.
fn person(context: &Context) -> Result<&str, Failure> {
    let actor = context.actor.trim();
    if actor.is_empty() || same_person(actor, "unknown") {
        return Err(Failure::refused(
            "say who you are with --actor or PORTCULLIS_ACTOR: two persons are needed",
        ));
    }
    Ok(actor)
}

/// The exception with this id.
fn found(id: &str, context: &Context) -> Result<(ExceptionRecord, Listed), Failure> {
    let all = context.store()?.exceptions(None).map_err(Failure::could_not)?;
    let record = all.into_iter().find(|record| record.id == id.trim()).ok_or_else(|| {
        Failure::refused(format_args!(
            "there is no exception {id}; `portcullis exception list --all` shows all (those in policy files end with the file)"
        ))
    })?;
    // whether the policies forbid it, changes nothing about who may end it
    let listed = exceptions::of_record(&record, None, context.clock.now());
    Ok((record, listed))
}

fn wanted(record: &ExceptionRecord, from: OffsetDateTime) -> Wanted<'_> {
    let (member, control) = (&record.member, record.control.as_str());
    Wanted { member, control, objects: &record.objects, from, until: record.ends_at }
}

/// The control, when the policies let it be set aside, for these objects.
fn allowed<'s>(set: &'s PolicySet, id: &str, objects: &[String]) -> Result<&'s Control, Failure> {
    let control = control(set, id)?;
    if control.exceptions == Exceptions::Forbidden {
        return Err(Failure::refused(format_args!(
            "the policy forbids exceptions for `{id}`: what it finds has to be mended"
        )));
    }
    request::limited(control, objects)?;
    Ok(control)
}

/// Refuses where something else covers the same. Requests that wait are in the way of another request, not of their own approval.
fn in_the_way(
    set: &PolicySet,
    wanted: &Wanted<'_>,
    own: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    let records = context.store()?.exceptions(Some(wanted.member)).map_err(Failure::could_not)?;
    let all = exceptions::all(Some(set), &records, context.clock.now());
    let counts = |one: &&Listed| match one.standing {
        Standing::InForce | Standing::EndsSoon | Standing::Later => true,
        Standing::Requested => own.is_none(),
        _ => false,
    };
    let Some(other) =
        all.iter().filter(counts).find(|one| Some(one.id.as_str()) != own && one.overlaps(wanted))
    else {
        return Ok(());
    };
    let Listed { id, member, control, last_day, .. } = other;
    Err(Failure::refused(match (other.from_policy_file, other.standing) {
        (true, _) => format!(
            "the policies set `{control}` aside for {member} until {last_day} already, at {id}: let that end first, or change it there"
        ),
        (false, Standing::Requested) => format!(
            "exception {id} for {member} and `{control}` is requested already: approve it, or refuse it first (portcullis exception refuse \
             {id} --reason ...)"
        ),
        (false, _) => format!(
            "exception {id} for {member} and `{control}` holds from {} until {last_day}: ask for one that follows it with --from, or end it \
             first (portcullis exception expire {id} --reason ...)",
            other.from.date()
        ),
    }))
}

/// Refuses texts that say nothing, or too much for a line of a report.
fn says_something(texts: &[(&str, &str)]) -> Result<(), Failure> {
    const LONGEST: usize = 2_000;
    for (name, text) in texts {
        if text.trim().is_empty() || text.chars().count() > LONGEST {
            return Err(Failure::refused(format_args!(
                "{name} must say something, in {LONGEST} characters at most"
            )));
        }
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(Failure::refused(format_args!(
                "{name} has characters that cannot be seen: write it anew"
            )));
        }
    }
    Ok(())
}

fn keep(
    context: &Context,
    exception: &ExceptionRecord,
    before: Option<&ExceptionRecord>,
    action: &str,
    reason: &str,
) -> Result<Answer, Failure> {
    let listed = exceptions::of_record(exception, None, context.clock.now());
    let detail = json!({
        "id": exception.id,
        "control": exception.control,
        "objects": exception.objects,
        "requested_by": exception.requested_by,
        "approver": exception.approver,
        "from": moment(listed.from),
        "last_day": listed.last_day,
        "reason": reason,
    });
    let audit = context.audit(action, Some(&exception.member), detail);
    context.store()?.put_exception(exception, before, &audit).map_err(|error| match error {
        StoreError::Conflict(_) => Failure::refused(format_args!(
            "somebody else changed exception {} meanwhile: look at `portcullis exception list --all`",
            exception.id
        )),
        other => Failure::could_not(other),
    })?;
    context.print(&listed, done)?;
    Ok(Answer::Yes)
}

fn done(one: &Listed) -> String {
    let Listed { id, member, control, last_day, .. } = one;
    let what = match one.objects.len() {
        0 => format!("{member} and `{control}`"),
        n => format!("{member}, `{control}` and {n} of its records"),
    };
    match one.standing {
        Standing::Requested => format!(
            "exception {id} for {what} until {last_day} is requested and sets nothing aside yet\nanother officer approves it: portcullis \
             exception approve {id} --reason ..."
        ),
        Standing::Later => {
            format!(
                "exception {id} for {what} is approved: it holds from {} until {last_day}",
                one.from.date()
            )
        }
        Standing::Refused => format!("the request {id} for {what} is refused"),
        Standing::Withdrawn => format!("exception {id} for {what} is ended"),
        _ => format!("exception {id} for {what} is in force until {last_day}"),
    }
}
