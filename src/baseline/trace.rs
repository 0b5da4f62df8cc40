//! A verdict taken apart: every test of a control with what was found, for whoever asks why.

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::baseline::compile::{CompiledControl, CompiledRequirement};
use crate::baseline::facts::Facts;
use crate::baseline::judge::{Naming, judge};
use crate::baseline::predicate::{Lookup, Miss, OfMember, OfRecord, Predicate};
use crate::baseline::records::RecordRef;
use crate::baseline::truth::Truth;
use crate::policy::fault::Place;

/// One line: a test, or the word that joins the deeper lines below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub depth: usize,
    #[serde(serialize_with = "word")]
    pub truth: Truth,
    /// `all of`, `any of`, `not`, or the fact that is tested.
    pub what: String,
    /// What was found, when it is a test.
    pub found: Option<String>,
    pub required: Option<String>,
    pub place: Option<Place>,
}

fn word<S: Serializer>(truth: &Truth, serializer: S) -> Result<S::Ok, S::Error> {
    match truth {
        Truth::True => serializer.serialize_bool(true),
        Truth::False => serializer.serialize_bool(false),
        Truth::Unknown => serializer.serialize_str("unknown"),
    }
}

/// Of one control.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// Whether it applies; empty: always.
    pub when: Vec<Step>,
    /// The record that is taken apart, by name and DN.
    pub object: Option<(String, String)>,
    /// Whether the record is picked; empty: every record is.
    pub filter: Vec<Step>,
    /// Of the record; where records are counted, of their number; empty where they are compared with each other.
    pub require: Vec<Step>,
    /// Records of which it cannot be told whether they are picked or hold.
    pub untold: u64,
}

/// Which record to take apart.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The most telling: the first that fails, else one that could not be told, else the first that is picked.
    Telling,
    /// The one of this name or DN, in any case.
    Called(&'a str),
}

/// Takes a control apart. None: there is no such record.
pub fn trace(
    control: &CompiledControl,
    facts: &Facts,
    now: OffsetDateTime,
    which: Which<'_>,
) -> Option<Trace> {
    let member = OfMember(facts);
    let judged = judge(control, facts, now, &Naming { set_aside: &|_, _| false, most: 0 });
    let require = judged.counted.into_iter().map(counted).collect();
    let mut trace = Trace { untold: judged.untold, require, ..Trace::default() };
    if let Some(when) = &control.when {
        walk(when, &member, now, 0, &mut trace.when);
    }
    let require = match &control.require {
        CompiledRequirement::Holds(require) => Some(require),
        _ => None,
    };
    let Some(collection) = control.for_each.as_ref() else {
        if let Some(require) = require {
            walk(require, &member, now, 0, &mut trace.require);
        }
        return Some(trace);
    };
    let records = facts.collections.get(collection).map(|collection| &collection.records);
    let found = records.and_then(|records| match which {
        Which::Telling => {
            records.iter().filter_map(|r| Some((told(control, facts, r, now)?, r))).min_by_key(|(t, _)| *t)
        }
        Which::Called(name) => records.iter().find(|r| is_called(*r, name)).map(|r| (0, r)),
    });
    let Some((_, record)) = found else {
        return matches!(which, Which::Telling).then_some(trace);
    };
    let lookup = OfRecord { facts, record };
    trace.object = Some((label(record, "name"), label(record, "dn")));
    if let Some(filter) = &control.filter {
        walk(filter, &lookup, now, 0, &mut trace.filter);
    }
    if let Some(require) = require {
        walk(require, &lookup, now, 0, &mut trace.require);
    }
    Some(trace)
}

/// A test on the number of records.
fn counted(test: Miss) -> Step {
    Step {
        depth: 0,
        truth: test.truth,
        what: test.fact,
        found: Some(test.found),
        required: Some(test.required),
        place: Some(test.place),
    }
}

/// How telling a record is, the least first; none: it is not picked.
fn told(control: &CompiledControl, facts: &Facts, record: RecordRef<'_>, now: OffsetDateTime) -> Option<u8> {
    let (lookup, mut unheard) = (OfRecord { facts, record }, Vec::new());
    let mut evaluate = |predicate: &Predicate| predicate.evaluate(&lookup, now, &mut unheard);
    let picked = control.filter.as_ref().map_or(Truth::True, &mut evaluate);
    let holds = match &control.require {
        CompiledRequirement::Holds(require) => evaluate(require),
        _ => Truth::True,
    };
    match (picked, picked.negate().or(holds)) {
        (Truth::False, _) => None,
        (_, Truth::False) => Some(0),
        (_, Truth::Unknown) => Some(1),
        (_, Truth::True) => Some(2),
    }
}

fn is_called(record: RecordRef<'_>, name: &str) -> bool {
    ["name", "dn"].iter().any(|fact| label(record, fact).to_lowercase() == name.to_lowercase())
}

fn label(record: RecordRef<'_>, fact: &str) -> String {
    record.fact(fact).known().map(ToString::to_string).unwrap_or_default()
}

fn walk(
    predicate: &Predicate,
    facts: &impl Lookup,
    now: OffsetDateTime,
    depth: usize,
    out: &mut Vec<Step>,
) -> Truth {
    if let Predicate::Test(test) = predicate {
        let fact = facts.fact(test);
        let truth = test.evaluate(&fact, now);
        out.push(Step {
            depth,
            truth,
            what: test.fact.clone(),
            found: Some(test.found(&fact)),
            required: Some(test.check.text()),
            place: Some(test.at.clone()),
        });
        return truth;
    }
    let (what, parts, neutral) = match predicate {
        Predicate::Any(parts) => ("any of", parts.as_slice(), Truth::False),
        Predicate::Not(inner) => ("not", std::slice::from_ref(&**inner), Truth::True),
        Predicate::All(parts) => ("all of", parts.as_slice(), Truth::True),
        Predicate::Test(_) => return Truth::Unknown,
    };
    // a word that joins one part only says nothing
    if let ([only], "all of" | "any of") = (parts, what) {
        return walk(only, facts, now, depth, out);
    }
    let at = out.len();
    out.push(Step { depth, truth: neutral, what: what.to_owned(), found: None, required: None, place: None });
    let truth = parts.iter().fold(neutral, |truth, part| {
        let one = walk(part, facts, now, depth + 1, out);
        match what {
            "any of" => truth.or(one),
            "not" => one.negate(),
            _ => truth.and(one),
        }
    });
    if let Some(step) = out.get_mut(at) {
        step.truth = truth;
    }
    truth
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::compile::Compiled;
    use crate::baseline::facts::{Collection, Fact, Record};
    use crate::policy::set::PolicySet;
    use crate::policy::source::Source;

    const POLICY: &str = r#"
kind: Baseline
id: x
title: X
owner: o
revision: 1
stage: enforce
include: [x.yaml]
grants: { lookup: { deny_on: critical }, sync: { deny_on: critical } }
evidence_valid_for: 24h
---
kind: Facts
facts:
  - name: users
    read: { base: "{domain}", scope: subtree }
    attributes: { enabled: { from: userAccountControl, type: no_flag, flag: 0x2 } }
---
kind: Controls
controls:
  - { id: some, title: T, severity: low, for_each: users, where: { enabled: true }, count: { at_least: 2 }, why: w, fix: f }
  - { id: few, title: T, severity: low, for_each: users, where: { enabled: true }, count: { at_most: 1 }, why: w, fix: f }
"#;

    /// Truth, what was found, who offends and how many could not be told, of a control over these users.
    fn counted(control: &str, enabled: &[Fact]) -> (Truth, String, Vec<String>, u64) {
        let (set, faults) = PolicySet::from_sources(&[Source::inline("x.yaml", POLICY)]);
        assert_eq!(faults, []);
        let compiled = Compiled::compile(&set, "x", None).unwrap();
        let control = compiled.controls.iter().find(|c| c.id == control).unwrap();
        let user = |(n, enabled): (usize, &Fact)| {
            Record::from([
                ("name".to_owned(), Fact::text(format!("u{n}"))),
                ("enabled".to_owned(), enabled.clone()),
            ])
        };
        let records = enabled.iter().enumerate().map(user).collect();
        let mut facts = Facts::default();
        let users = Collection { records, complete: Fact::boolean(true) };
        facts.collections.insert("users".to_owned(), users);
        let naming = Naming { set_aside: &|_, _| false, most: 10 };
        let judged = judge(control, &facts, OffsetDateTime::UNIX_EPOCH, &naming);
        let names: Vec<String> = judged.offenders.into_iter().map(|o| o.name).collect();
        assert_eq!(judged.failing, u64::try_from(names.len()).unwrap());
        let trace = trace(control, &facts, OffsetDateTime::UNIX_EPOCH, Which::Telling).unwrap();
        let [step] = trace.require.as_slice() else { panic!("{trace:?}") };
        assert_eq!((step.what.as_str(), Some(step.truth)), ("users.count", judged.truth));
        (step.truth, step.found.clone().unwrap(), names, trace.untold)
    }

    #[test]
    fn a_count_is_shown_and_nobody_offends_where_there_are_too_few() {
        let (yes, no, hidden) = (Fact::boolean(true), Fact::boolean(false), Fact::Hidden);
        let found = |n: &str| n.to_owned();
        let one = [yes.clone(), no];
        assert_eq!(counted("some", &one), (Truth::False, found("1"), vec![], 0));
        assert_eq!(counted("few", &one), (Truth::True, found("1"), vec![], 0));
        let two = [yes.clone(), yes.clone()];
        assert_eq!(counted("some", &two), (Truth::True, found("2"), vec![], 0));
        assert_eq!(counted("few", &two), (Truth::False, found("2"), vec![found("u0"), found("u1")], 0));
        let perhaps = [yes, hidden];
        assert_eq!(counted("some", &perhaps), (Truth::Unknown, found("at least 1"), vec![], 1));
        assert_eq!(counted("few", &perhaps), (Truth::Unknown, found("at least 1"), vec![], 1));
    }
}
