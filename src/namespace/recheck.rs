//! The concealed filter held against an entry as it was written for the requester.

use crate::ldap::attribute;
use crate::ldap::entry::EntryReader;
use crate::ldap::error::DecodeError;
use crate::ldap::filter::Filter;
use crate::ldap::limits::Limits;
use crate::ldap::truth::{self, Lookup, Truth};

/// An entry that `Projection::entry_to_federated` wrote. Every attribute that a concealed filter names exists for the
/// requester, so every name is known here.
struct Released<'a>(&'a EntryReader<'a>);

impl Lookup for Released<'_> {
    fn is_known(&self, _: &str) -> bool {
        true
    }

    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool {
        let mut there = false;
        let attributes = self.0.attributes().filter_map(Result::ok);
        for attribute in attributes.filter(|a| attribute::canonical_name(a.name) == name) {
            there = true;
            if !attribute.values().all(|value| visit(attribute.name, value)) {
                return true;
            }
        }
        there
    }

    fn visit_all(&self, visit: &mut dyn FnMut(&str, &[u8]) -> bool) {
        for attribute in self.0.attributes().filter_map(Result::ok) {
            if !attribute.values().all(|value| visit(attribute.name, value)) {
                return;
            }
        }
    }

    fn dn(&self) -> &str {
        self.0.dn
    }
}

/// Whether the concealed filter is true of the entry in `message`, as written by `Projection::entry_to_federated` with
/// values and with everything that the filter names (select all, or what was wanted and `questions::attributes_of`).
///
/// # Errors
///
/// `message` is not one whole SearchResultEntry.
pub fn still_matches(filter: &Filter<'_>, message: &[u8], limits: &Limits) -> Result<bool, DecodeError> {
    let reader = EntryReader::read(message, limits)?;
    Ok(truth::evaluate(filter, &Released(&reader)) == Truth::True)
}
