//! A filter held against an entry, in three-valued logic (RFC 4511 section 4.5.1.7).

use crate::ldap::attribute::{self, Description};
use crate::ldap::dn::{Dn, Value};
use crate::ldap::entry::Entry;
use crate::ldap::filter::{Assertion, Extensible, Filter, Substrings};
use crate::ldap::matching::{Key, Parts, Rule};
use crate::ldap::schema::Syntax;

/// What a filter says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It matches.
    True,
    /// It does not.
    False,
    /// Nobody can tell: the attribute type or the rule is not known, or the value does not fit the syntax.
    Undefined,
}

impl Truth {
    fn of(matched: bool) -> Self {
        if matched { Truth::True } else { Truth::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Truth;

    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Undefined => Truth::Undefined,
        }
    }
}

/// What an entry shows to a filter. Names are canonical (see [`crate::ldap::attribute::canonical_name`]).
pub trait Lookup {
    /// The attribute type exists for whoever asks. Unknown and hidden types are not known: their items are Undefined.
    fn is_known(&self, name: &str) -> bool;

    /// Calls `visit` with (description as written, value) of every value of the attribute, subtypes by option included,
    /// until it returns false. Returns whether the attribute is there at all, with values or without.
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool;

    /// Calls `visit` with (description as written, value) of every value of every attribute that may be seen, until it
    /// returns false.
    fn visit_all(&self, visit: &mut dyn FnMut(&str, &[u8]) -> bool);

    /// The entry's name, for `:dn:` matches.
    fn dn(&self) -> &str;

    /// How values of the attribute compare.
    fn syntax(&self, name: &str) -> Syntax {
        attribute::syntax(name)
    }
}

/// Everything in the entry is visible; types are known when the table or the entry has them.
impl Lookup for Entry {
    fn is_known(&self, name: &str) -> bool {
        attribute::known(name).is_some() || self.has(name)
    }

    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool {
        let mut there = false;
        for attribute in &self.attributes {
            if attribute::canonical_name(&attribute.description) != name {
                continue;
            }
            there = true;
            for value in &attribute.values {
                if !visit(&attribute.description, value) {
                    return true;
                }
            }
        }
        there
    }

    fn visit_all(&self, visit: &mut dyn FnMut(&str, &[u8]) -> bool) {
        for attribute in &self.attributes {
            for value in &attribute.values {
                if !visit(&attribute.description, value) {
                    return;
                }
            }
        }
    }

    fn dn(&self) -> &str {
        &self.dn
    }
}

/// What the filter says of the entry. An entry is selected only when it is [`Truth::True`].
///
/// `~=` compares like `=`, as Active Directory does. Recursion goes as deep as the filter, which its reader bounds.
pub fn evaluate(filter: &Filter<'_>, entry: &dyn Lookup) -> Truth {
    match filter {
        Filter::And(all) => fold(all, entry, Truth::False, Truth::True),
        Filter::Or(any) => fold(any, entry, Truth::True, Truth::False),
        Filter::Not(inner) => !evaluate(inner, entry),
        Filter::Equality(item) | Filter::Approximate(item) => equality(item, entry),
        Filter::GreaterOrEqual(item) => ordering(item, entry, std::cmp::Ordering::is_ge),
        Filter::LessOrEqual(item) => ordering(item, entry, std::cmp::Ordering::is_le),
        Filter::Substrings(parts) => substrings(parts, entry),
        Filter::Present(name) => {
            Attribute::find(name, entry).map_or(Truth::Undefined, |found| Truth::of(found.is_there(entry)))
        }
        Filter::Extensible(item) => extensible(item, entry),
    }
}

/// `decisive` ends it; `neutral` is the value of nothing; in between, Undefined wins.
fn fold(filters: &[Filter<'_>], entry: &dyn Lookup, decisive: Truth, neutral: Truth) -> Truth {
    let mut result = neutral;
    for filter in filters {
        match evaluate(filter, entry) {
            truth if truth == decisive => return decisive,
            Truth::Undefined => result = Truth::Undefined,
            _ => {}
        }
    }
    result
}

/// An attribute that is known to whoever asks.
struct Attribute {
    wanted: Description,
    syntax: Syntax,
}

impl Attribute {
    fn find(description: &str, entry: &dyn Lookup) -> Option<Self> {
        let wanted = Description::parse(description).ok()?;
        if !entry.is_known(&wanted.name) {
            return None;
        }
        let syntax = entry.syntax(&wanted.name);
        Some(Attribute { wanted, syntax })
    }

    fn fits(&self, description: &str) -> bool {
        self.wanted.options.is_empty()
            || Description::parse(description).is_ok_and(|found| found.is_at_or_below(&self.wanted))
    }

    fn is_there(&self, entry: &dyn Lookup) -> bool {
        if self.wanted.options.is_empty() {
            return entry.visit(&self.wanted.name, &mut |_, _| false);
        }
        self.any(entry, |_| true)
    }

    fn any(&self, entry: &dyn Lookup, matches: impl Fn(&[u8]) -> bool) -> bool {
        let mut found = false;
        entry.visit(&self.wanted.name, &mut |description, value| {
            found = self.fits(description) && matches(value);
            !found
        });
        found
    }
}

fn equality(item: &Assertion<'_>, entry: &dyn Lookup) -> Truth {
    let Some(attribute) = Attribute::find(&item.attribute, entry) else { return Truth::Undefined };
    let Some(wanted) = Key::of(attribute.syntax, &item.value) else { return Truth::Undefined };
    Truth::of(attribute.any(entry, |value| {
        *value == *item.value || Key::of(attribute.syntax, value).is_some_and(|key| key == wanted)
    }))
}

fn ordering(item: &Assertion<'_>, entry: &dyn Lookup, accept: fn(std::cmp::Ordering) -> bool) -> Truth {
    let Some(attribute) = Attribute::find(&item.attribute, entry) else { return Truth::Undefined };
    if matches!(attribute.syntax, Syntax::Dn | Syntax::Boolean | Syntax::Oid) {
        return Truth::Undefined;
    }
    let Some(wanted) = Key::of(attribute.syntax, &item.value) else { return Truth::Undefined };
    Truth::of(
        attribute
            .any(entry, |value| Key::of(attribute.syntax, value).is_some_and(|key| accept(key.cmp(&wanted)))),
    )
}

fn substrings(item: &Substrings<'_>, entry: &dyn Lookup) -> Truth {
    let Some(attribute) = Attribute::find(&item.attribute, entry) else { return Truth::Undefined };
    let Some(parts) = Parts::of(attribute.syntax, item) else { return Truth::Undefined };
    Truth::of(attribute.any(entry, |value| parts.matches(attribute.syntax, value)))
}

fn extensible(item: &Extensible<'_>, entry: &dyn Lookup) -> Truth {
    let attribute = match &item.attribute {
        None => None,
        Some(name) => match Attribute::find(name, entry) {
            None => return Truth::Undefined,
            found => found,
        },
    };
    let rule = match (&item.rule, &attribute) {
        (Some(name), _) => Rule::by_name(name),
        (None, Some(attribute)) => Some(Rule::Equal(attribute.syntax)),
        (None, None) => None,
    };
    let Some(rule) = rule else { return Truth::Undefined };
    let Some(test) = rule.test(&item.value) else { return Truth::Undefined };
    let mut found = false;
    match &attribute {
        Some(attribute) if !rule.fits(attribute.syntax) => return Truth::Undefined,
        Some(attribute) => found = attribute.any(entry, |value| test.matches(value)),
        None => entry.visit_all(&mut |description, value| {
            found = rule.fits(entry.syntax(&attribute::canonical_name(description))) && test.matches(value);
            !found
        }),
    }
    if !found && item.dn_attributes {
        let Ok(dn) = Dn::parse(entry.dn()) else { return Truth::Undefined };
        found = dn.rdns().iter().flat_map(|rdn| rdn.parts()).any(|part| {
            let name = attribute::canonical_name(&part.attribute);
            let wanted = match &attribute {
                Some(attribute) => attribute.wanted.options.is_empty() && attribute.wanted.name == name,
                None => entry.is_known(&name) && rule.fits(entry.syntax(&name)),
            };
            let value = match &part.value {
                Value::Text(text) => text.as_bytes(),
                Value::Bytes(bytes) | Value::Ber(bytes) => bytes,
            };
            wanted && test.matches(value)
        });
    }
    Truth::of(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let attribute = |description: &str, values: &[&[u8]]| crate::ldap::entry::Attribute {
            description: description.to_owned(),
            values: values.iter().map(|value| value.to_vec()).collect(),
        };
        Entry {
            dn: "CN=Jo Bloggs,OU=Staff,DC=rxa,DC=test".to_owned(),
            attributes: vec![
                attribute("objectClass", &[b"top", b"inetOrgPerson"]),
                attribute("cn", &[b"Jo  Bloggs"]),
                attribute("sn;lang-en", &[b"Bloggs"]),
                attribute("userAccountControl", &[b"66050"]),
                attribute("groupType", &[b"-2147483646"]),
                attribute("objectGUID", &[b"\xff\x00\x01"]),
                attribute("manager", &[b"cn=Ann, DC=RXA,dc=test"]),
                attribute("telephoneNumber", &[b"+44 20-7946 0000"]),
                attribute("whenCreated", &[b"20260101120000.0Z"]),
                attribute("isDeleted", &[b"TRUE"]),
                attribute("labeledURI", &[b"http://Example"]),
            ],
        }
    }

    #[test]
    fn filters_that_hold() {
        for text in [
            "(&)",
            "(cn=jo bloggs)",
            "(2.5.4.3=JO   BLOGGS)",
            "(surname=bloggs)",
            "(sn;lang-en=bloggs)",
            "(cn=jo*)",
            "(cn=*blog*)",
            "(cn=j*o b*s)",
            "(cn=*gs)",
            "(objectClass=2.16.840.1.113730.3.2.2)",
            "(cn=*)",
            "(userAccountControl:1.2.840.113556.1.4.803:=514)",
            "(userAccountControl:1.2.840.113556.1.4.804:=3)",
            "(groupType:1.2.840.113556.1.4.803:=2147483648)",
            "(userAccountControl>=66050)",
            r"(objectGUID=\ff\00\01)",
            "(manager=CN=ann,dc=rxa,DC=test)",
            "(telephoneNumber=+442079460000)",
            "(telephoneNumber=*794600*)",
            "(whenCreated<=20260101130000+0100)",
            "(whenCreated>=2025010100Z)",
            "(isDeleted=TRUE)",
            "(ou:dn:=staff)",
            "(:dn:caseIgnoreMatch:=staff)",
            "(:caseIgnoreMatch:=jo bloggs)",
            "(!(title=x))",
            "(labeledURI=http://Example)",
            "(labeledURI:caseIgnoreMatch:=http://example)",
            "(|(nosuch=x)(cn=*))",
            "(cn~=jo bloggs)",
        ] {
            assert_eq!(evaluate(&Filter::parse(text).unwrap(), &entry()), Truth::True, "{text}");
        }
    }

    #[test]
    fn filters_that_do_not_hold() {
        for text in [
            "(|)",
            "(cn=jo)",
            "(title=x)",
            "(title=*)",
            "(sn;lang-fr=bloggs)",
            "(userAccountControl>=66051)",
            "(userAccountControl:1.2.840.113556.1.4.803:=1)",
            "(labeledURI=http://example)",
            "(cn=bloggs*jo)",
            "(!(cn=*))",
            "(&(nosuch=x)(title=x))",
            "(cn=jo bloggs*s)",
            "(ou:=staff)",
        ] {
            assert_eq!(evaluate(&Filter::parse(text).unwrap(), &entry()), Truth::False, "{text}");
        }
    }

    #[test]
    fn filters_that_nobody_can_tell() {
        for text in [
            "(nosuch=x)",
            "(!(nosuch=x))",
            "(nosuch=*)",
            "(userAccountControl=x)",
            "(manager=nonsense)",
            "(manager=cn=*)",
            "(manager>=cn=a)",
            "(member:1.2.840.113556.1.4.1941:=cn=a)",
            "(cn:nosuchrule:=a)",
            "(whenCreated>=yesterday)",
            "(isDeleted=perhaps)",
            "(&(cn=*)(nosuch=x))",
            "(|(title=x)(nosuch=x))",
            "(userAccountControl=6*)",
        ] {
            assert_eq!(evaluate(&Filter::parse(text).unwrap(), &entry()), Truth::Undefined, "{text}");
        }
    }
}
