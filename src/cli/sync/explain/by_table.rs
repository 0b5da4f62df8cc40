//! What is different in the explanation of somebody whom a table registered.

use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;

use crate::cli::sync::publisher::Publisher;
use crate::cli::table::moment;
use crate::policy::terms::OdsCode;
use crate::store::port::Store;
use crate::sync::hand::explain::{Person, Who, fits};
use crate::sync::hand::look::Look;
use crate::sync::hand::register::person;

/// Where somebody comes from who was registered by table.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The organisation, and the key of the row.
    pub ods: OdsCode,
    /// None: nobody with this key is registered any more.
    pub local_id: Option<String>,
    /// When the entry was first written.
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_written_at: Option<OffsetDateTime>,
}

impl Row {
    /// Of somebody of this organisation; none for a member's.
    pub fn of(
        publisher: &Publisher,
        store: &Arc<dyn Store>,
        person: &Person,
        first: Option<OffsetDateTime>,
    ) -> Option<Row> {
        publisher.registers().then(|| Row {
            ods: publisher.ods().clone(),
            local_id: publisher.local_id(store, &person.anchor.guid),
            first_written_at: first,
        })
    }

    /// As people read it.
    pub fn told(&self) -> String {
        let ods = &self.ods;
        let Some(id) = &self.local_id else { return format!("not registered by {ods} any more") };
        let first = self
            .first_written_at
            .map_or("never written".to_owned(), |at| format!("first written {}", moment(at)));
        format!("registered by table: ods {ods}, local_id {id}; {first}")
    }
}

/// Who is meant in an organisation without a directory: what is no account's name there may be the key of a row.
pub fn meant(who: &Who, look: &Look) -> Who {
    if let Who::Account(name) = who
        && !look.staged.objects().any(|object| fits(who, look, object))
    {
        let guid = person::guid(&look.member, name);
        if look.staged.get(&guid).is_some() {
            return Who::Guid(guid);
        }
    }
    who.clone()
}

/// Says of a table what is said of a directory, and leaves out what no table has.
pub fn reworded(person: &mut Person) {
    let reword = |text: &mut String| *text = text.replace("the member directory", "the table");
    person.local_dn = None;
    person.path.retain(|check| !matches!(check.rule, "readable" | "base"));
    for check in &mut person.path {
        let text = match (check.rule, check.passed) {
            ("there", true) => "is registered",
            ("enabled", true) => "the row says `active`",
            ("enabled", false) => "the row says `leaver`",
            _ => continue,
        };
        text.clone_into(&mut check.text);
    }
    if person.staged {
        reword(&mut person.because);
    } else {
        "nobody with this key is registered: the entry stays".clone_into(&mut person.because);
    }
    person.attributes.iter_mut().for_each(|one| reword(&mut one.owner));
}
