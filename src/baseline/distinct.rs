//! Values that may stand on one record only: who shares one with another record.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::baseline::facts::{Fact, Facts};
use crate::baseline::predicate::{Miss, Predicate};
use crate::baseline::records::{RecordRef, Records};
use crate::baseline::sweep::truths;
use crate::baseline::truth::Truth;
use crate::baseline::value::{Type, Value};
use crate::policy::fault::Place;

/// The fact whose values are for one record each.
#[derive(Debug, Clone)]
pub struct Distinct {
    /// Full name.
    pub fact: String,
    /// The short name in the record.
    pub short: String,
    pub kind: Type,
    pub at: Place,
}

/// On how many records a value stands: picked by `where` for certain, and perhaps.
#[derive(Debug, Clone, Copy)]
struct Owners {
    sure: usize,
    maybe: usize,
}

/// What stands for a value, in lower case, because the directory does not tell case: the beginning of its SHA-256. Where two values had the same
/// one, their records would fail and never pass.
type Key = u64;

/// All values of a collection, each as often as it stands on a record, sorted.
#[derive(Debug, Default)]
pub struct Index {
    sure: Vec<Key>,
    maybe: Vec<Key>,
}

impl Index {
    /// The values of the records that `filter` picks.
    pub fn of(
        distinct: &Distinct,
        filter: Option<&Predicate>,
        facts: &Facts,
        records: &Records,
        now: OffsetDateTime,
    ) -> Index {
        let mut index = Index::default();
        for block in records.blocks() {
            let picked = filter.map(|filter| truths(filter, facts, block, now));
            for record in 0..block.rows() {
                let truth = picked.as_ref().map_or(Some(&Truth::True), |all| all.get(record));
                let (Some(truth), Some(record)) = (truth, block.get(record)) else { continue };
                match truth {
                    Truth::True => index.sure.extend(distinct.values(record)),
                    Truth::Unknown => index.maybe.extend(distinct.values(record)),
                    Truth::False => {}
                }
            }
        }
        index.sure.sort_unstable();
        index.maybe.sort_unstable();
        index
    }

    fn owners(&self, value: Key) -> Owners {
        Owners { sure: times(&self.sure, value), maybe: times(&self.maybe, value) }
    }
}

/// How often a value is in a sorted list.
fn times(sorted: &[Key], value: Key) -> usize {
    sorted.partition_point(|found| *found <= value) - sorted.partition_point(|found| *found < value)
}

impl Distinct {
    /// Whether the record's values are its own. `picked` is what `where` said of it.
    pub fn holds(
        &self,
        record: RecordRef<'_>,
        picked: Truth,
        index: &Index,
        misses: &mut Vec<Miss>,
    ) -> Truth {
        let fact = record.fact(&self.short);
        let known = match &*fact {
            Fact::Known(value) => self.kind.holds(value),
            Fact::Absent => return Truth::True,
            _ => false,
        };
        let (mut truth, mut others) = (if known { Truth::True } else { Truth::Unknown }, 0);
        for value in self.values(record) {
            let mut owners = index.owners(value);
            match picked {
                Truth::True => owners.sure = owners.sure.saturating_sub(1),
                _ => owners.maybe = owners.maybe.saturating_sub(1),
            }
            let own = match (owners.sure, owners.maybe) {
                (0, 0) => continue,
                (0, _) => Truth::Unknown,
                _ => Truth::False,
            };
            truth = truth.and(own);
            others = others.max(owners.sure.saturating_add(owners.maybe));
        }
        if truth != Truth::True {
            let found = match &*fact {
                // the value itself may be a person's address: who reads this has the account's name to look it up
                Fact::Known(_) if known => format!("the same on {others} more"),
                Fact::Hidden => "hidden from our account".to_owned(),
                _ => "not known".to_owned(),
            };
            misses.push(Miss {
                fact: self.fact.clone(),
                found,
                required: "a value that no other has".into(),
                place: self.at.clone(),
                truth,
            });
        }
        truth
    }

    fn values(&self, record: RecordRef<'_>) -> Vec<Key> {
        match record.fact(&self.short).known() {
            Some(Value::Set(values) | Value::Flags(values)) => {
                values.iter().map(|value| key(value)).collect()
            }
            Some(value) => vec![key(&value.to_string())],
            None => Vec::new(),
        }
    }
}

fn key(value: &str) -> Key {
    let whole = Sha256::digest(value.to_lowercase());
    whole.first_chunk().map_or(0, |first| Key::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::facts::Record;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);

    fn record(mail: Fact) -> Record {
        Record::from([("mail".to_owned(), mail)])
    }

    fn verdicts(mails: Vec<Fact>) -> Vec<Truth> {
        let distinct = Distinct {
            fact: "users.mail".into(),
            short: "mail".into(),
            kind: Type::Text,
            at: Place::nowhere(),
        };
        let records: Records = mails.into_iter().map(record).collect();
        let index = Index::of(&distinct, None, &Facts::default(), &records, NOW);
        records.iter().map(|r| distinct.holds(r, Truth::True, &index, &mut Vec::new())).collect()
    }

    #[test]
    fn the_same_value_in_another_case_is_the_same() {
        let found = verdicts(vec![Fact::text("a@x"), Fact::text("A@X"), Fact::text("b@x"), Fact::Absent]);
        assert_eq!(found, [Truth::False, Truth::False, Truth::True, Truth::True]);
    }

    #[test]
    fn what_is_not_known_is_not_distinct() {
        assert_eq!(verdicts(vec![Fact::Hidden, Fact::integer(1)]), [Truth::Unknown, Truth::Unknown]);
    }
}
