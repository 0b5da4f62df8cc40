//! Taking into the staged state what a member directory brings.
//!
//! What an object last was is true whether or not the rest of a page comes: what is read twice is staged twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::client::Directory;
use crate::directory::request::{RawControl, Scope as Depth, Search};
use crate::directory::sink::Sink;
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::filter::Filter;
use crate::store::record::StagedPage;
use crate::sync::keeping::shelf::{self, Shelf};
use crate::sync::reading::arrival::{self, delta, ranged};
use crate::sync::terms::error::{Broken, SyncError};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::staged::{Delta, Object};

/// Names in values and entries come with GUIDs (MS-ADTS 3.1.1.3.4.1.5); value: SEQUENCE { INTEGER 1 }, as text.
const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
const EXTENDED_DN_TEXT: &[u8] = &[0x30, 0x03, 0x02, 0x01, 0x01];

/// Objects that are staged in one transaction.
pub const CHUNK: usize = 500;
/// Objects that are marked as gone in one transaction.
const ABSENT: usize = 20_000;
/// How often an object is read whose values change while their parts are read.
const ATTEMPTS: u32 = 3;
/// Parts of one attribute: more than a directory keeps.
const PARTS: u32 = 10_000;

/// The control with which names come with GUIDs. Not critical: without it only references to others are missed.
pub fn with_guids() -> RawControl {
    RawControl { oid: EXTENDED_DN.to_owned(), critical: false, value: Some(EXTENDED_DN_TEXT.to_vec()) }
}

/// Stages what comes, as it comes.
#[derive(Debug)]
pub struct Staging<'a> {
    shelf: &'a Shelf,
    number: u64,
    /// Every object comes whole, with these attributes where it has them; none: only what changed.
    whole: Option<&'a [String]>,
    /// A complete pass notes every object as seen.
    complete: bool,
    waiting: Vec<Entry>,
    /// Objects that came, those that were not as before, and those that are deleted and were not before.
    pub objects: u64,
    pub changed: u64,
    pub deleted: u64,
    /// Objects that came with less than what is needed.
    pub partial: Vec<Guid>,
    /// A whole object, no head of a naming context, that came without its place.
    pub placeless: Option<Guid>,
}

impl<'a> Staging<'a> {
    /// For the pass with this number.
    pub fn new(shelf: &'a Shelf, number: u64, complete: bool) -> Staging<'a> {
        Staging {
            shelf,
            number,
            whole: None,
            complete,
            waiting: Vec::new(),
            objects: 0,
            changed: 0,
            deleted: 0,
            partial: Vec::new(),
            placeless: None,
        }
    }

    /// Where it stages.
    pub fn shelf(&self) -> &Shelf {
        self.shelf
    }

    /// Objects come whole from now on, or, with none, with what changed.
    pub fn whole(&mut self, asked: Option<&'a [String]>) {
        self.whole = asked;
    }

    /// Stages what came so far.
    pub async fn flush(&mut self) -> Result<(), SyncError> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut deltas: Vec<(Guid, Delta)> = Vec::with_capacity(waiting.len());
        for mut delta in waiting.into_iter().filter_map(delta) {
            if let (Some(asked), Some(false)) = (self.whole, delta.deleted) {
                arrival::whole(&mut delta, asked);
                let is_head = |class: &String| class.eq_ignore_ascii_case("domainDNS");
                let classes = delta.attributes.get("objectclass");
                if delta.parent.is_none() && !classes.is_some_and(|all| all.iter().any(is_head)) {
                    self.placeless = delta.guid;
                    continue;
                }
            }
            deltas.extend(delta.guid.map(|guid| (guid, delta)));
        }
        if deltas.is_empty() {
            return Ok(());
        }
        let kept = self.shelf.objects(deltas.iter().map(|(guid, _)| *guid).collect()).await?;
        let mut objects: BTreeMap<Guid, (Option<Object>, Object)> = BTreeMap::new();
        for ((guid, delta), kept) in deltas.into_iter().zip(kept) {
            let (first, before) = match objects.remove(&guid) {
                Some((first, now)) => (first, Some(now)),
                None => (kept.clone(), kept),
            };
            // one that was to be read in full and was not, because the run ended before, still is
            let lacks = before.as_ref().is_some_and(|object| object.deleted || object.partial);
            let mut object = Object::after(before, guid, delta);
            // a restored object comes with what changed by it, and has to be read in full
            object.partial |= lacks && !object.deleted && self.whole.is_none();
            objects.insert(guid, (first, object));
        }
        let mut keep = StagedPage::default();
        let came = objects.len() as u64;
        for (before, object) in objects.into_values() {
            let changed = before.as_ref() != Some(&object);
            self.objects += 1;
            self.changed += u64::from(changed);
            self.deleted += u64::from(object.deleted && before.is_none_or(|before| !before.deleted));
            if object.partial && !object.deleted {
                self.partial.push(object.guid);
            }
            if changed || self.complete {
                keep.put.push(shelf::kept(&object, self.number)?);
            }
        }
        keep.values.extend(self.shelf.meter.objects(self.shelf.ods.as_str(), came, self.shelf.now()));
        self.shelf.apply(keep).await
    }
}

impl Sink for Staging<'_> {
    type Error = Broken;

    async fn take(&mut self, entries: Vec<Entry>) -> Result<(), Broken> {
        self.waiting.extend(entries);
        if self.waiting.len() >= CHUNK { Ok(self.flush().await?) } else { Ok(()) }
    }
}

/// Marks living objects that the complete pass with this number did not bring as gone; tells how many. `told`: any deletion of them would
/// have been told.
pub async fn absent(shelf: &Shelf, number: u64, told: bool) -> Result<u64, SyncError> {
    let mut gone = 0;
    loop {
        let mut keep = StagedPage::default();
        for (mut object, seen) in shelf.unseen(number, ABSENT).await? {
            object.deleted = true;
            object.unseen = told;
            keep.put.push(shelf::kept(&object, seen)?);
        }
        if keep.put.is_empty() {
            return Ok(gone);
        }
        gone += keep.put.len() as u64;
        shelf.apply(keep).await?;
    }
}

/// Reads objects in full that came with less than what is needed. One that cannot be read in full stays partial.
pub async fn in_full(
    directory: &mut Directory,
    shelf: &Shelf,
    asked: &[String],
    number: u64,
    partial: Vec<Guid>,
) -> Result<(), SyncError> {
    for part in partial.chunks(CHUNK) {
        let before = shelf.objects(part.to_vec()).await?;
        let mut keep = StagedPage::default();
        for (guid, before) in part.iter().zip(before) {
            if let Some(delta) = object(directory, guid, asked).await? {
                keep.put.push(shelf::kept(&Object::after(before, *guid, delta), number)?);
            }
        }
        shelf.apply(keep).await?;
    }
    Ok(())
}

/// One object with all of its values; none when it cannot be read, or does not hold still.
async fn object(
    directory: &mut Directory,
    guid: &Guid,
    asked: &[String],
) -> Result<Option<Delta>, SyncError> {
    let names: Vec<&str> = asked.iter().map(String::as_str).chain(["uSNChanged"]).collect();
    for _ in 0..ATTEMPTS {
        let Some(entry) = base(directory, guid, &names).await? else { return Ok(None) };
        let version = entry.first("uSNChanged").map(<[u8]>::to_vec);
        let Some(mut delta) = delta(entry) else { return Ok(None) };
        let ranged = std::mem::take(&mut delta.ranged);
        for name in &ranged {
            let values = every_value(directory, guid, name).await?;
            delta.attributes.remove(name);
            arrival::add(&mut delta, Attribute { description: name.clone(), values });
        }
        // parts are read one after the other: they are of one moment only when nothing changed meanwhile
        let still = ranged.is_empty() || {
            let again = base(directory, guid, &["uSNChanged"]).await?;
            again.is_some_and(|again| again.first("uSNChanged").map(<[u8]>::to_vec) == version)
        };
        if still {
            arrival::whole(&mut delta, asked);
            return Ok(Some(delta));
        }
    }
    Ok(None)
}

async fn base(directory: &mut Directory, guid: &Guid, names: &[&str]) -> Result<Option<Entry>, SyncError> {
    let any = Filter::present("objectClass");
    let search = Search::new(&format!("<GUID={guid}>"), Depth::Base, any, names).control(with_guids());
    let (found, _) = directory.read(&search).await.map_err(SyncError::Source)?;
    Ok(found.into_iter().next())
}

/// Every value of an attribute that comes in parts.
async fn every_value(directory: &mut Directory, guid: &Guid, name: &str) -> Result<Vec<Vec<u8>>, SyncError> {
    let (mut values, mut from) = (Vec::new(), 0);
    let mut seen = BTreeSet::new();
    for _ in 0..PARTS {
        let wanted = format!("{name};range={from}-*");
        let entry = base(directory, guid, &[&wanted]).await?;
        let part = entry.into_iter().flat_map(|entry| entry.attributes).find_map(|attribute| {
            let (plain, range) = ranged(&attribute.description)?;
            (plain.eq_ignore_ascii_case(name) && range.low == from).then_some((range, attribute.values))
        });
        let Some((range, part)) = part else { break };
        values.extend(part.into_iter().filter(|value| seen.insert(value.clone())));
        match range.high {
            None => return Ok(values),
            Some(high) => from = high.saturating_add(1),
        }
    }
    Err(SyncError::Unreadable(format!("the values of `{name}` of one object have no end: they are not used")))
}
