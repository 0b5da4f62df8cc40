//! Values of facts and their types. Units are normalised once, when a fact is collected: instants in UTC, durations in
//! seconds, names in lower case.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A known value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Boolean(bool),
    Integer(i64),
    /// Seconds.
    Duration(i64),
    /// Hundredths of a percent.
    Percent(i64),
    /// In UTC.
    Instant(#[serde(with = "time::serde::rfc3339")] OffsetDateTime),
    /// A name on a [`Ladder`], as the ladder writes it.
    Version(String),
    /// One of the words that the type lists.
    Word(String),
    Text(String),
    Sid(String),
    Guid(String),
    Dn(String),
    /// Names of set bits.
    Flags(BTreeSet<String>),
    /// Members as their type writes them.
    Set(BTreeSet<String>),
}

/// What a fact can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    Boolean,
    Integer,
    Duration,
    Percent,
    Instant,
    Version(Ladder),
    Word(Vec<String>),
    Text,
    Sid,
    Guid,
    Dn,
    Flags(Vec<String>),
    Set(Element),
}

/// What a set holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    Version(Ladder),
    Word(Vec<String>),
    Text,
    Oid,
    Sid,
    Dn,
}

/// Versions in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ladder {
    /// `sslv2` to `tls1.3`.
    Tls,
    /// Windows functional levels, `2000` to `2025` ([MS-ADTS] 6.1.4.2 to 6.1.4.4).
    FunctionalLevel,
}

impl Ladder {
    /// Names from low to high.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Ladder::Tls => &["sslv2", "sslv3", "tls1.0", "tls1.1", "tls1.2", "tls1.3"],
            Ladder::FunctionalLevel => &[
                "windows2000",
                "windows2003interim",
                "windows2003",
                "windows2008",
                "windows2008r2",
                "windows2012",
                "windows2012r2",
                "windows2016",
                "windows2025",
            ],
        }
    }

    /// How high a name stands, from 0.
    pub fn rank(self, name: &str) -> Option<usize> {
        self.names().iter().position(|n| *n == name)
    }

    /// The ladder's spelling of a name, however it is cased.
    pub fn spell(self, name: &str) -> Option<&'static str> {
        self.names().iter().copied().find(|n| n.eq_ignore_ascii_case(name))
    }
}

impl Type {
    /// The word for the type in messages and in `policy facts`.
    pub fn name(&self) -> String {
        match self {
            Type::Boolean => "true or false".into(),
            Type::Integer => "integer".into(),
            Type::Duration => "duration".into(),
            Type::Percent => "percentage".into(),
            Type::Instant => "instant".into(),
            Type::Version(Ladder::Tls) => "TLS version".into(),
            Type::Version(Ladder::FunctionalLevel) => "functional level".into(),
            Type::Word(words) => format!("one of {}", words.join(", ")),
            Type::Text => "text".into(),
            Type::Sid => "SID".into(),
            Type::Guid => "GUID".into(),
            Type::Dn => "DN".into(),
            Type::Flags(_) => "set of flags".into(),
            Type::Set(element) => match element {
                Element::Version(_) => "set of versions".into(),
                Element::Word(_) => "set of names".into(),
                Element::Text => "set of texts".into(),
                Element::Oid => "set of object identifiers".into(),
                Element::Sid => "set of SIDs".into(),
                Element::Dn => "set of DNs".into(),
            },
        }
    }

    /// Whether a value is of this type, so that evidence with a fact of another type counts as failed, not as known.
    pub fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Type::Boolean, Value::Boolean(_))
            | (Type::Integer, Value::Integer(_))
            | (Type::Duration, Value::Duration(_))
            | (Type::Percent, Value::Percent(_))
            | (Type::Instant, Value::Instant(_))
            | (Type::Text, Value::Text(_))
            | (Type::Sid, Value::Sid(_))
            | (Type::Guid, Value::Guid(_))
            | (Type::Dn, Value::Dn(_))
            | (Type::Flags(_), Value::Flags(_)) => true,
            (Type::Version(ladder), Value::Version(name)) => ladder.rank(name).is_some(),
            (Type::Word(words), Value::Word(word)) => words.contains(word),
            (Type::Set(Element::Version(ladder)), Value::Set(names)) => {
                names.iter().all(|name| ladder.rank(name).is_some())
            }
            (Type::Set(_), Value::Set(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Duration(seconds) => f.write_str(&duration_text(*seconds)),
            Value::Percent(hundredths) => f.write_str(&percent_text(*hundredths)),
            Value::Instant(at) => f.write_str(&at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())),
            Value::Version(text)
            | Value::Word(text)
            | Value::Text(text)
            | Value::Sid(text)
            | Value::Guid(text)
            | Value::Dn(text) => f.write_str(text),
            Value::Flags(names) | Value::Set(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(f, "[{}]", names.join(", "))
            }
        }
    }
}

/// A duration as documents write it, in the greatest unit that needs no fraction: `15m`, `180d`.
pub fn duration_text(seconds: i64) -> String {
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds != 0 && seconds % size == 0 {
            return format!("{}{unit}", seconds / size);
        }
    }
    match seconds {
        s if s.abs() >= 172_800 => format!("{}d", s / 86_400),
        s => format!("{s}s"),
    }
}

/// A percentage as documents write it: `2%`, `0.5%`.
pub fn percent_text(hundredths: i64) -> String {
    let (whole, part) = (hundredths / 100, (hundredths % 100).abs());
    if part == 0 {
        format!("{whole}%")
    } else {
        let digits = format!("{part:02}");
        format!("{whole}.{}%", digits.trim_end_matches('0'))
    }
}
