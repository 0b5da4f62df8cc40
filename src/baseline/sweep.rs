//! Conditions held against many records at once: a block's column of few different facts is asked once for each of them, so that
//! judging a control costs what differs and not what there is. What it says of a record is what [`Predicate::evaluate`] says.

use time::OffsetDateTime;

use crate::baseline::facts::Facts;
use crate::baseline::predicate::{Predicate, Test};
use crate::baseline::records::BlockRef;
use crate::baseline::truth::Truth;

/// What a predicate says of each record of a block.
pub fn truths(predicate: &Predicate, facts: &Facts, block: BlockRef<'_>, now: OffsetDateTime) -> Vec<Truth> {
    match predicate {
        Predicate::Test(test) => of_test(test, facts, block, now),
        Predicate::Not(inner) => {
            let mut all = truths(inner, facts, block, now);
            all.iter_mut().for_each(|truth| *truth = truth.negate());
            all
        }
        Predicate::All(parts) => joined(parts, Truth::True, Truth::and, facts, block, now),
        Predicate::Any(parts) => joined(parts, Truth::False, Truth::or, facts, block, now),
    }
}

fn joined(
    parts: &[Predicate],
    neutral: Truth,
    join: fn(Truth, Truth) -> Truth,
    facts: &Facts,
    block: BlockRef<'_>,
    now: OffsetDateTime,
) -> Vec<Truth> {
    let decided = neutral.negate();
    let mut all = vec![neutral; block.rows()];
    for part in parts {
        // nothing that follows changes anything
        if all.iter().all(|truth| *truth == decided) {
            break;
        }
        for (truth, one) in all.iter_mut().zip(truths(part, facts, block, now)) {
            *truth = join(*truth, one);
        }
    }
    all
}

fn of_test(test: &Test, facts: &Facts, block: BlockRef<'_>, now: OffsetDateTime) -> Vec<Truth> {
    match &test.in_record {
        Some(name) => block.each(name, |fact| test.evaluate(fact, now)),
        None => vec![test.evaluate(&facts.get(&test.fact), now); block.rows()],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;
    use crate::baseline::facts::{Fact, Record};
    use crate::baseline::predicate::{Check, OfRecord};
    use crate::baseline::records::Records;
    use crate::baseline::value::{Type, Value};
    use crate::policy::fault::Place;

    const NOW: OffsetDateTime = datetime!(2026-11-01 00:00 UTC);

    fn fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            6 => any::<bool>().prop_map(Fact::boolean),
            // more than a column keeps apart
            4 => (0..60i64).prop_map(Fact::integer),
            1 => Just(Fact::Absent),
            1 => Just(Fact::Hidden),
            1 => Just(Fact::Failed("slow".to_owned())),
        ]
    }

    fn predicate() -> impl Strategy<Value = Predicate> {
        let test = (0..4usize, any::<bool>(), 0..60i64, any::<bool>()).prop_map(
            |(name, is_boolean, bound, in_record)| {
                let short = ["a", "b", "c", "d"][name];
                let (kind, check) = match is_boolean {
                    true => (Type::Boolean, Check::Is(Value::Boolean(bound % 2 == 0))),
                    false => (Type::Integer, Check::AtMost(Value::Integer(bound))),
                };
                let in_record = in_record.then(|| short.to_owned());
                let fact = if in_record.is_some() { format!("users.{short}") } else { format!("m.{short}") };
                Predicate::Test(Test { fact, in_record, kind, check, at: Place::nowhere() })
            },
        );
        test.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::All),
                prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::Any),
                inner.prop_map(|inner| Predicate::Not(Box::new(inner))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_sweep_says_what_each_record_says(
            records in prop::collection::vec(prop::collection::btree_map("[a-d]", fact(), 0..4), 0..80),
            member in prop::collection::btree_map("[a-d]", fact(), 0..4),
            predicate in predicate(),
        ) {
            let records = Records::from(records.into_iter().collect::<Vec<Record>>());
            let mut facts = Facts::default();
            for (name, fact) in member {
                facts.set(&format!("m.{name}"), fact);
            }
            let swept: Vec<Truth> = records.blocks().flat_map(|block| truths(&predicate, &facts, block, NOW)).collect();
            let each: Vec<Truth> = records
                .iter()
                .map(|record| predicate.evaluate(&OfRecord { facts: &facts, record }, NOW, &mut Vec::new()))
                .collect();
            prop_assert_eq!(swept, each);
        }
    }
}
