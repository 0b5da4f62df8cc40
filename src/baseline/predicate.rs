//! Conditions with their types checked, ready to be evaluated against facts.

use std::borrow::Cow;
use std::collections::BTreeSet;

use regex::Regex;
use time::OffsetDateTime;

use crate::baseline::facts::{Fact, Facts};
use crate::baseline::literal::Moment;
use crate::baseline::records::RecordRef;
use crate::baseline::truth::Truth;
use crate::baseline::value::{Element, Ladder, Type, Value, duration_text};
use crate::policy::fault::Place;

/// Conditions, nested.
#[derive(Debug, Clone)]
pub enum Predicate {
    All(Vec<Predicate>),
    Any(Vec<Predicate>),
    Not(Box<Predicate>),
    Test(Test),
}

/// One test on one fact.
#[derive(Debug, Clone)]
pub struct Test {
    /// Full name.
    pub fact: String,
    /// The short name when the fact is looked up in the record at hand; `None`: in the facts of the member.
    pub in_record: Option<String>,
    pub kind: Type,
    pub check: Check,
    pub at: Place,
}

/// What a test asks.
#[derive(Debug, Clone)]
pub enum Check {
    Is(Value),
    IsNot(Value),
    OneOf(Vec<Value>),
    NoneOf(Vec<Value>),
    AtLeast(Value),
    AtMost(Value),
    Between(Value, Value),
    Contains(BTreeSet<String>),
    ContainsAny(BTreeSet<String>),
    ContainsNone(BTreeSet<String>),
    SubsetOf(BTreeSet<String>),
    Matches(Regex),
    Present,
    Absent,
    Before(Moment),
    After(Moment),
    /// Seconds around the time of evaluation.
    Within(i64),
}

/// Why a test did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    pub fact: String,
    pub found: String,
    pub required: String,
    pub place: Place,
    pub truth: Truth,
}

/// Gives facts by full name, or by short name of the record at hand.
pub trait Lookup {
    /// The fact that a test asks for.
    fn fact(&self, test: &Test) -> Cow<'_, Fact>;
}

/// Facts of the member.
pub struct OfMember<'a>(pub &'a Facts);

impl Lookup for OfMember<'_> {
    fn fact(&self, test: &Test) -> Cow<'_, Fact> {
        Cow::Owned(self.0.get(&test.fact))
    }
}

/// Facts of a record, and those of its member.
#[derive(Clone, Copy)]
pub struct OfRecord<'a> {
    pub facts: &'a Facts,
    pub record: RecordRef<'a>,
}

impl Lookup for OfRecord<'_> {
    fn fact(&self, test: &Test) -> Cow<'_, Fact> {
        match &test.in_record {
            Some(short) => self.record.fact(short),
            None => Cow::Owned(self.facts.get(&test.fact)),
        }
    }
}

impl Predicate {
    /// Evaluates at `now`. What did not hold is added to `misses` unless the whole holds.
    pub fn evaluate(&self, facts: &impl Lookup, now: OffsetDateTime, misses: &mut Vec<Miss>) -> Truth {
        self.signed(facts, now, false, misses)
    }

    fn signed(
        &self,
        facts: &impl Lookup,
        now: OffsetDateTime,
        negated: bool,
        misses: &mut Vec<Miss>,
    ) -> Truth {
        match (self, negated) {
            (Predicate::Not(inner), _) => inner.signed(facts, now, !negated, misses),
            (Predicate::All(parts), false) | (Predicate::Any(parts), true) => parts
                .iter()
                .fold(Truth::True, |truth, part| truth.and(part.signed(facts, now, negated, misses))),
            (Predicate::Any(parts), false) | (Predicate::All(parts), true) => {
                let mut found = Vec::new();
                let truth = parts
                    .iter()
                    .fold(Truth::False, |truth, part| truth.or(part.signed(facts, now, negated, &mut found)));
                if truth != Truth::True {
                    misses.append(&mut found);
                }
                truth
            }
            (Predicate::Test(test), _) => {
                let fact = facts.fact(test);
                let plain = test.evaluate(&fact, now);
                let truth = if negated { plain.negate() } else { plain };
                if truth != Truth::True {
                    misses.push(test.miss(&fact, negated, truth));
                }
                truth
            }
        }
    }

    /// Calls `visit` for every test.
    pub fn each_test(&self, visit: &mut impl FnMut(&Test)) {
        match self {
            Predicate::All(parts) | Predicate::Any(parts) => parts.iter().for_each(|p| p.each_test(visit)),
            Predicate::Not(inner) => inner.each_test(visit),
            Predicate::Test(test) => visit(test),
        }
    }
}

impl Test {
    /// Evaluates against one fact.
    pub fn evaluate(&self, fact: &Fact, now: OffsetDateTime) -> Truth {
        match fact {
            Fact::Known(value) if self.kind.holds(value) => self.known(value, now),
            // a value of another type was not collected for this policy: it tells nothing
            Fact::Known(_) | Fact::Hidden | Fact::Failed(_) | Fact::NotCollected(_) => Truth::Unknown,
            Fact::Absent => self.absent(),
        }
    }

    /// An attribute with no value has none of the values asked for; as a set it is the empty set.
    fn absent(&self) -> Truth {
        let set = matches!(self.kind, Type::Set(_) | Type::Flags(_));
        Truth::from(match &self.check {
            Check::IsNot(_) | Check::NoneOf(_) | Check::ContainsNone(_) | Check::Absent => true,
            Check::SubsetOf(_) => set,
            Check::Contains(names) => set && names.is_empty(),
            _ => false,
        })
    }

    fn known(&self, value: &Value, now: OffsetDateTime) -> Truth {
        Truth::from(match &self.check {
            Check::Is(wanted) => same(value, wanted),
            Check::IsNot(wanted) => !same(value, wanted),
            Check::OneOf(wanted) => wanted.iter().any(|w| same(value, w)),
            Check::NoneOf(wanted) => !wanted.iter().any(|w| same(value, w)),
            Check::AtLeast(bound) => self.every(value, |v| rank(v, &self.kind) >= rank(bound, &self.kind)),
            Check::AtMost(bound) => self.every(value, |v| rank(v, &self.kind) <= rank(bound, &self.kind)),
            Check::Between(low, high) => self.every(value, |v| {
                let found = rank(v, &self.kind);
                rank(low, &self.kind) <= found && found <= rank(high, &self.kind)
            }),
            Check::Contains(names) => set_of(value).is_some_and(|set| names.is_subset(set)),
            Check::ContainsAny(names) => set_of(value).is_some_and(|set| !names.is_disjoint(set)),
            Check::ContainsNone(names) => set_of(value).is_some_and(|set| names.is_disjoint(set)),
            Check::SubsetOf(names) => set_of(value).is_some_and(|set| set.is_subset(names)),
            Check::Matches(pattern) => match set_of(value) {
                Some(set) => set.iter().any(|text| pattern.is_match(text)),
                None => text_of(value).is_some_and(|text| pattern.is_match(text)),
            },
            Check::Present => true,
            Check::Absent => false,
            Check::Before(moment) => instant_of(value).is_some_and(|at| at < moment.at(now)),
            Check::After(moment) => instant_of(value).is_some_and(|at| at > moment.at(now)),
            Check::Within(seconds) => {
                instant_of(value).is_some_and(|at| (at - now).whole_seconds().abs() <= *seconds)
            }
        })
    }

    /// Whether a bound holds for the value, or for every version of a set (which must not be empty).
    fn every(&self, value: &Value, holds: impl Fn(&Value) -> bool) -> bool {
        match value {
            Value::Set(names) => {
                !names.is_empty() && names.iter().all(|name| holds(&Value::Version(name.clone())))
            }
            other => holds(other),
        }
    }

    /// What a reader is told about a test that did not hold.
    pub fn miss(&self, fact: &Fact, negated: bool, truth: Truth) -> Miss {
        let required = self.check.text();
        Miss {
            fact: self.fact.clone(),
            found: self.found(fact),
            required: if negated { format!("not: {required}") } else { required },
            place: self.at.clone(),
            truth,
        }
    }

    /// What was found, as text.
    pub fn found(&self, fact: &Fact) -> String {
        match fact {
            Fact::Known(value) if self.kind.holds(value) => value.to_string(),
            Fact::Known(value) => format!("`{value}`, which is not of type {}", self.kind.name()),
            Fact::Absent => "not set".into(),
            Fact::Hidden => "our account may not read it".into(),
            Fact::Failed(reason) => format!("could not be read: {reason}"),
            Fact::NotCollected(reason) => format!("was not collected: {reason}"),
        }
    }
}

/// Whether two values are the same to a test: names and texts in any case.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Dn(a), Value::Dn(b)) | (Value::Text(a), Value::Text(b)) => {
            a.to_lowercase() == b.to_lowercase()
        }
        _ => a == b,
    }
}

/// A number that orders values of one type; `None` (lower than all) never meets a bound from above by itself because
/// `compile` allows bounds only on ordered types.
fn rank(value: &Value, kind: &Type) -> Option<i128> {
    match value {
        Value::Integer(n) | Value::Duration(n) | Value::Percent(n) => Some(i128::from(*n)),
        Value::Version(name) => {
            let ladder = match kind {
                Type::Version(ladder) | Type::Set(Element::Version(ladder)) => *ladder,
                _ => Ladder::Tls,
            };
            ladder.rank(name).and_then(|n| i128::try_from(n).ok())
        }
        Value::Instant(at) => Some(at.unix_timestamp_nanos()),
        _ => None,
    }
}

fn set_of(value: &Value) -> Option<&BTreeSet<String>> {
    match value {
        Value::Set(names) | Value::Flags(names) => Some(names),
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text)
        | Value::Dn(text)
        | Value::Word(text)
        | Value::Version(text)
        | Value::Sid(text)
        | Value::Guid(text) => Some(text),
        _ => None,
    }
}

fn instant_of(value: &Value) -> Option<OffsetDateTime> {
    match value {
        Value::Instant(at) => Some(*at),
        _ => None,
    }
}

impl Check {
    /// What is required, as text.
    pub fn text(&self) -> String {
        let list = |values: &[Value]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Check::Is(value) => value.to_string(),
            Check::IsNot(value) => format!("anything but {value}"),
            Check::OneOf(values) => format!("one of {}", list(values)),
            Check::NoneOf(values) => format!("none of {}", list(values)),
            Check::AtLeast(value) => format!("at least {value}"),
            Check::AtMost(value) => format!("at most {value}"),
            Check::Between(low, high) => format!("from {low} to {high}"),
            Check::Contains(set) => format!("contains {}", names(set)),
            Check::ContainsAny(set) => format!("contains one of {}", names(set)),
            Check::ContainsNone(set) => format!("contains none of {}", names(set)),
            Check::SubsetOf(set) if set.is_empty() => "nothing".into(),
            Check::SubsetOf(set) => format!("nothing but {}", names(set)),
            Check::Matches(pattern) => format!("matches {pattern}"),
            Check::Present => "set".into(),
            Check::Absent => "not set".into(),
            Check::Before(moment) => format!("before {}", moment_text(*moment)),
            Check::After(moment) => format!("after {}", moment_text(*moment)),
            Check::Within(seconds) => format!("within {} of now", duration_text(*seconds)),
        }
    }
}

fn moment_text(moment: Moment) -> String {
    match moment {
        Moment::Fixed(at) => Value::Instant(at).to_string(),
        Moment::FromNow(offset) => match offset.whole_seconds() {
            0 => "now".into(),
            seconds if seconds > 0 => format!("{} from now", duration_text(seconds)),
            seconds => format!("{} ago", duration_text(-seconds)),
        },
    }
}
