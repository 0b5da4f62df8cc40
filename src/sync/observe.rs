//! Reading what is really in the national directory.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::client::Directory;
use crate::directory::request::{Scope as Depth, Search};
use crate::ldap::dn::Dn;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::store::record::{JournalEntry, NewJournalEntry};
use crate::sync::desired::NAMING;
use crate::sync::error::SyncError;
use crate::sync::naming;
use crate::sync::national::National;
use crate::sync::plan::PUBLISHABLE;
use crate::sync::settings::Scope;
use crate::sync::shelf::{self, Shelf};
use crate::sync::step::{Action, NOW, Step};
use crate::sync::target::{ANCHOR, LEFT_AT, MEMBER, STAMP, TargetEntry, TargetView};

const NO_SUCH_OBJECT: u32 = 32;
const JOURNAL_PAGE: u32 = 1_000;

/// Reads the member's entries, all or an error.
pub async fn view(directory: &mut Directory, base: &Dn, scope: &Scope) -> Result<TargetView, SyncError> {
    let mut names: BTreeSet<&str> = PUBLISHABLE.iter().copied().collect();
    names.extend(scope.attributes.keys().map(String::as_str));
    let national = National::of(directory).await?;
    names.extend([
        NAMING,
        "objectClass",
        national.identity,
        national.version,
        ANCHOR,
        MEMBER,
        STAMP,
        LEFT_AT,
    ]);
    let names: Vec<&str> = names.into_iter().collect();
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

fn target(national: &National, entry: Entry) -> Result<TargetEntry, SyncError> {
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
    Ok(TargetEntry { dn: entry.dn, entry_uuid, entry_csn, attributes })
}

/// Steps that were begun before a crash and whose outcome nobody wrote down: looks what became of them, and writes it
/// down. Returns how many there were.
pub async fn settle_journal(shelf: &Shelf, view: &TargetView) -> Result<u64, SyncError> {
    let mut after = shelf.number(shelf::JOURNAL).await?.unwrap_or(0);
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
    let by_anchor: BTreeMap<String, &TargetEntry> =
        view.entries.iter().filter_map(|entry| entry.anchor().map(|a| (a.to_string(), entry))).collect();
    let found = open.len() as u64;
    let entries = open
        .into_iter()
        .map(|((plan, step), what)| NewJournalEntry {
            plan,
            step,
            phase: if holds(&what, view, &by_anchor) { "found_done" } else { "found_not_done" }.to_owned(),
            at: shelf.now(),
            document: b"{}".to_vec(),
        })
        .collect::<Vec<_>>();
    if !entries.is_empty() {
        after = shelf.journal(entries).await?;
    }
    shelf.set(vec![(shelf::JOURNAL.to_owned(), Some(after.to_string().into_bytes()))]).await?;
    Ok(found)
}

/// Whether the directory is as the step would have made it.
fn holds(step: &Step, view: &TargetView, by_anchor: &BTreeMap<String, &TargetEntry>) -> bool {
    let entry = step.anchor.as_ref().and_then(|anchor| by_anchor.get(&anchor.to_string()));
    let Some(entry) = entry else {
        return step.action == Action::Delete || (step.action == Action::Prepare && view.base_exists);
    };
    if step.action == Action::Delete {
        return false;
    }
    let set = |values: &[String]| values.iter().cloned().collect::<BTreeSet<_>>();
    step.to.as_ref().is_none_or(|to| naming::key(to) == naming::key(&entry.dn))
        && step.changes.iter().all(|change| match change.after.as_slice() {
            [now] if now == NOW => entry.attributes.contains_key(&change.attribute),
            after => set(after) == set(entry.values(&change.attribute)),
        })
}
