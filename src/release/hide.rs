//! Filters over what exists for the requester, exactly (RFC 4511 section 4.5.1.7).

use std::borrow::Cow;

use crate::ldap::compound::Compound;
use crate::ldap::dn::Dn;
use crate::ldap::filter::{Assertion, Extensible, Filter, Substrings};
use crate::release::spelling::{self, Syntax};
use crate::release::view::{View, Visible};

/// LDAP_MATCHING_RULE_BIT_AND and _BIT_OR (MS-ADTS 3.1.1.3.4.4.1 and .2).
const BITWISE: [&str; 2] = ["1.2.840.113556.1.4.803", "1.2.840.113556.1.4.804"];
/// Ambiguous name resolution, as an attribute (MS-ADTS 3.1.1.3.1.3.4).
const ANR: [&str; 2] = ["anr", "1.2.840.113556.1.4.1208"];
const OBJECT_CATEGORY: [&str; 2] = ["objectcategory", "1.2.840.113556.1.4.782"];

/// Class names of Active Directory and OIDs, to the federated class.
const CLASSES: &[(&str, &str)] = &[
    ("2.5.6.0", "top"),
    ("2.5.6.6", "person"),
    ("2.5.6.7", "organizationalPerson"),
    ("2.16.840.1.113730.3.2.2", "inetOrgPerson"),
    ("user", "inetOrgPerson"),
    ("1.2.840.113556.1.5.9", "inetOrgPerson"),
    ("group", "groupOfNames"),
    ("1.2.840.113556.1.5.8", "groupOfNames"),
    ("2.5.6.9", "groupOfNames"),
    ("computer", "device"),
    ("1.2.840.113556.1.3.30", "device"),
    ("2.5.6.14", "device"),
    ("2.5.6.5", "organizationalUnit"),
];

/// objectCategory values, as short names and as the cn of the schema object, to the federated class.
const CATEGORIES: &[(&str, &str)] = &[
    ("person", "person"),
    ("user", "person"),
    ("contact", "person"),
    ("inetorgperson", "person"),
    ("organizationalperson", "person"),
    ("computer", "device"),
    ("group", "groupOfNames"),
    ("organizationalunit", "organizationalUnit"),
    ("organizational-unit", "organizationalUnit"),
];

/// The filter that is true for exactly those entries for which `filter` is true when nothing exists but `view`.
///
/// Negations stand at the leaves only; every leaf and every negated leaf on a hidden or unknown attribute, or that means
/// nothing by the attribute's syntax, is false; constants are folded; attributes have their federated names; `anr` is
/// spelled out over what is visible; `objectCategory` is `objectClass`. The answer may be [`Filter::FALSE`] (nothing
/// matches: answer without asking) or [`Filter::TRUE`].
///
/// In a form without inner negations an Undefined leaf never helps to reach True, so replacing Undefined by False
/// leaves the set of entries for which the whole is True as it was.
pub fn conceal<'a>(filter: &'a Filter<'_>, view: &'a View) -> Filter<'a> {
    normal(filter, true, &|leaf| meaning(leaf, view))
}

/// The filter that a compare asks (`True`: compareTrue, `False`: compareFalse), or `None` when the attribute is hidden
/// or unknown: then the answer is `noSuchAttribute`, exactly as if no entry had the attribute (and `noSuchObject` when
/// the entry is not there). Ask for the entry with the entry filter and the attribute, and decide here: never send a
/// compare on.
pub fn comparable<'a>(assertion: &'a Assertion<'_>, view: &'a View) -> Option<Filter<'a>> {
    let attribute = view.resolve(&assertion.attribute)?;
    equality(attribute, &assertion.value)
}

/// The federated name of an attribute in any spelling; one that is not known keeps its own.
pub fn federated_name(name: &str) -> &str {
    spelling::known(spelling::split(name).0).map_or(name, |known| known.name)
}

/// The same filter under the federated names of attributes and classes, nothing hidden: for filters that we wrote ourselves.
pub fn spelled(filter: Filter<'static>) -> Filter<'static> {
    let name = |n: Cow<'static, str>| match spelling::known(spelling::split(&n).0) {
        Some(known) => Cow::Borrowed(known.name),
        None => n,
    };
    let assertion = |a: Assertion<'static>| {
        let attribute = name(a.attribute);
        let federated = match std::str::from_utf8(&a.value) {
            Ok(text) if attribute == "objectClass" => Some(class(text).as_bytes().to_vec()),
            _ => None,
        };
        Assertion { attribute, value: federated.map_or(a.value, Cow::Owned) }
    };
    match filter {
        Filter::And(all) => Filter::And(all.into_iter().map(spelled).collect()),
        Filter::Or(any) => Filter::Or(any.into_iter().map(spelled).collect()),
        Filter::Not(inner) => spelled(*inner).negate(),
        Filter::Equality(a) => Filter::Equality(assertion(a)),
        Filter::GreaterOrEqual(a) => Filter::GreaterOrEqual(assertion(a)),
        Filter::LessOrEqual(a) => Filter::LessOrEqual(assertion(a)),
        Filter::Approximate(a) => Filter::Approximate(assertion(a)),
        Filter::Substrings(s) => Filter::Substrings(Substrings { attribute: name(s.attribute), ..s }),
        Filter::Present(n) => Filter::Present(name(n)),
        Filter::Extensible(e) => Filter::Extensible(Extensible { attribute: e.attribute.map(name), ..e }),
    }
}

/// Negation normal form with the leaves replaced by their meaning; a leaf without one is false, negated or not.
fn normal<'a>(
    filter: &'a Filter<'_>,
    positive: bool,
    leaf: &dyn Fn(&'a Filter<'_>) -> Option<Filter<'a>>,
) -> Filter<'a> {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            let all = matches!(filter, Filter::And(_)) == positive;
            fold(all, parts.iter().map(|part| normal(part, positive, leaf)))
        }
        Filter::Not(inner) => normal(inner, !positive, leaf),
        _ => match leaf(filter) {
            None => Filter::FALSE,
            Some(meaning) if positive => meaning,
            Some(meaning) => opposite(meaning),
        },
    }
}

/// And (`all`) or Or of parts that are folded already.
fn fold<'a>(all: bool, parts: impl Iterator<Item = Filter<'a>>) -> Filter<'a> {
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

/// The opposite of a filter whose every leaf has a meaning, negations at the leaves.
fn opposite(filter: Filter<'_>) -> Filter<'_> {
    match filter {
        Filter::And(parts) => fold(false, parts.into_iter().map(opposite)),
        Filter::Or(parts) => fold(true, parts.into_iter().map(opposite)),
        Filter::Not(inner) => *inner,
        leaf => leaf.negate(),
    }
}

/// What a leaf asks about what is visible; `None` when it is Undefined for every entry.
fn meaning<'a>(leaf: &'a Filter<'_>, view: &'a View) -> Option<Filter<'a>> {
    match leaf {
        Filter::Equality(a) | Filter::Approximate(a) => {
            let name = spelling::split(&a.attribute).0;
            if is_one_of(name, &ANR) {
                return anr(&a.value, view);
            }
            if is_one_of(name, &OBJECT_CATEGORY) {
                return category(&a.value);
            }
            equality(view.resolve(&a.attribute)?, &a.value)
        }
        Filter::GreaterOrEqual(a) => Some(Filter::GreaterOrEqual(ordered(a, view)?)),
        Filter::LessOrEqual(a) => Some(Filter::LessOrEqual(ordered(a, view)?)),
        Filter::Substrings(s) => substrings(s, view),
        Filter::Present(name) => {
            if is_one_of(spelling::split(name).0, &OBJECT_CATEGORY) {
                return Some(Filter::present("objectClass"));
            }
            view.resolve(name).map(|a| Filter::present(a.name.as_str()))
        }
        Filter::Extensible(e) => extensible(e, view),
        Filter::And(_) | Filter::Or(_) | Filter::Not(_) => None,
    }
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|n| n.eq_ignore_ascii_case(name))
}

fn equality<'a>(attribute: &'a Visible, value: &'a [u8]) -> Option<Filter<'a>> {
    let name = attribute.name.as_str();
    let text = std::str::from_utf8(value).ok();
    match attribute.syntax {
        Syntax::Text => text.filter(|t| !t.is_empty())?,
        Syntax::Name => text.filter(|t| Dn::parse(Compound::split(t).dn).is_ok())?,
        Syntax::Integer => text.filter(|t| is_integer(t))?,
        Syntax::Time => text.filter(|t| is_time(t))?,
        Syntax::Boolean => text.filter(|t| matches!(*t, "TRUE" | "FALSE"))?,
        Syntax::Uuid => return uuid(value).map(|u| Filter::equal(name, u.into_bytes())),
        Syntax::Class => return text.map(|t| Filter::equal(name, class(t).as_bytes())),
        Syntax::Octets => return None,
    };
    Some(Filter::equal(name, value))
}

fn ordered<'a>(assertion: &'a Assertion<'_>, view: &'a View) -> Option<Assertion<'a>> {
    let attribute = view.resolve(&assertion.attribute)?;
    let value: &'a [u8] = &assertion.value;
    let text = std::str::from_utf8(value).ok()?;
    let fits = match attribute.syntax {
        Syntax::Text => !text.is_empty(),
        Syntax::Integer => is_integer(text),
        Syntax::Time => is_time(text),
        _ => false,
    };
    fits.then(|| Assertion::new(attribute.name.as_str(), value))
}

fn substrings<'a>(s: &'a Substrings<'_>, view: &'a View) -> Option<Filter<'a>> {
    if is_one_of(spelling::split(&s.attribute).0, &ANR) {
        // (anr=smith*) is (anr=smith)
        let plain = s.any.is_empty() && s.last.is_none();
        return s.initial.as_deref().filter(|_| plain).and_then(|value| anr(value, view));
    }
    let attribute = view.resolve(&s.attribute)?;
    let borrow = |v: &'a Cow<'_, [u8]>| Cow::Borrowed(v.as_ref());
    let parts = s.initial.iter().chain(&s.any).chain(&s.last);
    // a part may end inside a character of the value, but never hold what no text holds
    let fits = attribute.syntax == Syntax::Text && parts.clone().all(|p| std::str::from_utf8(p).is_ok());
    fits.then(|| {
        Filter::Substrings(Substrings {
            attribute: Cow::Borrowed(attribute.name.as_str()),
            initial: s.initial.as_ref().map(borrow),
            any: s.any.iter().map(borrow).collect(),
            last: s.last.as_ref().map(borrow),
        })
    })
}

/// A rule is taken when it is the attribute's own equality, or a bitwise one on a number. Every other rule (in-chain
/// above all, which walks groups that the requester may not read), a rule without attribute, and matching names of
/// superiors mean nothing here.
fn extensible<'a>(e: &'a Extensible<'_>, view: &'a View) -> Option<Filter<'a>> {
    let attribute = e.attribute.as_deref().filter(|_| !e.dn_attributes).and_then(|a| view.resolve(a))?;
    let value: &'a [u8] = &e.value;
    let Some(rule) = e.rule.as_deref() else { return equality(attribute, value) };
    let own: &[&str] = match attribute.syntax {
        Syntax::Text => &["caseIgnoreMatch", "2.5.13.2"],
        Syntax::Name => &["distinguishedNameMatch", "2.5.13.1"],
        Syntax::Uuid => &["uuidMatch", "1.3.6.1.1.16.2"],
        Syntax::Integer => &["integerMatch", "2.5.13.14"],
        Syntax::Time => &["generalizedTimeMatch", "2.5.13.27"],
        Syntax::Boolean => &["booleanMatch", "2.5.13.13"],
        Syntax::Class => &["objectIdentifierMatch", "2.5.13.0"],
        Syntax::Octets => &[],
    };
    if is_one_of(rule, own) {
        return equality(attribute, value);
    }
    let number = std::str::from_utf8(value).is_ok_and(is_integer);
    let bitwise = BITWISE.iter().find(|b| **b == rule)?;
    (attribute.syntax == Syntax::Integer && number).then_some(Filter::Extensible(Extensible {
        rule: Some(Cow::Borrowed(bitwise)),
        attribute: Some(Cow::Borrowed(attribute.name.as_str())),
        value: Cow::Borrowed(value),
        dn_attributes: false,
    }))
}

/// Ambiguous name resolution over what is visible: some attribute of the set starts with the value (equals it after a
/// leading `=`), or first and last name start with its two halves, either way round.
fn anr<'a>(value: &'a [u8], view: &'a View) -> Option<Filter<'a>> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let (exact, text) = match text.strip_prefix('=') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if text.is_empty() {
        return None;
    }
    let starts = |name: &'a str, with: &'a str| {
        if exact {
            return Filter::equal(name, with.as_bytes());
        }
        Filter::Substrings(Substrings {
            attribute: Cow::Borrowed(name),
            initial: Some(Cow::Borrowed(with.as_bytes())),
            any: Vec::new(),
            last: None,
        })
    };
    let mut any: Vec<Filter<'a>> =
        view.attributes().iter().filter(|a| a.anr).map(|a| starts(&a.name, text)).collect();
    if let (Some((one, two)), Some(given), Some(last)) =
        (text.split_once(' '), view.resolve("givenName"), view.resolve("sn"))
    {
        let two = two.trim_start();
        for (g, s) in [(one, two), (two, one)] {
            any.push(Filter::And(vec![starts(&given.name, g), starts(&last.name, s)]));
        }
    }
    (!any.is_empty()).then(|| fold(false, any.into_iter()))
}

fn category(value: &[u8]) -> Option<Filter<'static>> {
    let text = std::str::from_utf8(value).ok()?;
    let first = text.split(',').next().unwrap_or_default().trim();
    let name = match first.split_once('=') {
        Some((kind, name)) if kind.trim().eq_ignore_ascii_case("cn") => name.trim(),
        Some(_) => return None,
        None => first,
    };
    let (_, class) = CATEGORIES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
    Some(Filter::equal("objectClass", class.as_bytes()))
}

fn class(name: &str) -> &str {
    CLASSES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or(name, |(_, class)| class)
}

/// A UUID as text, or as the 16 bytes of objectGUID (first three fields little-endian, MS-DTYP 2.3.4.2), as lower-case
/// text.
fn uuid(value: &[u8]) -> Option<String> {
    let uuid = match <[u8; 16]>::try_from(value) {
        Ok(bytes) => uuid::Uuid::from_bytes_le(bytes),
        Err(_) => uuid::Uuid::try_parse(std::str::from_utf8(value).ok().filter(|t| t.len() == 36)?).ok()?,
    };
    Some(uuid.to_string())
}

fn is_integer(text: &str) -> bool {
    text.parse::<i64>().is_ok() && !text.starts_with('+')
}

/// GeneralizedTime in UTC, as directories write it (RFC 4517 3.3.13).
fn is_time(text: &str) -> bool {
    let Some(number) = text.strip_suffix('Z') else { return false };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && (10..=14).contains(&whole.len()) && digits(fraction)
}

#[cfg(test)]
mod tests;
