//! An agreement's entry filter: which entries exist for its requesters at all.
//!
//! A directory that does not know an attribute or a class makes an item on it Undefined, and so its negation: an agreement
//! that leaves out `(notListed=TRUE)` would hide everybody. What is sent along is therefore only as much of the filter as
//! every directory of the kind understands, and never less than it selects; where something was left out, the whole filter
//! is held against the entry as it came, before anything is withheld. So more may be received, never shown.

use std::borrow::Cow;

use crate::ldap::attribute;
use crate::ldap::entry::EntryReader;
use crate::ldap::filter::Filter;
use crate::ldap::truth::{self, Lookup, Truth};
use crate::namespace::mapping::{Mapping, Pair};
use crate::namespace::questions::{self, attributes_of};
use crate::namespace::values::{self, Translation};

/// Attributes of RFC 4519, 4524 and 2798 that Active Directory and standard directories know alike, by federated name.
const STANDARD: &[&str] = &[
    "objectClass",
    "cn",
    "sn",
    "givenName",
    "displayName",
    "initials",
    "title",
    "personalTitle",
    "o",
    "ou",
    "departmentNumber",
    "description",
    "l",
    "st",
    "street",
    "postalCode",
    "postOfficeBox",
    "c",
    "co",
    "physicalDeliveryOfficeName",
    "roomNumber",
    "mail",
    "telephoneNumber",
    "mobile",
    "facsimileTelephoneNumber",
    "pager",
    "homePhone",
    "uid",
    "employeeNumber",
    "employeeType",
    "preferredLanguage",
    "businessCategory",
    "info",
    "manager",
    "secretary",
    "seeAlso",
    "owner",
    "member",
    "entryUUID",
];
/// What Active Directory knows beside them.
const ACTIVE_DIRECTORY: &[&str] =
    &["proxyAddresses", "userPrincipalName", "employeeID", "userAccountControl", "directReports", "memberOf"];
/// Classes that standard directories know.
const CLASSES: &[&str] = &[
    "top",
    "person",
    "organizationalPerson",
    "inetOrgPerson",
    "organizationalUnit",
    "organization",
    "organizationalRole",
    "groupOfNames",
    "groupOfUniqueNames",
    "device",
];

/// An entry filter as one directory is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries<'a> {
    /// Over local names and values; `None`: nothing to be sent along.
    pub filter: Option<Filter<'a>>,
    /// What is sent selects more than the filter: [`admits`] decides, and needs [`needs`] of the entry.
    pub check: bool,
}

/// Translates an entry filter for the directory behind `mapping`. It may name hidden attributes.
pub fn entries_to_local<'a>(filter: &'a Filter<'_>, mapping: &'a Mapping) -> Entries<'a> {
    let mut check = false;
    let local = translated(filter, true, mapping, &mut check);
    Entries { filter: (local != Filter::TRUE).then(|| everywhere(local)), check }
}

/// Directories need not know absolute filters (RFC 4526): nothing is asked for as what no entry has.
fn everywhere(filter: Filter<'_>) -> Filter<'_> {
    match filter {
        Filter::And(all) if all.is_empty() => Filter::present("objectClass"),
        Filter::Or(any) if any.is_empty() => Filter::present("objectClass").negate(),
        Filter::And(all) => Filter::And(all.into_iter().map(everywhere).collect()),
        Filter::Or(any) => Filter::Or(any.into_iter().map(everywhere).collect()),
        Filter::Not(inner) => everywhere(*inner).negate(),
        leaf => leaf,
    }
}

fn translated<'a>(
    filter: &'a Filter<'_>,
    positive: bool,
    mapping: &'a Mapping,
    check: &mut bool,
) -> Filter<'a> {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            let all = matches!(filter, Filter::And(_)) == positive;
            let parts = parts.iter().map(|part| translated(part, positive, mapping, check));
            questions::fold(all, parts)
        }
        Filter::Not(inner) => translated(inner, !positive, mapping, check),
        leaf if positive => {
            // Undefined is as good as false here
            questions::entry_leaf(leaf, mapping).unwrap_or_else(|| raw_class(leaf, mapping))
        }
        leaf if is_understood(leaf, mapping) => {
            questions::entry_leaf(leaf, mapping).map_or(Filter::TRUE, Filter::negate)
        }
        _ => {
            *check = true;
            Filter::TRUE
        }
    }
}

/// A class without counterpart, asked for by its own name; anything else that cannot be asked is false.
fn raw_class<'a>(leaf: &'a Filter<'_>, mapping: &Mapping) -> Filter<'a> {
    match leaf {
        Filter::Equality(a) if mapping.pair(&a.attribute).translation == Translation::Class => {
            Filter::equal("objectClass", a.value.as_ref())
        }
        _ => Filter::FALSE,
    }
}

/// Whether every directory of this kind can tell the item, so that its negation is never Undefined.
fn is_understood(leaf: &Filter<'_>, mapping: &Mapping) -> bool {
    let (name, value): (&str, &[u8]) = match leaf {
        Filter::Equality(a) => (&a.attribute, &a.value),
        Filter::Present(name) => (name, b""),
        Filter::Substrings(s) => {
            let parts = s.initial.iter().chain(&s.any).chain(&s.last);
            (&s.attribute, if parts.clone().all(|part| part.is_ascii()) { b"" } else { b"\xff" })
        }
        // ordering and rules differ from directory to directory
        _ => return false,
    };
    let is_in = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(name));
    let is_known = is_in(STANDARD) || (mapping.is_active_directory() && is_in(ACTIVE_DIRECTORY));
    if !is_known {
        return false;
    }
    match (leaf, mapping.pair(name).translation) {
        (Filter::Equality(_), Translation::Class) => values::local_class(value).is_some(),
        (Filter::Equality(_), Translation::Copy) if name.eq_ignore_ascii_case("objectClass") => {
            CLASSES.iter().any(|class| class.as_bytes().eq_ignore_ascii_case(value))
        }
        // an address has ASCII only (RFC 4524 section 2.16), and a value that does not fit is Undefined
        _ => value.is_ascii(),
    }
}

/// The local names of everything that an entry filter looks at.
pub fn needs(filter: &Filter<'_>, mapping: &Mapping) -> Vec<String> {
    attributes_of(filter).into_iter().map(|name| mapping.pair(name).local.clone()).collect()
}

/// Whether the filter is true of the entry as the directory sent it, nothing withheld.
pub fn admits(filter: &Filter<'_>, entry: &EntryReader<'_>, mapping: &Mapping) -> bool {
    truth::evaluate(filter, &Unreleased { entry, mapping }) == Truth::True
}

/// An entry under federated names before anything is withheld. An attribute that is not there is absent, not unknown.
struct Unreleased<'a> {
    entry: &'a EntryReader<'a>,
    mapping: &'a Mapping,
}

impl Unreleased<'_> {
    /// Calls `visit` with the value as requesters would see it; false ends it.
    fn show(&self, pair: &Pair, value: &[u8], visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool {
        let name = pair.federated.as_str();
        let text = || std::str::from_utf8(value).ok();
        match pair.translation {
            Translation::Copy | Translation::Screen | Translation::Class => visit(name, value),
            Translation::Guid => match values::guid_text(value) {
                Some(uuid) => visit(name, uuid.as_bytes()),
                None => true,
            },
            Translation::Name => match text().and_then(|text| self.mapping.dn_to_federated(text)) {
                Some(dn) => visit(name, dn.as_bytes()),
                None => visit(name, value),
            },
        }
    }
}

impl Lookup for Unreleased<'_> {
    fn is_known(&self, _: &str) -> bool {
        true
    }

    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool {
        let pair = self.mapping.pair(name);
        let local: Cow<'_, str> = attribute::canonical_name(&pair.local);
        let mut there = false;
        for found in self.entry.attributes().filter_map(Result::ok) {
            if attribute::canonical_name(found.name) != local {
                continue;
            }
            there = true;
            let all = match pair.translation {
                Translation::Class => {
                    // a class that has a counterpart is known by that name alone, any other by its own
                    let own = found.values().filter(|value| !values::is_translated_class(value));
                    let federated =
                        values::federated_classes(found.values()).map(|class| -> &[u8] { class.as_bytes() });
                    federated.chain(own).all(|value| visit(&pair.federated, value))
                }
                _ => found.values().all(|value| self.show(&pair, value, visit)),
            };
            if !all {
                return true;
            }
        }
        there
    }

    fn visit_all(&self, _: &mut dyn FnMut(&str, &[u8]) -> bool) {}

    fn dn(&self) -> &str {
        self.entry.dn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::codec;
    use crate::ldap::entry::{Attribute, Entry};
    use crate::ldap::limits::Limits;
    use crate::ldap::message::{Message, Operation};

    fn directory() -> Mapping {
        Mapping::active_directory("ou=RXA,o=federation", "DC=rxa,DC=test").unwrap()
    }

    fn national() -> Mapping {
        Mapping::standard("ou=national,o=federation", "dc=national,dc=test").unwrap()
    }

    fn sent(filter: &str, mapping: &Mapping) -> (String, bool) {
        let filter = Filter::parse(filter).unwrap();
        let entries = entries_to_local(&filter, mapping);
        (entries.filter.map_or_else(|| "-".to_owned(), |f| f.to_string()), entries.check)
    }

    fn same(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    #[test]
    fn what_every_directory_understands_is_sent_whole_and_not_looked_at_again() {
        let shipped = "(&(objectClass=person)(!(objectClass=device))(!(employeeType=not-listed)))";
        assert_eq!(sent(shipped, &national()), same(shipped));
        let local = "(&(&(objectClass=person)(!(objectClass=computer)))(!(objectClass=computer))(!(employeeType=not-listed)))";
        assert_eq!(sent(shipped, &directory()), same(local));
        assert_eq!(sent("(!(manager=*))", &directory()), same("(!(manager=*))"));
        assert_eq!(sent("(manager=cn=x,o=other)", &directory()), same("(!(objectClass=*))"));
        assert_eq!(sent("(!(manager=cn=x,o=other))", &directory()), same("-"));
    }

    #[test]
    fn what_a_directory_may_not_understand_is_left_out_where_it_is_negated() {
        let wide = |text: &str| (text.to_owned(), true);
        for mapping in [directory(), national()] {
            assert_eq!(sent("(&(mail=*)(!(notListed=TRUE)))", &mapping), wide("(mail=*)"));
            assert_eq!(sent("(!(notListed=TRUE))", &mapping), wide("-"));
            assert_eq!(sent("(|(mail=*)(!(notListed=TRUE)))", &mapping), wide("-"));
            // not negated, Undefined selects nothing, as false does
            assert_eq!(sent("(notListed=FALSE)", &mapping), same("(notListed=FALSE)"));
            assert_eq!(sent("(!(cn>=x))", &mapping), wide("-"));
            assert_eq!(sent("(!(objectClass=msSecret))", &mapping), wide("-"));
            assert_eq!(sent("(objectClass=msSecret)", &mapping), same("(objectClass=msSecret)"));
        }
        assert_eq!(sent("(!(userAccountControl=512))", &national()), wide("-"));
        assert_eq!(sent("(!(userAccountControl=512))", &directory()), same("(!(userAccountControl=512))"));
        assert_eq!(sent("(!(mail=\u{e9}))", &national()), wide("-"));
        assert_eq!(sent("(!(&(cn=a)(notListed=TRUE)))", &national()), wide("-"));
    }

    fn admitted(filter: &str, attributes: &[(&str, &[&[u8]])]) -> bool {
        let attributes = attributes.iter().map(|(name, values)| Attribute {
            description: (*name).to_owned(),
            values: values.iter().map(|v| v.to_vec()).collect(),
        });
        let entry = Entry { dn: "CN=Jo,DC=rxa,DC=test".to_owned(), attributes: attributes.collect() };
        let bytes = codec::to_bytes(&Message::new(1, Operation::SearchEntry(entry.as_wire())));
        let limits = Limits::default();
        let reader = EntryReader::read(&bytes, &limits).unwrap();
        admits(&Filter::parse(filter).unwrap(), &reader, &directory())
    }

    #[test]
    fn an_entry_is_held_against_the_whole_filter_before_anything_is_withheld() {
        let listed = "(&(objectClass=person)(!(notListed=TRUE)))";
        let user: (&str, &[&[u8]]) = ("objectClass", &[b"top", b"person", b"user", b"msSecret"]);
        assert!(admitted(listed, &[user]));
        assert!(admitted(listed, &[user, ("NOTLISTED", &[b"FALSE"])]));
        assert!(!admitted(listed, &[user, ("notlisted", &[b"true"])]));
        assert!(!admitted(listed, &[("objectClass", &[b"top", b"person", b"user", b"computer"])]));
        // a class of no concern to requesters, and a value that would be withheld
        assert!(!admitted("(!(objectClass=msSecret))", &[user]));
        assert!(!admitted("(!(note=*secret*))", &[user, ("note", &[b"secret in ou=x,DC=rxa,DC=test"])]));
        assert!(!admitted("(!(reviewer=*))", &[user, ("reviewer", &[b"CN=X,DC=other"])]));
        assert!(admitted("(uid=jo)", &[("sAMAccountName", &[b"Jo"])]));
        assert!(admitted("(manager=cn=a,ou=RXA,o=federation)", &[("manager", &[b"CN=A,DC=rxa,DC=test"])]));
    }
}
