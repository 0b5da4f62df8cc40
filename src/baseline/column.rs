//! One fact of a block of records, packed: a domain of 100,000 people is held in some tens of megabytes.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use indexmap::IndexSet;
use time::OffsetDateTime;

use crate::baseline::fact::Fact;
use crate::baseline::value::Value;

/// More different facts than this in one block are written one after the other.
const FEW: usize = 24;
/// The code of a record that does not hold the fact.
const MISSING: u8 = u8::MAX;

/// The same fact of several records, in their order.
#[derive(Debug, Clone)]
pub struct Column(Form);

#[derive(Debug, Clone)]
enum Form {
    /// Each different fact once, and which of them a record has.
    Few { facts: Vec<Fact>, codes: Vec<u8> },
    /// All of them in bytes, and where each ends. Nothing is written for a record that does not hold it.
    Many { ends: Ends, bytes: Vec<u8> },
}

impl Default for Column {
    fn default() -> Self {
        Column(Form::Few { facts: Vec::new(), codes: Vec::new() })
    }
}

impl Column {
    /// Adds the fact of the next record.
    pub fn push(&mut self, fact: Fact, words: &mut Words) {
        let Form::Few { facts, codes } = &mut self.0 else { return self.write(&fact, words) };
        match facts.iter().position(|known| *known == fact) {
            Some(code) => codes.push(u8::try_from(code).unwrap_or(MISSING)),
            None if facts.len() < FEW => {
                codes.push(u8::try_from(facts.len()).unwrap_or(MISSING));
                facts.push(fact);
            }
            None => {
                self.widen(words);
                self.write(&fact, words);
            }
        }
    }

    /// How many records it is for.
    pub fn rows(&self) -> usize {
        match &self.0 {
            Form::Few { codes, .. } => codes.len(),
            Form::Many { ends, .. } => ends.len(),
        }
    }

    /// Says of the records up to `rows` that they do not hold the fact.
    pub fn pad(&mut self, rows: usize) {
        match &mut self.0 {
            Form::Few { codes, .. } => codes.resize(rows.max(codes.len()), MISSING),
            Form::Many { ends, bytes } => {
                while ends.len() < rows {
                    ends.push(bytes.len());
                }
            }
        }
    }

    /// Gives back what was reserved for more.
    pub fn shrink(&mut self) {
        match &mut self.0 {
            Form::Few { facts, codes } => {
                facts.shrink_to_fit();
                codes.shrink_to_fit();
            }
            Form::Many { ends, bytes } => {
                ends.shrink();
                bytes.shrink_to_fit();
            }
        }
    }

    /// The fact of a record; none when it does not hold it.
    pub fn get(&self, row: usize, words: &Words) -> Option<Cow<'_, Fact>> {
        match &self.0 {
            Form::Few { facts, codes } => facts.get(usize::from(*codes.get(row)?)).map(Cow::Borrowed),
            Form::Many { ends, bytes } => {
                let from = row.checked_sub(1).map_or(Some(0), |before| ends.get(before))?;
                let mut reader = Reader { rest: bytes.get(from..ends.get(row)?)?, words };
                (!reader.rest.is_empty()).then(|| reader.fact()).flatten().map(Cow::Owned)
            }
        }
    }

    /// What `ask` says of each record's fact, and of `missing` where a record does not hold it. Where there are few different facts, each
    /// is asked about once.
    pub fn each<T: Copy>(&self, words: &Words, missing: &Fact, ask: &mut impl FnMut(&Fact) -> T) -> Vec<T> {
        match &self.0 {
            Form::Few { facts, codes } => {
                let absent = ask(missing);
                let answers: Vec<T> = facts.iter().map(ask).collect();
                codes.iter().map(|code| answers.get(usize::from(*code)).copied().unwrap_or(absent)).collect()
            }
            Form::Many { ends, .. } => (0..ends.len())
                .map(|row| match self.get(row, words) {
                    Some(fact) => ask(&fact),
                    None => ask(missing),
                })
                .collect(),
        }
    }

    fn widen(&mut self, words: &mut Words) {
        let Form::Few { facts, codes } = std::mem::take(self).0 else { return };
        self.0 = Form::Many { ends: Ends::default(), bytes: Vec::new() };
        for (row, code) in codes.into_iter().enumerate() {
            match facts.get(usize::from(code)) {
                Some(fact) => self.write(fact, words),
                None => self.pad(row + 1),
            }
        }
    }

    fn write(&mut self, fact: &Fact, words: &mut Words) {
        if let Form::Many { ends, bytes } = &mut self.0 {
            Writer { out: bytes, words }.fact(fact);
            ends.push(bytes.len());
        }
    }
}

/// Places in a column's bytes: two bytes each for as long as that is enough.
#[derive(Debug, Clone)]
enum Ends {
    Near(Vec<u16>),
    Far(Vec<usize>),
}

impl Default for Ends {
    fn default() -> Self {
        Ends::Near(Vec::new())
    }
}

impl Ends {
    fn len(&self) -> usize {
        match self {
            Ends::Near(places) => places.len(),
            Ends::Far(places) => places.len(),
        }
    }

    fn get(&self, row: usize) -> Option<usize> {
        match self {
            Ends::Near(places) => places.get(row).map(|place| usize::from(*place)),
            Ends::Far(places) => places.get(row).copied(),
        }
    }

    fn push(&mut self, place: usize) {
        match (&mut *self, u16::try_from(place)) {
            (Ends::Near(places), Ok(near)) => places.push(near),
            (Ends::Near(places), Err(_)) => {
                *self = Ends::Far(places.iter().map(|place| usize::from(*place)).chain([place]).collect());
            }
            (Ends::Far(places), _) => places.push(place),
        }
    }

    fn shrink(&mut self) {
        match self {
            Ends::Near(places) => places.shrink_to_fit(),
            Ends::Far(places) => places.shrink_to_fit(),
        }
    }
}

/// Texts that many facts share: the container of a DN, the domain of a SID or of an address, the DN of a group.
#[derive(Debug, Clone, Default)]
pub struct Words {
    list: IndexSet<Box<str>>,
    /// What the list takes.
    bytes: usize,
    /// Hashes of what was seen once.
    seen: HashSet<u64>,
}

/// Bytes that the words of one collection may take, and those of one word. What is beyond is written out where it stands, so that a domain
/// in which nothing is shared costs no more than its own text.
const WORDS_BYTES: usize = 8 << 20;
const WORD_BYTES: usize = 512;
/// What a word takes beside its text.
const WORD_EXTRA: usize = 48;
/// Texts that are remembered as seen once.
const SEEN: usize = 1 << 16;

impl Words {
    /// The number of a word, from 1; 0 when there is no place for it.
    fn number(&mut self, word: &str) -> u64 {
        if let Some(at) = self.list.get_index_of(word) {
            return number(at + 1);
        }
        let bytes = self.bytes + word.len() + WORD_EXTRA;
        if word.is_empty() || word.len() > WORD_BYTES || bytes > WORDS_BYTES {
            return 0;
        }
        self.bytes = bytes;
        self.list.insert(word.into());
        number(self.list.len())
    }

    /// As [`Words::number`], for what may well stand in one fact only: it becomes a word when it comes again.
    fn number_of_common(&mut self, word: &str) -> u64 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(word);
        if self.list.contains(word) || self.seen.contains(&hash) {
            return self.number(word);
        }
        if self.seen.len() >= SEEN {
            self.seen.clear();
        }
        self.seen.insert(hash);
        0
    }

    fn word(&self, number: u64) -> Option<&str> {
        match usize::try_from(number).ok()?.checked_sub(1) {
            None => Some(""),
            Some(at) => self.list.get_index(at).map(|word| &**word),
        }
    }

    /// Gives back what is of use only while more comes.
    pub fn shrink(&mut self) {
        self.seen = HashSet::new();
        self.list.shrink_to_fit();
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

// First bytes of facts as they are written.
const ABSENT: u8 = 1;
const HIDDEN: u8 = 2;
const FAILED: u8 = 3;
const NOT_COLLECTED: u8 = 4;
const FALSE: u8 = 5;
const TRUE: u8 = 6;
const INTEGER: u8 = 7;
const DURATION: u8 = 8;
const PERCENT: u8 = 9;
const INSTANT: u8 = 10;
const VERSION: u8 = 11;
const WORD: u8 = 12;
const TEXT: u8 = 13;
const SID: u8 = 14;
const GUID: u8 = 15;
const DN: u8 = 16;
const FLAGS: u8 = 17;
const SET: u8 = 18;

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    words: &'a mut Words,
}

impl Writer<'_> {
    fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Absent => self.out.push(ABSENT),
            Fact::Hidden => self.out.push(HIDDEN),
            Fact::Failed(reason) => self.text(FAILED, reason, None),
            Fact::NotCollected(reason) => self.text(NOT_COLLECTED, reason, None),
            Fact::Known(value) => self.value(value),
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Boolean(value) => self.out.push(if *value { TRUE } else { FALSE }),
            Value::Integer(value) => self.signed(INTEGER, *value),
            Value::Duration(value) => self.signed(DURATION, *value),
            Value::Percent(value) => self.signed(PERCENT, *value),
            Value::Instant(at) => {
                self.signed(INSTANT, at.unix_timestamp());
                self.number(u64::from(at.nanosecond()));
            }
            Value::Version(text) => self.text(VERSION, text, None),
            Value::Word(text) => self.text(WORD, text, None),
            Value::Text(text) => self.text(TEXT, text, text.rfind('@')),
            Value::Sid(text) => self.text(SID, text, text.rfind('-')),
            Value::Guid(text) => self.text(GUID, text, None),
            Value::Dn(text) => self.text(DN, text, text.find(',')),
            Value::Flags(names) => self.set(FLAGS, names),
            Value::Set(names) => self.set(SET, names),
        }
    }

    /// A text whose part that others share, too, begins (or for a SID ends) at `at`.
    fn text(&mut self, tag: u8, text: &str, at: Option<usize>) {
        self.out.push(tag);
        self.shared(tag, text, at);
    }

    fn shared(&mut self, tag: u8, text: &str, at: Option<usize>) {
        let (head, tail) = at.and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""));
        let (own, shared) = match tag {
            SID if at.is_some() => (tail, head),
            _ => (head, tail),
        };
        match self.words.number(shared) {
            0 => {
                self.number(0);
                self.bytes(text);
            }
            number => {
                self.number(number);
                self.bytes(own);
            }
        }
    }

    fn set(&mut self, tag: u8, names: &BTreeSet<String>) {
        self.out.push(tag);
        self.number(number(names.len()));
        for name in names {
            // members of groups are in many of them
            let common = if name.contains(',') { self.words.number_of_common(name) } else { 0 };
            match common {
                0 => self.shared(TEXT, name, name.find(',').or_else(|| name.rfind('@'))),
                word => {
                    self.number(word);
                    self.bytes("");
                }
            }
        }
    }

    fn signed(&mut self, tag: u8, value: i64) {
        self.out.push(tag);
        // small numbers of either sign in few bytes
        self.number(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn bytes(&mut self, text: &str) {
        self.number(number(text.len()));
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Reads what [`Writer`] wrote. None of it comes from outside; what cannot be read is a record that does not hold the fact.
struct Reader<'a> {
    rest: &'a [u8],
    words: &'a Words,
}

impl Reader<'_> {
    fn fact(&mut self) -> Option<Fact> {
        let tag = self.byte()?;
        let value = match tag {
            ABSENT => return Some(Fact::Absent),
            HIDDEN => return Some(Fact::Hidden),
            FAILED => return self.text(tag).map(Fact::Failed),
            NOT_COLLECTED => return self.text(tag).map(Fact::NotCollected),
            FALSE => Value::Boolean(false),
            TRUE => Value::Boolean(true),
            INTEGER => Value::Integer(self.signed()?),
            DURATION => Value::Duration(self.signed()?),
            PERCENT => Value::Percent(self.signed()?),
            INSTANT => {
                let at = OffsetDateTime::from_unix_timestamp(self.signed()?).ok()?;
                Value::Instant(at.replace_nanosecond(u32::try_from(self.number()?).ok()?).ok()?)
            }
            VERSION => Value::Version(self.text(tag)?),
            WORD => Value::Word(self.text(tag)?),
            TEXT => Value::Text(self.text(tag)?),
            SID => Value::Sid(self.text(tag)?),
            GUID => Value::Guid(self.text(tag)?),
            DN => Value::Dn(self.text(tag)?),
            FLAGS => Value::Flags(self.set()?),
            SET => Value::Set(self.set()?),
            _ => return None,
        };
        Some(Fact::Known(value))
    }

    fn text(&mut self, tag: u8) -> Option<String> {
        let shared = self.number()?;
        let shared = self.words.word(shared)?;
        let length = usize::try_from(self.number()?).ok()?;
        let (own, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let own = std::str::from_utf8(own).ok()?;
        Some(if tag == SID { [shared, own].concat() } else { [own, shared].concat() })
    }

    fn set(&mut self) -> Option<BTreeSet<String>> {
        let count = self.number()?;
        (0..count).map(|_| self.text(TEXT)).collect()
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }
}
