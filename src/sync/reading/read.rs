//! Reading a member directory with no other right than to read: by DirSync (MS-ADTS 3.1.1.3.4.1.3), or by uSNChanged
//! ([`crate::sync::reading::polling`]) where a controller refuses that.
//!
//! Objects are staged as they come, and the cookie that says so is kept when all of a page is staged: a run killed at any moment reads
//! that page again and stages the same.
//! Deletions are told only to an account that may list and read the Deleted Objects container; without that they are
//! found by complete passes. An object that a complete pass did not bring counts as deleted, and only then; where deletions are told and this
//! one was not, it counts as unseen, and an officer is asked.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::directory::client::Directory;
use crate::directory::request::{RawControl, Scope as Depth, Search};
use crate::ldap::filter::Filter;
use crate::ldap::typed_control::{DirSync, DirSyncAnswer, SHOW_DELETED};
use crate::store::record::StagedPage;
use crate::sync::keeping::shelf::{self, Shelf};
use crate::sync::reading::arrival::{LAST_PARENT, PARENT};
use crate::sync::reading::controller::{self, Controller, ROLLED_BACK};
use crate::sync::reading::polling;
use crate::sync::reading::reason::{Because, FORGOTTEN, why_complete};
use crate::sync::reading::staging::{Staging, absent, in_full, with_guids};
use crate::sync::terms::error::SyncError;
use crate::sync::terms::pass::{DELETED_OBJECTS, Method, Pass, Reading};
use crate::sync::terms::settings::Scope;

/// objectCategory would lose deletions: a tombstone has none.
const FILTER: &str = "(|(objectClass=organizationalUnit)(objectClass=container)(objectClass=domainDNS)\
                      (&(objectClass=user)(!(objectClass=computer)))(isDeleted=TRUE))";
/// Reads what changed, or everything, into the staged state.
///
/// # Errors
/// [`SyncError::Controller`] before anything is staged: another controller may do.
pub async fn read(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
) -> Result<Pass, SyncError> {
    let controller = controller::identify(directory).await?;
    let told = exists(directory, &format!("<WKGUID={DELETED_OBJECTS},{}>", reading.base), true).await?;
    let canary = can_see(directory, reading).await?;
    let asked = asked(reading.scope);
    let Because { why, failover } =
        why_complete(directory, shelf, reading, &controller, &asked, told).await?;
    let mut pass = Pass {
        complete: why.is_some(),
        because: why.map(str::to_owned),
        deletions_told: told,
        canary_seen: canary,
        controller: controller.host.clone(),
        failover,
        suspect: why == Some(ROLLED_BACK) || shelf.value(shelf::SUSPECT).await?.is_some(),
        ..Pass::default()
    };
    if why == Some(ROLLED_BACK) {
        // kept before anything is staged: whatever becomes of this run, no removal follows from it
        let since = shelf.now().unix_timestamp();
        shelf.set(vec![(shelf::SUSPECT.into(), Some(text(since)))]).await?;
    }
    let always = reading.settings.polled_members.contains(shelf.ods.as_str());
    let polled = shelf.json::<Method>(shelf::METHOD).await?.is_some_and(|one| one == Method::UsnChanged);
    if always || (polled && !pass.complete) {
        return poll(directory, shelf, reading, asked, &controller, pass).await;
    }
    let mut attempt = Attempt::new(shelf, asked, &pass).await?;
    let mut restarted = false;
    loop {
        match page(directory, shelf, reading, &mut attempt, &mut pass, &controller).await {
            Ok(true) => {}
            Ok(false) => return Ok(pass),
            // one that refuses its own cookies, page after page, would keep us for ever
            Err(Refused::DirSync) if !attempt.cookie.is_empty() && restarted => {
                return Err(SyncError::Unreadable("it refuses the cookie that it gave just before".into()));
            }
            // a controller may refuse a cookie, for example after an upgrade: then everything is read
            Err(Refused::DirSync) if !attempt.cookie.is_empty() => {
                restarted = true;
                pass.complete = true;
                pass.because = Some("cookie_refused".to_owned());
                attempt = Attempt::new(shelf, attempt.asked, &pass).await?;
            }
            // it refuses to begin as well: it is not the cookie
            Err(Refused::DirSync) => {
                return poll(directory, shelf, reading, attempt.asked, &controller, pass).await;
            }
            Err(Refused::Other(error)) => return Err(error),
        }
    }
}

enum Refused {
    DirSync,
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
    async fn new(shelf: &Shelf, asked: Vec<String>, pass: &Pass) -> Result<Attempt, SyncError> {
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
            let told = if pass.deletions_told { "yes" } else { "no" };
            values.push((shelf::TOLD.into(), Some(text(told))));
            if !pass.deletions_told || pass.because.as_deref() == Some(FORGOTTEN) {
                values.push((shelf::TOLD_ALWAYS.into(), Some(text("no"))));
            }
            shelf.set(values).await?;
        }
        Ok(Attempt { cookie, number, asked })
    }
}

/// Attributes that are asked for. DirSync brings an object only when one of them is there or changed.
fn asked(scope: &Scope) -> Vec<String> {
    let mut names: BTreeSet<String> = scope.local_attributes();
    let always = ["isDeleted", "name", "objectGUID", PARENT, LAST_PARENT];
    names.extend(always.map(str::to_ascii_lowercase));
    names.into_iter().collect()
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
    let deleted = RawControl { oid: SHOW_DELETED.to_owned(), critical: false, value: None };
    Ok(Search::new(reading.base, Depth::Subtree, filter.into_owned(), &names)
        .control(RawControl::critical(DirSync::OID).with_value(value))
        .control(deleted)
        .control(with_guids()))
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
    let mut staging = Staging::new(shelf, attempt.number, pass.complete);
    let done = directory.search_into(&dirsync(reading, attempt)?, &mut staging).await;
    let done = done.map_err(|broken| broken.in_directory(SyncError::Source))?;
    // operationsError, protocolError, unavailableCriticalExtension, insufficientAccessRights, unwillingToPerform
    if matches!(done.code, 1 | 2 | 12 | 50 | 53) {
        return Err(Refused::DirSync);
    }
    if !done.is_complete() {
        return Err(polling::incomplete(done.code).into());
    }
    let answer = done.control(DirSync::OID).and_then(|control| control.value.as_deref());
    let answer = answer.and_then(|value| DirSyncAnswer::read(value).ok());
    let Some(answer) = answer else {
        return Err(SyncError::Unreadable("its DirSync answer has no cookie".into()).into());
    };
    staging.flush().await?;
    pass.pages += 1;
    shelf.meter.pages(1);
    pass.objects += staging.objects;
    pass.deleted += staging.deleted;
    let (changed, partial) = (staging.changed > 0, staging.partial);
    in_full(directory, shelf, &attempt.asked, attempt.number, partial).await?;
    let place = Place { controller, cookie: &answer.cookie, more: answer.more, asked_at, changed };
    keep(directory, shelf, reading, attempt, pass, &place).await?;
    attempt.cookie = answer.cookie;
    Ok(answer.more)
}

/// Reads by uSNChanged, everything or what changed. All of it, or nothing is concluded.
async fn poll(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
    asked: Vec<String>,
    controller: &Controller,
    mut pass: Pass,
) -> Result<Pass, SyncError> {
    let asked_at = shelf.now();
    pass.method = Method::UsnChanged;
    let cookie = shelf.value(shelf::COOKIE).await?.unwrap_or_default();
    let bound = polling::bound(&cookie).filter(|_| !pass.complete);
    if bound.is_none() {
        // nothing that another way of reading has kept says where to begin here
        pass.complete = true;
        let because = pass.because.take().filter(|because| because != "resumed");
        pass.because = because.or_else(|| Some("other_method".to_owned()));
    }
    let attempt = Attempt::new(shelf, asked, &pass).await?;
    let part = (attempt.number, attempt.asked.as_slice());
    let changed = polling::poll(directory, shelf, reading, part, bound, &mut pass).await?;
    let cookie = polling::cookie(controller);
    let place = Place { controller, cookie: &cookie, more: false, asked_at, changed };
    keep(directory, shelf, reading, &attempt, &mut pass, &place).await?;
    Ok(pass)
}

/// How far a pass has come.
struct Place<'a> {
    controller: &'a Controller,
    cookie: &'a [u8],
    /// There are more pages.
    more: bool,
    asked_at: OffsetDateTime,
    /// An object is not as it was.
    changed: bool,
}

/// Keeps how far it has come. After the last page of a complete pass, what it did not bring is gone.
async fn keep(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
    attempt: &Attempt,
    pass: &mut Pass,
    place: &Place<'_>,
) -> Result<(), SyncError> {
    let mut keep = StagedPage::default();
    // rights may go while it is read
    pass.canary_seen = pass.canary_seen && can_see(directory, reading).await?;
    if !pass.canary_seen {
        // what came is true, but what was hidden never comes again: the next run reads on from where everything was seen
        if place.changed || pass.deleted + pass.unseen > 0 {
            keep.values.push((shelf::CHANGED.into(), Some(text(place.asked_at.unix_timestamp_nanos()))));
        }
        return shelf.apply(keep).await;
    }
    // what a controller that was set back does not have says nothing about who has gone
    if pass.complete && !place.more && !pass.suspect {
        let told = pass.deletions_told && shelf.value(shelf::TOLD_ALWAYS).await?.as_deref() == Some(b"yes");
        let gone = absent(shelf, attempt.number, told).await?;
        if told {
            pass.unseen += gone
        } else {
            pass.deleted += gone
        }
        keep.values.push((shelf::COMPLETE_AT.into(), Some(text(shelf.now().unix_timestamp()))));
        let told = if pass.deletions_told { "yes" } else { "no" };
        keep.values.push((shelf::TOLD_ALWAYS.into(), Some(text(told))));
    }
    if pass.complete {
        let completing = place.more.then(|| text(attempt.number));
        keep.values.push((shelf::COMPLETING.into(), completing));
        keep.values.push((shelf::ASKED.into(), serde_json::to_vec(&attempt.asked).ok()));
        keep.values.push((shelf::METHOD.into(), serde_json::to_vec(&pass.method).ok()));
    }
    if !pass.deletions_told {
        // the cookie moves past deletions that nobody told: only a whole pass makes that good
        keep.values.extend([shelf::TOLD, shelf::TOLD_ALWAYS].map(|key| (key.to_owned(), Some(text("no")))));
    }
    if !place.more {
        keep.values.push((shelf::READ_AT.into(), Some(text(place.asked_at.unix_timestamp()))));
    }
    if place.changed || pass.deleted + pass.unseen > 0 {
        keep.values.push((shelf::CHANGED.into(), Some(text(place.asked_at.unix_timestamp_nanos()))));
    }
    // as it was before the page: a later look must not find less
    keep.values.push((shelf::CONTROLLER.into(), serde_json::to_vec(place.controller).ok()));
    keep.values.push((shelf::ENDPOINT.into(), Some(text(reading.endpoint))));
    keep.values.push((shelf::COOKIE.into(), Some(place.cookie.to_vec())));
    shelf.apply(keep).await
}

fn text(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}
