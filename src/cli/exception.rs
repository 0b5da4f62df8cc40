//! `portcullis exception`: controls set aside for one member, always with an end.

use clap::{Args, Subcommand};
use serde_json::json;
use time::{Date, Duration, OffsetDateTime, Time};

use crate::ambient::chance;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::standing;
use crate::cli::policy::control;
use crate::cli::table::{day, table};
use crate::policy::documents::Exceptions;
use crate::policy::terms::OdsCode;
use crate::store::audit::hex;
use crate::store::record::ExceptionRecord;

/// The longest that an exception may last, in days.
const LONGEST_DAYS: i64 = 366;

/// Exceptions.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List exceptions granted by command, ended and withdrawn ones too.
    List {
        /// Only this member's.
        member: Option<OdsCode>,
    },
    /// Set a control aside for a member until a day.
    Add(Box<Add>),
    /// End an exception now.
    Withdraw {
        /// Its id, as `exception list` shows it.
        id: String,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
}

/// A new exception.
#[derive(Debug, Args)]
pub struct Add {
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
    /// The officer who grants it.
    #[arg(long)]
    pub approver: String,
    /// The last day that it holds, as YYYY-MM-DD; at most a year away.
    #[arg(long, value_parser = date)]
    pub until: Date,
}

/// A day.
pub fn date(text: &str) -> Result<Date, String> {
    Date::parse(text, time::macros::format_description!("[year]-[month]-[day]"))
        .map_err(|_| format!("`{text}` is not a day: write YYYY-MM-DD"))
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::List { member } => {
            let store = context.store()?;
            let exceptions = store.exceptions(member.as_ref()).map_err(Failure::could_not)?;
            context.print(&exceptions, |exceptions| text(exceptions, context.clock.now()))?;
            Ok(Answer::Yes)
        }
        Command::Add(add) => grant(*add, context),
        Command::Withdraw { id, reason } => withdraw(&id, &reason, context),
    }
}

fn grant(add: Add, context: &Context) -> Result<Answer, Failure> {
    standing(context, &add.member)?;
    // one for a control that is not there would be granted in vain, and nobody would notice
    let set = context.policies()?;
    if control(&set, &add.control)?.exceptions == Exceptions::Forbidden {
        return Err(Failure::refused(format_args!(
            "the policy forbids exceptions for `{}`: what it finds has to be mended",
            add.control
        )));
    }
    let now = context.clock.now();
    let granted = context.store()?.exceptions(Some(&add.member)).map_err(Failure::could_not)?;
    let holds =
        |e: &&ExceptionRecord| e.control == add.control && e.withdrawn_at.is_none() && e.ends_at > now;
    if let Some(other) = granted.iter().find(holds) {
        return Err(Failure::refused(format_args!(
            "exception {} for {} and `{}` is in force until {}: withdraw it first (portcullis exception withdraw {} --reason ...)",
            other.id,
            add.member,
            add.control,
            day(other.ends_at - Duration::seconds(1)),
            other.id
        )));
    }
    let empty = [&add.owner, &add.reason, &add.compensating_control, &add.approver];
    if empty.iter().any(|text| text.trim().is_empty()) {
        return Err(Failure::refused(
            "owner, reason, compensating control and approver must each say something",
        ));
    }
    // the whole of the last day
    let ends_at = add.until.next_day().map(|day| day.with_time(Time::MIDNIGHT).assume_utc());
    let ends_at = ends_at.ok_or_else(|| Failure::refused("that day is out of range"))?;
    if ends_at <= now || ends_at > now + Duration::days(LONGEST_DAYS) {
        return Err(Failure::refused("an exception ends in the future, and within a year"));
    }
    let id = hex(&chance::bytes::<6>().map_err(Failure::could_not)?);
    let exception = ExceptionRecord {
        id,
        member: add.member,
        control: add.control,
        owner: add.owner,
        reason: add.reason,
        compensating_control: add.compensating_control,
        approver: add.approver,
        granted_at: now,
        ends_at,
        withdrawn_at: None,
    };
    keep(context, &exception, "exception.add", &exception.reason)
}

fn withdraw(id: &str, reason: &str, context: &Context) -> Result<Answer, Failure> {
    let all = context.store()?.exceptions(None).map_err(Failure::could_not)?;
    let found = all.into_iter().find(|exception| exception.id == id);
    let exception = found.ok_or_else(|| Failure::refused(format_args!("there is no exception {id}")))?;
    if exception.withdrawn_at.is_some() {
        return Err(Failure::refused(format_args!("exception {id} was withdrawn already")));
    }
    let exception = ExceptionRecord { withdrawn_at: Some(context.clock.now()), ..exception };
    keep(context, &exception, "exception.withdraw", reason)
}

fn keep(
    context: &Context,
    exception: &ExceptionRecord,
    action: &str,
    reason: &str,
) -> Result<Answer, Failure> {
    let detail = json!({
        "id": exception.id,
        "control": exception.control,
        "approver": exception.approver,
        "ends_at": day(exception.ends_at),
        "reason": reason,
    });
    let audit = context.audit(action, Some(&exception.member), detail);
    context.store()?.put_exception(exception, &audit).map_err(Failure::could_not)?;
    context.print(exception, |e| format!("exception {} for {} {}", e.id, e.member, e.control))?;
    Ok(Answer::Yes)
}

fn text(exceptions: &[ExceptionRecord], now: OffsetDateTime) -> String {
    if exceptions.is_empty() {
        return "no exceptions were granted by command; those in policy files are shown by `portcullis policy list`"
            .to_owned();
    }
    let rows: Vec<[String; 7]> = exceptions
        .iter()
        .map(|e| {
            let standing = match e.withdrawn_at {
                Some(_) => "withdrawn",
                None if e.ends_at <= now => "ended",
                None => "in force",
            };
            [
                e.id.clone(),
                e.member.to_string(),
                e.control.clone(),
                standing.to_owned(),
                day(e.ends_at - Duration::seconds(1)),
                e.approver.clone(),
                e.reason.clone(),
            ]
        })
        .collect();
    table(["id", "member", "control", "standing", "last day", "approver", "reason"], &rows)
}
