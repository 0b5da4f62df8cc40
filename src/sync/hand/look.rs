//! What is known of a member without reading its directory and without writing anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::directory::request::{Scope as Depth, Search};
use crate::ldap::dn::Dn;
use crate::ldap::filter::Filter;
use crate::policy::set::PolicySet;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::member::Member;
use crate::store::organisation::Organisation;
use crate::store::port::Store;
use crate::sync::keeping::bases::{self, Base};
use crate::sync::keeping::shelf::{self, json};
use crate::sync::people::{drift, naming};
use crate::sync::running::ledger::{Aged, QUARANTINE};
use crate::sync::running::member::{National, scope_of};
use crate::sync::running::report::Report;
use crate::sync::running::run::LAST_REPORT;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::staged::{Object, Staged};
use crate::sync::terms::target::{TargetEntry, TargetView};
use crate::sync::writing::observe;
use crate::sync::writing::owners;
use crate::sync::writing::sight;

/// No real tree is deeper; more means a circle.
const DEPTH_MAX: usize = 64;

/// Who is looked up: a member, or an organisation whose people are registered by file.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub ods: &'a OdsCode,
    pub mail_domains: &'a BTreeSet<String>,
    /// The naming context that is published; none: it has no directory.
    pub source_base: Option<&'a str>,
}

impl<'a> From<&'a Member> for Subject<'a> {
    fn from(member: &'a Member) -> Subject<'a> {
        let source_base = Some(member.connection.base_dn.as_str());
        Subject { ods: &member.ods, mail_domains: &member.mail_domains, source_base }
    }
}

impl<'a> From<&'a Organisation> for Subject<'a> {
    fn from(organisation: &'a Organisation) -> Subject<'a> {
        Subject { ods: &organisation.ods, mail_domains: &organisation.mail_domains, source_base: None }
    }
}

/// A member, or an organisation without a directory, as the store knows it.
#[derive(Debug, Clone)]
pub struct Look {
    pub member: OdsCode,
    /// The naming context that is published; empty where there is no directory.
    pub source_base: String,
    /// The member's organisational unit in the national directory.
    pub base: Dn,
    /// Identity of the scope's document, and the scope; or why there is none.
    pub scope: Result<(String, Scope), String>,
    pub staged: Staged,
    /// Whether everything was read at least once.
    pub whole: bool,
    /// Whether the directory told of deletions all the time since.
    pub told: bool,
    /// The scope's bases by GUID; none: the whole tree.
    pub bases: Option<BTreeSet<Guid>>,
    /// The same, as people know them.
    pub base_names: Vec<String>,
    pub read_at: Option<OffsetDateTime>,
    pub complete_at: Option<OffsetDateTime>,
    pub last: Option<Report>,
    pub quarantine: Vec<Aged>,
}

/// Looks it up in the store.
pub fn look(
    store: &dyn Store,
    subject: Subject<'_>,
    set: &PolicySet,
    national: &National,
) -> Result<Look, SyncError> {
    let ods = subject.ods;
    let mut scope = scope_of(set, ods)
        .and_then(|document| Ok((document.id.clone(), Scope::of(document, subject.mail_domains)?)))
        .map_err(|error| error.to_string());
    if let (Ok((_, scope)), None) = (&mut scope, subject.source_base) {
        // a table has no units
        scope.bases.clear();
    }
    let mut objects: Vec<Object> = Vec::new();
    store.visit_staged(ods, &mut |kept| {
        objects.push(object(&kept.document)?);
        Ok(())
    })?;
    let staged = Staged::of(objects);
    let people = Dn::parse(&national.people_base)
        .map_err(|_| SyncError::Unusable(format!("`{}` is not a name", national.people_base)))?;
    let base = people
        .child("ou", ods.as_str())
        .map_err(|_| SyncError::Internal("a member without a code".to_owned()))?;
    let complete_at = moment(store, ods, shelf::COMPLETE_AT)?;
    let bases = match &scope {
        Ok((_, scope)) => bases(store, ods, scope, &staged)?,
        Err(_) => None,
    };
    let mut find = |guid: &Guid| staged.get(guid).cloned();
    let base_names =
        bases.iter().flatten().map(|base| called(base, &mut find, subject.source_base.unwrap_or_default()));
    Ok(Look {
        base_names: base_names.collect(),
        member: ods.clone(),
        source_base: subject.source_base.unwrap_or_default().to_owned(),
        base,
        scope,
        whole: complete_at.is_some(),
        told: store.sync_value(ods, shelf::TOLD_ALWAYS)?.as_deref() == Some(b"yes"),
        bases: bases::guids(&bases),
        staged,
        read_at: moment(store, ods, shelf::READ_AT)?,
        complete_at,
        last: json(store, ods, LAST_REPORT)?,
        quarantine: json(store, ods, QUARANTINE)?.unwrap_or_default(),
    })
}

/// A staged object as the store keeps it.
pub fn object(document: &[u8]) -> Result<Object, StoreError> {
    serde_json::from_slice(document).map_err(|error| StoreError::Value(format!("a staged object: {error}")))
}

/// A value that is seconds since 1970, as a moment.
pub fn seconds(value: &[u8]) -> Option<OffsetDateTime> {
    let seconds = std::str::from_utf8(value).ok()?.parse().ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

fn moment(store: &dyn Store, ods: &OdsCode, key: &str) -> Result<Option<OffsetDateTime>, StoreError> {
    Ok(store.sync_value(ods, key)?.and_then(|value| seconds(&value)))
}

/// The scope's bases as the last run found them, else by name.
pub fn bases(
    store: &dyn Store,
    ods: &OdsCode,
    scope: &Scope,
    staged: &Staged,
) -> Result<Option<Vec<Base>>, StoreError> {
    if scope.bases.is_empty() {
        return Ok(None);
    }
    let kept = store.sync_values(ods, shelf::PIN)?;
    Ok(bases::locate(scope, staged, &kept))
}

/// A base as the scope has it, and where it is when that is elsewhere.
fn called(base: &Base, find: &mut dyn FnMut(&Guid) -> Option<Object>, source_base: &str) -> String {
    let now = base.guid.and_then(|guid| local_dn(find, &guid, source_base));
    let named = naming::key(&format!("{},{source_base}", base.name));
    match now.filter(|now| naming::key(now) != named) {
        Some(now) => format!("{} (the unit that is {now} now)", base.name),
        None => base.name.clone(),
    }
}

/// National entries as they are now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The member's.
    pub view: TargetView,
    /// Those outside the member's unit that whoever was asked about has, or is kept from something by.
    pub elsewhere: Vec<TargetEntry>,
}

/// Reads the member's national entries, and others that matter for whom `who` selects.
pub async fn national(
    store: &dyn Store,
    look: &Look,
    national: &National,
    untouched: &BTreeSet<String>,
    who: impl Fn(&Object) -> bool,
) -> Result<Seen, SyncError> {
    let (_, scope) = look.scope.as_ref().map_err(|why| SyncError::Scope(why.clone()))?;
    let mut target = national.reach()?.connect(SyncError::Target).await?;
    let read = async {
        let mut view = observe::view(&mut target, &look.base, scope).await?;
        let stamped = drift::stamped(scope, untouched);
        let is_known = |guid: &Guid| look.staged.get(guid).is_some();
        let unclear = |entry: &&mut TargetEntry| drift::is_unclear(entry, &look.member, &stamped, is_known);
        let everywhere = look.base.parent();
        let everywhere = everywhere.as_ref();
        owners::tell(store, &look.member, everywhere, view.entries.iter_mut().filter(unclear))?;
        let people = look.staged.objects().filter(|object| who(object));
        let mut elsewhere =
            sight::elsewhere(people, &view.entries, &look.member, &look.base, scope, &mut target).await?;
        let unclear = elsewhere.iter_mut().filter(|entry| sight::is_unclear(entry, &look.member));
        owners::tell(store, &look.member, everywhere, unclear)?;
        Ok(Seen { view, elsewhere })
    };
    let seen = read.await;
    target.unbind().await;
    seen
}

/// Looks through all members' national entries: below which organisational units there is one that `filter` selects. Lower case.
pub async fn units(national: &National, filter: Filter<'static>) -> Result<BTreeSet<String>, SyncError> {
    let mut target = national.reach()?.connect(SyncError::Target).await?;
    let search = Search::new(&national.people_base, Depth::Subtree, filter, &["uid"]);
    let (entries, done) = target.read(&search).await.map_err(SyncError::Target)?;
    target.unbind().await;
    if !done.is_complete() {
        let text = format!("a search ended with result code {}: lift its limits for our account", done.code);
        return Err(SyncError::Unusable(text));
    }
    Ok(entries.iter().filter_map(|entry| unit(&entry.dn, &national.people_base)).collect())
}

/// The organisational unit below the people that a name lies in, lower case.
pub fn unit(dn: &str, people_base: &str) -> Option<String> {
    naming::unit(dn, &Dn::parse(people_base).ok()?)
}

/// The local name of an object along the tree, as it is now; none when a part of the tree is not known.
pub fn local_dn(
    find: &mut dyn FnMut(&Guid) -> Option<Object>,
    guid: &Guid,
    source_base: &str,
) -> Option<String> {
    let (mut at, mut name) = (*guid, String::new());
    for _ in 0..DEPTH_MAX {
        let object = find(&at)?;
        let Some(parent) = object.parent else {
            return Some(if name.is_empty() {
                source_base.to_owned()
            } else {
                format!("{name},{source_base}")
            });
        };
        if !name.is_empty() {
            name.push(',');
        }
        name.push_str(&object.rdn);
        at = parent;
    }
    None
}

/// [`local_dn`] of an object in the store.
pub fn stored_dn(store: &Arc<dyn Store>, member: &Member, guid: &Guid) -> Option<String> {
    let mut find = |guid: &Guid| {
        let kept = store.staged(&member.ods, &guid.0).ok()??;
        object(&kept.document).ok()
    };
    local_dn(&mut find, guid, &member.connection.base_dn)
}
