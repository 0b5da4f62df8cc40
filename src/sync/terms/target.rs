//! What is published for a member: the national entries below its own organisational unit, as read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::policy::signature::hex;
use crate::policy::terms::OdsCode;
use crate::sync::terms::guid::Guid;

/// Attributes of `deploy/lab/national/portcullis.schema`, lower case.
pub const ANCHOR: &str = "portcullisanchor";
pub const MEMBER: &str = "portcullismember";
pub const STAMP: &str = "portcullisstamp";
pub const LEFT_AT: &str = "portcullisleftat";
/// The auxiliary class that carries them.
pub const CLASS: &str = "portcullisEntry";

/// What ties a national entry to the account that it stands for; never changes. Written `RXA/<objectGUID>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Anchor {
    pub member: OdsCode,
    pub guid: Guid,
}

impl Anchor {
    /// Reads the written form.
    pub fn parse(text: &str) -> Option<Anchor> {
        let (member, guid) = text.split_once('/')?;
        Some(Anchor { member: member.parse().ok()?, guid: guid.parse().ok()? })
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.member, self.guid)
    }
}

impl From<Anchor> for String {
    fn from(anchor: Anchor) -> String {
        anchor.to_string()
    }
}

impl TryFrom<String> for Anchor {
    type Error = String;

    fn try_from(text: String) -> Result<Anchor, String> {
        Anchor::parse(&text).ok_or_else(|| format!("`{text}` is no anchor"))
    }
}

/// One national entry. Attribute names are lower case; values that are not text are not published by us and left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetEntry {
    pub dn: String,
    /// What identifies it on its server: entryUUID, or nsUniqueId ([`crate::sync::writing::national`]).
    pub entry_uuid: String,
    /// Its version: entryCSN, or entryusn; empty when it has none yet.
    pub entry_csn: String,
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Whose it is by the journal, whatever anchor it carries; none where nobody asked the journal.
    #[serde(skip)]
    pub written_for: Option<Anchor>,
}

impl TargetEntry {
    /// The values of an attribute; none when absent.
    pub fn values(&self, name: &str) -> &[String] {
        self.attributes.get(name).map_or(&[], Vec::as_slice)
    }

    /// The first value of an attribute.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }

    /// Whose entry it is; none when nobody's of ours.
    pub fn anchor(&self) -> Option<Anchor> {
        Anchor::parse(self.first(ANCHOR)?)
    }

    /// Whose entry it is: by a journal where those were asked, else by the anchor.
    pub fn owner(&self) -> Option<Anchor> {
        self.written_for.clone().or_else(|| self.anchor())
    }

    /// The person of this member whose entry it is.
    pub fn person(&self, member: &OdsCode) -> Option<Guid> {
        self.owner().filter(|owner| owner.member == *member).map(|owner| owner.guid)
    }

    /// Whether it carries another anchor than the journal says, or none.
    pub fn is_misled(&self) -> bool {
        self.written_for.is_some() && self.written_for != self.anchor()
    }

    /// Since when its person has left.
    pub fn left_at(&self) -> Option<OffsetDateTime> {
        generalized_time(self.first(LEFT_AT)?)
    }

    /// Whether it is marked as a leaver, readable date or not.
    pub fn has_left(&self) -> bool {
        self.attributes.contains_key(LEFT_AT)
    }
}

/// The member's national entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetView {
    /// The member's organisational unit exists.
    pub base_exists: bool,
    pub entries: Vec<TargetEntry>,
}

impl TargetView {
    /// How many entries are published: anchored and not marked as leavers.
    pub fn published(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.anchor().is_some() && !entry.has_left()).count() as u64
    }
}

/// The stamp of a leaver's entry, of the one of its content and the written time of leaving: that time counts only as it was written by us.
pub fn left_stamp(content: &str, left_at: &str) -> String {
    hex(&Sha256::digest(format!("{content} {left_at}")))
}

/// Reads `20261124161500Z` (RFC 4517 section 3.3.13, as we write it).
pub fn generalized_time(text: &str) -> Option<OffsetDateTime> {
    let format = time::macros::format_description!("[year][month][day][hour][minute][second]Z");
    time::PrimitiveDateTime::parse(text, &format).ok().map(time::PrimitiveDateTime::assume_utc)
}

/// Writes it.
pub fn to_generalized_time(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year][month][day][hour][minute][second]Z");
    at.to_offset(time::UtcOffset::UTC).format(&format).unwrap_or_default()
}
