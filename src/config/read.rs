//! Takes a tree apart into settings, noting every fault on the way instead of stopping at the first.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::config::fault::Fault;
use crate::config::source::{Key, Node, Placed, Position};
use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
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

/// What is noted while reading.
#[derive(Debug)]
pub struct Reader {
    /// The directory that relative paths start from.
    base: PathBuf,
    faults: RefCell<Vec<Fault>>,
    paths: RefCell<Vec<(Position, PathBuf)>>,
    secrets: RefCell<Vec<(Position, SecretReference)>>,
}

impl Reader {
    /// A reader for a file in the directory `base`.
    pub fn new(base: &Path) -> Self {
        Reader {
            base: base.to_owned(),
            faults: RefCell::default(),
            paths: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// Notes a fault.
    pub fn fault(&self, at: Position, message: String, hint: Option<String>) {
        self.faults.borrow_mut().push(Fault { line: at.line, column: at.column, message, hint });
    }

    /// The faults, in the order of the file.
    pub fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults
    }

    /// Notes every file that cannot be read and every secret that is not there.
    pub fn check_references(&self) {
        for (at, path) in self.paths.take() {
            if let Err(error) = std::fs::metadata(&path) {
                self.fault(at, format!("cannot read {}: {error}", path.display()), None);
            }
        }
        for (at, secret) in self.secrets.take() {
            if let Err(error) = secret.read() {
                self.fault(at, error.to_string(), None);
            }
        }
    }
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
                None,
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
                self.reader.fault(value.at, format!("`{}` {message}", self.full(key)), None);
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
            self.reader.fault(self.at, format!("`{}` is missing", self.full(key)), None);
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

    /// The items of a list that may be absent, each with its path.
    pub fn items(&self, key: &'static str) -> Vec<(String, &'a Placed)> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Node::List(items) = &value.node else {
            let kind = value.node.kind();
            self.reader.fault(value.at, format!("`{}` must be a list, not {kind}", self.full(key)), None);
            return Vec::new();
        };
        items.iter().enumerate().map(|(n, item)| (format!("{}[{n}]", self.full(key)), item)).collect()
    }

    /// A list of values that may be absent.
    pub fn list<T: Field>(&self, key: &'static str) -> Vec<T> {
        self.items(key).into_iter().filter_map(|(path, item)| self.value(&path, item)).collect()
    }

    /// A module's own settings; absent means its defaults. Each key is tried by itself, so that each fault is found and placed.
    pub fn settings<T: Default + DeserializeOwned>(&self, key: &'static str) -> T {
        let Some(value) = self.find(key) else { return T::default() };
        let Some(section) = Section::of(self.reader, &self.full(key), value) else { return T::default() };
        let mut good = true;
        for (name, value) in section.entries {
            let alone = serde_json::json!({ &name.text: value.node.to_json() });
            if let Err(error) = serde_json::from_value::<T>(alone) {
                good = false;
                section.refuse(name, value, &error.to_string());
            }
        }
        if !good {
            return T::default();
        }
        serde_json::from_value(value.node.to_json()).unwrap_or_else(|error| {
            self.reader.fault(value.at, format!("`{}`: {error}", self.full(key)), None);
            T::default()
        })
    }

    fn refuse(&self, name: &Key, value: &Placed, error: &str) {
        let Some(list) = error.strip_prefix("unknown field ") else {
            self.reader.fault(value.at, format!("`{}`: {error}", self.full(&name.text)), None);
            return;
        };
        // serde lists the known names in back-quotes after the unknown one
        let known: Vec<&str> = list.split('`').skip(3).step_by(2).collect();
        self.unknown(name, &known);
    }

    fn unknown(&self, key: &Key, known: &[&str]) {
        let full = self.full(&key.text);
        let hint = if let Some(new) = renamed(&full) {
            format!("it is called `{new}`")
        } else if let Some(name) = known.iter().find(|name| near(&key.text, name)) {
            format!("did you mean `{}`?", self.full(name))
        } else {
            format!("known here: {}", known.join(", "))
        };
        self.reader.fault(key.at, format!("unknown key `{full}`"), Some(hint));
    }

    /// Notes a fault that concerns several keys of the section.
    pub fn fault(&self, at: Position, message: &str) {
        self.reader.fault(at, message.to_owned(), None);
    }

    /// Ends the section: every key that was not asked for is a fault.
    pub fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            self.unknown(key, &known);
        }
    }
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

/// A type that a single value can be read as. The error is the end of a sentence that begins with the key.
pub trait Field: Sized {
    fn read(reader: &Reader, value: &Placed) -> Result<Self, String>;
}

fn text<'a>(value: &'a Placed, wanted: &str) -> Result<&'a str, String> {
    match &value.node {
        Node::Text(text) if !text.trim().is_empty() => Ok(text),
        Node::Text(_) | Node::Null => Err(format!("must be {wanted}, not empty")),
        Node::Boolean(_) | Node::Integer(_) | Node::Number(_) => {
            Err(format!("must be {wanted}, not {}: put it in quotes", value.node.kind()))
        }
        other => Err(format!("must be {wanted}, not {}", other.kind())),
    }
}

impl Field for String {
    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        text(value, "a text").map(str::to_owned)
    }
}

impl Field for u32 {
    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        match value.node {
            Node::Integer(number) => {
                u32::try_from(number).map_err(|_| format!("must be between 0 and {}, not {number}", u32::MAX))
            }
            ref other => Err(format!("must be an integer, not {}", other.kind())),
        }
    }
}

impl Field for PathBuf {
    fn read(reader: &Reader, value: &Placed) -> Result<Self, String> {
        let path = reader.base.join(text(value, "a path")?);
        reader.paths.borrow_mut().push((value.at, path.clone()));
        Ok(path)
    }
}

/// A directory that is made when it is not there.
#[derive(Debug)]
pub struct OwnDirectory(pub PathBuf);

impl Field for OwnDirectory {
    fn read(reader: &Reader, value: &Placed) -> Result<Self, String> {
        Ok(OwnDirectory(reader.base.join(text(value, "a path")?)))
    }
}

impl Field for SocketAddr {
    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text = text(value, "an address and port such as 127.0.0.1:636")?;
        text.parse().map_err(|_| format!("must be an address and port such as 127.0.0.1:636, not `{text}`"))
    }
}

/// A host and a port.
#[derive(Debug)]
pub struct HostPort(pub String, pub u16);

impl Field for HostPort {
    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text = text(value, "a host and port such as ldap.example.test:636")?;
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("must be a host and port such as ldap.example.test:636, not `{text}`"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match port.parse() {
            Ok(port) if port != 0 && !host.is_empty() => Ok(HostPort(host.to_owned(), port)),
            _ => Err(format!("must be a host and port such as ldap.example.test:636, not `{text}`")),
        }
    }
}

/// A distinguished name as it was written, read, and where it stands.
#[derive(Debug)]
pub struct Name {
    pub text: String,
    pub name: Dn,
    pub at: Position,
}

impl Field for Name {
    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text = text(value, "a distinguished name")?;
        let name = Dn::parse(text).map_err(|error| format!("must be a distinguished name: {error}"))?;
        Ok(Name { text: text.to_owned(), name, at: value.at })
    }
}

impl Field for OdsCode {
    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        text(value, "an ODS code")?.parse().map_err(|error| format!("is wrong: {error}"))
    }
}

impl Field for SecretReference {
    fn read(reader: &Reader, value: &Placed) -> Result<Self, String> {
        let wanted = "must be a reference to a secret: `{file: /path}` or `{environment: NAME}`";
        let Node::Map(entries) = &value.node else {
            return Err(format!("{wanted}, never the secret itself"));
        };
        let secret = match entries.as_slice() {
            [(key, place)] if key.text == "file" => {
                SecretReference::File(reader.base.join(text(place, "a path")?))
            }
            [(key, name)] if key.text == "environment" => {
                SecretReference::Environment(text(name, "a name")?.to_owned())
            }
            _ => return Err(wanted.to_owned()),
        };
        reader.secrets.borrow_mut().push((value.at, secret.clone()));
        Ok(secret)
    }
}

/// A SHA-256 fingerprint, with or without colons.
#[derive(Debug)]
pub struct Sha256Hex(pub String);

impl Field for Sha256Hex {
    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text: String =
            text(value, "a SHA-256 fingerprint")?.chars().filter(|c| *c != ':').collect::<String>();
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Sha256Hex(text.to_ascii_lowercase()))
        } else {
            Err("must be a SHA-256 fingerprint: 64 hexadecimal digits".to_owned())
        }
    }
}
