//! Which values a member directory possibly holds: a compact filter per member that says "surely not" or "perhaps".
//!
//! It may say "perhaps" of what is not there; it never says "surely not" of what is (when the index was built). For that it
//! compares more coarsely than any directory does: only ASCII letters and digits count, without case. A value with
//! anything else than ASCII in it is noted by how it starts and ends alone, because directories fold accents, widths and
//! ligatures each in its own way; a question with anything else than ASCII is not answered at all.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Bits of the filter per entry: with [`PROBES`] bits set per entry about one question in a hundred is a false "perhaps".
pub const BITS_PER_ENTRY: usize = 12;
/// Bits that an entry sets, all in one block, so that a question touches one cache line.
const PROBES: u32 = 6;
/// Words of a block: 64 bytes.
const BLOCK: usize = 8;
/// Beginnings of a value that are entries of their own, in characters; a longer beginning is asked for by its first ones.
const BEGINNING: usize = 5;
/// Characters of the start and of the end by which a value that is not ASCII is noted.
const EDGE: usize = 2;

/// The attributes that are indexed, by their federated names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Indexed {
    Cn,
    Sn,
    GivenName,
    DisplayName,
    Mail,
    Uid,
}

impl Indexed {
    /// Every one, with its federated name and its name in Active Directory.
    pub const ALL: [(Indexed, &'static str, &'static str); 6] = [
        (Indexed::Cn, "cn", "cn"),
        (Indexed::Sn, "sn", "sn"),
        (Indexed::GivenName, "givenName", "givenName"),
        (Indexed::DisplayName, "displayName", "displayName"),
        (Indexed::Mail, "mail", "mail"),
        (Indexed::Uid, "uid", "sAMAccountName"),
    ];

    /// The attribute with this federated name.
    pub fn by_name(federated: &str) -> Option<Indexed> {
        Indexed::ALL.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(federated)).map(|(one, ..)| *one)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What an entry of the filter says of a value.
#[derive(Hash)]
enum Entry<'a> {
    Whole(&'a [u8]),
    Begins(&'a [u8]),
    /// Not ASCII: how it starts and ends.
    Edges(&'a [u8], &'a [u8]),
    /// Not ASCII: how it starts.
    Edge(&'a [u8]),
}

fn hash(attribute: Indexed, entry: &Entry<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (attribute, entry).hash(&mut hasher);
    hasher.finish()
}

/// What is left of ASCII text when it is compared as coarsely as can be.
fn folded(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()).collect()
}

fn first(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(..count.min(bytes.len())).unwrap_or_default()
}

fn last(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(bytes.len().saturating_sub(count)..).unwrap_or_default()
}

/// One question to any index: an equality or a beginning. Made once, asked of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    attribute: Indexed,
    /// Of the value itself.
    plain: u64,
    /// Of values that are not ASCII and could be equal in some directory.
    folded: Vec<u64>,
}

impl Probe {
    /// `(attribute=value)`; none when an index cannot tell.
    pub fn equal(attribute: Indexed, value: &[u8]) -> Option<Probe> {
        let text = askable(value)?;
        let lengths = || 0..=EDGE.min(text.len());
        let pairs = lengths().flat_map(|start| lengths().map(move |end| (start, end)));
        let edges = pairs.map(|(start, end)| Entry::Edges(first(&text, start), last(&text, end)));
        Some(Probe {
            attribute,
            plain: hash(attribute, &Entry::Whole(&text)),
            folded: edges.map(|entry| hash(attribute, &entry)).collect(),
        })
    }

    /// `(attribute=value*)`; none when an index cannot tell.
    pub fn begins(attribute: Indexed, value: &[u8]) -> Option<Probe> {
        let text = askable(value)?;
        let edges = (0..=EDGE.min(text.len())).map(|start| Entry::Edge(first(&text, start)));
        Some(Probe {
            attribute,
            plain: hash(attribute, &Entry::Begins(first(&text, BEGINNING))),
            folded: edges.map(|entry| hash(attribute, &entry)).collect(),
        })
    }
}

/// The value as it is compared, when it is ASCII and something of it counts.
fn askable(value: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
    Some(folded(text)).filter(|text| !text.is_empty())
}

/// Gathers the values of one member.
#[derive(Debug, Default)]
pub struct Builder {
    entries: HashSet<u64>,
    covers: u8,
    folded: u8,
}

impl Builder {
    /// Nothing gathered, nothing covered.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Every value that the directory has of this attribute will be added. What is not covered is always "perhaps".
    pub fn cover(&mut self, attribute: Indexed) {
        self.covers |= attribute.bit();
    }

    /// One value.
    pub fn add(&mut self, attribute: Indexed, value: &str) {
        if value.is_ascii() {
            let text = folded(value);
            self.insert(attribute, &Entry::Whole(&text));
            for length in 1..=BEGINNING.min(text.len()) {
                self.insert(attribute, &Entry::Begins(first(&text, length)));
            }
            return;
        }
        self.folded |= attribute.bit();
        let (start, end) = edges(value);
        let (start, end) = (first(&start, EDGE), last(&end, EDGE));
        self.insert(attribute, &Entry::Edges(start, end));
        self.insert(attribute, &Entry::Edge(start));
        for length in 1..=start.len() {
            self.insert(attribute, &Entry::Begins(first(start, length)));
        }
    }

    fn insert(&mut self, attribute: Indexed, entry: &Entry<'_>) {
        self.entries.insert(hash(attribute, entry));
    }

    /// The index of what was gathered; `read_at` is when the member directory was read, seconds since 1970.
    pub fn build(self, read_at: i64) -> Index {
        let blocks = (self.entries.len() * BITS_PER_ENTRY).div_ceil(BLOCK * 64).max(1);
        let mut blocks = vec![[0; BLOCK]; blocks];
        for entry in self.entries {
            let at = block_of(entry, blocks.len());
            if let Some(block) = blocks.get_mut(at) {
                bits(entry).for_each(|(word, bit)| {
                    if let Some(word) = block.get_mut(word) {
                        *word |= bit;
                    }
                });
            }
        }
        Index { covers: self.covers, folded: self.folded, blocks: blocks.into(), read_at }
    }
}

/// What of a value that is not ASCII is so whatever a directory makes of the rest: the text before the first such
/// character and after the last, each without the character beside it, which may be folded together with it.
fn edges(value: &str) -> (Vec<u8>, Vec<u8>) {
    let mut start: Vec<char> = value.chars().take_while(char::is_ascii).collect();
    start.pop();
    let mut end: Vec<char> = value.chars().rev().take_while(char::is_ascii).collect();
    end.pop();
    let text = |chars: &mut dyn Iterator<Item = &char>| folded(&chars.collect::<String>());
    (text(&mut start.iter()), text(&mut end.iter().rev()))
}

/// The filter of one member.
#[derive(Clone, PartialEq, Eq)]
pub struct Index {
    /// Attributes of which every value was added.
    covers: u8,
    /// Attributes that have values which are not ASCII.
    folded: u8,
    blocks: Arc<[[u64; BLOCK]]>,
    read_at: i64,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("bytes", &self.bytes()).field("read_at", &self.read_at).finish()
    }
}

impl Index {
    /// When the member directory was read, seconds since 1970.
    pub fn read_at(&self) -> i64 {
        self.read_at
    }

    /// The same, when the directory was read again and brought nothing new. The filter is shared.
    pub fn read_again(&self, read_at: i64) -> Index {
        Index { read_at, ..self.clone() }
    }

    /// How much memory the filter takes.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK * 8
    }

    /// False only when no value that was added fits.
    pub fn may_hold(&self, probe: &Probe) -> bool {
        self.covers & probe.attribute.bit() == 0
            || self.has(probe.plain)
            || (self.folded & probe.attribute.bit() != 0 && probe.folded.iter().any(|entry| self.has(*entry)))
    }

    fn has(&self, entry: u64) -> bool {
        let Some(block) = self.blocks.get(block_of(entry, self.blocks.len())) else { return true };
        bits(entry).all(|(word, bit)| block.get(word).is_none_or(|word| word & bit != 0))
    }
}

fn block_of(entry: u64, blocks: usize) -> usize {
    // the high half of the product spreads evenly over the blocks; it is below their number
    let product = u128::from(entry) * (blocks as u128);
    usize::try_from(product >> 64).unwrap_or(0)
}

/// The bits of an entry inside its block: word and mask.
fn bits(entry: u64) -> impl Iterator<Item = (usize, u64)> {
    // the low bits, mixed: the high ones chose the block
    let mixed = (entry ^ (entry >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |n| {
        let nine = (mixed >> (n * 9)) & 511;
        (usize::try_from(nine >> 6).unwrap_or(0), 1 << (nine & 63))
    })
}

#[cfg(test)]
mod tests;
