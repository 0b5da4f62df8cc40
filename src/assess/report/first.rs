//! What to do first, so that the gates open.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::assess::report::count::open;
use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::policy::terms::{Grant, Severity};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Todo {
    /// A control fails: mend what it found.
    Fix,
    /// Controls could not be told: make readable what they ask for. They may fail then.
    MakeReadable,
    /// Controls could not be told because an attestation does not hold: the member signs a new one.
    Attest,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub todo: Todo,
    /// The control's title, or what is to be made readable.
    pub what: String,
    /// The control to mend, or every control that what is to be made readable leaves unknown.
    pub controls: Vec<String>,
    /// The heaviest of these controls.
    pub severity: Severity,
    /// The grants that it denies.
    pub denies: Vec<Grant>,
    /// Objects that were seen to offend and that no exception covers, 1 where the control is about the directory as a whole. Fewer
    /// will do where the control bears some; there may be more where not every record was read. None: cannot be told before it is
    /// readable.
    pub objects: Option<u64>,
    /// Why it could not be read; empty for a fix.
    pub cause: String,
    /// Grants that nothing of the assessment denies any more when this and everything before it is done.
    pub opens: Vec<Opens>,
}

/// A grant that a step opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Opens {
    pub grant: Grant,
    /// False: something of it is to be made readable, and opens the grant only if it holds then.
    pub certain: bool,
}

/// Every step, what opens a gate soonest first: a grant needs all of its denials mended and no other finding. Of one grant,
/// heaviest first, then what denies most grants, then what touches fewest objects.
pub fn first(assessment: &Assessment) -> Vec<Step> {
    let mut left = steps(assessment);
    let mut shut: Vec<Grant> = assessment
        .grants
        .iter()
        .filter(|(_, verdict)| !verdict.would_open)
        .map(|(grant, _)| *grant)
        .collect();
    let mut out: Vec<Step> = Vec::new();
    while let Some(next) = shut.iter().copied().min_by_key(|grant| distance(&left, *grant)) {
        shut.retain(|grant| *grant != next);
        let (mut mine, others): (Vec<Step>, Vec<Step>) =
            left.into_iter().partition(|step| step.denies.contains(&next));
        left = others;
        mine.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.controls.cmp(&b.controls)));
        out.extend(mine);
        let certain =
            out.iter().filter(|step| step.denies.contains(&next)).all(|step| step.todo == Todo::Fix);
        let last = out.iter_mut().rev().find(|step| step.denies.contains(&next));
        if let Some(step) = last {
            step.opens.push(Opens { grant: next, certain });
        }
    }
    out
}

/// How far a grant is from open: steps, then objects.
fn distance(left: &[Step], grant: Grant) -> (usize, u64) {
    let mine = left.iter().filter(|step| step.denies.contains(&grant));
    mine.fold((0, 0), |(steps, objects), step| (steps + 1, objects.saturating_add(step.objects.unwrap_or(1))))
}

/// What cannot be counted comes after what can.
fn key(step: &Step) -> (Reverse<Severity>, Reverse<usize>, u64) {
    (Reverse(step.severity), Reverse(step.denies.len()), step.objects.unwrap_or(u64::MAX))
}

/// One step for each failing control, and one for all controls that are unknown for one reason.
fn steps(assessment: &Assessment) -> Vec<Step> {
    let denying: BTreeSet<&str> = assessment
        .grants
        .values()
        .flat_map(|verdict| verdict.denials.iter().map(|denial| denial.control.as_str()))
        .collect();
    let mut out: Vec<Step> = Vec::new();
    for finding in assessment.findings.iter().filter(|f| denying.contains(f.control.as_str())) {
        let step = step(assessment, finding);
        let same = out
            .iter_mut()
            .find(|other| step.todo != Todo::Fix && other.todo == step.todo && alike(other, &step));
        match same {
            Some(other) => join(other, step),
            None => out.push(step),
        }
    }
    out
}

fn step(assessment: &Assessment, finding: &Finding) -> Step {
    let grants = assessment.grants.iter();
    let denies = grants.filter(|(_, v)| v.denials.iter().any(|d| d.control == finding.control));
    let unknown = finding.verdict == Verdict::Unknown;
    let first = finding.explanation.first().filter(|_| unknown);
    let todo = match first {
        Some(reason) if finding.stated.iter().any(|subject| reason.fact.starts_with(subject)) => Todo::Attest,
        _ if unknown => Todo::MakeReadable,
        _ => Todo::Fix,
    };
    Step {
        todo,
        what: first.map_or_else(|| finding.title.clone(), |reason| reason.fact.clone()),
        controls: vec![finding.control.clone()],
        severity: finding.severity,
        denies: denies.map(|(grant, _)| *grant).collect(),
        objects: (!unknown).then(|| open(finding).max(1)),
        cause: first.map(|reason| reason.found.clone()).unwrap_or_default(),
        opens: Vec::new(),
    }
}

/// Whether one cause keeps both from being told: the same record or collection, with the same words.
fn alike(a: &Step, b: &Step) -> bool {
    !a.cause.is_empty() && a.cause == b.cause && record(&a.what) == record(&b.what)
}

fn record(fact: &str) -> &str {
    fact.split('.').next().unwrap_or(fact)
}

fn join(into: &mut Step, other: Step) {
    if into.what != other.what {
        into.what = record(&into.what).to_owned();
    }
    into.controls.extend(other.controls);
    into.severity = into.severity.max(other.severity);
    let both: BTreeSet<Grant> = into.denies.iter().copied().chain(other.denies).collect();
    into.denies = both.into_iter().collect();
}

#[cfg(test)]
mod tests;
