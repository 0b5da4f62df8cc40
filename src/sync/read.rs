//! Reading a member directory with DirSync (MS-ADTS 3.1.1.3.4.1.3), with no other right than to read.
//!
//! Objects are staged as they come, and the cookie that says so is kept when all of a page is staged: a run killed at any moment reads
//! that page again and stages the same.
//! Deletions are told only to an account that may list and read the Deleted Objects container; without that they are
//! found by complete passes. An object that a complete pass did not bring counts as deleted, and only then.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::directory::client::Directory;
use crate::directory::request::{RawControl, Scope as Depth, Search};
use crate::directory::sink::Sink;
use crate::ldap::dn::Dn;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::ldap::typed_control::{DirSync, DirSyncAnswer, SHOW_DELETED};
use crate::store::record::StagedPage;
use crate::sync::controller::{self, Controller, Decision};
use crate::sync::error::{Broken, SyncError};
use crate::sync::guid::Guid;
use crate::sync::settings::{Scope, Settings};
use crate::sync::shelf::{self, Shelf};
use crate::sync::staged::{Delta, Object};

/// Containers are needed for the tree. objectCategory would lose deletions: a tombstone has none.
const FILTER: &str = "(|(objectClass=organizationalUnit)(objectClass=container)(objectClass=domainDNS)\
                      (&(objectClass=user)(!(objectClass=computer)))(isDeleted=TRUE))";
/// Names in values and entries come with GUIDs (MS-ADTS 3.1.1.3.4.1.5); value: SEQUENCE { INTEGER 1 }, as text.
const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
const EXTENDED_DN_TEXT: &[u8] = &[0x30, 0x03, 0x02, 0x01, 0x01];
/// The Deleted Objects container of a naming context (MS-ADTS 6.1.1.4.2).
const DELETED_OBJECTS: &str = "18E2EA80684F11D2B9AA00C04F79F805";

/// Objects that are staged in one transaction.
const CHUNK: usize = 500;

/// Objects that are marked as gone in one transaction.
const ABSENT: usize = 20_000;

/// What one pass brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Whether everything was read; otherwise what changed.
    pub complete: bool,
    /// Why everything was read.
    pub because: Option<String>,
    pub pages: u64,
    /// Objects that came, changed or not.
    pub objects: u64,
    /// Objects that were deleted, told or found.
    pub deleted: u64,
    /// Whether the directory tells us of deletions.
    pub deletions_told: bool,
    /// Whether the object that must be readable was.
    pub canary_seen: bool,
    pub controller: String,
}

/// What is read and from where.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The naming context.
    pub base: &'a str,
    /// A DN that must be readable; none means the base.
    pub canary: Option<&'a str>,
    pub scope: &'a Scope,
    pub settings: &'a Settings,
    /// Read everything whatever the cookie says.
    pub complete: bool,
}

/// Reads what changed, or everything, into the staged state.
pub async fn read(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
) -> Result<Pass, SyncError> {
    let controller = controller::identify(directory).await?;
    let told = exists(directory, &format!("<WKGUID={DELETED_OBJECTS},{}>", reading.base), true).await?;
    let canary = can_see(directory, reading).await?;
    let because = why_complete(shelf, reading, &controller, told).await?;
    let mut pass = Pass {
        complete: because.is_some(),
        because: because.map(str::to_owned),
        deletions_told: told,
        canary_seen: canary,
        controller: controller.host.clone(),
        ..Pass::default()
    };
    let mut attempt = Attempt::new(shelf, reading, &pass).await?;
    loop {
        match page(directory, shelf, reading, &mut attempt, &mut pass, &controller).await {
            Ok(true) => {}
            Ok(false) => return Ok(pass),
            // a controller may refuse a cookie, for example after an upgrade: then everything is read
            Err(Refused::Cookie) if !attempt.cookie.is_empty() => {
                pass.complete = true;
                pass.because = Some("cookie_refused".to_owned());
                attempt = Attempt::new(shelf, reading, &pass).await?;
            }
            Err(Refused::Cookie) => {
                return Err(SyncError::Unreadable(
                    "it refused to answer DirSync: check the account's rights".into(),
                ));
            }
            Err(Refused::Other(error)) => return Err(error),
        }
    }
}

enum Refused {
    Cookie,
    Other(SyncError),
}

impl From<SyncError> for Refused {
    fn from(error: SyncError) -> Refused {
        Refused::Other(error)
    }
}

/// Where a pass is.
struct Attempt {
    cookie: Vec<u8>,
    /// The number of the last complete pass, or of the one under way.
    number: u64,
    asked: Vec<String>,
}

impl Attempt {
    async fn new(shelf: &Shelf, reading: &Reading<'_>, pass: &Pass) -> Result<Attempt, SyncError> {
        let before = shelf.number(shelf::PASS).await?.unwrap_or(0);
        // one that was interrupted goes on with its own number from its own cookie
        let resumed = pass.because.as_deref() == Some("resumed");
        let cookie = match pass.complete && !resumed {
            true => Vec::new(),
            false => shelf.value(shelf::COOKIE).await?.unwrap_or_default(),
        };
        let number = if pass.complete && !resumed { before + 1 } else { before };
        if number > before {
            // at once: what a pass that ends early has staged must not count as seen by the next one. And whatever cookie there was is
            // of no use any more: what this pass stages may be from another controller, one that is behind
            let none = [shelf::COOKIE, shelf::COMPLETING].map(|key| (key.to_owned(), None));
            let mut values = vec![(shelf::PASS.into(), Some(text(number)))];
            values.extend(none);
            shelf.set(values).await?;
        }
        Ok(Attempt { cookie, number, asked: asked(reading.scope) })
    }
}

/// Attributes that are asked for. DirSync brings an object only when one of them is there or changed.
fn asked(scope: &Scope) -> Vec<String> {
    let mut names: BTreeSet<String> = scope.local_attributes();
    names.extend(["isdeleted", "name", "objectguid", "parentguid"].map(str::to_owned));
    names.into_iter().collect()
}

async fn why_complete(
    shelf: &Shelf,
    reading: &Reading<'_>,
    controller: &Controller,
    told: bool,
) -> Result<Option<&'static str>, SyncError> {
    let kept: Option<Controller> = shelf.json(shelf::CONTROLLER).await?;
    let cookie = shelf.value(shelf::COOKIE).await?;
    let because = match controller::decide(kept.as_ref().filter(|_| cookie.is_some()), controller) {
        Decision::Refuse(why) => return Err(SyncError::Controller(why.to_owned())),
        Decision::Complete(why) => return Ok(Some(why)),
        Decision::Delta => None,
    };
    let before: Option<Vec<String>> = shelf.json(shelf::ASKED).await?;
    if before.as_ref() != Some(&asked(reading.scope)) {
        return Ok(Some("scope_changed"));
    }
    if shelf.value(shelf::COMPLETING).await?.is_some() {
        return Ok(Some("resumed"));
    }
    if reading.complete {
        return Ok(Some("asked_for"));
    }
    // what was deleted before the right was granted is told to nobody
    if told && shelf.value(shelf::TOLD).await?.as_deref() == Some(b"no") {
        return Ok(Some("deletions_told"));
    }
    let every =
        if told { reading.settings.complete_seconds } else { reading.settings.complete_blind_seconds };
    let last = shelf.number(shelf::COMPLETE_AT).await?.unwrap_or(0);
    let due = i64::try_from(last).unwrap_or(i64::MAX).saturating_add(i64::from(every));
    Ok(if due <= shelf.now().unix_timestamp() { Some("due") } else { because })
}

/// Whether an object can be read. A name without attributes is what a directory shows to whoever may not.
async fn exists(directory: &mut Directory, dn: &str, deleted: bool) -> Result<bool, SyncError> {
    let mut search = Search::new(dn, Depth::Base, Filter::present("objectClass"), &["objectClass"]);
    if deleted {
        search = search.control(RawControl::critical(SHOW_DELETED));
    }
    let (entries, _) = directory.read(&search).await.map_err(SyncError::Source)?;
    Ok(entries.iter().any(|entry| entry.first("objectClass").is_some()))
}

async fn can_see(directory: &mut Directory, reading: &Reading<'_>) -> Result<bool, SyncError> {
    exists(directory, reading.canary.unwrap_or(reading.base), false).await
}

fn dirsync(reading: &Reading<'_>, attempt: &Attempt) -> Result<Search, SyncError> {
    let ask = DirSync {
        flags: DirSync::OBJECT_SECURITY,
        max_bytes: reading.settings.page_bytes,
        cookie: attempt.cookie.clone(),
    };
    let value = ask.control(true).value.map(std::borrow::Cow::into_owned).unwrap_or_default();
    let filter = Filter::parse(FILTER).map_err(|error| SyncError::Internal(error.to_string()))?;
    let names: Vec<&str> = attempt.asked.iter().map(String::as_str).collect();
    let optional =
        |oid: &str, value: Option<Vec<u8>>| RawControl { oid: oid.to_owned(), critical: false, value };
    Ok(Search::new(reading.base, Depth::Subtree, filter.into_owned(), &names)
        .control(RawControl::critical(DirSync::OID).with_value(value))
        .control(optional(SHOW_DELETED, None))
        .control(optional(EXTENDED_DN, Some(EXTENDED_DN_TEXT.to_vec()))))
}

/// One page: read, staged, kept. Returns whether more wait.
async fn page(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
    attempt: &mut Attempt,
    pass: &mut Pass,
    controller: &Controller,
) -> Result<bool, Refused> {
    let asked_at = shelf.now();
    let mut staging = Staging::new(shelf, attempt.number);
    let done = directory.search_into(&dirsync(reading, attempt)?, &mut staging).await;
    let done = done.map_err(|broken| broken.in_directory(SyncError::Source))?;
    if matches!(done.code, 1 | 2 | 12 | 53) {
        return Err(Refused::Cookie);
    }
    if !done.is_complete() {
        let text = format!("a page ended with result code {}: it is incomplete and not used", done.code);
        return Err(SyncError::Unreadable(text).into());
    }
    let answer = done.control(DirSync::OID).and_then(|control| control.value.as_deref());
    let answer = answer.and_then(|value| DirSyncAnswer::read(value).ok());
    let Some(answer) = answer else {
        return Err(SyncError::Unreadable("its DirSync answer has no cookie".into()).into());
    };
    staging.flush().await?;
    pass.pages += 1;
    pass.objects += staging.objects;
    pass.deleted += staging.deleted;
    let (brought, partial) = (staging.objects > 0, staging.partial);
    in_full(directory, shelf, reading, attempt.number, partial).await?;
    let mut keep = StagedPage::default();
    if brought || pass.deleted > 0 {
        keep.values.push((shelf::CHANGED.into(), Some(text(asked_at.unix_timestamp_nanos()))));
    }
    // rights may go while it is read
    pass.canary_seen = pass.canary_seen && can_see(directory, reading).await?;
    if !pass.canary_seen {
        // what came is true, but what was hidden never comes again: the next run reads on from where everything was seen
        shelf.apply(keep).await?;
        attempt.cookie = answer.cookie;
        return Ok(answer.more);
    }
    if pass.complete && !answer.more {
        absent(shelf, attempt.number, pass).await?;
        keep.values.push((shelf::COMPLETE_AT.into(), Some(text(shelf.now().unix_timestamp()))));
    }
    if pass.complete {
        let completing = answer.more.then(|| text(attempt.number));
        keep.values.push((shelf::COMPLETING.into(), completing));
        let told = if pass.deletions_told { "yes" } else { "no" };
        keep.values.push((shelf::TOLD.into(), Some(text(told))));
        keep.values.push((shelf::ASKED.into(), serde_json::to_vec(&attempt.asked).ok()));
    }
    if !answer.more {
        keep.values.push((shelf::READ_AT.into(), Some(text(asked_at.unix_timestamp()))));
    }
    // as it was before the page: a later look must not find less
    keep.values.push((shelf::CONTROLLER.into(), serde_json::to_vec(controller).ok()));
    keep.values.push((shelf::COOKIE.into(), Some(answer.cookie.clone())));
    shelf.apply(keep).await?;
    attempt.cookie = answer.cookie;
    Ok(answer.more)
}

fn text(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// Objects that a complete pass did not bring are gone.
async fn absent(shelf: &Shelf, number: u64, pass: &mut Pass) -> Result<(), SyncError> {
    loop {
        let mut keep = StagedPage::default();
        for (mut object, seen) in shelf.unseen(number, ABSENT).await? {
            object.deleted = true;
            keep.put.push(shelf::kept(&object, seen)?);
        }
        if keep.put.is_empty() {
            return Ok(());
        }
        pass.deleted += keep.put.len() as u64;
        shelf.apply(keep).await?;
    }
}

/// Stages what a page brings as it comes; the cookie follows when all of it is staged. What an object last was is true whether or not the
/// rest of the page comes: a page that is read twice is staged twice.
struct Staging<'a> {
    shelf: &'a Shelf,
    number: u64,
    waiting: Vec<Entry>,
    /// Objects that came, and those of them that are deleted.
    objects: u64,
    deleted: u64,
    /// Objects that came with less than what is needed.
    partial: Vec<Guid>,
}

impl Staging<'_> {
    fn new(shelf: &Shelf, number: u64) -> Staging<'_> {
        Staging { shelf, number, waiting: Vec::new(), objects: 0, deleted: 0, partial: Vec::new() }
    }

    async fn flush(&mut self) -> Result<(), SyncError> {
        let waiting = std::mem::take(&mut self.waiting);
        let deltas: Vec<(Guid, Delta)> =
            waiting.into_iter().filter_map(|entry| delta(entry).and_then(|d| Some((d.guid?, d)))).collect();
        if deltas.is_empty() {
            return Ok(());
        }
        let before = self.shelf.objects(deltas.iter().map(|(guid, _)| *guid).collect()).await?;
        let mut objects: BTreeMap<Guid, Object> = BTreeMap::new();
        for ((guid, delta), before) in deltas.into_iter().zip(before) {
            let before = objects.remove(&guid).or(before);
            let was_deleted = before.as_ref().is_some_and(|object| object.deleted);
            let mut object = Object::after(before, guid, delta);
            object.partial |= was_deleted && !object.deleted;
            objects.insert(guid, object);
        }
        let mut keep = StagedPage::default();
        for object in objects.values() {
            self.objects += 1;
            self.deleted += u64::from(object.deleted);
            if object.partial && !object.deleted {
                self.partial.push(object.guid);
            }
            keep.put.push(shelf::kept(object, self.number)?);
        }
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

/// Reads objects in full that came with less than what is needed.
async fn in_full(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
    number: u64,
    partial: Vec<Guid>,
) -> Result<(), SyncError> {
    let names: Vec<String> = asked(reading.scope);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for part in partial.chunks(CHUNK) {
        let mut keep = StagedPage::default();
        for guid in part {
            let everything = Filter::present("objectClass");
            let search = Search::new(&format!("<GUID={guid}>"), Depth::Base, everything, &names);
            let named =
                RawControl { oid: EXTENDED_DN.into(), critical: false, value: Some(EXTENDED_DN_TEXT.into()) };
            let (found, _) = directory.read(&search.control(named)).await.map_err(SyncError::Source)?;
            if let Some(full) = found.into_iter().next().and_then(delta) {
                keep.put.push(shelf::kept(&Object::after(None, *guid, full), number)?);
            }
        }
        shelf.apply(keep).await?;
    }
    Ok(())
}

/// An entry as a delta. An entry without GUID is none of ours.
fn delta(entry: Entry) -> Option<Delta> {
    let guid = Guid::from_wire(entry.first("objectGUID")?)?;
    let (_, dn) = extended(&entry.dn);
    let deleted = dn.is_empty()
        || dn.contains("\\0ADEL:")
        || entry.text("isDeleted").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut delta = Delta {
        guid: Some(guid),
        parent: entry.first("parentGUID").and_then(Guid::from_wire),
        rdn: Dn::parse(dn).ok().and_then(|dn| dn.rdn().map(ToString::to_string)),
        deleted: Some(deleted),
        ..Delta::default()
    };
    for attribute in entry.attributes {
        let name = attribute.description.to_ascii_lowercase();
        if matches!(name.as_str(), "objectguid" | "parentguid" | "isdeleted" | "instancetype") {
            continue;
        }
        let mut references = Vec::new();
        let mut values = Vec::new();
        for value in attribute.values {
            let Ok(value) = String::from_utf8(value) else { continue };
            let (guid, plain) = extended(&value);
            references.extend(guid);
            values.push(plain.to_owned());
        }
        if !references.is_empty() {
            delta.references.insert(name.clone(), references);
        }
        delta.attributes.insert(name, values);
    }
    Some(delta)
}

/// Takes `<GUID=...>;<SID=...>;CN=...` apart.
fn extended(value: &str) -> (Option<Guid>, &str) {
    let Some(rest) = value.strip_prefix("<GUID=") else { return (None, value) };
    let guid = rest.split_once('>').and_then(|(guid, _)| guid.parse().ok());
    let mut plain = value;
    while let Some((_, rest)) = plain.strip_prefix('<').and_then(|part| part.split_once('>')) {
        plain = rest.strip_prefix(';').unwrap_or(rest);
    }
    (guid, plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_guids_are_taken_apart() {
        let (guid, plain) =
            extended("<GUID=4db40800-7fc2-47a1-b529-829b96a124c2>;<SID=S-1-5-21-1>;CN=A <b>,OU=Staff");
        assert_eq!(guid.map(|g| g.to_string()).as_deref(), Some("4db40800-7fc2-47a1-b529-829b96a124c2"));
        assert_eq!(plain, "CN=A <b>,OU=Staff");
        assert_eq!(extended("CN=A"), (None, "CN=A"));
    }
}
