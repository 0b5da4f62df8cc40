//! Matched values (RFC 3876) over what was released: of each attribute the values that some item holds of. An attribute
//! of which no value is left is not there.

use std::borrow::Cow;

use crate::ldap::attribute;
use crate::ldap::codec;
use crate::ldap::entry::{Entry, EntryReader};
use crate::ldap::error::DecodeError;
use crate::ldap::filter::Filter;
use crate::ldap::limits::Limits;
use crate::ldap::message::{Message, Operation};
use crate::ldap::truth::{Lookup, Truth, evaluate};
use crate::release::hide;
use crate::release::view::View;

/// One value, alone: the entry that an item is held against.
struct One<'a> {
    description: &'a str,
    name: Cow<'a, str>,
    value: &'a [u8],
}

impl Lookup for One<'_> {
    fn is_known(&self, _: &str) -> bool {
        true
    }

    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool {
        let is_it = self.name == name;
        if is_it {
            visit(self.description, self.value);
        }
        is_it
    }

    fn visit_all(&self, visit: &mut dyn FnMut(&str, &[u8]) -> bool) {
        visit(self.description, self.value);
    }

    fn dn(&self) -> &str {
        ""
    }
}

/// The items as far as they mean anything for whoever sees `view`: items on hidden and unknown attributes hold of no
/// value.
pub fn concealed(items: &[Filter<'_>], view: &View) -> Vec<Filter<'static>> {
    items.iter().map(|item| hide::conceal(item, view).into_owned()).collect()
}

/// Leaves the values that some item holds of.
pub fn keep(entry: &mut Entry, items: &[Filter<'_>]) {
    for attribute in &mut entry.attributes {
        let description = attribute.description.as_str();
        let name = attribute::canonical_name(description);
        attribute.values.retain(|value| {
            let one = One { description, name: Cow::Borrowed(name.as_ref()), value };
            items.iter().any(|item| evaluate(item, &one) == Truth::True)
        });
    }
    entry.attributes.retain(|attribute| !attribute.values.is_empty());
}

/// The same with a whole message, written with values; `types_only` leaves the names of what has values left.
pub fn keep_in(
    message: &[u8],
    items: &[Filter<'_>],
    types_only: bool,
    limits: &Limits,
) -> Result<Vec<u8>, DecodeError> {
    let reader = EntryReader::read(message, limits)?;
    let mut entry = reader.to_entry()?;
    keep(&mut entry, items);
    if types_only {
        entry.attributes.iter_mut().for_each(|attribute| attribute.values.clear());
    }
    Ok(codec::to_bytes(&Message::new(reader.id, Operation::SearchEntry(entry.as_wire()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::entry::Attribute;

    fn kept(view: &[&str], items: &[&str]) -> Vec<(String, usize)> {
        let attribute = |description: &str, values: &[&str]| Attribute {
            description: description.to_owned(),
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        };
        let mut entry = Entry {
            dn: "cn=a".to_owned(),
            attributes: vec![
                attribute("cn", &["Ann", "Ann Other"]),
                attribute("mail", &["a@rxa.test", "a@old.test", "b@rxa.test"]),
                attribute("userCertificate;binary", &["one"]),
                attribute("sn;lang-en", &["Other"]),
            ],
        };
        let items: Vec<Filter<'_>> = items.iter().map(|item| Filter::parse(item).unwrap()).collect();
        keep(&mut entry, &concealed(&items, &View::new(view.iter().copied())));
        entry.attributes.into_iter().map(|a| (a.description, a.values.len())).collect()
    }

    const ALL: &[&str] = &["cn", "sn", "mail", "userCertificate"];

    fn left(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
        expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn values_that_match_are_left() {
        assert_eq!(kept(ALL, &["(mail=*@rxa.test)"]), left(&[("mail", 2)]));
        assert_eq!(kept(ALL, &["(rfc822Mailbox=A@OLD.test)", "(cn=*)"]), left(&[("cn", 2), ("mail", 1)]));
        assert_eq!(kept(ALL, &["(userCertificate=*)"]), left(&[("userCertificate;binary", 1)]));
        assert_eq!(kept(ALL, &["(sn=other)"]), left(&[("sn;lang-en", 1)]));
        assert_eq!(kept(ALL, &["(mail=nobody)"]), left(&[]));
    }

    #[test]
    fn t01_hidden_attributes_never_help() {
        assert_eq!(kept(&["cn"], &["(mail=*@rxa.test)"]), left(&[]));
        assert_eq!(kept(&["cn"], &["(nonsense=*)", "(mail=*)"]), left(&[]));
        // A type of which options were named, and a rule without a type, mean nothing here, as in filters.
        assert_eq!(kept(ALL, &["(sn;lang-en=other)"]), left(&[]));
        assert_eq!(kept(ALL, &["(:caseIgnoreMatch:=ann)"]), left(&[]));
    }
}
