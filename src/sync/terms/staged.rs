//! What is known of a member directory: objects by GUID, kept as a tree, so that scope follows organisational units that
//! are renamed or moved although DirSync does not report their descendants.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ldap::attribute::canonical_name;
use crate::ldap::dn::Dn;
use crate::ldap::filter::Filter;
use crate::ldap::truth::{Lookup, Truth, evaluate};
use crate::sync::terms::guid::Guid;

/// No real tree is deeper; more means a circle.
pub const DEPTH_MAX: usize = 64;
/// userAccountControl: the account is disabled (MS-ADTS 2.2.16).
const ACCOUNT_DISABLED: u32 = 0x2;

/// One object as last read. Attribute names are lower case; values that are not text are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub guid: Guid,
    pub parent: Option<Guid>,
    /// Where it was before it was last moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<Guid>,
    /// Its own relative name when it was last reported; names above it are taken from the tree.
    pub rdn: String,
    /// Whether it was deleted. Its attributes stay, should it be restored.
    #[serde(default)]
    pub deleted: bool,
    /// It is taken for deleted because a complete pass did not bring it, although the directory tells of deletions and told of none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
    /// It came with less than what is needed, and is to be read in full before it is used.
    #[serde(default)]
    pub partial: bool,
    #[serde(default)]
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Values that name other objects, by their GUIDs.
    #[serde(default)]
    pub references: BTreeMap<String, Vec<Guid>>,
}

/// What a delta says of an object: an attribute with no values was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    pub guid: Option<Guid>,
    pub parent: Option<Guid>,
    pub rdn: Option<String>,
    /// Where a deleted object lay.
    pub last_parent: Option<Guid>,
    /// `None`: not told, so as it was.
    pub deleted: Option<bool>,
    /// Attributes, lower case, of which only a part of the values came: they are in no map, and the object is to be read in full.
    pub ranged: BTreeSet<String>,
    pub attributes: BTreeMap<String, Vec<String>>,
    pub references: BTreeMap<String, Vec<Guid>>,
}

impl Object {
    /// The object after a delta; `before` is none for one that is seen for the first time.
    pub fn after(before: Option<Object>, guid: Guid, delta: Delta) -> Object {
        let mut object = before.unwrap_or_else(|| Object {
            guid,
            parent: None,
            moved_from: None,
            rdn: String::new(),
            deleted: false,
            unseen: false,
            partial: true,
            attributes: BTreeMap::new(),
            references: BTreeMap::new(),
        });
        object.unseen = false;
        if let Some(deleted) = delta.deleted {
            object.deleted = deleted;
        }
        if object.deleted {
            // where a tombstone lies and what is left on it says nothing about the person; where it lay says which unit misses it
            let lay = delta.last_parent.filter(|lay| object.parent.is_some_and(|parent| parent != *lay));
            if let Some(lay) = lay {
                object.moved_from = object.parent.replace(lay);
            }
            return object;
        }
        if let Some(parent) = delta.parent.filter(|parent| Some(*parent) != object.parent) {
            object.moved_from = object.parent.replace(parent);
        }
        object.rdn = delta.rdn.unwrap_or(object.rdn);
        for (name, values) in delta.attributes {
            object.references.remove(&name);
            if values.is_empty() {
                object.attributes.remove(&name);
            } else {
                object.attributes.insert(name, values);
            }
        }
        object.references.extend(delta.references);
        object.partial = !object.attributes.contains_key("objectclass") || !delta.ranged.is_empty();
        object
    }

    /// The first value of an attribute (lower-case name).
    pub fn first(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.first().map(String::as_str)
    }

    /// Whether the account is enabled; none when its state could not be read.
    pub fn is_enabled(&self) -> Option<bool> {
        let flags = self.first("useraccountcontrol")?.parse::<i64>().ok()?;
        Some(flags & i64::from(ACCOUNT_DISABLED) == 0)
    }

    /// Whether the account is known to be disabled.
    pub fn is_disabled(&self) -> bool {
        self.is_enabled() == Some(false)
    }

    /// Whether the object is of this class (lower case).
    pub fn is_a(&self, class: &str) -> bool {
        self.attributes
            .get("objectclass")
            .is_some_and(|classes| classes.iter().any(|one| one.eq_ignore_ascii_case(class)))
    }

    /// Whether a filter over local names selects it. Every attribute is known: one that is not there is absent.
    pub fn matches(&self, filter: &Filter<'_>) -> bool {
        evaluate(filter, self) == Truth::True
    }
}

impl Lookup for Object {
    fn is_known(&self, _name: &str) -> bool {
        true
    }

    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool {
        let mut there = false;
        for (own, values) in &self.attributes {
            if canonical_name(own) != name {
                continue;
            }
            there = true;
            for value in values {
                // a filter may write the class's short name (MS-ADTS 3.1.1.3.1.3.5)
                let short = (own == "objectcategory").then(|| short_name(value)).flatten();
                if !visit(own, value.as_bytes()) || short.is_some_and(|s| !visit(own, s.as_bytes())) {
                    return true;
                }
            }
        }
        there
    }

    fn visit_all(&self, visit: &mut dyn FnMut(&str, &[u8]) -> bool) {
        for (own, values) in &self.attributes {
            if !values.iter().all(|value| visit(own, value.as_bytes())) {
                return;
            }
        }
    }

    fn dn(&self) -> &str {
        ""
    }

    fn syntax(&self, name: &str) -> crate::ldap::schema::Syntax {
        match name {
            // held as text, compared by its short name too
            "objectcategory" => crate::ldap::schema::Syntax::CaseIgnore,
            _ => crate::ldap::attribute::syntax(name),
        }
    }
}

fn short_name(dn: &str) -> Option<String> {
    let dn = Dn::parse(dn).ok()?;
    dn.rdn()?.text().map(str::to_owned)
}

/// Every staged object of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staged {
    objects: BTreeMap<Guid, Object>,
}

impl Staged {
    /// From objects in any order; of two with one GUID the later stays.
    pub fn of(objects: impl IntoIterator<Item = Object>) -> Staged {
        Staged { objects: objects.into_iter().map(|object| (object.guid, object)).collect() }
    }

    /// One object, deleted or not.
    pub fn get(&self, guid: &Guid) -> Option<&Object> {
        self.objects.get(guid)
    }

    /// Every object, by GUID.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// Whether the object lies below (or is) one of `bases`, by the tree.
    pub fn is_below(&self, guid: &Guid, bases: &BTreeSet<Guid>) -> bool {
        let mut at = *guid;
        for _ in 0..DEPTH_MAX {
            if bases.contains(&at) {
                return true;
            }
            match self.objects.get(&at).and_then(|object| object.parent) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    }

    /// The living object with this name relative to the naming context's head, looked up along the tree.
    pub fn find(&self, relative: &Dn) -> Option<Guid> {
        let head = self.objects.values().find(|o| !o.deleted && o.is_a("domaindns") && o.parent.is_none())?;
        let mut at = head.guid;
        for rdn in relative.rdns().iter().rev() {
            at = self.child(&at, rdn.normal())?;
        }
        Some(at)
    }

    fn child(&self, parent: &Guid, normal: &str) -> Option<Guid> {
        self.objects
            .values()
            .find(|object| {
                !object.deleted
                    && object.parent.as_ref() == Some(parent)
                    && Dn::parse(&object.rdn)
                        .is_ok_and(|dn| dn.rdn().is_some_and(|rdn| rdn.normal() == normal))
            })
            .map(|object| object.guid)
    }
}
