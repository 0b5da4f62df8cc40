//! The records of a collection, packed: by fact and in blocks, so that judging a control reads what it asks for and no more.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::baseline::column::{Column, Words};
use crate::baseline::fact::{Fact, Record};

/// Records of one block.
const BLOCK: usize = 1_024;

/// Records in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Every fact that some record holds, with the place of its column in the blocks.
    names: BTreeMap<String, usize>,
    words: Words,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Default)]
struct Block {
    rows: usize,
    /// A block that was filled before a name was first seen has no column for it.
    columns: Vec<Column>,
}

impl Records {
    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        self.push_facts(record.iter().map(|(name, fact)| (name.as_str(), fact.clone())));
    }

    /// Adds a record of these facts. Of two of the same name the first counts.
    pub fn push_facts<'n>(&mut self, facts: impl IntoIterator<Item = (&'n str, Fact)>) {
        if self.blocks.last().is_none_or(|block| block.rows == BLOCK) {
            if let Some(full) = self.blocks.last_mut() {
                full.columns.iter_mut().for_each(Column::shrink);
            }
            self.blocks.push(Block::default());
        }
        let Some(block) = self.blocks.last_mut() else { return };
        for (name, fact) in facts {
            let next = self.names.len();
            let at = match self.names.get(name) {
                Some(at) => *at,
                None => *self.names.entry(name.to_owned()).or_insert(next),
            };
            if block.columns.len() <= at {
                block.columns.resize_with(at + 1, Column::default);
            }
            if let Some(column) = block.columns.get_mut(at) {
                column.pad(block.rows);
                if column.rows() == block.rows {
                    column.push(fact, &mut self.words);
                }
            }
        }
        block.rows += 1;
        block.columns.iter_mut().for_each(|column| column.pad(block.rows));
    }

    /// Gives back what was reserved for more.
    pub fn shrink(&mut self) {
        if let Some(last) = self.blocks.last_mut() {
            last.columns.iter_mut().for_each(Column::shrink);
        }
        self.blocks.shrink_to_fit();
        self.words.shrink();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let full = self.blocks.len().saturating_sub(1) * BLOCK;
        self.blocks.last().map_or(0, |last| full + last.rows)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// One record, counted from 0.
    pub fn get(&self, at: usize) -> Option<RecordRef<'_>> {
        let block = self.blocks.get(at / BLOCK)?;
        let row = at % BLOCK;
        (row < block.rows).then_some(RecordRef { records: self, block, row })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.blocks
            .iter()
            .flat_map(move |block| (0..block.rows).map(move |row| RecordRef { records: self, block, row }))
    }

    /// Their blocks, one after the other.
    pub fn blocks(&self) -> impl Iterator<Item = BlockRef<'_>> {
        self.blocks.iter().map(move |block| BlockRef { records: self, block })
    }

    /// Every fact that some record holds, sorted by name.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| a.facts().eq(b.facts()))
    }
}

impl Eq for Records {}

impl Extend<Record> for Records {
    fn extend<T: IntoIterator<Item = Record>>(&mut self, records: T) {
        records.into_iter().for_each(|record| self.push(record));
    }
}

impl FromIterator<Record> for Records {
    fn from_iter<T: IntoIterator<Item = Record>>(records: T) -> Self {
        let mut all = Records::default();
        all.extend(records);
        all.shrink();
        all
    }
}

impl From<Vec<Record>> for Records {
    fn from(records: Vec<Record>) -> Self {
        records.into_iter().collect()
    }
}

/// Records that are packed together.
#[derive(Debug, Clone, Copy)]
pub struct BlockRef<'a> {
    records: &'a Records,
    block: &'a Block,
}

impl<'a> BlockRef<'a> {
    /// How many records there are in it.
    pub fn rows(self) -> usize {
        self.block.rows
    }

    /// One record, counted from 0 in the block.
    pub fn get(self, row: usize) -> Option<RecordRef<'a>> {
        let BlockRef { records, block } = self;
        (row < block.rows).then_some(RecordRef { records, block, row })
    }

    /// What `ask` says of the fact of each record; equal facts may be asked about once. What a record does not hold was not collected.
    pub fn each<T: Copy>(self, name: &str, mut ask: impl FnMut(&Fact) -> T) -> Vec<T> {
        let missing = not_held();
        let column = self.records.names.get(name).and_then(|at| self.block.columns.get(*at));
        match column {
            Some(column) => column.each(&self.records.words, &missing, &mut ask),
            None => vec![ask(&missing); self.block.rows],
        }
    }
}

/// The fact that a record does not hold.
fn not_held() -> Fact {
    Fact::NotCollected("the record does not hold it".into())
}

/// One record of a collection.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    records: &'a Records,
    block: &'a Block,
    row: usize,
}

impl<'a> RecordRef<'a> {
    /// A fact by its short name; none when the record does not hold it.
    pub fn get(&self, name: &str) -> Option<Cow<'a, Fact>> {
        let at = *self.records.names.get(name)?;
        self.block.columns.get(at)?.get(self.row, &self.records.words)
    }

    /// A fact by its short name. What the record does not hold was not collected.
    pub fn fact(&self, name: &str) -> Cow<'a, Fact> {
        self.get(name).unwrap_or_else(|| Cow::Owned(not_held()))
    }

    /// The facts that it holds, sorted by name.
    pub fn facts(&self) -> impl Iterator<Item = (&'a str, Cow<'a, Fact>)> {
        let this = *self;
        this.records.names.keys().filter_map(move |name| Some((name.as_str(), this.get(name)?)))
    }

    /// A copy of its own.
    pub fn to_record(&self) -> Record {
        self.facts().map(|(name, fact)| (name.to_owned(), fact.into_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::baseline::value::Value;

    fn value() -> impl Strategy<Value = Value> {
        let text = || "[-@,a-c\\\\é]{0,6}";
        prop_oneof![
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::Integer),
            any::<i64>().prop_map(Value::Duration),
            any::<i64>().prop_map(Value::Percent),
            (-60_000_000_000i64..250_000_000_000, 0..1_000_000_000u32).prop_map(|(seconds, nanoseconds)| {
                let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
                Value::Instant(at.replace_nanosecond(nanoseconds).unwrap())
            }),
            text().prop_map(Value::Version),
            text().prop_map(Value::Word),
            text().prop_map(Value::Text),
            text().prop_map(Value::Sid),
            text().prop_map(Value::Guid),
            text().prop_map(Value::Dn),
            btree_set(text(), 0..4).prop_map(Value::Flags),
            btree_set(text(), 0..4).prop_map(Value::Set),
        ]
    }

    fn fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            6 => value().prop_map(Fact::Known),
            1 => Just(Fact::Absent),
            1 => Just(Fact::Hidden),
            1 => "[a-z ]{0,9}".prop_map(Fact::Failed),
            1 => "[a-z ]{0,9}".prop_map(Fact::NotCollected),
        ]
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(records in vec(btree_map("[a-e]", fact(), 0..5), 0..90)) {
            let packed = Records::from(records.clone());
            prop_assert_eq!(packed.len(), records.len());
            prop_assert_eq!(packed.is_empty(), records.is_empty());
            let out: Vec<Record> = packed.iter().map(|record| record.to_record()).collect();
            prop_assert_eq!(&out, &records);
            for (at, record) in records.iter().enumerate() {
                for name in ["a", "b", "c", "d", "e", "f"] {
                    let found = packed.get(at).unwrap().get(name).map(Cow::into_owned);
                    prop_assert_eq!(found.as_ref(), record.get(name));
                }
            }
            prop_assert!(packed.get(records.len()).is_none());
        }
    }

    fn person(number: usize) -> Record {
        let staff = format!("CN=Person {number},OU=Ward {},OU=People,DC=rxa,DC=test", number % 40);
        Record::from([
            ("dn".to_owned(), Fact::Known(Value::Dn(staff))),
            ("enabled".to_owned(), Fact::boolean(!number.is_multiple_of(7))),
            ("mail".to_owned(), Fact::text(format!("person.{number}@rxa.test"))),
            ("password_age".to_owned(), Fact::duration(i64::try_from(number * 977).unwrap())),
            ("sid".to_owned(), Fact::Known(Value::Sid(format!("S-1-5-21-1-2-3-{number}")))),
        ])
    }

    #[test]
    fn blocks_follow_one_another() {
        let mut records: Vec<Record> = (0..3 * BLOCK + 5).map(person).collect();
        // a name that is first seen late, and one whose block needs more than two bytes for a place
        records[BLOCK + 3].insert("late".to_owned(), Fact::Hidden);
        for record in &mut records[2 * BLOCK..3 * BLOCK] {
            let dn = record["dn"].known().unwrap().to_string();
            record.insert("why".to_owned(), Fact::Failed(format!("{dn}{}", "x".repeat(100))));
        }
        let packed = Records::from(records.clone());
        assert_eq!(packed.len(), records.len());
        assert!(packed.iter().map(|record| record.to_record()).eq(records.iter().cloned()));
        assert_eq!(packed.get(BLOCK + 3).unwrap().to_record(), records[BLOCK + 3]);
        assert_eq!(packed, records.into_iter().collect::<Records>());
    }

    #[test]
    fn words_that_do_not_fit_are_written_out() {
        let apart = |number: usize| {
            let long = "y".repeat(if number == 0 { 600 } else { 400 });
            let dn = format!("CN=a,OU={number},{long}");
            let groups = Fact::set([dn.clone(), format!("CN=g{},DC=x", number % 100)]);
            Record::from([("dn".to_owned(), Fact::Known(Value::Dn(dn))), ("groups".to_owned(), groups)])
        };
        let records: Vec<Record> = (0..22_000).map(apart).collect();
        let packed = Records::from(records.clone());
        assert!(packed.iter().map(|record| record.to_record()).eq(records));
    }
}
