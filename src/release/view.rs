//! What exists for a requester.

use std::collections::HashMap;

use crate::ldap::attribute;
use crate::release::spelling::{self, Syntax};

/// Longest attribute name that is looked up; longer ones are unknown.
const NAME_BYTES_MAX: usize = 96;

/// One attribute that the requester may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// The federated name as answers write it.
    pub name: String,
    pub syntax: Syntax,
    /// Whether `(anr=...)` looks at it.
    pub anr: bool,
}

/// Which federated attributes exist, for one agreement. Everything else does not exist, in any spelling.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    attributes: Vec<Visible>,
    /// Every spelling, lower case, to a place in `attributes`.
    spellings: HashMap<Box<str>, usize>,
}

/// Which attributes of the view a search wants back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted<'v> {
    /// All of them.
    All,
    /// These, each once, by federated name; perhaps none.
    These(Vec<&'v str>),
}

impl View {
    /// A view of these attributes, in any spelling, and of `objectClass`, without which no entry is one.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> View {
        let mut view = View { attributes: Vec::new(), spellings: HashMap::new() };
        for name in ["objectClass"].into_iter().chain(names) {
            view.add(name);
        }
        view
    }

    fn add(&mut self, name: &str) {
        let at = self.attributes.len();
        if self.spellings.contains_key(name.to_ascii_lowercase().as_str()) {
            return;
        }
        let attribute = match spelling::known(name) {
            Some(known) => {
                for other in known.others {
                    self.spellings.insert((*other).into(), at);
                }
                Visible { name: known.name.to_owned(), syntax: known.syntax, anr: known.anr }
            }
            None => {
                let spelled = attribute::known(name);
                for other in spelled.into_iter().flat_map(|k| [k.canonical.as_str(), k.oid]) {
                    self.spellings.insert(other.into(), at);
                }
                let name = spelled.map_or(name, |k| k.name).to_owned();
                Visible { syntax: spelling::syntax(&name), name, anr: false }
            }
        };
        self.spellings.insert(attribute.name.to_ascii_lowercase().into(), at);
        self.attributes.push(attribute);
    }

    /// Every visible attribute, in the order of the agreement.
    pub fn attributes(&self) -> &[Visible] {
        &self.attributes
    }

    /// The federated names of every visible attribute.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|a| a.name.as_str())
    }

    /// Whether the attribute exists. `description` in any spelling and case, options ignored. Allocates nothing.
    pub fn visible(&self, description: &str) -> bool {
        self.find(spelling::split(description).0).is_some()
    }

    /// The attribute that a filter item, compare or sort key on `description` is about. Options other than `binary`
    /// make it unknown: no answer of ours is keyed by them.
    pub fn resolve(&self, description: &str) -> Option<&Visible> {
        let (name, options) = spelling::split(description);
        if options.is_some_and(|o| !o.eq_ignore_ascii_case("binary")) {
            return None;
        }
        self.find(name)
    }

    fn find(&self, name: &str) -> Option<&Visible> {
        let mut lower = [0u8; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let at = self.spellings.get(std::str::from_utf8(lower).ok()?)?;
        self.attributes.get(*at)
    }

    /// What a search's attribute list asks for (RFC 4511 4.5.1.8): an empty list and `*` are all, `1.1` alone is none,
    /// `+` adds nothing (no attribute here is operational to the requester), hidden, unknown and `@class` names are
    /// passed over.
    pub fn wanted<'a>(&self, list: impl IntoIterator<Item = &'a str>) -> Wanted<'_> {
        let mut these: Vec<&str> = Vec::new();
        let mut empty = true;
        for asked in list {
            empty = false;
            if asked == "*" {
                return Wanted::All;
            }
            if let Some(a) = self.find(spelling::split(asked).0)
                && !these.contains(&a.name.as_str())
            {
                these.push(&a.name);
            }
        }
        if empty { Wanted::All } else { Wanted::These(these) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_and_no_other() {
        let view = View::new(["CN", "sAMAccountName", "extensionAttribute1"]);
        for name in
            ["cn", "2.5.4.3", "OID.2.5.4.3", "commonName", "uid", "userid", "UID;x-a", "ExtensionAttribute1"]
        {
            assert!(view.visible(name), "{name}");
        }
        for name in ["", ";", "sn", "name", "2.5.4.4", "distinguishedName", &"c".repeat(5_000)] {
            assert!(!view.visible(name), "{name}");
        }
        assert!(view.visible("objectClass"));
        assert!(view.resolve("cn;binary").is_some());
        assert!(view.resolve("cn;lang-en").is_none());
    }

    #[test]
    fn attribute_lists() {
        let view = View::new(["cn", "mail"]);
        assert_eq!(view.wanted([]), Wanted::All);
        assert_eq!(view.wanted(["mail", "*"]), Wanted::All);
        assert_eq!(view.wanted(["1.1"]), Wanted::These(vec![]));
        assert_eq!(view.wanted(["+"]), Wanted::These(vec![]));
        assert_eq!(
            view.wanted(["MAIL", "mail", "sn", "@person", "2.5.4.3"]),
            Wanted::These(vec!["mail", "cn"])
        );
    }
}
