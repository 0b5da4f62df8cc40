//! Conditions that can never hold, or that say nothing: a control that always fails or always passes was not meant.

use regex::Regex;

use crate::baseline::predicate::{Check, Predicate, Test, same};
use crate::baseline::value::{Type, Value};
use crate::policy::fault::Fault;

/// Texts that have nothing in common: a pattern that matches all of them matches whatever there is.
const ANY_TEXT: [&str; 6] = ["", "a", "Z9", " ", "-\u{e9}\u{1f600}", "CN=x,DC=y\n0"];

/// What is wrong with the conditions of one control: of each by itself, and of `require` for what `filter` picks.
pub fn faults(
    when: Option<&Predicate>,
    filter: Option<&Predicate>,
    require: Option<&Predicate>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for predicate in [when, filter, require].into_iter().flatten() {
        walk(predicate, &mut faults);
    }
    if let (Some(filter), Some(require)) = (filter, require) {
        let picked = joined(filter);
        for test in joined(require) {
            against(&picked, test, &mut faults);
        }
    }
    faults
}

/// Looks at every group of tests that must hold together.
fn walk(predicate: &Predicate, faults: &mut Vec<Fault>) {
    let together = joined(predicate);
    for (at, test) in together.iter().enumerate() {
        if let Some(fault) = empty(test) {
            faults.push(fault);
        }
        let earlier = together.iter().take(at).filter(|other| other.fact == test.fact);
        if let Some(other) = earlier.clone().find(|other| exclude(other, test)) {
            let message = format!(
                "`{}` cannot meet both: {}, and {}",
                test.fact,
                other.check.text(),
                test.check.text()
            );
            faults.push(Fault::new(&test.at, message).hint(format!("the other stands at {}", other.at)));
        }
    }
    denied(predicate, &together, faults);
    // below `any` and `not` each part is a group of its own
    match predicate {
        Predicate::All(parts) => parts.iter().for_each(|part| apart(part, faults)),
        other => apart(other, faults),
    }
}

fn apart(predicate: &Predicate, faults: &mut Vec<Fault>) {
    match predicate {
        Predicate::Any(parts) => {
            everything(parts, faults);
            parts.iter().for_each(|part| walk(part, faults));
        }
        Predicate::Not(inner) => walk(inner, faults),
        Predicate::All(parts) => parts.iter().for_each(|part| apart(part, faults)),
        Predicate::Test(_) => {}
    }
}

/// The tests that must all hold for it to hold.
fn joined(predicate: &Predicate) -> Vec<&Test> {
    match predicate {
        Predicate::All(parts) => parts.iter().flat_map(joined).collect(),
        Predicate::Test(test) => vec![test],
        Predicate::Any(_) | Predicate::Not(_) => Vec::new(),
    }
}

/// What else must hold beside tests: the opposite of one of them, or alternatives that they leave no room for.
fn denied(predicate: &Predicate, together: &[&Test], faults: &mut Vec<Fault>) {
    match predicate {
        Predicate::All(parts) => parts.iter().for_each(|part| denied(part, together, faults)),
        Predicate::Not(inner) => {
            if let Predicate::Test(test) = inner.as_ref()
                && let Some(other) = together.iter().find(|other| alike(other, test))
            {
                let message = format!("`{}` cannot be {} and not be it", test.fact, test.check.text());
                faults.push(Fault::new(&test.at, message).hint(format!("the other stands at {}", other.at)));
            }
        }
        Predicate::Any(parts) => {
            let barred = |part: &Predicate| {
                let ruled_out = |test: &&Test| {
                    together.iter().any(|other| other.fact == test.fact && exclude(other, test))
                };
                joined(part).iter().any(ruled_out)
            };
            if let Some(first) = parts.first().and_then(|part| joined(part).first().copied())
                && parts.iter().all(barred)
            {
                let message = "none of these can hold beside what else must hold";
                faults.push(
                    Fault::new(&first.at, message).hint("remove the alternatives, or what rules them out"),
                );
            }
        }
        Predicate::Test(_) => {}
    }
}

/// Alternatives of which one always holds.
fn everything(parts: &[Predicate], faults: &mut Vec<Fault>) {
    for (at, part) in parts.iter().enumerate() {
        for other in parts.iter().take(at) {
            let Some(test) = opposite(part, other).or_else(|| opposite(other, part)) else { continue };
            let message =
                format!("one of these always holds: `{}` is {}, or it is not", test.fact, test.check.text());
            faults.push(Fault::new(&test.at, message).hint("say what is really asked for"));
        }
    }
}

/// The test of which the other is the opposite.
fn opposite<'p>(one: &'p Predicate, other: &Predicate) -> Option<&'p Test> {
    let Predicate::Test(test) = one else { return None };
    let is_opposite = match other {
        Predicate::Not(inner) => matches!(inner.as_ref(), Predicate::Test(inner) if alike(inner, test)),
        Predicate::Test(other) if other.fact == test.fact => match (&test.check, &other.check) {
            (Check::Is(Value::Boolean(one)), Check::Is(Value::Boolean(other))) => one != other,
            (Check::Is(one), Check::IsNot(other)) => same(one, other),
            (Check::Present, Check::Absent) => true,
            _ => false,
        },
        _ => false,
    };
    is_opposite.then_some(test)
}

fn alike(one: &Test, other: &Test) -> bool {
    one.fact == other.fact && one.check.text() == other.check.text()
}

/// What is wrong with tests on a number of records.
pub fn of_count(tests: &[Test]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, test) in tests.iter().enumerate() {
        if matches!(&test.check, Check::AtLeast(Value::Integer(0))) {
            let fault = Fault::new(&test.at, "every number of records is at least 0: the test says nothing");
            faults.push(fault.hint("write the number that there must be, or remove it"));
        }
        if let Some(other) = tests.iter().take(at).find(|other| exclude(other, test)) {
            let message =
                format!("no number of records meets both: {}, and {}", other.check.text(), test.check.text());
            faults.push(Fault::new(&test.at, message).hint(format!("the other stands at {}", other.at)));
        }
    }
    faults
}

/// A test of `require` held against what `where` picks.
fn against(picked: &[&Test], test: &Test, faults: &mut Vec<Fault>) {
    let same = |other: &&&Test| other.fact == test.fact && other.in_record.is_some();
    if let Some(other) = picked.iter().filter(same).find(|other| exclude(other, test)) {
        let message = format!(
            "no record can hold this: `where` picks those whose `{}` is {}",
            test.fact,
            other.check.text()
        );
        let hint = "to allow no such record write `count: { at_most: 0 }` in place of `require`";
        faults.push(Fault::new(&test.at, message).hint(hint));
    }
    if picked.iter().filter(same).any(|other| other.check.text() == test.check.text()) {
        let message = format!(
            "this always holds: `where` picks only records whose `{}` is {}",
            test.fact,
            test.check.text()
        );
        faults.push(Fault::new(&test.at, message).hint("require something else of them, or pick others"));
    }
}

/// A test that holds whatever is found.
fn empty(test: &Test) -> Option<Fault> {
    match &test.check {
        Check::Matches(pattern) if matches_everything(pattern) => Some(
            Fault::new(&test.at, format!("the pattern `{pattern}` matches every text"))
                .hint("say more of the text, or ask with `present: true` whether there is one"),
        ),
        Check::Contains(names) if names.is_empty() => Some(
            Fault::new(&test.at, "every set contains nothing: the test says nothing")
                .hint("name what it has to contain"),
        ),
        Check::ContainsAny(names) | Check::ContainsNone(names) if names.is_empty() => Some(
            Fault::new(&test.at, "the list is empty: the test says nothing").hint("name at least one value"),
        ),
        _ => None,
    }
}

fn matches_everything(pattern: &Regex) -> bool {
    ANY_TEXT.iter().all(|text| pattern.is_match(text))
}

/// Whether two tests on one fact can never hold together.
fn exclude(one: &Test, other: &Test) -> bool {
    pair(&one.check, other) || pair(&other.check, one)
}

fn pair(one: &Check, other: &Test) -> bool {
    let set = matches!(other.kind, Type::Set(_) | Type::Flags(_));
    match (one, &other.check) {
        (Check::Present, Check::Absent) => true,
        (Check::Absent, check) => needs_value(check, set),
        (Check::Is(value), check) => !could_be(value, check),
        (Check::OneOf(values), check @ (Check::OneOf(_) | Check::NoneOf(_) | Check::IsNot(_))) => {
            values.iter().all(|value| !could_be(value, check))
        }
        (Check::Contains(has), Check::ContainsNone(not)) => !has.is_disjoint(not),
        (Check::Contains(has), Check::SubsetOf(of)) => !has.is_subset(of),
        (Check::ContainsAny(has), Check::ContainsNone(not)) => has.is_subset(not),
        (Check::ContainsAny(has), Check::SubsetOf(of)) => has.is_disjoint(of),
        (bound, check) => match (range(bound), range(check)) {
            (Some((low, _)), Some((_, high))) => low > high,
            _ => false,
        },
    }
}

/// Whether a fact that is absent can never hold it.
fn needs_value(check: &Check, set: bool) -> bool {
    match check {
        Check::Contains(names) => !(set && names.is_empty()),
        Check::IsNot(_) | Check::NoneOf(_) | Check::ContainsNone(_) | Check::Absent => false,
        Check::SubsetOf(_) => !set,
        _ => true,
    }
}

/// Whether a fact of this value can hold the other test; true where that is not for us to say.
fn could_be(value: &Value, check: &Check) -> bool {
    match check {
        Check::Is(wanted) => same(value, wanted),
        Check::IsNot(wanted) => !same(value, wanted),
        Check::OneOf(wanted) => wanted.iter().any(|one| same(value, one)),
        Check::NoneOf(wanted) => !wanted.iter().any(|one| same(value, one)),
        check => match (number(value), range(check)) {
            (Some(found), Some((low, high))) => low <= found && found <= high,
            _ => true,
        },
    }
}

/// The numbers that a bound leaves.
fn range(check: &Check) -> Option<(i64, i64)> {
    match check {
        Check::AtLeast(low) => Some((number(low)?, i64::MAX)),
        Check::AtMost(high) => Some((i64::MIN, number(high)?)),
        Check::Between(low, high) => Some((number(low)?, number(high)?)),
        _ => None,
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(n) | Value::Duration(n) | Value::Percent(n) => Some(*n),
        _ => None,
    }
}
