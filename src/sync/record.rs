//! What the journal keeps of a write's answer: the entry's version after it, and what a deletion took away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::directory::request::Outcome;
use crate::ldap::entry::Entry;
use crate::ldap::limits::Limits;
use crate::ldap::typed_control::{self, POST_READ, PRE_READ};
use crate::secret::attributes::is_secret;

/// What else holds keys of people: nowhere kept.
const PRIVATE: &[&str] = &["userpkcs12", "krbprincipalkey", "sambalmpassword", "sambantpassword"];

/// The document of a `done` line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// entryCSN after the write; none when the directory did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csn: Option<String>,
    /// The whole entry that was deleted, by lower-case attribute; none when the directory did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<BTreeMap<String, Vec<String>>>,
    /// Attributes of it that are not kept: secrets, and what is no text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// The document for an answer.
pub fn of(outcome: &Outcome) -> Vec<u8> {
    let read = |oid: &str| {
        let value = outcome.control(oid)?.value.as_deref()?;
        typed_control::read_entry_answer(value, &Limits::default()).ok()
    };
    let csn = read(POST_READ).and_then(|entry| entry.text("entryCSN").map(str::to_owned));
    let mut record = Record { csn, ..Record::default() };
    if let Some(entry) = read(PRE_READ) {
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
