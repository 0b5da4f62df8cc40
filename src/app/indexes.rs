//! Indexes of what members possibly hold, built from what sync read and kept from one snapshot to the next.
//!
//! An index counts as old as the reading that it rests on. One is built when something changed since the last, at most
//! every [`REBUILD`]; a reading that brought nothing only makes it younger. What cannot be read makes no index, and a
//! member without one is always asked.
//!
//! There is one index for each population: people who exist for the same agreements. Others leave no trace in it, for how
//! many members a search asks can be noticed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ldap::codec;
use crate::ldap::entry::{Attribute, Entry, EntryReader};
use crate::ldap::filter::Filter;
use crate::ldap::limits::Limits;
use crate::ldap::matching::Key;
use crate::ldap::message::{Message, Operation};
use crate::ldap::schema::Syntax;
use crate::namespace::entries;
use crate::namespace::index::{Builder, Indexed};
use crate::namespace::mapping::Mapping;
use crate::namespace::routes;
use crate::policy::terms::OdsCode;
use crate::release::listing::Reserve;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::sync::keeping::shelf;
use crate::sync::terms::staged::Object;

/// How long an index of a member that changes all the time is kept at least.
const REBUILD: Duration = Duration::from_secs(300);

/// The indexes there are, by member.
#[derive(Debug, Default)]
pub struct Indexes(Mutex<HashMap<OdsCode, Kept>>);

/// People who exist for some agreements, and what of them.
#[derive(Debug, Clone)]
pub struct Population {
    /// See `Agreement::population`.
    pub key: Arc<str>,
    /// Over federated names; none: everybody.
    pub entries: Option<Filter<'static>>,
    pub reserve: Option<Reserve>,
}

/// A member whose people are indexed.
#[derive(Debug, Clone)]
pub struct Indexable {
    pub member: OdsCode,
    pub mapping: Mapping,
}

#[derive(Debug)]
struct Kept {
    indexes: routes::Indexes,
    populations: Vec<Arc<str>>,
    read_at: i64,
    /// The change up to which they were built.
    changed: Option<Vec<u8>>,
    built: Instant,
}

impl Indexes {
    /// A member's indexes.
    pub fn get(&self, member: &OdsCode) -> routes::Indexes {
        self.kept().get(member).map(|kept| kept.indexes.clone()).unwrap_or_default()
    }

    /// Brings the indexes of these members up to date; whether any is another than before. `stop` ends it early.
    pub fn refresh(
        &self,
        store: &dyn Store,
        members: &[Indexable],
        populations: &[Population],
        stop: &dyn Fn() -> bool,
    ) -> bool {
        let known: HashSet<&OdsCode> = members.iter().map(|one| &one.member).collect();
        self.kept().retain(|member, _| known.contains(member));
        let mut moved = false;
        for one in members {
            if stop() {
                break;
            }
            match self.refresh_one(store, one, populations) {
                Ok(did) => moved |= did,
                Err(error) => {
                    let member = &one.member;
                    tracing::warn!(%member, %error, "what sync read could not be indexed: the member is always asked");
                    moved |= self.kept().remove(member).is_some();
                }
            }
        }
        moved
    }

    fn refresh_one(
        &self,
        store: &dyn Store,
        one: &Indexable,
        populations: &[Population],
    ) -> Result<bool, StoreError> {
        let member = &one.member;
        let Some(read_at) = whole_at(store, member)? else {
            return Ok(self.kept().remove(member).is_some());
        };
        let keys: Vec<Arc<str>> = populations.iter().map(|population| Arc::clone(&population.key)).collect();
        let changed = store.sync_value(member, shelf::CHANGED)?;
        if let Some(kept) = self.kept().get_mut(member).filter(|kept| kept.populations == keys) {
            if kept.read_at == read_at {
                return Ok(false);
            }
            if kept.changed == changed {
                kept.read_at = read_at;
                for (_, index) in &mut kept.indexes {
                    *index = Arc::new(index.read_again(read_at));
                }
                return Ok(true);
            }
            if kept.built.elapsed() < REBUILD {
                return Ok(false);
            }
        }
        let Some(indexes) = build(store, one, populations, read_at)? else {
            return Ok(self.kept().remove(member).is_some());
        };
        let bytes: usize = indexes.iter().map(|(_, index)| index.bytes()).sum();
        tracing::debug!(%member, bytes, "indexed what the member possibly holds");
        let kept = Kept { indexes, populations: keys, read_at, changed, built: Instant::now() };
        self.kept().insert(member.clone(), kept);
        Ok(true)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<OdsCode, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the member was read last, when everything of it is staged: a complete pass ended once and none is under way.
fn whole_at(store: &dyn Store, member: &OdsCode) -> Result<Option<i64>, StoreError> {
    if store.sync_value(member, shelf::COMPLETE_AT)?.is_none()
        || store.sync_value(member, shelf::COMPLETING)?.is_some()
    {
        return Ok(None);
    }
    let read_at = store.sync_value(member, shelf::READ_AT)?;
    Ok(read_at.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok()))
}

/// Indexes of a member's staged people; none while one of them could not be read in full. A population of which it cannot be
/// told who belongs to it, because sync does not read what says so, has none.
fn build(
    store: &dyn Store,
    one: &Indexable,
    populations: &[Population],
    read_at: i64,
) -> Result<Option<routes::Indexes>, StoreError> {
    let asked = store.sync_value(&one.member, shelf::ASKED)?.unwrap_or_default();
    let asked: HashSet<String> = serde_json::from_slice(&asked).unwrap_or_default();
    let is_read = |local: &str| asked.contains(&local.to_ascii_lowercase());
    let mut builders: Vec<(&Population, Builder)> = Vec::new();
    for population in populations {
        let mut needed =
            population.entries.as_ref().map(|f| entries::needs(f, &one.mapping)).unwrap_or_default();
        let reserve = population.reserve.as_ref();
        needed.extend(reserve.map(|reserve| one.mapping.pair(&reserve.attribute).local.clone()));
        if !needed.iter().all(|local| is_read(local)) {
            continue;
        }
        let mut builder = Builder::new();
        for (indexed, _, local) in Indexed::ALL {
            if is_read(local) {
                builder.cover(indexed);
            }
        }
        builders.push((population, builder));
    }
    let mut whole = true;
    store.visit_staged(&one.member, &mut |staged| {
        let object: Object = serde_json::from_slice(&staged.document)
            .map_err(|error| StoreError::Value(format!("a staged object: {error}")))?;
        whole &= object.deleted || !object.partial;
        if !object.deleted {
            add(&mut builders, &object, &one.mapping);
        }
        Ok(())
    })?;
    let built = builders
        .into_iter()
        .map(|(population, builder)| (Arc::clone(&population.key), Arc::new(builder.build(read_at))));
    Ok(whole.then(|| built.collect()))
}

fn add(builders: &mut [(&Population, Builder)], object: &Object, mapping: &Mapping) {
    let bytes = as_sent(object);
    let limits = Limits::from_directory();
    let Ok(entry) = EntryReader::read(&bytes, &limits) else { return };
    for (population, builder) in builders {
        if population.entries.as_ref().is_some_and(|filter| !entries::admits(filter, &entry, mapping)) {
            continue;
        }
        let reserve = population.reserve.as_ref().filter(|reserve| is_reserved(object, reserve, mapping));
        for (indexed, federated, local) in Indexed::ALL {
            if reserve.is_some_and(|r| r.contact.iter().any(|name| name.eq_ignore_ascii_case(federated))) {
                continue;
            }
            let local = local.to_ascii_lowercase();
            // some directories leave out the attribute that names an object; `name` always is the same
            let name = (indexed == Indexed::Cn).then(|| object.attributes.get("name")).flatten();
            for value in object.attributes.get(&local).into_iter().chain(name).flatten() {
                builder.add(indexed, value);
            }
        }
    }
}

fn is_reserved(object: &Object, reserve: &Reserve, mapping: &Mapping) -> bool {
    let key = |text: &str| Key::of(Syntax::CaseIgnore, text.as_bytes());
    let local = mapping.pair(&reserve.attribute).local.to_ascii_lowercase();
    let values = object.attributes.get(&local).into_iter().flatten();
    values.into_iter().any(|value| reserve.values.iter().any(|one| key(one) == key(value)))
}

/// A staged object as its directory would send it, for what reads entries.
fn as_sent(object: &Object) -> Vec<u8> {
    let attributes = object.attributes.iter().map(|(name, values)| Attribute {
        description: name.clone(),
        values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
    });
    let entry = Entry { dn: object.rdn.clone(), attributes: attributes.collect() };
    codec::to_bytes(&Message::new(1, Operation::SearchEntry(entry.as_wire())))
}

#[cfg(test)]
mod tests;
