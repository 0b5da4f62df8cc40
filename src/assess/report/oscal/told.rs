//! What is said of one finding, in words, for whom.

use crate::assess::report::count::failing;
use crate::assess::report::history::moment;
use crate::assess::report::oscal::identity::{code, line, markup};
use crate::assess::report::oscal::model::Relevant;
use crate::assess::report::oscal::pseudonym::Pseudonyms;
use crate::assess::report::words::{grants, objects};
use crate::baseline::assessment::{ExceptionNote, Finding, Verdict};
use crate::policy::terms::Grant;

/// Explanations and offenders of each finding that a document names, or has hashes of; the rest is counted.
pub const NAMED: usize = 50;

/// Who reads a document.
#[derive(Debug, Clone, Copy)]
pub enum Audience<'a> {
    /// The member itself: everything.
    Member,
    /// Everybody with national duties: counts and keyed hashes.
    Nation(&'a Pseudonyms),
}

impl Audience<'_> {
    /// Whether names and values may be told.
    pub fn is_member(&self) -> bool {
        matches!(self, Audience::Member)
    }

    /// One word, so that documents for others have other identifiers.
    pub fn as_str(&self) -> &'static str {
        if self.is_member() { "member" } else { "national" }
    }
}

/// What was seen, and whether it was measured at all.
pub fn seen(finding: &Finding) -> String {
    match (finding.stated.is_empty(), finding.verdict) {
        (true, _) => found(finding),
        (false, Verdict::Pass) => format!("{} Stated by the member, not measured.", found(finding)),
        (false, _) => {
            format!("{} It rests on what the member attests, not on a measurement.", found(finding))
        }
    }
}

fn found(finding: &Finding) -> String {
    let count = failing(finding);
    let offend = format!("{count} of {} offend.", objects(finding.judged));
    match finding.verdict {
        Verdict::Pass if finding.judged > 1 => format!("Holds for {}.", objects(finding.judged)),
        Verdict::Pass => "Holds.".to_owned(),
        Verdict::Fail if count > 0 => offend,
        Verdict::Fail => "Does not hold.".to_owned(),
        Verdict::Unknown if count > 0 => format!("Could not be told. {offend}"),
        Verdict::Unknown => "Could not be told.".to_owned(),
        Verdict::NotApplicable => {
            "Does not apply to this directory: neither satisfied nor not satisfied.".to_owned()
        }
        Verdict::Excepted if count > 0 => format!("{offend} Set aside by an exception."),
        Verdict::Excepted => "Does not hold or could not be told. Set aside by an exception.".to_owned(),
    }
}

/// What decided.
pub fn decided(finding: &Finding, audience: Audience<'_>) -> String {
    match finding.explanation.first().filter(|_| audience.is_member()) {
        Some(first) => {
            let text = format!("{}: found {}, required {}.", first.fact, first.found, first.required);
            format!("{} {}", seen(finding), markup(&text))
        }
        None => seen(finding),
    }
}

/// What keeps a finding from being satisfied when it does not plainly fail.
pub fn other(finding: &Finding, audience: Audience<'_>) -> Option<String> {
    match finding.verdict {
        Verdict::Unknown => Some(
            "It could not be told whether it holds. What is unknown is never taken for satisfied.".to_owned(),
        ),
        Verdict::Excepted => Some(match &finding.exception {
            Some(note) => format!("{} It is not mended.", exception(note, audience)),
            None => "An exception is in force. It is not mended.".to_owned(),
        }),
        Verdict::Pass | Verdict::Fail | Verdict::NotApplicable => None,
    }
}

fn exception(note: &ExceptionNote, audience: Audience<'_>) -> String {
    let until = moment(note.until);
    if !audience.is_member() {
        return format!("An exception is in force until {until}.");
    }
    let (approver, owner, reason) = (markup(&note.approver), markup(&note.owner), markup(&note.reason));
    format!("An exception is in force until {until}, granted by {approver} to {owner}: {reason}")
}

/// What follows for the grants.
pub fn follows(finding: &Finding, denied: &[Grant], audience: Audience<'_>) -> String {
    let denies = match denied {
        [] => "Denies nothing now.".to_owned(),
        denied => format!("Denies {}, at once or after a grace.", grants(denied)),
    };
    match other(finding, audience) {
        Some(other) => format!("{other} {denies}"),
        None => denies,
    }
}

/// How to mend it; none when the policies do not say.
pub fn fix(finding: &Finding) -> Option<String> {
    (!finding.fix.trim().is_empty()).then(|| code(&finding.fix))
}

/// What decided, and who offends: for the member alone.
pub fn details(finding: &Finding) -> Vec<Relevant> {
    let relevant = |description: String, from: &str| Relevant {
        href: None,
        description: markup(&description),
        props: Vec::new(),
        remarks: (!from.is_empty()).then(|| markup(from)),
    };
    let reasons = finding.explanation.iter().take(NAMED).map(|reason| {
        let (fact, found, required) = (&reason.fact, line(&reason.found), line(&reason.required));
        relevant(format!("{fact}: found {found}, required {required}"), &reason.provenance)
    });
    let offenders = finding.offenders.iter().take(NAMED).map(|offender| {
        let place = if offender.dn.is_empty() { &offender.name } else { &offender.dn };
        let name = match place.contains(offender.name.as_str()) {
            true => String::new(),
            false => format!(", {}", offender.name),
        };
        let excepted = if offender.excepted { ", set aside" } else { "" };
        relevant(format!("{}: {}{excepted}", line(&format!("{place}{name}")), line(&offender.found)), "")
    });
    reasons.chain(offenders).collect()
}
