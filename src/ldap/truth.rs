//! A filter held against an entry, in three-valued logic (RFC 4511 section 4.5.1.7).

use crate::ldap::filter::Filter;
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

/// What an entry shows to a filter. Names are canonical (see [`crate::ldap::attribute::canonical_name`]).
pub trait Lookup {
    /// The attribute type exists for whoever asks. Unknown and hidden types are not known: their items are Undefined.
    fn is_known(&self, name: &str) -> bool;

    /// Calls `visit` with (description as written, value) of every value of the attribute, subtypes by option included,
    /// until it returns false. Returns whether the attribute is there at all, with values or without.
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool;

    /// Calls `visit` with (canonical name, value) of every value of every attribute that may be seen, until it returns
    /// false.
    fn visit_all(&self, visit: &mut dyn FnMut(&str, &[u8]) -> bool);

    /// The entry's name, for `:dn:` matches.
    fn dn(&self) -> &str;

    /// How values of the attribute compare.
    fn syntax(&self, name: &str) -> Syntax {
        crate::ldap::attribute::syntax(name)
    }
}

/// What the filter says of the entry. An entry is selected only when it is [`Truth::True`].
pub fn evaluate(filter: &Filter<'_>, entry: &dyn Lookup) -> Truth {
    let _ = (filter, entry);
    Truth::Undefined
}
