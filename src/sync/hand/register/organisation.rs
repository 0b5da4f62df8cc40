//! Which organisations may register people by file, and under which scope.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::policy::scope::spelled;
use crate::policy::set::PolicySet;
use crate::policy::terms::{Membership, OdsCode};
use crate::store::error::StoreError;
use crate::store::member::Member;
use crate::store::organisation::{Organisation, Status};
use crate::store::port::Store;
use crate::sync::hand::register::person::{LISTING, Person};
use crate::sync::keeping::job::{Job, Reach};
use crate::sync::keeping::shelf::COOKIE;
use crate::sync::running::member::{National, scope_of};
use crate::sync::terms::error::SyncError;
use crate::sync::terms::settings::Scope;

/// What registration knows of all organisations.
#[derive(Debug, Clone)]
pub struct Organisations {
    known: BTreeMap<OdsCode, Organisation>,
    /// Codes of members: their people come from their directories.
    members: BTreeSet<OdsCode>,
    /// Members that have left, and what they published is still staged.
    remains: BTreeSet<OdsCode>,
    set: Arc<PolicySet>,
    /// Every word that a release agreement knows for how somebody is listed.
    listings: BTreeSet<String>,
}

impl Organisations {
    /// Reads them.
    pub fn read(store: &dyn Store, set: Arc<PolicySet>) -> Result<Organisations, StoreError> {
        let known = store.organisations()?.into_iter().map(|one| (one.ods.clone(), one)).collect();
        let (mut members, mut remains) = (BTreeSet::new(), BTreeSet::new());
        for member in store.members()? {
            match has_directory(store, &member)? {
                Directory::Has => _ = members.insert(member.ods),
                Directory::Had => _ = remains.insert(member.ods),
                Directory::None => {}
            }
        }
        let mut listings = BTreeSet::from(["listed".to_owned()]);
        for listing in set.releases.values().filter_map(|release| release.listing.as_ref()) {
            let words = [&listing.not_findable, &listing.by_address_only, &listing.without_contact];
            listings.extend(words.into_iter().flatten().map(|word| word.to_lowercase()));
        }
        Ok(Organisations { known, members, remains, set, listings })
    }

    /// The organisation, when it is known.
    pub fn get(&self, ods: &OdsCode) -> Option<&Organisation> {
        self.known.get(ods)
    }

    /// Every organisation's code.
    pub fn codes(&self) -> impl Iterator<Item = &OdsCode> {
        self.known.keys()
    }

    /// Why nobody of it can be registered by file; where it has closed, whatever `hides` somebody is taken. What to do is said.
    pub fn refusal(&self, ods: &OdsCode, hides: impl FnOnce() -> bool) -> Option<String> {
        if self.members.contains(ods) {
            return Some(format!("{ods} has a directory of its own: its people come from there"));
        }
        if self.remains.contains(ods) {
            return Some(format!(
                "{ods} had a directory of its own, and what was read from it is still kept: it cannot register by file yet"
            ));
        }
        match self.known.get(ods) {
            None => Some(format!(
                "{ods} is not in the programme: correct the code, or add it with `portcullis programme import`"
            )),
            Some(_) => self.closed(ods).filter(|_| !hides()),
        }
    }

    /// That it is closed, when it is, and what there is to do.
    pub fn closed(&self, ods: &OdsCode) -> Option<String> {
        let one = self.known.get(ods).filter(|one| one.status == Status::Closed)?;
        Some(match &one.successor {
            Some(successor) => format!(
                "{ods} is closed: register its people for {successor}; only who leaves, or asks not to be listed as others are, is still taken here"
            ),
            None => {
                format!("{ods} is closed: only who leaves, or asks not to be listed as others are, is taken")
            }
        })
    }

    /// Whether a row does nothing but take somebody out of sight, or tell less of them.
    pub fn hides(&self, person: &Person) -> bool {
        let words = || {
            let levels = self.scope(&person.ods).ok()?.levels.filter(|levels| levels.attribute == LISTING)?;
            Some([levels.not_published, levels.not_findable, levels.without_contact].into_iter().flatten())
        };
        let asks =
            |listing: &str| words().into_iter().flatten().any(|word| spelled(&word) == spelled(listing));
        person.is_leaver || person.listing().is_some_and(asks)
    }

    /// How somebody may be listed.
    pub fn listings(&self) -> &BTreeSet<String> {
        &self.listings
    }

    /// What there is to do for it; `target` is the national directory.
    pub fn job(&self, ods: &OdsCode, national: &National, target: Reach) -> Result<Job, SyncError> {
        Ok(Job {
            member: ods.clone(),
            source: None,
            source_base: String::new(),
            canary: None,
            target,
            people_base: national.people_base.clone(),
            scope: self.scope(ods)?,
        })
    }

    /// What it publishes: its scope without bases, for a table has no units.
    pub fn scope(&self, ods: &OdsCode) -> Result<Scope, SyncError> {
        let domains = self.known.get(ods).map(|one| one.mail_domains.clone()).unwrap_or_default();
        let scope = Scope::of(scope_of(&self.set, ods)?, &domains)?;
        Ok(Scope { bases: Vec::new(), ..scope })
    }
}

enum Directory {
    Has,
    /// It has left, and what was read of it is still there.
    Had,
    None,
}

fn has_directory(store: &dyn Store, member: &Member) -> Result<Directory, StoreError> {
    if member.state != Membership::Left {
        return Ok(Directory::Has);
    }
    Ok(if store.sync_value(&member.ods, COOKIE)?.is_some() { Directory::Had } else { Directory::None })
}

/// Whether people of it may be written now: asked before every batch. What cannot be told is no.
pub fn may_write(store: &dyn Store, ods: &OdsCode) -> bool {
    let known = matches!(store.organisation(ods), Ok(Some(_)));
    let without_directory = match store.member(ods) {
        Ok(None) => true,
        Ok(Some(member)) => matches!(has_directory(store, &member), Ok(Directory::None)),
        Err(_) => false,
    };
    known && without_directory
}
