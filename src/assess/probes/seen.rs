//! An entry while facts are made of it: each attribute is asked for many times, and its name is brought to one form once.

use std::borrow::Cow;

use crate::ldap::attribute::canonical_name;
use crate::ldap::entry::{Attribute, Entry};

/// An entry whose attributes are found by [`canonical_name`].
#[derive(Debug)]
pub struct Seen<'a> {
    pub entry: &'a Entry,
    attributes: Vec<(Cow<'a, str>, &'a Attribute)>,
    /// Whether of some attribute only a range of the values came.
    pub has_ranges: bool,
}

impl<'a> Seen<'a> {
    pub fn of(entry: &'a Entry) -> Self {
        let named = |attribute: &'a Attribute| (canonical_name(&attribute.description), attribute);
        Seen {
            entry,
            attributes: entry.attributes.iter().map(named).collect(),
            has_ranges: entry.attributes.iter().any(is_part),
        }
    }

    /// The values of an attribute by its canonical name, options not regarded; empty when it is absent.
    pub fn values<'s>(&'s self, canonical: &'s str) -> impl Iterator<Item = &'a [u8]> + use<'a, 's> {
        let found = self.attributes.iter().filter(move |(name, _)| name == canonical);
        found.flat_map(|(_, attribute)| attribute.values.iter().map(Vec::as_slice))
    }

    /// The values of an attribute by any of its names.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let wanted = canonical_name(name).into_owned();
        let found = self.attributes.iter().filter(move |(name, _)| *name == wanted);
        found.flat_map(|(_, attribute)| attribute.values.iter().map(Vec::as_slice))
    }

    /// The values of an attribute as texts, by any of its names.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.named(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The first value of an attribute if it is UTF-8, by any of its names.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.named(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether only a range of the attribute's values came ([MS-ADTS] section 3.1.1.3.1.3.3). A part is never taken for the whole.
    pub fn is_cut(&self, canonical: &str) -> bool {
        let part = |(name, attribute): &(Cow<'_, str>, &Attribute)| name == canonical && is_part(attribute);
        self.has_ranges && self.attributes.iter().any(part)
    }
}

fn is_part(attribute: &Attribute) -> bool {
    let mut options = attribute.description.split(';').skip(1);
    options.any(|option| {
        let head = option.split_at_checked(6).map(|(head, _)| head);
        head.is_some_and(|head| head.eq_ignore_ascii_case("range=")) && !option.ends_with('*')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(description: &str) -> Entry {
        let attribute = Attribute { description: description.to_owned(), values: vec![b"CN=a".to_vec()] };
        Entry { dn: "CN=g".to_owned(), attributes: vec![attribute] }
    }

    #[test]
    fn a_range_is_not_the_whole() {
        let is_cut = |description: &str, name: &str| Seen::of(&entry(description)).is_cut(name);
        assert!(is_cut("member;range=0-1499", "member"));
        assert!(is_cut("Member;Range=0-1499", "member"));
        assert!(!is_cut("member;range=0-*", "member"));
        assert!(!is_cut("member", "member"));
        assert!(!is_cut("memberOf;range=0-1", "member"));
    }

    #[test]
    fn an_attribute_is_found_by_any_of_its_names() {
        for (description, wanted) in [("surname", "sn"), ("2.5.4.4;lang-en", "sn"), ("MAIL", "mail")] {
            let entry = entry(description);
            let seen = Seen::of(&entry);
            assert_eq!(seen.values(wanted).collect::<Vec<_>>(), [b"CN=a"], "{description}");
            assert_eq!(seen.text(wanted), Some("CN=a"));
            assert_eq!(seen.text("cn"), None);
        }
    }
}
