//! Whose the mails of a table are in the national directory now.

use std::collections::HashMap;

use crate::directory::client::Directory;
use crate::directory::request::{Scope as Depth, Search, SearchDone};
use crate::ldap::dn::Dn;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::sync::hand::register::check::{Claim, Number};
use crate::sync::people::naming;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::target::{ANCHOR, Anchor};

/// Mails in one question.
const MAILS_ASKED: usize = 100;
/// A table with more mails than this is held against all national entries, read once: a directory that has no index of mails would
/// look at all of them for every question.
const MAILS_ASKED_MAX: usize = 1_000;
const NO_SUCH_OBJECT: u32 = 32;

/// A mail of the table that somebody has who is not of the organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub row: Number,
    /// Who has it, as far as our account sees: an organisation's code, or nobody of ours.
    pub holder: Option<Anchor>,
}

/// Asks. What somebody of the same organisation has is not told: planning settles it, and lets mails change hands.
pub async fn held(
    directory: &mut Directory,
    people: &Dn,
    mails: &HashMap<String, Claim>,
) -> Result<Vec<Held>, SyncError> {
    let mut held = Vec::new();
    if mails.is_empty() {
        return Ok(held);
    }
    let mut look = |entry: Entry| held.extend(compare(&entry, people, mails));
    if mails.len() > MAILS_ASKED_MAX {
        ask(directory, people, Filter::present("mail"), &mut look).await?;
    } else {
        let names: Vec<&String> = mails.keys().collect();
        for part in names.chunks(MAILS_ASKED) {
            let any = part.iter().map(|mail| Filter::equal("mail", mail.as_bytes().to_vec())).collect();
            ask(directory, people, Filter::Or(any), &mut look).await?;
        }
    }
    held.sort_by_key(|one| one.row);
    held.dedup_by_key(|one| one.row);
    Ok(held)
}

async fn ask(
    directory: &mut Directory,
    people: &Dn,
    filter: Filter<'static>,
    look: &mut (impl FnMut(Entry) + Send),
) -> Result<(), SyncError> {
    let page = directory.settings().page_size;
    let search = Search::new(&people.to_string(), Depth::Subtree, filter, &["mail", ANCHOR]).paged(page);
    let done: SearchDone = directory.search(&search, look).await.map_err(SyncError::Target)?;
    if done.is_complete() || done.code == NO_SUCH_OBJECT {
        return Ok(());
    }
    Err(SyncError::Unusable(format!(
        "reading the mails below {people} ended with result code {}: lift its limits for our account",
        done.code
    )))
}

fn compare(entry: &Entry, people: &Dn, mails: &HashMap<String, Claim>) -> Vec<Held> {
    let holder = entry.text(ANCHOR).and_then(Anchor::parse);
    entry
        .texts("mail")
        .filter_map(|mail| mails.get(&mail.to_lowercase()))
        .filter(|claim| !is_of(entry, holder.as_ref(), people, claim))
        .map(|claim| Held { row: claim.row, holder: holder.clone() })
        .collect()
}

/// Whether the entry is one of the organisation that is to have the mail.
fn is_of(entry: &Entry, holder: Option<&Anchor>, people: &Dn, claim: &Claim) -> bool {
    match holder {
        Some(anchor) => anchor.member == claim.ods,
        None => people.child("ou", claim.ods.as_str()).is_ok_and(|unit| {
            Dn::parse(&entry.dn)
                .is_ok_and(|dn| naming::key(&entry.dn) != unit.normal() && dn.is_at_or_below(&unit))
        }),
    }
}
