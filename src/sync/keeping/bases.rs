//! The bases of a scope: looked up by name once, then followed by GUID wherever they are moved and whatever they are called; only when one
//! is deleted is its name looked up again.

use std::collections::BTreeSet;

use crate::ldap::dn::Dn;
use crate::sync::keeping::shelf;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::staged::Staged;

/// Where one base of a scope is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// As the scope has it.
    pub name: String,
    /// None: nowhere.
    pub guid: Option<Guid>,
    /// It was followed from earlier on.
    pub followed: bool,
    /// Another unit is called so by now.
    pub other: bool,
}

/// The key under which a base's GUID is kept in a member's sync state.
pub fn key(name: &str) -> String {
    format!("{}{}", shelf::PIN, name.to_lowercase())
}

/// Finds each base of the scope; `kept` is what was kept under [`shelf::PIN`]. None: the scope has no bases and is the whole tree.
pub fn locate(scope: &Scope, staged: &Staged, kept: &[(String, Vec<u8>)]) -> Option<Vec<Base>> {
    let locate = |name: &String| {
        let key = key(name);
        let pinned = kept.iter().find(|(kept, _)| *kept == key).and_then(|(_, value)| Guid::from_wire(value));
        let living = pinned.filter(|guid| staged.get(guid).is_some_and(|object| !object.deleted));
        let called = Dn::parse(name).ok().and_then(|name| staged.find(&name));
        Base {
            name: name.clone(),
            guid: living.or(called),
            followed: living.is_some(),
            other: living.is_some() && called.is_some() && called != living,
        }
    };
    (!scope.bases.is_empty()).then(|| scope.bases.iter().map(locate).collect())
}

/// Their GUIDs. One that is nowhere is left out: nobody is below it.
pub fn guids(bases: &Option<Vec<Base>>) -> Option<BTreeSet<Guid>> {
    bases.as_ref().map(|bases| bases.iter().filter_map(|base| base.guid).collect())
}
