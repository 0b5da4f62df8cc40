//! What the journal keeps of a write's answer: the entry's version after it, and what a deletion took away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::directory::request::Outcome;
use crate::ldap::entry::Entry;
use crate::ldap::limits::Limits;
use crate::ldap::typed_control::{self, PRE_READ};
use crate::secret::attributes::is_secret;
use crate::sync::terms::target::TargetEntry;
use crate::sync::writing::national::National;

/// What else holds keys of people: nowhere kept.
const PRIVATE: &[&str] = &["userpkcs12", "krbprincipalkey", "sambalmpassword", "sambantpassword"];

/// The document of a `done` line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The entry's version after the write (entryCSN, or what the server has instead); none when the directory did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csn: Option<String>,
    /// What the directory calls the entry, whatever its name (entryUUID, or what the server has instead); none when it did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The whole entry that was deleted, by lower-case attribute; none when the directory did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<BTreeMap<String, Vec<String>>>,
    /// Attributes of it that are not kept: secrets, and what is no text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

impl Record {
    /// Of an entry that was found as a step has left it.
    pub fn seen(entry: &TargetEntry) -> Record {
        let (csn, identity) = (Some(entry.entry_csn.clone()), Some(entry.entry_uuid.clone()));
        Record { csn, identity, ..Record::default() }
    }
}

/// The document for an answer of this server.
pub fn of(outcome: &Outcome, national: &National) -> Vec<u8> {
    let (csn, identity) = (national.version_after(outcome), national.identity_after(outcome));
    let mut record = Record { csn, identity, ..Record::default() };
    let value = outcome.control(PRE_READ).and_then(|control| control.value.as_deref());
    if let Some(mut entry) =
        value.and_then(|value| typed_control::read_entry_answer(value, &Limits::default()).ok())
    {
        // what the server gives an entry itself it gives the next one too
        let own = |name: &str| {
            [national.identity, national.version].iter().any(|own| own.eq_ignore_ascii_case(name))
        };
        entry.attributes.retain(|attribute| !own(&attribute.description));
        image(entry, &mut record);
    }
    // names and texts alone: this cannot fail
    serde_json::to_vec(&record).unwrap_or_default()
}

fn image(entry: Entry, record: &mut Record) {
    let mut before = BTreeMap::new();
    for attribute in entry.attributes {
        let name = attribute.description.to_ascii_lowercase();
        let bare = name.split(';').next().unwrap_or_default();
        let texts: Result<Vec<String>, _> = attribute.values.into_iter().map(String::from_utf8).collect();
        match texts {
            Ok(values) if !is_secret(bare) && !PRIVATE.contains(&bare) => {
                before.insert(name, values);
            }
            _ => record.left_out.push(name),
        }
    }
    record.before = Some(before);
}
