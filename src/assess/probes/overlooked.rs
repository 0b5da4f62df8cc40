//! Privileged accounts that no search brought though one of them should have: they were moved, renamed or hidden between the
//! reading of the groups and the reading of the accounts, and nothing was asked of them.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use crate::assess::plan::PlannedSearch;
use crate::assess::probes::access::area::{is_a, sid_of};
use crate::assess::probes::logon::Session;
use crate::assess::probes::member::Named;
use crate::assess::probes::privileged::Privileged;
use crate::directory::request::{Scope, Search};
use crate::ldap::dn::Dn;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;

/// Accounts that are looked for one by one; more were not overlooked by chance.
const MISSED_MAX: usize = 1_000;
const NO_SUCH_OBJECT: u32 = 32;
const REASON: &str = "a privileged account was moved, renamed or hidden while the directory was read";

/// Whether something is asked of privileged accounts among what the search brings.
pub fn judges(search: &PlannedSearch) -> bool {
    let told = ["privileged", "ruling_groups"];
    search.reads.iter().flat_map(|read| &read.computed).any(|name| told.contains(&name.as_str()))
}

/// Which privileged account an entry is; none when it is none of them.
pub fn account(privileged: &Privileged, entry: &Entry) -> Option<String> {
    privileged.account(&entry.dn, sid_of(entry).as_deref()).map(str::to_owned)
}

/// Why what the search brought is not everything. `met` are the privileged accounts that this search or another brought. The few
/// that are left are looked for where their group has them: whoever stands there and is nothing that the search asks for, as a
/// computer among users, was not overlooked by it.
pub async fn overlooked(
    session: &mut Session,
    search: &Search,
    privileged: &Privileged,
    met: &BTreeSet<String>,
) -> Option<String> {
    let missed: Vec<&Named> =
        privileged.accounts().filter(|(identity, _)| !met.contains(*identity)).map(|(_, who)| who).collect();
    if missed.len() > MISSED_MAX {
        return Some(REASON.to_owned());
    }
    for who in missed {
        match stands_elsewhere(session, search, who).await {
            Ok(true) => {}
            Ok(false) => return Some(format!("{REASON}: `{}`", who.dn)),
            Err(reason) => return Some(format!("{REASON}: `{}`: {reason}", who.dn)),
        }
    }
    None
}

/// Whether the account still stands where its group has it, and is none that the search asks for.
async fn stands_elsewhere(session: &mut Session, search: &Search, who: &Named) -> Result<bool, String> {
    let there = single(session, Filter::present("objectClass"), who).await?;
    // what is neither user nor computer no search for accounts brings
    if !there.is_some_and(|entry| is_a(&entry, "user")) {
        return Ok(false);
    }
    Ok(!is_within(&who.dn, search) || single(session, search.filter.clone(), who).await?.is_none())
}

/// The account where its group has it, if it matches; none where that is another by now.
async fn single(
    session: &mut Session,
    filter: Filter<'static>,
    who: &Named,
) -> Result<Option<Entry>, String> {
    let single = Search::new(&who.dn, Scope::Base, filter, &["objectClass", "objectSid"]);
    let (entries, done) = session.directory.read(&single).await.map_err(|error| error.to_string())?;
    match done.code {
        0 | NO_SUCH_OBJECT => {
            let same = |entry: &Entry| who.sid.is_none() || sid_of(entry) == who.sid;
            Ok(entries.into_iter().next().filter(same))
        }
        code => Err(format!("its search ended with result code {code}")),
    }
}

/// Whether the search looks where the DN is. What cannot be placed may be anywhere.
fn is_within(dn: &str, search: &Search) -> bool {
    let (Ok(dn), Ok(base)) = (Dn::from_str(dn), Dn::from_str(&search.base)) else { return true };
    match search.scope {
        Scope::Base => dn == base,
        Scope::One => dn.parent().as_ref() == Some(&base),
        Scope::Subtree => dn.is_at_or_below(&base),
    }
}
