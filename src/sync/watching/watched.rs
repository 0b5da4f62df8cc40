//! What the observer knows of the members' entries, and how it outlives a restart.
//!
//! Each member's part is a note of its own, written when it changed; the cookie is written last, so that it is never ahead of any
//! part: what it misses is told again, and being told again changes nothing. It stands in the note of one member with a number
//! that rises; the highest counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::directory::request::Search;
use crate::ldap::content_sync::SyncUuid;
use crate::ldap::dn::Dn;
use crate::ldap::entry::Entry;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::packed::Packed;
use crate::store::port::Store;
use crate::sync::people::books::{Books, Published};
use crate::sync::people::drift::{self, Drift, Seen};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::target::{ANCHOR, STAMP};

/// Names of the notes.
const PART: &str = "observed";
const PLACE: &str = "observer";

/// What is held of an entry. No value of it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// In whose unit it lies; none: in nobody's.
    pub member: Option<OdsCode>,
    pub dn: String,
    /// The account that its anchor names.
    pub guid: Option<Guid>,
    pub stamp: Option<String>,
    /// Whether the stamp is that of its content.
    pub fits: bool,
}

impl Item {
    /// Of an entry that is part of the content and lies in no member's unit.
    pub fn outside() -> Item {
        Item { member: None, dn: String::new(), guid: None, stamp: None, fits: false }
    }

    /// As the drift is found from it.
    pub fn seen(&self) -> Seen<'_> {
        Seen { dn: &self.dn, guid: self.guid, stamp: self.stamp.as_deref(), fits: self.fits }
    }
}

/// Which attributes each member's stamps are made over.
pub type Stamped = BTreeMap<OdsCode, BTreeSet<String>>;

/// What an entry says; none when it lies in no member's unit, or is the unit itself.
pub fn item(entry: &Entry, people: &Dn, stamped: &Stamped) -> Option<Item> {
    let member = unit(&entry.dn, people)?;
    let stamped = stamped.get(&member)?;
    let lower: Vec<(String, Vec<String>)> = entry
        .attributes
        .iter()
        .map(|attribute| {
            let values = attribute.values.iter().filter_map(|value| String::from_utf8(value.clone()).ok());
            (attribute.description.to_ascii_lowercase(), values.collect())
        })
        .collect();
    let stamp = entry.text(STAMP).map(str::to_owned);
    let content = lower.iter().map(|(name, values)| (name.as_str(), values.clone()));
    Some(Item {
        guid: drift::account(&member, entry.text(ANCHOR)),
        fits: stamp.as_deref() == Some(drift::stamp_of(content, stamped).as_str()),
        dn: entry.dn.clone(),
        stamp,
        member: Some(member),
    })
}

/// The member in whose unit below the people this name lies.
pub fn unit(dn: &str, people: &Dn) -> Option<OdsCode> {
    let people = people.normal();
    let mut below = Dn::parse(dn).ok()?;
    let mut depth = 0;
    loop {
        let parent = below.parent()?;
        if parent.normal() == people {
            // the unit itself is no entry of anybody
            return if depth > 0 { below.rdn()?.text()?.parse().ok() } else { None };
        }
        below = parent;
        depth += 1;
    }
}

/// What is known of a member.
#[derive(Debug, Default)]
pub struct Member {
    pub books: Books,
    pub entries: BTreeSet<SyncUuid>,
    /// When its entries last changed, and when the first of those changes came that nobody has judged yet.
    pub changed: Option<(std::time::Instant, std::time::Instant)>,
    /// When the last message about an account's entry came, since the last judgement.
    pub arrived: BTreeMap<Guid, OffsetDateTime>,
    pub found: Vec<Drift>,
    /// There is something to keep.
    pub is_new: bool,
}

impl Member {
    /// Its entries changed now.
    pub fn touch(&mut self, guid: Option<Guid>, at: OffsetDateTime) {
        let now = std::time::Instant::now();
        self.changed = Some((now, self.changed.map_or(now, |(_, first)| first)));
        self.is_new = true;
        if let Some(guid) = guid {
            self.arrived.insert(guid, at);
        }
    }
}

/// A member's part, as kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    pub items: Vec<(Uuid, Item)>,
    pub published: Vec<(Guid, Published)>,
    /// See [`Books::kept_at`].
    pub journal: u64,
}

/// Everything that was kept.
#[derive(Debug)]
pub struct Kept {
    pub items: HashMap<SyncUuid, Item>,
    pub books: BTreeMap<OdsCode, Books>,
    pub place: Place,
}

/// Where to go on, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The highest counts.
    pub number: u64,
    pub cookie: Vec<u8>,
    /// What was searched for: the cookie is of no use for anything else.
    pub asked: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// When everything was last read.
    #[serde(with = "time::serde::rfc3339")]
    pub refreshed_at: OffsetDateTime,
}

/// What is searched for, in one text.
pub fn asked(server: &str, search: &Search) -> String {
    format!("{server} {} {}", search.base, search.attributes.join(","))
}

/// Keeps the parts of `members` that are new, then the place.
pub fn keep(
    store: &Arc<dyn Store>,
    parts: &[(OdsCode, Part)],
    place: Option<(&OdsCode, &Place)>,
) -> Result<(), StoreError> {
    let value = |error: serde_json::Error| StoreError::Value(format!("what is observed: {error}"));
    for (member, part) in parts {
        let bytes = serde_json::to_vec(part).map_err(value)?;
        store.set_note(member, PART, Packed::of(&bytes)?.bytes())?;
    }
    if let Some((member, place)) = place {
        store.set_note(member, PLACE, &serde_json::to_vec(place).map_err(value)?)?;
    }
    Ok(())
}

/// What was kept: the parts, and the place of the highest number. A part that cannot be read makes all of it worthless.
pub fn kept(store: &Arc<dyn Store>, members: &[OdsCode]) -> Result<Option<Kept>, StoreError> {
    let (mut items, mut books, mut place): (_, _, Option<Place>) = (HashMap::new(), BTreeMap::new(), None);
    for member in members {
        if let Some(bytes) = store.note(member, PLACE)? {
            let Ok(found) = serde_json::from_slice::<Place>(&bytes) else { return Ok(None) };
            if place.as_ref().is_none_or(|place| place.number < found.number) {
                place = Some(found);
            }
        }
        let Some(bytes) = store.note(member, PART)? else { continue };
        let bytes = Packed::from_row(Some(bytes), PART).and_then(|packed| packed.unpack(PART));
        let Some(part) = bytes.ok().and_then(|bytes| serde_json::from_slice::<Part>(&bytes).ok()) else {
            return Ok(None);
        };
        items.extend(part.items.into_iter().map(|(uuid, item)| (SyncUuid(*uuid.as_bytes()), item)));
        books.insert(member.clone(), Books::kept(part.published.into_iter().collect(), part.journal));
    }
    Ok(place.map(|place| Kept { items, books, place }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_belongs_to_the_unit_it_lies_in() {
        let people = Dn::parse("ou=people,dc=n").unwrap();
        let unit = |dn: &str| unit(dn, &people).map(|member| member.to_string());
        assert_eq!(unit("uid=a,ou=RXA,OU=People, dc=N"), Some("RXA".to_owned()));
        assert_eq!(unit("cn=x,uid=a,ou=RXA,ou=people,dc=n"), Some("RXA".to_owned()));
        assert_eq!(unit("ou=RXA,ou=people,dc=n"), None);
        assert_eq!(unit("ou=people,dc=n"), None);
        assert_eq!(unit("uid=a,ou=RXA,ou=other,dc=n"), None);
    }
}
