//! One control against facts, before exceptions: what holds, who offends, and why.

use time::OffsetDateTime;

use crate::baseline::compile::{CompiledControl, CompiledGrade, CompiledRequirement};
use crate::baseline::distinct::Index;
use crate::baseline::facts::{Collection, Fact, Facts};
use crate::baseline::predicate::{Check, Miss, OfMember, OfRecord, Test};
use crate::baseline::records::{BlockRef, RecordRef};
use crate::baseline::sweep::truths;
use crate::baseline::truth::Truth;
use crate::baseline::value::Value;
use crate::policy::documents::Tolerance;
use crate::policy::fault::Place;
use crate::policy::terms::Severity;

/// What a control says before exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// `None`: not applicable.
    pub truth: Option<Truth>,
    pub misses: Vec<Miss>,
    /// The first of those that fail.
    pub offenders: Vec<Offending>,
    /// How many fail, those that are set aside included.
    pub failing: u64,
    /// How many of them are set aside.
    pub set_aside: u64,
    /// Records that were judged; 1 without `for_each`.
    pub judged: u64,
    /// Records of which it cannot be told whether they are picked or hold.
    pub untold: u64,
    /// Each test on the number of records with what was found, those that hold, too; empty where nothing is counted.
    pub counted: Vec<Miss>,
    /// Raised by the grade.
    pub severity: Severity,
}

impl Judgement {
    /// A judgement that names nobody.
    fn of(control: &CompiledControl, truth: Option<Truth>, misses: Vec<Miss>) -> Judgement {
        Judgement {
            truth,
            misses,
            offenders: Vec::new(),
            failing: 0,
            set_aside: 0,
            judged: 0,
            untold: 0,
            counted: Vec::new(),
            severity: control.severity,
        }
    }
}

/// Which records an exception covers, and how many offenders are named.
pub struct Naming<'a> {
    /// Says of a record, by name and DN, whether an exception covers it.
    pub set_aside: &'a dyn Fn(&str, &str) -> bool,
    /// Offenders beyond are counted.
    pub most: usize,
}

/// A record that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offending {
    pub name: String,
    pub dn: String,
    pub found: String,
    pub set_aside: bool,
}

/// Judges one control.
pub fn judge(
    control: &CompiledControl,
    facts: &Facts,
    now: OffsetDateTime,
    naming: &Naming<'_>,
) -> Judgement {
    let mut when_misses = Vec::new();
    let when = control
        .when
        .as_ref()
        .map_or(Truth::True, |when| when.evaluate(&OfMember(facts), now, &mut when_misses));
    if when == Truth::False {
        return Judgement::of(control, None, Vec::new());
    }
    let mut out = match &control.for_each {
        None => single(control, facts, now),
        Some(name) => match facts.collections.get(name) {
            Some(collection) => several(control, facts, collection, now, naming),
            None => missing(control, name),
        },
    };
    if when == Truth::Unknown && out.truth != Some(Truth::True) {
        // whether it applies at all is not known: a failure would be a guess
        out.truth = Some(Truth::Unknown);
        out.misses.extend(when_misses);
    }
    out
}

fn single(control: &CompiledControl, facts: &Facts, now: OffsetDateTime) -> Judgement {
    let CompiledRequirement::Holds(require) = &control.require else { return missing(control, "") };
    let mut misses = Vec::new();
    let truth = require.evaluate(&OfMember(facts), now, &mut misses);
    let severity = graded(control, truth, |grade| facts.get(&grade.fact));
    Judgement { judged: 1, severity, ..Judgement::of(control, Some(truth), misses) }
}

fn missing(control: &CompiledControl, collection: &str) -> Judgement {
    let miss = Miss {
        fact: collection.to_owned(),
        found: "was not collected".into(),
        required: "a complete read".into(),
        place: Place::nowhere(),
        truth: Truth::Unknown,
    };
    Judgement::of(control, Some(Truth::Unknown), vec![miss])
}

fn graded(control: &CompiledControl, truth: Truth, fact: impl Fn(&CompiledGrade) -> Fact) -> Severity {
    let Some(grade) = control.grade.as_ref().filter(|_| truth == Truth::False) else {
        return control.severity;
    };
    let found = fact(grade);
    let step = found.known().and_then(|value| {
        grade.steps.iter().rev().find(|(bound, _)| same_kind(value, bound) && value > bound)
    });
    step.map_or(control.severity, |(_, severity)| *severity)
}

fn same_kind(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// Counts while records are judged.
#[derive(Default)]
struct Tally {
    /// Picked by `where` for certain.
    picked: u64,
    /// Whether `where` picks them is not known.
    maybe_picked: u64,
    /// Neither pass nor fail.
    unknown: u64,
    /// Fail, those that are set aside included.
    failing: u64,
    set_aside: u64,
    /// The first of them.
    offenders: Vec<Offending>,
    misses: Vec<Miss>,
    unknown_misses: Vec<Miss>,
    /// Each test on the number of records.
    counted: Vec<Miss>,
    worst: Option<Severity>,
}

fn several(
    control: &CompiledControl,
    facts: &Facts,
    collection: &Collection,
    now: OffsetDateTime,
    naming: &Naming<'_>,
) -> Judgement {
    let mut tally = Tally::default();
    let index = match &control.require {
        CompiledRequirement::Distinct(distinct) => {
            Index::of(distinct, control.filter.as_ref(), facts, &collection.records, now)
        }
        _ => Index::default(),
    };
    for block in collection.records.blocks() {
        sweep_block(control, facts, block, &index, now, naming, &mut tally);
    }
    let complete = collection.complete == Fact::Known(Value::Boolean(true));
    let failing = tally.failing - tally.set_aside;
    let truth = match &control.require {
        CompiledRequirement::Holds(_) | CompiledRequirement::Distinct(_) => {
            tolerated(&control.tolerate, failing, &tally, complete)
        }
        CompiledRequirement::Count(tests) => counted(tests, &mut tally, complete),
    };
    let mut misses = match truth {
        Truth::True => Vec::new(),
        Truth::False => tally.misses,
        Truth::Unknown => tally.unknown_misses,
    };
    if truth == Truth::Unknown && !complete {
        misses.push(incomplete(control, collection));
    }
    let severity =
        if truth == Truth::False { tally.worst.unwrap_or(control.severity) } else { control.severity };
    Judgement {
        truth: Some(truth),
        misses,
        offenders: tally.offenders,
        failing: tally.failing,
        set_aside: tally.set_aside,
        judged: tally.picked + tally.maybe_picked,
        untold: tally.unknown,
        counted: tally.counted,
        severity,
    }
}

fn incomplete(control: &CompiledControl, collection: &Collection) -> Miss {
    let found = match &collection.complete {
        Fact::Known(_) => "not every record was read".to_owned(),
        Fact::Failed(reason) | Fact::NotCollected(reason) => reason.clone(),
        Fact::Hidden => "our account may not read all of them".to_owned(),
        Fact::Absent => "whether every record was read is not known".to_owned(),
    };
    Miss {
        fact: format!("{}.complete", control.for_each.as_deref().unwrap_or_default()),
        found,
        required: "a complete read".into(),
        place: Place::nowhere(),
        truth: Truth::Unknown,
    }
}

/// Counts what is plain for the whole block, and looks at each record that is not.
fn sweep_block(
    control: &CompiledControl,
    facts: &Facts,
    block: BlockRef<'_>,
    index: &Index,
    now: OffsetDateTime,
    naming: &Naming<'_>,
    tally: &mut Tally,
) {
    let picked = control.filter.as_ref().map(|filter| truths(filter, facts, block, now));
    let picked = |row: usize| {
        picked.as_ref().map_or(Truth::True, |all| all.get(row).copied().unwrap_or(Truth::Unknown))
    };
    if (0..block.rows()).all(|row| picked(row) == Truth::False) {
        return;
    }
    let holds = match &control.require {
        CompiledRequirement::Holds(require) => Some(truths(require, facts, block, now)),
        CompiledRequirement::Count(_) | CompiledRequirement::Distinct(_) => None,
    };
    for row in 0..block.rows() {
        let is_picked = picked(row);
        let held = holds.as_ref().and_then(|all| all.get(row)) == Some(&Truth::True);
        match (is_picked, held) {
            (Truth::False, _) => {}
            (Truth::True, true) => tally.picked += 1,
            (Truth::Unknown, true) => tally.maybe_picked += 1,
            _ => {
                if let Some(record) = block.get(row) {
                    tally_record(control, OfRecord { facts, record }, index, now, naming, tally);
                }
            }
        }
    }
}

fn tally_record(
    control: &CompiledControl,
    lookup: OfRecord<'_>,
    index: &Index,
    now: OffsetDateTime,
    naming: &Naming<'_>,
    tally: &mut Tally,
) {
    let record = lookup.record;
    let mut misses = Vec::new();
    let picked = control.filter.as_ref().map_or(Truth::True, |f| f.evaluate(&lookup, now, &mut misses));
    match picked {
        Truth::False => return,
        Truth::True => tally.picked += 1,
        Truth::Unknown => tally.maybe_picked += 1,
    }
    let holds = match &control.require {
        CompiledRequirement::Holds(require) => require.evaluate(&lookup, now, &mut misses),
        // picked records are what is counted, and who is named when they are too many
        CompiledRequirement::Count(_) => Truth::False,
        CompiledRequirement::Distinct(distinct) => distinct.holds(record, picked, index, &mut misses),
    };
    // a record that is not picked does not have to hold
    let truth = picked.negate().or(holds);
    match truth {
        Truth::True => {}
        Truth::Unknown => {
            tally.unknown += 1;
            if tally.unknown_misses.is_empty() {
                tally.unknown_misses = misses.into_iter().filter(|m| m.truth == Truth::Unknown).collect();
            }
        }
        Truth::False => offend(control, &lookup, misses, naming, tally),
    }
}

/// Counts a record that fails, and names it while there is room.
fn offend(
    control: &CompiledControl,
    lookup: &OfRecord<'_>,
    mut misses: Vec<Miss>,
    naming: &Naming<'_>,
    tally: &mut Tally,
) {
    let OfRecord { facts, record } = *lookup;
    let (name, dn) = (label(record, "name"), label(record, "dn"));
    let set_aside = (naming.set_aside)(&name, &dn);
    tally.failing += 1;
    tally.set_aside += u64::from(set_aside);
    misses.retain(|m| m.truth == Truth::False);
    if !set_aside {
        let severity = control.grade.as_ref().map(|_| {
            graded(control, Truth::False, |grade| match &grade.in_record {
                Some(short) => record.fact(short).into_owned(),
                None => facts.get(&grade.fact),
            })
        });
        tally.worst = tally.worst.max(severity);
        if tally.misses.is_empty() {
            tally.misses.clone_from(&misses);
        }
    }
    if tally.offenders.len() < naming.most {
        let found: Vec<String> = misses.iter().map(|m| format!("{} {}", short(m), m.found)).collect();
        tally.offenders.push(Offending { name, dn, found: found.join(", "), set_aside });
    }
}

fn short(miss: &Miss) -> &str {
    miss.fact.rsplit('.').next().unwrap_or(&miss.fact)
}

fn label(record: RecordRef<'_>, fact: &str) -> String {
    match record.fact(fact).known() {
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// Whether so many failing records are borne.
fn tolerated(tolerance: &Tolerance, failing: u64, tally: &Tally, complete: bool) -> Truth {
    let share = |of: u64, hundredths: u32| of.saturating_mul(u64::from(hundredths)) / 10_000;
    let (least, most) = match tolerance {
        Tolerance::Count(count) => (*count, *count),
        Tolerance::Share(0) => (0, 0),
        // records that were not read would raise what is borne
        Tolerance::Share(s) if !complete => (share(tally.picked, *s), u64::MAX),
        Tolerance::Share(s) => (share(tally.picked, *s), share(tally.picked + tally.maybe_picked, *s)),
    };
    if failing > most {
        Truth::False
    } else if complete && failing + tally.unknown <= least {
        Truth::True
    } else {
        Truth::Unknown
    }
}

/// Tests on a number that lies between what was seen and what may be there.
fn counted(tests: &[Test], tally: &mut Tally, complete: bool) -> Truth {
    let low = i64::try_from(tally.picked).unwrap_or(i64::MAX);
    let high = if complete {
        low.saturating_add(i64::try_from(tally.maybe_picked).unwrap_or(i64::MAX))
    } else {
        i64::MAX
    };
    let (mut whole, mut too_many) = (Truth::True, false);
    tally.misses.clear();
    // why it is not known whether a record counts
    let why = std::mem::take(&mut tally.unknown_misses);
    for test in tests {
        let truth = between(&test.check, low, high);
        whole = whole.and(truth);
        too_many |= truth == Truth::False && most(&test.check).is_some_and(|most| low > most);
        let mut miss = test.miss(&Fact::integer(low), false, truth);
        if high != low {
            miss.found = format!("at least {low}");
        }
        tally.counted.push(miss.clone());
        match truth {
            Truth::True => {}
            Truth::False => tally.misses.push(miss),
            Truth::Unknown => tally.unknown_misses.push(miss),
        }
    }
    if !tally.unknown_misses.is_empty() {
        tally.unknown_misses.extend(why);
    }
    // where there are too few, or it cannot be told, nobody offends by being there
    if !too_many {
        (tally.failing, tally.set_aside) = (0, 0);
        tally.offenders.clear();
    }
    whole
}

/// The greatest number that a test bears; none: more never hurt.
fn most(check: &Check) -> Option<i64> {
    let number = |value: &Value| match value {
        Value::Integer(n) => Some(*n),
        _ => None,
    };
    match check {
        Check::AtMost(value) | Check::Is(value) | Check::Between(_, value) => number(value),
        Check::OneOf(values) => values.iter().filter_map(number).max(),
        _ => None,
    }
}

fn between(check: &Check, low: i64, high: i64) -> Truth {
    let decide = |surely: bool, possibly: bool| match (surely, possibly) {
        (true, _) => Truth::True,
        (false, true) => Truth::Unknown,
        (false, false) => Truth::False,
    };
    match check {
        Check::AtMost(Value::Integer(n)) => decide(high <= *n, low <= *n),
        Check::AtLeast(Value::Integer(n)) => decide(low >= *n, high >= *n),
        Check::Is(Value::Integer(n)) => decide(low == *n && high == *n, low <= *n && *n <= high),
        Check::IsNot(Value::Integer(n)) => decide(low == *n && high == *n, low <= *n && *n <= high).negate(),
        Check::Between(Value::Integer(a), Value::Integer(b)) => between(
            &Check::AtLeast(Value::Integer(*a)),
            low,
            high,
        )
        .and(between(&Check::AtMost(Value::Integer(*b)), low, high)),
        Check::OneOf(values) => values
            .iter()
            .fold(Truth::False, |truth, value| truth.or(between(&Check::Is(value.clone()), low, high))),
        Check::NoneOf(values) => between(&Check::OneOf(values.clone()), low, high).negate(),
        Check::Present => Truth::True,
        Check::Absent => Truth::False,
        _ => Truth::Unknown,
    }
}
