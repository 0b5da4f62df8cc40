//! The sentences of text and HTML reports.

use time::OffsetDateTime;

use crate::assess::report::closings::{Because, Closing};
use crate::assess::report::first::{Opens, Step, Todo};
use crate::assess::report::history::moment;
use crate::assess::report::page::{Page, Source};
use crate::assess::report::trend::{Change, Pair, Trend};
use crate::baseline::assessment::{Assessment, Denial, ExceptionNote, Finding, Stated};
use crate::baseline::attestation::{SOON, last_day};
use crate::policy::terms::Grant;

/// `lookup and sync`.
pub fn grants(grants: &[Grant]) -> String {
    let names: Vec<&str> = grants.iter().map(|grant| grant.as_str()).collect();
    names.join(" and ")
}

/// Who is believed to have made the evidence.
pub fn source(source: &Source) -> String {
    match source {
        Source::Measured => "measured for this report".to_owned(),
        Source::Verified { key } => format!("signature verified by key {key}"),
        Source::Unchecked => {
            "signature not checked: the evidence says what whoever gave it says (--verify)".to_owned()
        }
    }
}

/// Why there is little to see, before anything else.
pub const OBSTACLE: &str = "THE DIRECTORY COULD NOT BE READ";
/// What the rest of such a report is worth.
pub const OBSTACLE_BELOW: &str = "what follows is what can be told without a logon; the rest is unknown";

/// `3 objects`.
pub fn objects(count: u64) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
}

/// What to do, what it touches and what it denies.
pub fn step(step: &Step) -> String {
    let denied = grants(&step.denies);
    let first = step.controls.first().map(String::as_str).unwrap_or_default();
    let more = step.controls.len().saturating_sub(1);
    match step.todo {
        Todo::Fix => {
            let objects = objects(step.objects.unwrap_or(1));
            format!("fix {first} ({}): {}; touches {objects}, denies {denied}", step.severity, step.what)
        }
        Todo::MakeReadable | Todo::Attest => {
            let controls = if more == 0 { first.to_owned() } else { format!("{first} and {more} more") };
            let cause = &step.cause;
            if step.todo == Todo::Attest {
                let (what, severity) = (&step.what, step.severity);
                return format!(
                    "attest {what} anew ({severity}): {cause}; leaves {controls} unknown, denies {denied}"
                );
            }
            format!(
                "make readable {} ({}): {cause}; leaves {controls} unknown, denies {denied}",
                step.what, step.severity
            )
        }
    }
}

/// What a step opens; empty when it opens nothing by itself.
pub fn opens(opens: &[Opens]) -> String {
    let of = |certain: bool| {
        let mine: Vec<Grant> = opens.iter().filter(|o| o.certain == certain).map(|o| o.grant).collect();
        (!mine.is_empty()).then(|| grants(&mine))
    };
    let sure = of(true).map(|grants| format!("then nothing denies {grants}"));
    let unsure = of(false).map(|grants| format!("then nothing denies {grants}, if what is read then holds"));
    sure.into_iter().chain(unsure).collect::<Vec<_>>().join("; ")
}

/// What was not judged because nobody said what the organisation registers.
pub fn unregistered(options: &[&str]) -> String {
    format!(
        "without {} some controls judge nothing or cannot be told here, and may fail once the organisation has registered",
        options.join(", ")
    )
}

/// Over how many objects a control was judged; none where that says nothing.
pub fn judged(finding: &Finding) -> Option<String> {
    match finding.judged {
        0 => Some("nothing to judge".to_owned()),
        // or a control that is over no objects
        1 => None,
        many => Some(objects(many)),
    }
}

/// What is said of everything that rests on an attestation.
pub const STATED: &str = "stated by the member, not measured";

/// On which attestations a finding rests: those that the member made, and those that it did not make.
pub fn rests(finding: &Finding, assessment: &Assessment) -> Vec<String> {
    let made = |subject: &&str| assessment.attestations.iter().any(|a| a.subject == **subject);
    let (made, missing): (Vec<&str>, Vec<&str>) = finding.stated.iter().map(String::as_str).partition(made);
    [(STATED, made), ("for the member to attest, cannot be measured", missing)]
        .into_iter()
        .filter(|(_, subjects)| !subjects.is_empty())
        .map(|(what, subjects)| format!("{what}: {}", subjects.join(", ")))
        .collect()
}

/// An attestation in one line, as it stands at a time.
pub fn stated(it: &Stated, at: OffsetDateTime) -> String {
    let (until, key) = (last_day(it.until), it.key.get(..16).unwrap_or(&it.key));
    let soon = match it.until - at {
        left if it.problem.is_none() && left <= SOON => format!(", which is in {} days", left.whole_days()),
        _ => String::new(),
    };
    let key = match it.unregistered {
        true => format!("key {key}, WHICH WAS NOT CHECKED AGAINST A REGISTRATION"),
        false => format!("key {key}"),
    };
    let problem = it.problem.as_ref().map(|problem| format!(" DOES NOT HOLD: {problem}")).unwrap_or_default();
    format!("until {until}{soon}, by {}, signed on {} with {key}{problem}", it.by, it.signed_at.date())
}

/// An exception in one line, as it stands at a time: until when, who approved it, why.
pub fn set_aside(note: &ExceptionNote, at: OffsetDateTime) -> String {
    let soon = match note.until - at {
        left if left <= SOON => format!(", which is in {} days", left.whole_days()),
        _ => String::new(),
    };
    format!("until {}{soon}, by {}: {}", moment(note.until), note.approver, note.reason)
}

/// How long a denial is borne, for the line that tells it; empty when it denies now.
pub fn borne(page: &Page<'_>, grant: Grant, denial: &Denial) -> String {
    let mut dated = page.dated(&denial.control);
    let until = dated.find(|(closing, _)| closing.grant == grant && closing.because == Because::GraceEnds);
    until.map_or_else(String::new, |(_, until)| format!(", an open gate bears it until {}", moment(until)))
}

/// When a finding closes a gate.
pub fn closing(closing: &Closing, at: OffsetDateTime) -> String {
    let (grant, at) = (closing.grant, moment(at));
    match closing.because {
        Because::Denies | Because::GraceEnds => {
            format!("closes {grant} on {at}, when its grace ends, unless it is mended")
        }
        Because::Enforced => format!("closes {grant} on {at}, when it is enforced, unless it is mended"),
        Because::ExceptionEnds => {
            format!("denies {grant} again from {at} on, when the exception ends, unless it is mended")
        }
    }
}

/// The head of a trend: what is compared, and whose difference it may be.
pub fn compared(trend: &Trend, revision: &str) -> Vec<String> {
    let before = &trend.before;
    let mut out = vec![format!(
        "since assessment {} of {}: score {} to {}, maturity {} to {}",
        before.id,
        moment(before.assessed_at),
        trend.score.before,
        trend.score.now,
        trend.maturity.before,
        trend.maturity.now
    )];
    if trend.policy_changed {
        let from = match before.revision == revision {
            true => format!("within revision {revision}"),
            false => format!("from revision {} to {revision}", before.revision),
        };
        out.push(format!("the policies changed {from}: a difference may be theirs and not the member's"));
    }
    if trend.same_evidence {
        out.push("both were made from the same evidence: no difference is the member's".to_owned());
    }
    for (what, mine) in
        [("denied now", &trend.newly_denied), ("not denied any more", &trend.no_longer_denied)]
    {
        if !mine.is_empty() {
            out.push(format!("{what}: {}", grants(mine)));
        }
    }
    for shrunk in &trend.shrunk {
        let Pair { before, now } = shrunk.judged;
        let (first, more) = (shrunk.controls.first().map_or("", String::as_str), shrunk.controls.len() - 1);
        let others = if more == 0 { String::new() } else { format!(" and {more} more") };
        out.push(format!("MUCH LESS WAS JUDGED: {first}{others} over {} now, {before} before", objects(now)));
    }
    if !trend.newly_enforced.is_empty() {
        out.push(format!("decides now and did not before: {}", trend.newly_enforced.join(", ")));
    }
    out
}

/// One control that moved, and how.
pub fn change(change: &Change) -> String {
    let mut notes = Vec::new();
    match (change.verdict_before, change.verdict) {
        (None, _) => notes.push("was not asked before".to_owned()),
        (Some(before), Some(now)) if before != now => notes.push(format!("{before} before")),
        _ => {}
    }
    if let (Some(before), Some(now)) = (change.severity_before, change.severity)
        && before != now
    {
        notes.push(format!("{before} to {now}"));
    }
    if change.verdict_before.is_some() && change.offenders != change.offenders_before {
        let word = if change.offenders > change.offenders_before { "more" } else { "fewer" };
        notes.push(format!("{word} offenders: {} to {}", change.offenders_before, change.offenders));
    } else if change.offenders_appeared > 0 && change.verdict_before.is_some() {
        let (new, gone) = (change.offenders_appeared, change.offenders_gone);
        notes.push(format!("as many offenders, but {new} others than before ({gone} gone)"));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!("{}{notes}", change.control)
}
