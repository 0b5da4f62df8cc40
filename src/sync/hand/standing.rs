//! What holds now for the people of a plan that is undone: whoever left or asked not to be listed since is not listed again by it.
//!
//! The plan knows them as they were. The member is paused while it is undone, so that what it brought back would stay.

use std::collections::{BTreeMap, BTreeSet};

use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::sync::hand::look;
use crate::sync::keeping::bases;
use crate::sync::keeping::job::{Job, member_base};
use crate::sync::keeping::shelf::Shelf;
use crate::sync::keeping::wishes;
use crate::sync::people::desired::{self, Fate, NOT_PUBLISHED, UNSEEN};
use crate::sync::people::naming;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::staged::{Object, Staged};
use crate::sync::terms::step::{Action, Step};
use crate::sync::terms::target::{ANCHOR, Anchor, LEFT_AT, STAMP, TargetView};

/// How accounts stand, as they were last read.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// None: nothing is asked of them.
    accounts: Option<BTreeMap<Anchor, Account>>,
    /// Attributes that tell how somebody is reached.
    contact: BTreeSet<String>,
    /// People of the member whom others' steps name, by the names of their entries; none: nobody is called so any more.
    named: BTreeMap<String, Option<Anchor>>,
    /// Anchors that steps would give back, and other entries carry by now.
    pub taken: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct Account {
    /// Why it is not published, and what to do; none: it is.
    unpublished: Option<String>,
    /// It is to be published no longer; not so when it is only held back.
    leaves: bool,
    without_contact: bool,
    /// Nobody else's entry names this person.
    unnamed: bool,
}

impl Standing {
    /// How those stand whom these steps are of, or name.
    ///
    /// # Errors
    /// A store that cannot tell: then nothing is undone.
    pub async fn read(
        job: &Job,
        shelf: &Shelf,
        view: &TargetView,
        steps: impl Iterator<Item = &Step>,
    ) -> Result<Standing, SyncError> {
        let mut asked: BTreeMap<OdsCode, BTreeSet<Guid>> = BTreeMap::new();
        let mut values = BTreeSet::new();
        // what the plan itself has deleted or renamed comes back under these names
        let mut named: BTreeMap<String, Option<Anchor>> = BTreeMap::new();
        for step in steps {
            // whom an entry would be given back to as well
            for anchor in anchors_before(step).chain(step.anchor.clone()) {
                asked.entry(anchor.member).or_default().insert(anchor.guid);
            }
            values.extend(
                step.changes.iter().flat_map(|change| &change.before).map(|value| naming::key(value)),
            );
            named.insert(naming::key(&step.dn), step.anchor.clone());
        }
        let base = member_base(job)?;
        let below = |value: &&String| Dn::parse(value).is_ok_and(|dn| dn.is_at_or_below(&base));
        let gone: Vec<String> = values.iter().filter(below).cloned().collect();
        let entries = view.entries.iter().map(|entry| (naming::key(&entry.dn), entry));
        named.extend(entries.filter_map(|(name, entry)| Some((name, Some(entry.anchor()?)))));
        named.retain(|name, _| values.contains(name));
        gone.into_iter().for_each(|name| _ = named.entry(name).or_insert(None));
        for anchor in named.values().flatten() {
            asked.entry(anchor.member.clone()).or_default().insert(anchor.guid);
        }
        let scope = job.scope.clone();
        let contact = scope.levels.as_ref().map(|levels| levels.contact.clone()).unwrap_or_default();
        let own_by_table = job.source.is_none();
        let accounts = shelf.store(move |store, own| {
            let mut all = BTreeMap::new();
            for (ods, asked) in asked {
                let is_own = ods == *own;
                let by_table = if is_own { own_by_table } else { store.member(&ods)?.is_none() };
                all.extend(accounts(store, &ods, &scope, asked, is_own, by_table)?);
            }
            Ok(all)
        });
        Ok(Standing { accounts: Some(accounts.await?), contact, named, taken: BTreeSet::new() })
    }

    /// Why a step is not to be done: it would list somebody who is not published now, or tell what is not published of them.
    pub fn against(&self, step: &Step) -> Option<String> {
        let (accounts, own) = (self.accounts.as_ref()?, step.anchor.clone()?);
        let back = step.changes.iter().filter(|change| change.attribute == ANCHOR);
        let back: Vec<&String> = back.flat_map(|change| &change.after).collect();
        if back.iter().any(|anchor| self.taken.contains(*anchor)) {
            return Some("the person has another entry now".to_owned());
        }
        let back = back.iter().filter_map(|anchor| Anchor::parse(anchor));
        let whose: BTreeSet<Anchor> = back.chain([own]).collect();
        whose.iter().find_map(|anchor| self.against_one(accounts, accounts.get(anchor)?, step))
    }

    fn against_one(
        &self,
        accounts: &BTreeMap<Anchor, Account>,
        account: &Account,
        step: &Step,
    ) -> Option<String> {
        let given = given(step);
        let lists = step.action == Action::Create || ends_leaving(step);
        if let Some(why) = &account.unpublished
            && (lists || (account.leaves && !given.is_empty()))
        {
            return Some(why.clone());
        }
        let contact = given.iter().map(|(name, _)| *name).filter(|name| self.contact.contains(*name));
        let contact: BTreeSet<&str> = contact.filter(|_| account.without_contact).collect();
        if !contact.is_empty() {
            let names = contact.into_iter().collect::<Vec<_>>().join(", ");
            return Some(format!(
                "the person is published without contact details now, and this would give back {names}: the next run publishes the entry without, once the member is resumed"
            ));
        }
        let names_hidden = given.iter().any(|(_, value)| {
            let Some(anchor) = self.named.get(&naming::key(value)) else { return false };
            let person = anchor.as_ref().and_then(|anchor| accounts.get(anchor));
            person.is_none_or(|person| person.unnamed || person.leaves)
        });
        names_hidden.then(|| {
            "this would name a person whom nobody's entry names now: the next run names those who may be named, once the member is resumed"
                .to_owned()
        })
    }
}

/// Whose the entry was that a step took over.
pub fn anchors_before(step: &Step) -> impl Iterator<Item = Anchor> {
    let anchors = step.changes.iter().filter(|change| change.attribute == ANCHOR);
    anchors.flat_map(|change| &change.before).filter_map(|text| Anchor::parse(text))
}

/// Why somebody is not listed again whom a table does not publish now, and what to do.
const BY_TABLE: &str = "by what was registered last the person is not published, and an undoing does not list them again: if that is wrong, register the row as it should be";

fn ends_leaving(step: &Step) -> bool {
    step.changes
        .iter()
        .any(|change| change.attribute == LEFT_AT && !change.before.is_empty() && change.after.is_empty())
}

/// What a step adds to an entry that others read; nothing when it takes the entry out of sight.
fn given(step: &Step) -> Vec<(&str, &str)> {
    let hides = step.changes.iter().any(|change| change.attribute == LEFT_AT && !change.after.is_empty());
    if step.action == Action::Delete || (hides && step.action != Action::Create) {
        return Vec::new();
    }
    let told = step.changes.iter().filter(|change| !matches!(change.attribute.as_str(), STAMP | LEFT_AT));
    told.flat_map(|change| {
        let new = change.after.iter().filter(|value| !change.before.contains(value));
        new.map(|value| (change.attribute.as_str(), value.as_str()))
    })
    .collect()
}

fn accounts(
    store: &dyn Store,
    ods: &OdsCode,
    scope: &Scope,
    asked: BTreeSet<Guid>,
    is_own: bool,
    by_table: bool,
) -> Result<BTreeMap<Anchor, Account>, StoreError> {
    let wishes = wishes::of(store, ods)?;
    // units, which bases are looked up among, and of people only who is asked for
    let mut kept: BTreeMap<Guid, Object> = BTreeMap::new();
    store.visit_staged(ods, &mut |staged| {
        let object = look::object(&staged.document)?;
        if !object.is_a("user") || asked.contains(&object.guid) {
            kept.insert(object.guid, object);
        }
        Ok(())
    })?;
    // a person may be the container of another
    let mut missing: Vec<Guid> = kept.values().filter_map(|object| object.parent).collect();
    while let Some(guid) = missing.pop() {
        if !kept.contains_key(&guid)
            && let Some(staged) = store.staged(ods, &guid.0)?
        {
            let object = look::object(&staged.document)?;
            missing.extend(object.parent);
            kept.insert(guid, object);
        }
    }
    let staged = Staged::of(kept.into_values());
    let bases = bases::guids(&look::bases(store, ods, scope, &staged)?);
    let account = |guid: Guid| {
        // whom another member's scope selects is not known here: of its people only what they are and ask counts
        let inside = !is_own || bases.as_ref().is_none_or(|bases| staged.is_below(&guid, bases));
        let mut account = account(ods, scope, staged.get(&guid), inside, is_own);
        let asks = staged.get(&guid).is_some_and(|object| desired::asks(object, scope).is_some());
        if !asks && let Some(unnamed) = wishes.get(&guid) {
            account.unpublished.get_or_insert_with(|| ASKED.to_owned());
            account.without_contact = true;
            account.unnamed |= *unnamed;
        }
        if by_table && account.leaves {
            account.unpublished = Some(BY_TABLE.to_owned());
        }
        (Anchor { member: ods.clone(), guid }, account)
    };
    Ok(asked.into_iter().map(account).collect())
}

/// Of somebody whose wish is not read any more.
const ASKED: &str = "the person asked not to be listed as others are, and that wish is not read any more: see whether it was withdrawn or cannot be read; a run lists them again once an officer has approved it";

fn account(member: &OdsCode, scope: &Scope, object: Option<&Object>, inside: bool, is_own: bool) -> Account {
    let Some(object) = object else {
        return Account { unpublished: Some(leaving(member, "unknown")), leaves: true, ..Account::default() };
    };
    let mut held = BTreeSet::new();
    let fate = match () {
        () if !desired::is_person(object) => Fate::Leave("no_person"),
        // also of somebody who could not be read in full
        () if desired::is_not_published(object, scope) => Fate::Leave(NOT_PUBLISHED),
        () => desired::fate(member, object, inside, scope, &mut held),
    };
    let without_contact = desired::is_without_contact(object, scope);
    let (unpublished, leaves, unnamed) = match fate {
        Fate::Publish(wish) => (None, false, wish.unnamed),
        Fate::Leave("outside_filter") if !is_own => {
            (None, false, desired::asks(object, scope).is_some_and(|unnamed| unnamed))
        }
        Fate::Hold => {
            let why = held.into_iter().map(|one| one.text).collect::<Vec<_>>().join("; ");
            (Some(format!("the account is held back now and lists nobody anew: {why}")), false, false)
        }
        Fate::Leave(why) => (Some(leaving(member, why)), true, false),
    };
    Account { unpublished, leaves, without_contact, unnamed }
}

/// Why somebody who leaves is not listed again, and what to do.
fn leaving(member: &OdsCode, why: &str) -> String {
    let why = match why {
        NOT_PUBLISHED => {
            return "the person is not to be listed now, and an undoing does not list them again: it stays so until the member directory says otherwise"
                .to_owned();
        }
        "deleted" => "the account is deleted now",
        UNSEEN => "a complete pass did not bring the account any more",
        "disabled" => "the account is disabled now",
        "outside_scope" => "the account lies outside the bases of the scope now",
        "outside_filter" => "the filter of the scope does not select the account now",
        "unknown" => "no such account is known of the member directory now",
        _ => "this is no account of a person now",
    };
    format!(
        "{why}, and an undoing does not list it again: if that is wrong, mend the member directory or the scope, have it read (portcullis sync plan {member}), then undo again"
    )
}

#[cfg(test)]
mod tests;
