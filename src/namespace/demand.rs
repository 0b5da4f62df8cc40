//! What a concealed filter demands of a directory: where something can match, told without asking anybody.
//!
//! Every answer here errs on the wide side only. The filter must be concealed: routing by an attribute that does not exist
//! for the requester would let the number of directories asked tell of its values.

use crate::ldap::attribute::canonical_name;
use crate::ldap::filter::{Assertion, Filter, Substrings};
use crate::namespace::index::{Index, Indexed, Probe};
use crate::policy::terms::OdsCode;

/// Where something can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::namespace) enum Need {
    Anywhere,
    Nowhere,
    /// An address in this domain, lower case.
    Mail(String),
    /// A user principal name with this suffix, lower case.
    Principal(String),
    /// Of this organisation; none: of no possible one.
    Code(Option<OdsCode>),
    /// A value that an index can tell of.
    Held(Probe),
    All(Vec<Need>),
    Any(Vec<Need>),
}

/// What of the tree's own entries can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::namespace) enum Units<'f> {
    Every,
    None,
    /// Mount points of these names, as written.
    Named(Vec<&'f str>),
}

impl Need {
    /// `entries` is the agreement's entry filter: it says the same of every entry.
    ///
    /// Indexes are built from people's accounts; they are asked only where nothing else can match.
    pub(in crate::namespace) fn of(filter: &Filter<'_>, entries: Option<&Filter<'_>>) -> Need {
        let accounts = demands_accounts(filter) || entries.is_some_and(demands_accounts);
        need(filter, accounts)
    }

    /// Whether something can match in a directory. `owns` says whether an address or name of a domain can be there.
    pub(in crate::namespace) fn admits(&self, owns: &dyn Fn(&Need) -> bool, index: Option<&Index>) -> bool {
        match self {
            Need::Anywhere => true,
            Need::Nowhere => false,
            Need::All(parts) => parts.iter().all(|part| part.admits(owns, index)),
            Need::Any(parts) => parts.iter().any(|part| part.admits(owns, index)),
            Need::Held(probe) => index.is_none_or(|index| index.may_hold(probe)),
            Need::Mail(_) | Need::Principal(_) | Need::Code(_) => owns(self),
        }
    }
}

fn need(filter: &Filter<'_>, accounts: bool) -> Need {
    match filter {
        Filter::And(parts) => {
            let mut needs: Vec<Need> = parts.iter().map(|part| need(part, accounts)).collect();
            needs.retain(|need| *need != Need::Anywhere);
            both(needs)
        }
        Filter::Or(parts) => {
            let mut needs: Vec<Need> = parts.iter().map(|part| need(part, accounts)).collect();
            needs.retain(|need| *need != Need::Nowhere);
            match needs.len() {
                0 => Need::Nowhere,
                1 => needs.pop().unwrap_or(Need::Nowhere),
                _ if needs.contains(&Need::Anywhere) => Need::Anywhere,
                _ => Need::Any(needs),
            }
        }
        Filter::Equality(a) | Filter::Approximate(a) => of_value(a, accounts),
        Filter::Substrings(s) => of_parts(s, accounts),
        _ => Need::Anywhere,
    }
}

fn both(mut needs: Vec<Need>) -> Need {
    match needs.len() {
        0 => Need::Anywhere,
        1 => needs.pop().unwrap_or(Need::Anywhere),
        _ if needs.contains(&Need::Nowhere) => Need::Nowhere,
        _ => Need::All(needs),
    }
}

fn of_value(a: &Assertion<'_>, accounts: bool) -> Need {
    let name = canonical_name(&a.attribute);
    let mut needs = Vec::new();
    if let Ok(text) = std::str::from_utf8(&a.value) {
        match name.as_ref() {
            "odscode" => needs.push(Need::Code(text.trim().parse().ok())),
            _ => needs.extend(address(&name, text)),
        }
    }
    if accounts && let Some(indexed) = Indexed::by_name(&name) {
        needs.extend(Probe::equal(indexed, &a.value).map(Need::Held));
    }
    both(needs)
}

fn of_parts(s: &Substrings<'_>, accounts: bool) -> Need {
    let name = canonical_name(&s.attribute);
    let mut needs = Vec::new();
    if let Some(end) = s.last.as_deref().and_then(|end| std::str::from_utf8(end).ok()) {
        // `*@rxa.test` ends in a whole domain
        needs.extend(address(&name, end));
    }
    if accounts && let (Some(indexed), Some(start)) = (Indexed::by_name(&name), s.initial.as_deref()) {
        needs.extend(Probe::begins(indexed, start).map(Need::Held));
    }
    both(needs)
}

/// What follows from a value, or the end of one, that has a whole domain.
fn address(name: &str, text: &str) -> Option<Need> {
    let domain = || Some(text.rsplit_once('@')?.1.trim().to_ascii_lowercase());
    match name {
        "mail" => domain().map(Need::Mail),
        "userprincipalname" => domain().map(Need::Principal),
        _ => None,
    }
}

/// Whether the filter holds of people's accounts only: in Active Directory `user` without `computer`, which is what sync
/// reads. `person` is not enough: contacts are persons too.
fn demands_accounts(filter: &Filter<'_>) -> bool {
    match filter {
        Filter::And(parts) => parts.iter().any(demands_accounts),
        Filter::Or(parts) => !parts.is_empty() && parts.iter().all(demands_accounts),
        Filter::Equality(a) => {
            canonical_name(&a.attribute) == "objectclass" && a.value.eq_ignore_ascii_case(b"inetOrgPerson")
        }
        _ => false,
    }
}

/// Which mount points can match: they have `objectClass` and `ou`, nothing else.
pub(in crate::namespace) fn units<'f>(filter: &'f Filter<'_>) -> Units<'f> {
    match filter {
        Filter::And(parts) => parts.iter().map(units).fold(Units::Every, |a, b| match (a, b) {
            (Units::None, _) | (_, Units::None) => Units::None,
            (Units::Every, other) | (other, Units::Every) => other,
            // one of them is enough to look at; the entry itself is held against the whole filter
            (Units::Named(names), Units::Named(_)) => Units::Named(names),
        }),
        Filter::Or(parts) => parts.iter().map(units).fold(Units::None, |a, b| match (a, b) {
            (Units::Every, _) | (_, Units::Every) => Units::Every,
            (Units::None, other) | (other, Units::None) => other,
            (Units::Named(mut names), Units::Named(more)) => {
                names.extend(more);
                Units::Named(names)
            }
        }),
        Filter::Not(_) => Units::Every,
        Filter::Equality(a) if canonical_name(&a.attribute) == "ou" => {
            std::str::from_utf8(&a.value).map_or(Units::None, |name| Units::Named(vec![name]))
        }
        leaf if names_one_of(leaf, &["ou", "objectclass"]) => Units::Every,
        _ => Units::None,
    }
}

/// Whether the entry of the root can match: it has `objectClass` and `o`, nothing else.
pub(in crate::namespace) fn root(filter: &Filter<'_>) -> bool {
    match filter {
        Filter::And(parts) => parts.iter().all(root),
        Filter::Or(parts) => parts.iter().any(root),
        Filter::Not(_) => true,
        leaf => names_one_of(leaf, &["o", "objectclass"]),
    }
}

fn names_one_of(leaf: &Filter<'_>, names: &[&str]) -> bool {
    let name = match leaf {
        Filter::Equality(a) | Filter::Approximate(a) | Filter::GreaterOrEqual(a) | Filter::LessOrEqual(a) => {
            a.attribute.as_ref()
        }
        Filter::Substrings(s) => s.attribute.as_ref(),
        Filter::Present(name) => name.as_ref(),
        Filter::Extensible(e) => match &e.attribute {
            Some(name) => name.as_ref(),
            None => return true,
        },
        Filter::And(_) | Filter::Or(_) | Filter::Not(_) => return true,
    };
    names.contains(&canonical_name(name).as_ref())
}
