//! `portcullis exception request`: what may be asked for.

use std::collections::BTreeSet;

use time::{Date, Duration, OffsetDateTime, Time};

use crate::ambient::chance;
use crate::assess::judge::compile;
use crate::baseline::facts::Evidence;
use crate::baseline::trace::{Which, trace};
use crate::cli::context::Context;
use crate::cli::exception::{Request, allowed, in_the_way, keep, person, says_something, wanted};
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::standing;
use crate::policy::documents::{Control, Requirement};
use crate::policy::set::PolicySet;
use crate::store::audit::hex;
use crate::store::member::Member;
use crate::store::record::{EXCEPTION_LONGEST, ExceptionRecord};

/// How far away the first day may be: long enough to follow one whose end is told of.
const AHEAD: Duration = Duration::days(90);
/// More records than this are no exception any more.
const OBJECTS_MAX: usize = 200;
/// The longest DN that is taken.
const OBJECT_CHARS_MAX: usize = 1_024;

/// Records a request.
pub fn run(request: Request, context: &Context) -> Result<Answer, Failure> {
    let member = standing(context, &request.member)?;
    let set = context.policies()?;
    let objects = objects(&request.objects)?;
    allowed(&set, &request.control, &objects)?;
    let asker = person(context)?;
    says_something(&[
        ("--owner", &request.owner),
        ("--reason", &request.reason),
        ("--compensating-control", &request.compensating_control),
    ])?;
    let now = context.clock.now();
    let (begins, ends_at) = span(request.from, request.until, now)?;
    let exception = ExceptionRecord {
        id: hex(&chance::bytes::<6>().map_err(Failure::could_not)?),
        member: request.member,
        control: request.control,
        objects,
        owner: request.owner,
        reason: request.reason,
        compensating_control: request.compensating_control,
        requested_by: Some(asker.to_owned()),
        requested_at: Some(now),
        approver: String::new(),
        approval_reason: None,
        granted_at: begins,
        ends_at,
        withdrawn_at: None,
        withdrawn_by: None,
        withdrawal_reason: None,
    };
    in_the_way(&set, &wanted(&exception, begins), None, context)?;
    let done = keep(context, &exception, None, "exception.request", &exception.reason)?;
    let unknown = nowhere(&exception, &member, &set, context)?;
    for object in &unknown {
        context.note(format!("no record of the latest evidence has the name or DN `{object}`: is it spelled as the report has it?"));
    }
    Ok(if unknown.is_empty() { done } else { Answer::DoneInVain })
}

/// From when until when it is to hold, the whole of the last day.
fn span(
    from: Option<Date>,
    until: Date,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), Failure> {
    let begins = match from {
        Some(day) if day > (now + AHEAD).date() || day < now.date() => {
            let (first, last) = (now.date(), (now + AHEAD).date());
            return Err(Failure::refused(format_args!("--from is a day from {first} to {last}")));
        }
        Some(day) => day.with_time(Time::MIDNIGHT).assume_utc().max(now),
        None => now,
    };
    let ends_at = until.next_day().map(|day| day.with_time(Time::MIDNIGHT).assume_utc());
    let first = begins.date().max(now.date().next_day().unwrap_or(Date::MAX));
    match ends_at.filter(|at| until >= first && *at <= begins + EXCEPTION_LONGEST) {
        Some(ends_at) => Ok((begins, ends_at)),
        None => {
            let last = (begins + EXCEPTION_LONGEST - Duration::DAY).date();
            Err(Failure::refused(format_args!(
                "an exception always ends: --until is a day from {first} to {last}"
            )))
        }
    }
}

/// Whether a control can be set aside for some of its records.
pub fn limited(control: &Control, objects: &[String]) -> Result<(), Failure> {
    let id = &control.id;
    if objects.is_empty() || (control.for_each.is_some() && !matches!(control.require, Requirement::Count(_)))
    {
        return Ok(());
    }
    Err(Failure::refused(format_args!(
        "`{id}` does not judge records one by one, so that none of them can be set aside: leave --object out to set aside all of it"
    )))
}

/// Each once, as given.
fn objects(given: &[String]) -> Result<Vec<String>, Failure> {
    let mut seen = BTreeSet::new();
    let mut objects: Vec<String> = given.iter().map(|object| object.trim().to_owned()).collect();
    objects.retain(|object| seen.insert(object.to_lowercase()));
    let wrong = |object: &String| object.is_empty() || object.chars().count() > OBJECT_CHARS_MAX;
    if objects.len() > OBJECTS_MAX || objects.iter().any(wrong) {
        return Err(Failure::refused(format_args!(
            "--object is a name or DN of 1 to {OBJECT_CHARS_MAX} characters, and {OBJECTS_MAX} may be given at most"
        )));
    }
    Ok(objects)
}

/// The objects that the latest evidence does not have, where there is any.
fn nowhere(
    exception: &ExceptionRecord,
    member: &Member,
    set: &PolicySet,
    context: &Context,
) -> Result<Vec<String>, Failure> {
    if exception.objects.is_empty() {
        return Ok(Vec::new());
    }
    let latest = context.store()?.latest_evidence(&member.ods).map_err(Failure::could_not)?;
    let evidence = latest.and_then(|record| Evidence::read(record.document.open()).ok());
    let compiled = compile(set, member.profile.as_deref(), &member.ods).ok();
    let control = compiled.as_ref().and_then(|c| c.controls.iter().find(|c| c.id == exception.control));
    let (Some(evidence), Some(control)) = (evidence, control) else { return Ok(Vec::new()) };
    let (facts, now) = (&evidence.facts, context.clock.now());
    let is_there = |object: &&String| trace(control, facts, now, Which::Called(object)).is_some();
    Ok(exception.objects.iter().filter(|object| !is_there(object)).cloned().collect())
}
