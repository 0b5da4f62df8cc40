//! What keeps a national entry from being what it should be.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::scope;
use crate::sync::people::desired::{Desired, NAMING, SURNAME, stamp};
use crate::sync::people::naming;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::{Origin, Scope};
use crate::sync::terms::staged::Object;
use crate::sync::terms::step::Change;
use crate::sync::terms::target::{ANCHOR, CLASS, MEMBER, STAMP, TargetEntry};

/// The classes of a published entry. The superiors are written out: whoever filters by `person` on what it has read, the
/// front door included, does not know a server's schema.
pub const CLASSES: [&str; 5] = ["top", "person", "organizationalPerson", "inetOrgPerson", CLASS];

/// Attributes of a person's entry that are published or nothing: what the scope does not map is taken away.
pub const PUBLISHABLE: &[&str] = &[
    "businesscategory",
    "cn",
    "departmentnumber",
    "description",
    "displayname",
    "employeenumber",
    "employeetype",
    "facsimiletelephonenumber",
    "givenname",
    "homephone",
    "homepostaladdress",
    "initials",
    "l",
    "mail",
    "manager",
    "mobile",
    "o",
    "ou",
    "pager",
    "physicaldeliveryofficename",
    "postaladdress",
    "postalcode",
    "preferredlanguage",
    "roomnumber",
    "secretary",
    "sn",
    "st",
    "street",
    "telephonenumber",
    "title",
];

/// Whose attributes are whose.
#[derive(Debug, Clone, Copy)]
pub struct Ownership<'a> {
    pub scope: &'a Scope,
    /// Lower-case attributes that are never touched.
    pub national: &'a BTreeSet<String>,
}

impl Ownership<'_> {
    /// The attributes of an entry that a plan decides about.
    pub fn owned<'e>(&'e self, entry: &'e TargetEntry) -> BTreeSet<&'e str> {
        let mut names: BTreeSet<&str> = PUBLISHABLE.iter().copied().collect();
        names.extend(self.scope.attributes.keys().map(String::as_str));
        names.extend([ANCHOR, MEMBER]);
        names.retain(|name| *name != NAMING && !self.national.contains(*name));
        names.retain(|name| entry.attributes.contains_key(*name));
        names
    }

    /// Changes of attributes that make `entry` what `wish` says, without stamp and classes.
    pub fn content(&self, entry: &TargetEntry, wish: &Desired) -> Vec<Change> {
        let mut names = self.owned(entry);
        names
            .extend(wish.attributes.keys().map(String::as_str).filter(|name| !self.national.contains(*name)));
        names.retain(|name| match self.scope.shared.get(*name) {
            // no entry can be without one
            _ if *name == SURNAME && !wish.attributes.contains_key(SURNAME) => false,
            None | Some(scope::Ownership::Member) => true,
            Some(scope::Ownership::MemberWhenThere) => wish.attributes.contains_key(*name),
            Some(scope::Ownership::National) => entry.values(name).is_empty(),
        });
        names
            .into_iter()
            .filter_map(|name| difference(entry, name, wish.attributes.get(name).map_or(&[], Vec::as_slice)))
            .collect()
    }

    /// SHA-256 of what is the member's alone in an entry's published content: what is published in another way than it says was changed by
    /// somebody else.
    pub fn stamp(&self, attributes: &BTreeMap<String, Vec<String>>) -> String {
        let alone = |name: &String| !self.scope.shared.contains_key(name) && !self.national.contains(name);
        let alone = attributes.iter().filter(|(name, _)| alone(name));
        stamp(&alone.map(|(name, values)| (name.clone(), values.clone())).collect())
    }

    /// Whether there is nothing to do for an entry: its name, its content, its stamp and its classes are as they should be.
    pub fn is_settled(&self, entry: &TargetEntry, wish: &Desired, key: &str) -> bool {
        naming::key(&entry.dn) == key
            && !entry.has_left()
            && classes(entry).is_none()
            && entry.first(STAMP) == Some(self.stamp(&wish.attributes).as_str())
            && self.content(entry, wish).is_empty()
    }
}

/// In the order in which two lists of values are compared.
pub fn sorted(values: &[String]) -> Vec<String> {
    let mut values = values.to_vec();
    values.sort();
    values
}

/// The change that gives an attribute these values; none when it has them.
pub fn difference(entry: &TargetEntry, name: &str, after: &[String]) -> Option<Change> {
    let before = sorted(entry.values(name));
    let after = sorted(after);
    let same = if name == "manager" || name == "secretary" {
        before.iter().map(|dn| naming::key(dn)).eq(after.iter().map(|dn| naming::key(dn)))
    } else {
        before == after
    };
    (!same).then(|| Change { attribute: name.to_owned(), before, after })
}

/// The change that gives an entry the classes of a published one.
pub fn classes(entry: &TargetEntry) -> Option<Change> {
    let before = entry.values("objectclass");
    let has = |class: &str| before.iter().any(|one| one.eq_ignore_ascii_case(class));
    if has("inetOrgPerson") && has(CLASS) {
        return None;
    }
    let missing: Vec<&str> = CLASSES.into_iter().filter(|class| !has(class)).collect();
    let after = before.iter().cloned().chain(missing.iter().map(|class| (*class).to_owned())).collect();
    Some(Change { attribute: "objectclass".to_owned(), before: before.to_vec(), after })
}

/// Fills in the attributes that name other people; `place` says where a person's entry is to be.
pub fn refer(
    attributes: &mut BTreeMap<String, Vec<String>>,
    object: &Object,
    scope: &Scope,
    place: impl Fn(&Guid) -> Option<String>,
) {
    for (name, origin) in &scope.attributes {
        let Origin::Local(local) = origin else { continue };
        let Some(references) = object.references.get(local) else { continue };
        let mut values: Vec<String> = references.iter().filter_map(&place).collect();
        values.sort();
        if !values.is_empty() {
            attributes.insert(name.clone(), values);
        }
    }
}
