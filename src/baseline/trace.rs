//! A verdict taken apart: every test of a control with what was found, for whoever asks why.

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::baseline::compile::{CompiledControl, CompiledRequirement};
use crate::baseline::facts::Facts;
use crate::baseline::predicate::{Lookup, OfMember, OfRecord, Predicate};
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
    /// Empty where records are counted or compared with each other.
    pub require: Vec<Step>,
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
    let mut trace = Trace::default();
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
