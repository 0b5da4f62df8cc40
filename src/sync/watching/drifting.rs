//! Drift of one member, found by reading its unit and holding it against the journal; needs nothing but a search of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::directory::client::Directory;
use crate::directory::request::{Scope as Depth, Search};
use crate::ldap::filter::Filter;
use crate::policy::terms::OdsCode;
use crate::store::port::Store;
use crate::store::record::JournalEntry;
use crate::sync::keeping::job::{Job, member_base};
use crate::sync::people::books::{Books, DONE, INTENDED, Written};
use crate::sync::people::drift::{self, Drift, Kind, Seen};
use crate::sync::people::naming;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Settings;
use crate::sync::terms::step::Step;
use crate::sync::terms::succession::closed;
use crate::sync::terms::target::{ANCHOR, LEFT_AT, STAMP, TargetEntry, TargetView};
use crate::sync::writing::observe;

/// Lines of the journal that are read at once.
const JOURNAL_PAGE: u32 = 1_000;
/// Entries of which it is asked who changed them last.
const ASKED_MAX: usize = 200;
const MODIFIED_BY: &str = "modifiersName";
const MODIFIED_AT: &str = "modifyTimestamp";

/// One attribute that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differing {
    pub attribute: String,
    /// As it was written, and as it is; none: absent.
    pub published: Vec<String>,
    pub found: Vec<String>,
}

/// One entry that is not as it should be, with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    #[serde(flatten)]
    pub drift: Drift,
    /// For an edited entry.
    pub attributes: Vec<Differing>,
    /// Who changed it last, and when, as the national directory says; it may have been a later change than the one meant.
    pub by: Option<String>,
    pub at: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub member: OdsCode,
    /// Entries that were looked at.
    pub entries: u64,
    pub drift: Vec<Found>,
}

/// Looks. The job's scope must be without national attributes ([`crate::sync::running::member::Syncer`] does that).
pub async fn compare(job: &Job, store: &Arc<dyn Store>, settings: &Settings) -> Result<Compared, SyncError> {
    let mut before = Books::default();
    read_on(store, &job.member, &mut before).await?;
    let seq = before.seq();
    let mut directory = job.target.connect(SyncError::Target).await?;
    let view = observe::view(&mut directory, &member_base(job)?, &job.scope).await?;
    // what was written meanwhile may be in the view or not
    let (books, mut busy) = later(store, &job.member, before, seq).await?;
    busy.extend(books.unsettled());
    let stamped = drift::stamped(&job.scope, &settings.national_attributes);
    let closed = is_closed(store, &job.member).await?;
    let entries = view.entries.iter().map(|entry| seen(&job.member, entry, &stamped));
    let found = drift::find(&books, entries, &busy, closed);
    let edited: BTreeSet<Guid> =
        found.iter().filter(|one| one.kind == Kind::Edited).filter_map(|one| one.guid).collect();
    let contents = contents(store, &job.member, edited).await?;
    let mut all = Vec::with_capacity(found.len());
    for (number, drift) in found.into_iter().enumerate() {
        let attributes = differing(&drift, &view, &contents, &stamped);
        let (by, at) = match drift.kind {
            Kind::Deleted => (None, None),
            _ if number >= ASKED_MAX => (None, None),
            _ => asked(&mut directory, &drift.dn).await?,
        };
        all.push(Found { drift, attributes, by, at });
    }
    directory.unbind().await;
    Ok(Compared { member: job.member.clone(), entries: view.entries.len() as u64, drift: all })
}

fn seen<'a>(member: &OdsCode, entry: &'a TargetEntry, stamped: &BTreeSet<String>) -> Seen<'a> {
    Seen {
        dn: &entry.dn,
        guid: drift::account(member, entry.first(ANCHOR)),
        stamp: entry.first(STAMP),
        fits: drift::is_as_written(entry, stamped),
    }
}

/// Whether the programme says that the organisation is closed and who succeeds it.
pub async fn is_closed(store: &Arc<dyn Store>, member: &OdsCode) -> Result<bool, SyncError> {
    let (store, ods) = (Arc::clone(store), member.clone());
    Ok(tokio::task::spawn_blocking(move || closed(store.as_ref(), &ods)).await??)
}

/// Reads the journal after the books' last line, page by page, each line given to `each`.
async fn walk(
    store: &Arc<dyn Store>,
    member: &OdsCode,
    mut after: u64,
    mut each: impl FnMut(&JournalEntry),
) -> Result<(), SyncError> {
    loop {
        let (store, ods) = (Arc::clone(store), member.clone());
        let page = tokio::task::spawn_blocking(move || store.journal(&ods, after, JOURNAL_PAGE)).await??;
        let Some(last) = page.last().map(|line| line.seq) else { return Ok(()) };
        page.iter().for_each(&mut each);
        after = last;
    }
}

/// Brings the books up to the journal's end; tells the steps that were done since.
pub async fn read_on(
    store: &Arc<dyn Store>,
    member: &OdsCode,
    books: &mut Books,
) -> Result<Vec<Written>, SyncError> {
    let (after, mut written) = (books.seq(), Vec::new());
    walk(store, member, after, |line| written.extend(books.read(line))).await?;
    Ok(written)
}

/// Brings the books up to date, and tells the accounts that lines after `seq` speak of.
async fn later(
    store: &Arc<dyn Store>,
    member: &OdsCode,
    mut books: Books,
    seq: u64,
) -> Result<(Books, BTreeSet<Guid>), SyncError> {
    let mut touched = BTreeSet::new();
    walk(store, member, seq, |line| {
        touched.extend(books.unsettled());
        touched.extend(books.read(line).map(|written| written.guid));
    })
    .await?;
    Ok((books, touched))
}

/// What our writes left of these accounts' entries, by account: a second walk, so that only of these anything is held.
async fn contents(
    store: &Arc<dyn Store>,
    member: &OdsCode,
    of: BTreeSet<Guid>,
) -> Result<BTreeMap<Guid, BTreeMap<String, Vec<String>>>, SyncError> {
    let mut contents: BTreeMap<Guid, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut open: BTreeMap<(String, u64), Step> = BTreeMap::new();
    if of.is_empty() {
        return Ok(contents);
    }
    walk(store, member, 0, |line| {
        let key = (line.entry.plan.clone(), line.entry.step);
        if line.entry.phase == INTENDED {
            let step = serde_json::from_slice::<Step>(&line.entry.document).ok();
            let step = step.filter(|step| step.anchor.as_ref().is_some_and(|one| of.contains(&one.guid)));
            open.extend(step.map(|step| (key, step)));
            return;
        }
        let done = DONE.contains(&line.entry.phase.as_str());
        let Some(step) = open.remove(&key).filter(|_| done) else { return };
        let Some(anchor) = &step.anchor else { return };
        let content = contents.entry(anchor.guid).or_default();
        for change in step.changes {
            content.insert(change.attribute, change.after);
        }
    })
    .await?;
    Ok(contents)
}

fn differing(
    drift: &Drift,
    view: &TargetView,
    contents: &BTreeMap<Guid, BTreeMap<String, Vec<String>>>,
    stamped: &BTreeSet<String>,
) -> Vec<Differing> {
    let key = naming::key(&drift.dn);
    let content = drift.guid.filter(|_| drift.kind == Kind::Edited).and_then(|guid| contents.get(&guid));
    let entry = view.entries.iter().find(|entry| naming::key(&entry.dn) == key);
    let (Some(content), Some(entry)) = (content, entry) else { return Vec::new() };
    let mut names: BTreeSet<&str> = stamped.iter().map(String::as_str).collect();
    names.extend([STAMP, LEFT_AT]);
    let sorted = |values: &[String]| {
        let mut values = values.to_vec();
        values.sort();
        values
    };
    names
        .into_iter()
        .filter_map(|name| {
            let published = sorted(content.get(name).map_or(&[], Vec::as_slice));
            let found = sorted(entry.values(name));
            (published != found).then(|| Differing { attribute: name.to_owned(), published, found })
        })
        .collect()
}

async fn asked(directory: &mut Directory, dn: &str) -> Result<(Option<String>, Option<String>), SyncError> {
    let search = Search::new(dn, Depth::Base, Filter::present("objectClass"), &[MODIFIED_BY, MODIFIED_AT]);
    let (entries, _) = directory.read(&search).await.map_err(SyncError::Target)?;
    let text = |name: &str| entries.first().and_then(|entry| entry.text(name)).map(str::to_owned);
    Ok((text(MODIFIED_BY), text(MODIFIED_AT)))
}
