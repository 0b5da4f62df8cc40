//! Distinguished names (RFC 4514), compared by what they mean: without case, spaces folded, escapes undone, attribute
//! types by any of their names, the parts of a multi-valued relative name in any order. `Dn::parse` is in `dn_text`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A distinguished name: relative names, the entry's own first. Empty is the root.
///
/// Printing it gives the canonical text: types and values as they were written, escapes and separators in one form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Dn {
    pub(crate) rdns: Vec<Rdn>,
}

/// A relative distinguished name: one or more types with values, in the order written; compared in any order.
#[derive(Debug, Clone)]
pub struct Rdn {
    pub(crate) parts: Vec<Part>,
    pub(crate) normal: String,
}

/// One type with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// As written.
    pub attribute: String,
    /// With escapes undone.
    pub value: Value,
}

/// The value of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// Bytes that were escaped and are no UTF-8.
    Bytes(Vec<u8>),
    /// `#hex`: the BER element, as it was.
    Ber(Vec<u8>),
}

impl PartialEq for Rdn {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for Rdn {}

impl Hash for Rdn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.normal.hash(state);
    }
}

impl PartialOrd for Rdn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rdn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.normal.cmp(&other.normal)
    }
}

impl Rdn {
    /// Types and values, in the order written.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text that equal relative names share.
    pub fn normal(&self) -> &str {
        &self.normal
    }

    /// The value of the first part if it is text: `Jo` of `cn=Jo+uid=7`.
    pub fn text(&self) -> Option<&str> {
        match self.parts.first().map(|part| &part.value) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl Dn {
    /// The name of the root.
    pub const ROOT: Dn = Dn { rdns: Vec::new() };

    /// Relative names, the entry's own first.
    pub fn rdns(&self) -> &[Rdn] {
        &self.rdns
    }

    /// The entry's own relative name.
    pub fn rdn(&self) -> Option<&Rdn> {
        self.rdns.first()
    }

    /// How many relative names.
    pub fn depth(&self) -> usize {
        self.rdns.len()
    }

    /// It is the name of the root.
    pub fn is_root(&self) -> bool {
        self.rdns.is_empty()
    }

    /// The name one step up; none above the root.
    pub fn parent(&self) -> Option<Dn> {
        self.rdns.split_first().map(|(_, rest)| Dn { rdns: rest.to_vec() })
    }

    /// The name is `ancestor` or somewhere below it. Everything is at or below the root.
    pub fn is_at_or_below(&self, ancestor: &Dn) -> bool {
        self.rdns.ends_with(&ancestor.rdns)
    }

    /// What stands before `suffix`, if the name is at or below it; the root when they are equal.
    pub fn strip_suffix(&self, suffix: &Dn) -> Option<Dn> {
        self.rdns.strip_suffix(suffix.rdns.as_slice()).map(|rest| Dn { rdns: rest.to_vec() })
    }

    /// This name placed below `suffix`.
    pub fn join(&self, suffix: &Dn) -> Dn {
        Dn { rdns: self.rdns.iter().chain(&suffix.rdns).cloned().collect() }
    }

    /// The text that equal names share, and names that differ do not; for keys, not for the wire.
    pub fn normal(&self) -> String {
        let mut normal = String::new();
        for (at, rdn) in self.rdns.iter().enumerate() {
            if at > 0 {
                normal.push(',');
            }
            normal.push_str(&rdn.normal);
        }
        normal
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, rdn) in self.rdns.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            fmt::Display::fmt(rdn, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                f.write_str("+")?;
            }
            write!(f, "{}=", part.attribute)?;
            fmt::Display::fmt(&part.value, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write_text(f, text),
            Value::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "\\{byte:02x}")),
            Value::Ber(bytes) => {
                f.write_str("#")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Escapes what RFC 4514 section 2.4 names, and control characters.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.len().saturating_sub(1);
    for (at, c) in text.char_indices() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => write!(f, "\\{c}")?,
            ' ' if at == 0 || at == last => f.write_str("\\ ")?,
            '#' if at == 0 => f.write_str("\\#")?,
            '\0'..='\x1f' | '\x7f' => write!(f, "\\{:02x}", u32::from(c))?,
            _ => fmt::Write::write_char(f, c)?,
        }
    }
    Ok(())
}
