//! Reading what is really in the national directory.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::client::Directory;
use crate::directory::request::{Scope as Depth, Search};
use crate::ldap::dn::Dn;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::store::record::{JournalEntry, NewJournalEntry};
use crate::sync::keeping::shelf::{self, Shelf};
use crate::sync::people::desired::NAMING;
use crate::sync::people::difference::PUBLISHABLE;
use crate::sync::people::naming;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::step::{Action, NOW, Step};
use crate::sync::terms::target::{ANCHOR, LEFT_AT, MEMBER, STAMP, TargetEntry, TargetView};
use crate::sync::writing::national::National;
use crate::sync::writing::record::Record;

const NO_SUCH_OBJECT: u32 = 32;
const JOURNAL_PAGE: u32 = 1_000;

/// Reads the member's entries, all or an error.
pub async fn view(directory: &mut Directory, base: &Dn, scope: &Scope) -> Result<TargetView, SyncError> {
    let national = National::of(directory).await?;
    let names = attributes(scope, &national);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let page = directory.settings().page_size;
    let search =
        Search::new(&base.to_string(), Depth::Subtree, Filter::present("objectClass"), &names).paged(page);
    let mut view = TargetView::default();
    let (own, mut failed) = (base.normal(), None);
    let done = directory
        .search(&search, |entry| {
            if naming::key(&entry.dn) == own {
                view.base_exists = true;
                return;
            }
            match target(&national, entry) {
                Ok(entry) => view.entries.push(entry),
                Err(error) => failed = Some(error),
            }
        })
        .await
        .map_err(SyncError::Target)?;
    if done.code == NO_SUCH_OBJECT {
        return Ok(TargetView::default());
    }
    if !done.is_complete() {
        let text =
            format!("reading {base} ended with result code {}: lift its limits for our account", done.code);
        return Err(SyncError::Unusable(text));
    }
    failed.map_or(Ok(view), Err)
}

/// The attributes of a national entry that are looked at.
pub fn attributes(scope: &Scope, national: &National) -> Vec<String> {
    let mut names: BTreeSet<&str> = PUBLISHABLE.iter().copied().collect();
    names.extend(scope.attributes.keys().map(String::as_str));
    let known = [national.identity, national.version];
    names.extend(known.into_iter().chain([NAMING, "objectClass", ANCHOR, MEMBER, STAMP, LEFT_AT]));
    names.into_iter().map(str::to_owned).collect()
}

/// An entry as it was read with [`attributes`].
pub fn target(national: &National, entry: Entry) -> Result<TargetEntry, SyncError> {
    let (entry_uuid, entry_csn) = national.known(&entry)?;
    let attributes: BTreeMap<String, Vec<String>> = entry
        .attributes
        .into_iter()
        .filter_map(|attribute| {
            let values: Vec<String> =
                attribute.values.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect();
            let name = attribute.description.to_ascii_lowercase();
            let known =
                [national.identity, national.version].iter().any(|one| one.eq_ignore_ascii_case(&name));
            (!values.is_empty() && !known).then_some((name, values))
        })
        .collect();
    Ok(TargetEntry { dn: entry.dn, entry_uuid, entry_csn, attributes, written_for: None })
}

/// The entry with this name; none only when the directory says that there is none.
pub async fn entry_at(
    directory: &mut Directory,
    national: &National,
    dn: &str,
    names: &[&str],
) -> Result<Option<TargetEntry>, SyncError> {
    let search = Search::new(dn, Depth::Base, Filter::present("objectClass"), names);
    let (found, done) = directory.read(&search).await.map_err(SyncError::Target)?;
    if done.code != NO_SUCH_OBJECT && !done.is_complete() {
        let text = format!("reading one entry ended with result code {}: nothing is concluded", done.code);
        return Err(SyncError::Unusable(text));
    }
    found.into_iter().next().map(|entry| target(national, entry)).transpose()
}

/// Steps that were begun before a crash and whose outcome nobody wrote down: looks what became of them, and writes it
/// down. Returns how many there were.
pub async fn settle_journal(
    shelf: &Shelf,
    directory: &mut Directory,
    scope: &Scope,
) -> Result<u64, SyncError> {
    let known = shelf.number(shelf::JOURNAL).await?.unwrap_or(0);
    let mut after = known;
    let mut open: BTreeMap<(String, u64), Step> = BTreeMap::new();
    loop {
        let part: Vec<JournalEntry> =
            shelf.store(move |store, ods| store.journal(ods, after, JOURNAL_PAGE)).await?;
        let Some(last) = part.last().map(|entry| entry.seq) else { break };
        for JournalEntry { entry, .. } in part {
            let key = (entry.plan, entry.step);
            if entry.phase != "intended" {
                open.remove(&key);
            } else if let Ok(step) = serde_json::from_slice(&entry.document) {
                open.insert(key, step);
            }
        }
        after = last;
    }
    let found = open.len() as u64;
    let mut entries = Vec::with_capacity(open.len());
    for ((plan, step), what) in open {
        let done = became(&what, directory, scope).await?;
        entries.push(NewJournalEntry {
            plan,
            step,
            phase: if done.is_some() { "found_done" } else { "found_not_done" }.to_owned(),
            at: shelf.now(),
            document: serde_json::to_vec(&done.unwrap_or_default()).unwrap_or_default(),
        });
    }
    if !entries.is_empty() {
        after = shelf.journal(entries).await?;
    }
    if after != known {
        shelf.set(vec![(shelf::JOURNAL.to_owned(), Some(after.to_string().into_bytes()))]).await?;
    }
    Ok(found)
}

/// What became of a step: what the directory tells of one that was done; none when it is not as the step would have made it.
async fn became(step: &Step, directory: &mut Directory, scope: &Scope) -> Result<Option<Record>, SyncError> {
    let national = National::of(directory).await?;
    let names = attributes(scope, &national);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let place = step.to.as_deref().unwrap_or(&step.dn);
    let entry = entry_at(directory, &national, place, &names).await?;
    // another entry that has the name by now is not this one
    let entry = entry.filter(|entry| match &step.entry_uuid {
        Some(identity) => entry.entry_uuid == *identity,
        None => step.anchor.is_none() || entry.anchor() == step.anchor,
    });
    let Some(entry) = entry else {
        return Ok((step.action == Action::Delete).then(Record::default));
    };
    let done = match step.action {
        Action::Delete => false,
        Action::Prepare => true,
        _ => holds(step, &entry),
    };
    Ok(done.then(|| Record::seen(&entry)))
}

fn holds(step: &Step, entry: &TargetEntry) -> bool {
    let set = |values: &[String]| values.iter().cloned().collect::<BTreeSet<_>>();
    step.changes.iter().all(|change| match change.after.as_slice() {
        [now] if now == NOW => entry.attributes.contains_key(&change.attribute),
        after => set(after) == set(entry.values(&change.attribute)),
    })
}
