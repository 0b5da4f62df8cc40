//! Takes a tree apart into settings, noting every fault on the way instead of stopping at the first.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::ambient::bounds::{Checked, Limit};
use crate::config::fault::{Fault, Weight};
use crate::config::source::{Key, Node, Placed, Position};
use crate::config::typed::{Typed, What, Wrong};
use crate::secret::reference::SecretReference;

/// Keys that people write from habit or that had another name once, and what they are called.
const RENAMED: &[(&str, &str)] = &[
    ("policy", "policies"),
    ("data", "data_dir"),
    ("listen.prometheus", "listen.metrics"),
    ("tls.cert", "tls.certificate"),
    ("tls.ca", "tls.client_anchors"),
    ("tls.client_ca", "tls.client_anchors"),
    ("tls.crl", "tls.crls"),
    ("national.host", "national.address"),
    ("national.ca", "national.anchors"),
    ("national.base_dn", "national.suffix"),
    ("intervals.assess", "intervals.assess_seconds"),
    ("intervals.sync", "intervals.sync_seconds"),
    ("intervals.drain", "intervals.drain_seconds"),
];

/// What to do about a setting that cannot be read.
const DEFAULT: &str = "leave the key out for its default";

/// Something outside of the file that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The folder of what the gateway keeps; made when it is not there.
    Data(PathBuf),
    Policies(PathBuf),
    /// The front door's certificate chain.
    Certificate(PathBuf),
    /// The front door's private key.
    Key(PathBuf),
    Anchors(PathBuf),
    RevocationList(PathBuf),
    Secret(SecretReference),
}

/// What is noted while reading.
#[derive(Debug)]
pub struct Reader {
    /// The directory that relative paths start from.
    base: PathBuf,
    faults: RefCell<Vec<Fault>>,
    references: RefCell<Vec<(Position, Reference)>>,
}

impl Reader {
    /// A reader for a file in the directory `base`.
    pub fn new(base: &Path) -> Self {
        Reader { base: base.to_owned(), faults: RefCell::default(), references: RefCell::default() }
    }

    /// A path of the file, from the file's directory.
    pub fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// Notes a fault.
    pub fn fault(&self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.tell(Weight::Fault, at, message.into(), hint.into());
    }

    /// Notes something that does not keep the gateway from starting.
    pub fn warn(&self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.tell(Weight::Warning, at, message.into(), hint.into());
    }

    fn tell(&self, weight: Weight, at: Position, message: String, hint: String) {
        self.faults.borrow_mut().push(Fault { line: at.line, column: at.column, weight, message, hint });
    }

    /// Notes something outside of the file, to be looked at when the file was read.
    pub fn refer(&self, at: Position, reference: Reference) {
        self.references.borrow_mut().push((at, reference));
    }

    /// Everything outside of the file that it names.
    pub fn references(&self) -> Vec<(Position, Reference)> {
        self.references.borrow().clone()
    }

    /// The faults, in the order of the file.
    pub fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults
    }
}

/// A type that a single value can be read as.
pub trait Field: Sized {
    /// What to write instead of a value that is not one.
    const HINT: &'static str;

    /// The error is the end of a sentence that begins with the key.
    fn read(reader: &Reader, value: &Placed) -> Result<Self, String>;
}

/// A section of the file.
pub struct Section<'a> {
    reader: &'a Reader,
    at: Position,
    /// As in `listen`; empty for the whole file.
    path: String,
    entries: &'a [(Key, Placed)],
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The value as a section; anything else is a fault.
    pub fn of(reader: &'a Reader, path: &str, value: &'a Placed) -> Option<Self> {
        let Node::Map(entries) = &value.node else {
            let what = if path.is_empty() { "the file" } else { path };
            let kind = value.node.kind();
            reader.fault(
                value.at,
                format!("`{what}` must be a section of keys and values, not {kind}"),
                "write `key: value` lines, indented below it",
            );
            return None;
        };
        Some(Section { reader, at: value.at, path: path.to_owned(), entries, known: RefCell::default() })
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn find(&self, key: &'static str) -> Option<&'a Placed> {
        self.known.borrow_mut().push(key);
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, value)| value)
    }

    /// A value that may be absent.
    pub fn optional<T: Field>(&self, key: &'static str) -> Option<T> {
        self.value(key, self.find(key)?)
    }

    fn value<T: Field>(&self, key: &str, value: &Placed) -> Option<T> {
        match T::read(self.reader, value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.reader.fault(value.at, format!("`{}` {message}", self.full(key)), T::HINT);
                None
            }
        }
    }

    /// A value that must be there.
    pub fn required<T: Field>(&self, key: &'static str) -> Option<T> {
        match self.find(key) {
            Some(value) => self.value(key, value),
            None => {
                self.missing(key);
                None
            }
        }
    }

    fn missing(&self, key: &str) {
        // a misspelt key is reported once, where it stands
        let misspelt = self.entries.iter().any(|(k, _)| {
            renamed(&self.full(&k.text)).is_some_and(|new| new == self.full(key)) || near(&k.text, key)
        });
        if !misspelt {
            let hint = format!("add `{key}:`");
            self.reader.fault(self.at, format!("`{}` is missing", self.full(key)), hint);
        }
    }

    /// A section that must be there.
    pub fn section(&self, key: &'static str) -> Option<Section<'a>> {
        match self.find(key) {
            Some(value) => Section::of(self.reader, &self.full(key), value),
            None => {
                self.missing(key);
                None
            }
        }
    }

    /// A section that may be absent.
    pub fn optional_section(&self, key: &'static str) -> Option<Section<'a>> {
        Section::of(self.reader, &self.full(key), self.find(key)?)
    }

    /// The items of a list that may be absent, each with its path.
    pub fn items(&self, key: &'static str) -> Vec<(String, &'a Placed)> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Node::List(items) = &value.node else {
            let kind = value.node.kind();
            let message = format!("`{}` must be a list, not {kind}", self.full(key));
            self.reader.fault(value.at, message, "write it in square brackets, as in `[one, two]`");
            return Vec::new();
        };
        items.iter().enumerate().map(|(n, item)| (format!("{}[{n}]", self.full(key)), item)).collect()
    }

    /// A list of values that may be absent.
    pub fn list<T: Field>(&self, key: &'static str) -> Vec<T> {
        self.items(key).into_iter().filter_map(|(path, item)| self.value(&path, item)).collect()
    }

    /// A module's own settings; absent means its defaults. What cannot be read is told and taken out, until the rest can
    /// be read; what makes no sense is told of that rest.
    pub fn settings<T: Default + DeserializeOwned + Checked>(&self, key: &'static str) -> T {
        let Some(value) = self.find(key) else { return T::default() };
        let Some(section) = Section::of(self.reader, &self.full(key), value) else { return T::default() };
        let bounds = T::default().bounds();
        let mut rest = value.clone();
        let read = loop {
            match T::deserialize(Typed(&rest)) {
                Ok(read) => break read,
                Err(wrong) => {
                    section.refuse(&wrong, bounds.limits());
                    if !wrong.take_out(&mut rest) {
                        break T::default();
                    }
                }
            }
        };
        for fault in read.faults() {
            let message = format!("`{}` {}", section.full(&fault.key), fault.message);
            self.reader.fault(place_of(value, &fault.key), message, fault.hint);
        }
        read
    }

    fn refuse(&self, wrong: &Wrong, limits: &[Limit]) {
        let (at, key) = (wrong.at(self.at), wrong.key());
        let (message, hint) = match &wrong.what {
            What::Unknown(known) => return self.unknown(&key, at, known),
            What::NoNumber(instead) => {
                let range = limits.iter().find(|limit| limit.key == key);
                let range = range.map(|limit| format!(" from {} to {}", limit.least, limit.most));
                let range = range.unwrap_or_default();
                (format!("must be a whole number{range}, not {instead}"), u32::HINT)
            }
            What::NoValue(message, hint) => (message.clone(), hint.unwrap_or(DEFAULT)),
        };
        self.reader.fault(at, format!("`{}` {message}", self.full(&key)), hint);
    }

    /// A key that is not one of those known beside it. It may lie in a section of this one.
    fn unknown(&self, key: &str, at: Position, known: &[&str]) {
        let (above, name) = key.rsplit_once('.').map_or(("", key), |(above, name)| (above, name));
        let full = self.full(key);
        let beside = |name: &str| match above {
            "" => self.full(name),
            above => self.full(&format!("{above}.{name}")),
        };
        let hint = if let Some(new) = renamed(&full) {
            format!("it is called `{new}`")
        } else if let Some(meant) = known.iter().find(|meant| near(name, meant)) {
            format!("did you mean `{}`?", beside(meant))
        } else {
            format!("known here: {}", known.join(", "))
        };
        self.reader.fault(at, format!("unknown key `{full}`"), hint);
    }

    /// Whether a list is not there, or has nothing in it.
    pub fn is_without(&self, key: &str) -> bool {
        let found = self.entries.iter().find(|(k, _)| k.text == key);
        found.is_none_or(|(_, value)| matches!(&value.node, Node::List(items) if items.is_empty()))
    }

    /// The reader of the whole file.
    pub fn reader(&self) -> &'a Reader {
        self.reader
    }

    /// Where the value of a key stands; the section itself when it is not there.
    pub fn place(&self, key: &str) -> Position {
        self.entries.iter().find(|(k, _)| k.text == key).map_or(self.at, |(_, value)| value.at)
    }

    /// Ends the section: every key that was not asked for is a fault.
    pub fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            self.unknown(&key.text, key.at, &known);
        }
    }
}

/// Where the value of a key such as `directory.page_size` stands below `value`, as near as it is there.
fn place_of(value: &Placed, key: &str) -> Position {
    let mut here = value;
    for part in key.split('.') {
        let Node::Map(entries) = &here.node else { break };
        let Some((_, below)) = entries.iter().find(|(key, _)| key.text == part) else { break };
        here = below;
    }
    here.at
}

fn renamed(full: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == full).map(|(_, new)| *new)
}

/// Whether two names differ by so little that one was probably meant for the other.
fn near(a: &str, b: &str) -> bool {
    let allowed = if b.chars().count() < 4 { 1 } else { 2 };
    a != b && distance(&a.to_lowercase(), b) <= allowed
}

/// Insertions, deletions and replacements between two texts (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let here = (diagonal + usize::from(x != *y)).min(left + 1).min(above + 1);
            diagonal = *above;
            left = here;
            next.push(here);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
