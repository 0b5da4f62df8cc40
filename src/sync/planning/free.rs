//! Names for entries that are renamed before anything else is done with them. Such a rename waits for no other one: what waits for it would wait
//! for ever where they wait for one another.

use std::collections::BTreeSet;
use std::slice;

use crate::ldap::dn::Dn;
use crate::sync::people::desired::{Fate, NAMING};
use crate::sync::people::naming;
use crate::sync::planning::state::Known;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::target::TargetEntry;

/// The names in a unit that are free.
pub struct Free<'a> {
    base: &'a Dn,
    /// What entries have, or are given here, by the names' keys.
    used: BTreeSet<String>,
    /// What people who are published are to have.
    wanted: BTreeSet<String>,
}

impl<'a> Free<'a> {
    /// `is_needed`: else nothing is looked up.
    pub fn new(base: &'a Dn, is_needed: bool, entries: &[TargetEntry], known: &Known<'_>) -> Free<'a> {
        let mut free = Free { base, used: BTreeSet::new(), wanted: BTreeSet::new() };
        if is_needed {
            free.used = entries.iter().map(|entry| naming::key(&entry.dn)).collect();
            free.wanted = known.wishes().map(|(_, wish)| free.key(&wish.name)).collect();
        }
        free
    }

    fn key(&self, name: &str) -> String {
        naming::key(&naming::dn(name, self.base))
    }

    /// The name that the person is to have, or that a leaver had, where that is free; else one for the time being.
    pub fn name(&mut self, guid: &Guid, entry: &TargetEntry, fate: &Fate) -> String {
        let name = match fate {
            Fate::Publish(wish) => {
                Some(wish.name.clone()).filter(|name| !self.used.contains(&self.key(name)))
            }
            Fate::Leave(_) | Fate::Hold => {
                let is_free = |key: String| !self.used.contains(&key) && !self.wanted.contains(&key);
                had(entry).chain([naming::leaver(guid)]).find(|name| is_free(self.key(name)))
            }
        };
        let name = name.unwrap_or_else(|| naming::between(guid));
        self.used.insert(self.key(&name));
        name
    }
}

/// Account names of an entry, those last that it is named by: somebody else may have given it these.
fn had(entry: &TargetEntry) -> impl Iterator<Item = String> {
    let is_named = naming::is_named_by(&entry.dn, NAMING, &[]);
    let given = |name: &&String| is_named && !naming::is_named_by(&entry.dn, NAMING, slice::from_ref(*name));
    let names = entry.values(NAMING).iter().filter(|name| !name.contains(':'));
    let (given, own): (Vec<&String>, Vec<&String>) = names.partition(given);
    own.into_iter().chain(given).cloned()
}
