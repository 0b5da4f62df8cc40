//! An organisation of the programme as the store keeps it, whether it has a directory of its own or not.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

use crate::policy::terms::OdsCode;

/// What kind of organisation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A trust or another organisation with a directory of its own, mostly.
    Large,
    /// A practice, mostly without one.
    Practice,
}

/// Whether it still works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Open,
    /// Legally closed: nobody new is registered for it.
    Closed,
}

/// A word that is not one of a few.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {wanted}, not `{found}`")]
pub struct NotAWord {
    pub wanted: &'static str,
    pub found: String,
}

impl Kind {
    /// As files and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Large => "large",
            Kind::Practice => "practice",
        }
    }
}

impl Status {
    /// As files and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Closed => "closed",
        }
    }
}

impl FromStr for Kind {
    type Err = NotAWord;

    fn from_str(text: &str) -> Result<Kind, NotAWord> {
        match text.to_ascii_lowercase().as_str() {
            "large" => Ok(Kind::Large),
            "practice" => Ok(Kind::Practice),
            _ => Err(NotAWord { wanted: "`large` or `practice`", found: text.to_owned() }),
        }
    }
}

impl FromStr for Status {
    type Err = NotAWord;

    fn from_str(text: &str) -> Result<Status, NotAWord> {
        match text.to_ascii_lowercase().as_str() {
            "open" => Ok(Status::Open),
            "closed" => Ok(Status::Closed),
            _ => Err(NotAWord { wanted: "`open` or `closed`", found: text.to_owned() }),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An organisation of the programme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// Its key.
    pub ods: OdsCode,
    /// For people to read; never a key.
    pub name: String,
    pub kind: Kind,
    /// The wave of onboarding that it belongs to; none: not in one yet.
    pub wave: Option<u32>,
    /// When it is to be there; none: not planned yet.
    #[serde(with = "day")]
    pub planned: Option<Date>,
    /// Mail domains of its people, lower case.
    pub mail_domains: BTreeSet<String>,
    pub status: Status,
    /// Who takes over from a closed one.
    pub successor: Option<OdsCode>,
    /// When it was first imported, in UTC; kept by later imports.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// A day as `2026-11-29`, or nothing.
pub mod day {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use time::Date;
    use time::format_description::BorrowedFormatItem;

    const FORMAT: &[BorrowedFormatItem<'_>] = time::macros::format_description!("[year]-[month]-[day]");

    /// Writes it.
    pub fn serialize<S: Serializer>(day: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
        let text = day.map(|day| day.format(FORMAT)).transpose().map_err(S::Error::custom)?;
        text.serialize(serializer)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| Date::parse(&text, FORMAT)).transpose().map_err(D::Error::custom)
    }
}
