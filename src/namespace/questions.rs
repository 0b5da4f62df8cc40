//! Questions on their way in: filters over federated names and values, as the directory behind understands them.

use std::borrow::Cow;

use crate::ldap::filter::{Assertion, Extensible, Filter, Substrings};
use crate::namespace::mapping::{Mapping, Pair};
use crate::namespace::names;
use crate::namespace::values::{self, Translation};

/// A concealed filter as one directory is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'a> {
    /// Over local names and values. `None`: nothing below this mount can match; answer without asking.
    pub filter: Option<Filter<'a>>,
    /// The directory may answer with more entries than match, because the filter could be wider than what was asked:
    /// evaluate the concealed filter again on each entry as it would be released with everything visible.
    pub needs_recheck: bool,
}

/// Translates a concealed filter (negations at the leaves only) for the directory behind `mapping`.
///
/// The answer is true wherever the concealed filter is true of the released entry; it may be true of more. Where a value
/// could be withheld on the way out, the directory's answer would depend on it, so the leaf is widened: presence and
/// ordering to presence, their negations to everything. Together with the re-check the outcome depends on released
/// data alone.
///
/// `reserved` names attributes that some entries do not have for this requester, whatever the directory holds: their items
/// are widened likewise.
pub fn filter_to_local<'a>(
    filter: &'a Filter<'_>,
    mapping: &'a Mapping,
    reserved: &'a [String],
) -> Question<'a> {
    let mut translator = Translator { mapping, reserved, needs_recheck: false };
    let local = translator.filter(filter, true);
    let needs_recheck = translator.needs_recheck;
    if local == Filter::FALSE {
        return Question { filter: None, needs_recheck: false };
    }
    // directories need not know absolute filters (RFC 4526), so everything is asked for as what every entry has
    let filter = Some(if local == Filter::TRUE { Filter::present("objectClass") } else { local });
    Question { filter, needs_recheck }
}

/// One item of an agreement's entry filter; `None`: nothing can match. It may be about hidden attributes and is never
/// widened: what it leaves out is as if it were not there.
pub(in crate::namespace) fn entry_leaf<'a>(leaf: &'a Filter<'_>, mapping: &'a Mapping) -> Option<Filter<'a>> {
    match (Translator { mapping, reserved: &[], needs_recheck: false }).leaf(leaf) {
        Meaning::Nothing => None,
        Meaning::Exact(local) | Meaning::Wide(local) => Some(local),
    }
}

/// Both together: what is asked of the directory. `None`: do not ask.
pub fn with_entry_filter<'a>(
    question: Option<Filter<'a>>,
    entries: Option<Filter<'a>>,
) -> Option<Filter<'a>> {
    match (question?, entries) {
        (question, None) => Some(question),
        (question, Some(entries)) => Some(Filter::And(vec![entries, question])),
    }
}

/// The attributes that a filter looks at, each once: what the re-check needs beside what was asked for.
pub fn attributes_of<'f>(filter: &'f Filter<'_>) -> Vec<&'f str> {
    fn walk<'f>(filter: &'f Filter<'_>, names: &mut Vec<&'f str>) {
        let name = match filter {
            Filter::And(parts) | Filter::Or(parts) => return parts.iter().for_each(|p| walk(p, names)),
            Filter::Not(inner) => return walk(inner, names),
            Filter::Equality(a)
            | Filter::GreaterOrEqual(a)
            | Filter::LessOrEqual(a)
            | Filter::Approximate(a) => a.attribute.as_ref(),
            Filter::Substrings(s) => s.attribute.as_ref(),
            Filter::Present(name) => name.as_ref(),
            Filter::Extensible(e) => e.attribute.as_deref().unwrap_or_default(),
        };
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    let mut names = Vec::new();
    walk(filter, &mut names);
    names
}

/// And (`all`) or Or of parts that are folded already.
pub(in crate::namespace) fn fold<'a>(all: bool, parts: impl Iterator<Item = Filter<'a>>) -> Filter<'a> {
    let (neutral, deciding) = if all { (Filter::TRUE, Filter::FALSE) } else { (Filter::FALSE, Filter::TRUE) };
    let mut kept: Vec<Filter<'a>> = Vec::new();
    for part in parts {
        if part == deciding {
            return deciding;
        }
        if part != neutral {
            kept.push(part);
        }
    }
    match kept.len() {
        1 => kept.pop().unwrap_or(neutral),
        _ if all => Filter::And(kept),
        _ => Filter::Or(kept),
    }
}

/// A leaf as the directory understands it.
enum Meaning<'a> {
    /// True of no released entry, whatever the directory holds.
    Nothing,
    /// True of an entry exactly when it is true of the released one, or depends on released values only.
    Exact(Filter<'a>),
    /// True of every entry of which it is true when released, and perhaps of more.
    Wide(Filter<'a>),
}

struct Translator<'m> {
    mapping: &'m Mapping,
    reserved: &'m [String],
    needs_recheck: bool,
}

impl<'a> Translator<'a> {
    fn filter(&mut self, filter: &'a Filter<'_>, positive: bool) -> Filter<'a> {
        match filter {
            Filter::And(parts) | Filter::Or(parts) => {
                let all = matches!(filter, Filter::And(_)) == positive;
                fold(all, parts.iter().map(|part| self.filter(part, positive)))
            }
            Filter::Not(inner) => self.filter(inner, !positive),
            leaf => match (self.with_reserve(leaf), positive) {
                (Meaning::Nothing, true) => Filter::FALSE,
                (Meaning::Nothing, false) => Filter::TRUE,
                (Meaning::Exact(local), true) => local,
                (Meaning::Exact(local), false) => local.negate(),
                (Meaning::Wide(local), true) => {
                    self.needs_recheck = true;
                    local
                }
                (Meaning::Wide(_), false) => {
                    self.needs_recheck = true;
                    Filter::TRUE
                }
            },
        }
    }

    fn with_reserve(&self, leaf: &'a Filter<'_>) -> Meaning<'a> {
        let is_reserved = |name: &str| self.reserved.iter().any(|one| one.eq_ignore_ascii_case(name));
        match self.leaf(leaf) {
            Meaning::Exact(local)
                if !self.reserved.is_empty() && attributes_of(leaf).into_iter().any(is_reserved) =>
            {
                Meaning::Wide(local)
            }
            meaning => meaning,
        }
    }

    fn leaf(&self, leaf: &'a Filter<'_>) -> Meaning<'a> {
        match leaf {
            Filter::Equality(a) | Filter::Approximate(a) => self.equality(a),
            Filter::GreaterOrEqual(a) => {
                self.valued(&a.attribute, |name| Filter::GreaterOrEqual(named(name, a)))
            }
            Filter::LessOrEqual(a) => self.valued(&a.attribute, |name| Filter::LessOrEqual(named(name, a))),
            Filter::Substrings(s) => self.valued(&s.attribute, |name| {
                let borrow = |v: &'a Cow<'_, [u8]>| Cow::Borrowed(v.as_ref());
                Filter::Substrings(Substrings {
                    attribute: name,
                    initial: s.initial.as_ref().map(borrow),
                    any: s.any.iter().map(borrow).collect(),
                    last: s.last.as_ref().map(borrow),
                })
            }),
            Filter::Present(name) => {
                let pair = self.mapping.pair(name);
                let filter = Filter::Present(local_name(&pair));
                if pair.translation.may_drop() { Meaning::Wide(filter) } else { Meaning::Exact(filter) }
            }
            Filter::Extensible(e) => match e.attribute.as_deref() {
                Some(attribute) => self.valued(attribute, |name| {
                    Filter::Extensible(Extensible {
                        rule: e.rule.as_deref().map(Cow::Borrowed),
                        attribute: Some(name),
                        value: Cow::Borrowed(&e.value),
                        dn_attributes: false,
                    })
                }),
                None => Meaning::Nothing,
            },
            Filter::And(_) | Filter::Or(_) | Filter::Not(_) => Meaning::Nothing,
        }
    }

    /// Ordering, substrings and rules: they mean something on text and numbers only.
    fn valued(&self, attribute: &str, make: impl FnOnce(Cow<'a, str>) -> Filter<'a>) -> Meaning<'a> {
        let pair = self.mapping.pair(attribute);
        match pair.translation {
            Translation::Copy => Meaning::Exact(make(local_name(&pair))),
            Translation::Screen => Meaning::Wide(make(local_name(&pair))),
            Translation::Name | Translation::Guid | Translation::Class => Meaning::Nothing,
        }
    }

    fn equality(&self, a: &'a Assertion<'_>) -> Meaning<'a> {
        let mapping = self.mapping;
        let pair = mapping.pair(&a.attribute);
        let name = local_name(&pair);
        match pair.translation {
            Translation::Copy => Meaning::Exact(Filter::Equality(named(name, a))),
            Translation::Screen if names::mentions(&a.value, mapping.local_suffix()) => Meaning::Nothing,
            // directories fold accents, widths and ignorable characters, each in its own way: what could meet a withheld
            // value after such folding is asked widely
            Translation::Screen if a.value.iter().any(|b| *b == b'=' || !b.is_ascii()) => {
                Meaning::Wide(Filter::Equality(named(name, a)))
            }
            Translation::Screen => Meaning::Exact(Filter::Equality(named(name, a))),
            Translation::Name => {
                match std::str::from_utf8(&a.value).ok().and_then(|v| mapping.name_to_local(v)) {
                    Some(local) => Meaning::Exact(Filter::equal(name, local.into_bytes())),
                    None => Meaning::Nothing,
                }
            }
            Translation::Guid => match values::guid_bytes(&a.value) {
                Some(bytes) => Meaning::Exact(Filter::equal(name, bytes.to_vec())),
                None => Meaning::Nothing,
            },
            Translation::Class => match values::local_class(&a.value) {
                Some((class, false)) => Meaning::Exact(Filter::equal(name, class.as_bytes())),
                Some((class, true)) => Meaning::Exact(Filter::And(vec![
                    Filter::equal(name.clone(), class.as_bytes()),
                    Filter::equal(name, &b"computer"[..]).negate(),
                ])),
                None => Meaning::Nothing,
            },
        }
    }
}

fn named<'a>(name: Cow<'a, str>, a: &'a Assertion<'_>) -> Assertion<'a> {
    Assertion { attribute: name, value: Cow::Borrowed(&a.value) }
}

fn local_name<'a>(pair: &Cow<'a, Pair>) -> Cow<'a, str> {
    match pair {
        Cow::Borrowed(pair) => Cow::Borrowed(&pair.local),
        Cow::Owned(pair) => Cow::Owned(pair.local.clone()),
    }
}

#[cfg(test)]
mod tests;
