//! Values brought to the form they compare by, and the matching rules that are known (RFC 4517 section 4.2, MS-ADTS
//! 3.1.1.3.4.4).

use crate::ldap::attribute;
use crate::ldap::compound::Compound;
use crate::ldap::dn::Dn;
use crate::ldap::filter::Substrings;
use crate::ldap::prepare::{prepare, prepare_part, prepare_telephone};
use crate::ldap::schema::{self, Syntax};

/// A value in the form it compares by. Keys of one syntax are equal when the values match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Text, prepared.
    Text(String),
    /// Bytes, or text that is no UTF-8.
    Bytes(Vec<u8>),
    /// Whole number.
    Number(i128),
    /// Seconds since 1970 and nanoseconds.
    Time(i64, u32),
}

impl Key {
    /// None when the value does not fit the syntax.
    pub fn of(syntax: Syntax, value: &[u8]) -> Option<Key> {
        if syntax == Syntax::Octets {
            return Some(Key::Bytes(value.to_vec()));
        }
        let text = std::str::from_utf8(value);
        match (syntax, text) {
            (Syntax::CaseIgnore, Ok(text)) => Some(Key::Text(prepare(text, true))),
            (Syntax::CaseExact, Ok(text)) => Some(Key::Text(prepare(text, false))),
            (Syntax::Telephone, Ok(text)) => Some(Key::Text(prepare_telephone(text))),
            (Syntax::CaseIgnore | Syntax::CaseExact | Syntax::Telephone, Err(_)) => {
                Some(Key::Bytes(value.to_vec()))
            }
            (Syntax::Integer, Ok(text)) => integer(text).map(Key::Number),
            (Syntax::Dn, Ok(text)) => name(text).map(Key::Text),
            (Syntax::Boolean, Ok(text)) if text.eq_ignore_ascii_case("TRUE") => Some(Key::Number(1)),
            (Syntax::Boolean, Ok(text)) if text.eq_ignore_ascii_case("FALSE") => Some(Key::Number(0)),
            (Syntax::Time, Ok(text)) => time(text),
            (Syntax::Oid, Ok(text)) if attribute::is_description(text.trim().as_bytes()) => {
                Some(Key::Text(object_identifier(text.trim())))
            }
            _ => None,
        }
    }
}

/// A name, alone or with something beside it, which compares as it stands but for case.
fn name(text: &str) -> Option<String> {
    let value = Compound::split(text);
    let normal = Dn::parse(value.dn).ok()?.normal();
    if value.is_plain() {
        return Some(normal);
    }
    // a prepared name holds no tab, so no plain name has the key of such a value
    Some(format!("{}\t{normal}\t{}", value.head.to_lowercase(), value.tail))
}

/// Decimal digits with an optional `-`.
fn integer(text: &str) -> Option<i128> {
    let text = text.trim();
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// The one lower-case name of an object class or attribute type.
fn object_identifier(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    for (names, oids) in schema::CLASSES {
        let is_it = oids.split(' ').any(|oid| oid == lower)
            || names.split(' ').any(|name| name.eq_ignore_ascii_case(&lower));
        if let (true, Some(name)) = (is_it, names.split(' ').next()) {
            return name.to_ascii_lowercase();
        }
    }
    attribute::canonical_name(&lower).into_owned()
}

/// GeneralizedTime (RFC 4517 section 3.3.13): minutes, seconds and a fraction may be left out.
fn time(text: &str) -> Option<Key> {
    let (number, offset) = split_zone(text)?;
    let (digits, fraction) = match number.split_once(['.', ',']) {
        Some((digits, fraction)) => (digits, Some(fraction)),
        None => (number, None),
    };
    if !matches!(digits.len(), 10 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let field =
        |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |text| text.parse::<i64>().ok());
    let year = i32::try_from(field(0, 4)?).ok()?;
    let month = time::Month::try_from(u8::try_from(field(4, 6)?).ok()?).ok()?;
    let date = time::Date::from_calendar_date(year, month, u8::try_from(field(6, 8)?).ok()?).ok()?;
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let unit: i64 = match digits.len() {
        10 => 3600,
        12 => 60,
        _ => 1,
    };
    let nanoseconds = match fraction {
        None => 0,
        Some(fraction) => nanoseconds(fraction)? * unit,
    };
    let days = i64::from(date.to_julian_day()) - i64::from(time::Date::MIN.to_julian_day());
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset + nanoseconds / 1_000_000_000;
    Some(Key::Time(seconds, u32::try_from(nanoseconds % 1_000_000_000).ok()?))
}

fn nanoseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .try_fold(0_i64, |sum, digit| Some(sum * 10 + i64::from(digit.checked_sub(b'0')?)))
}

/// What stands before the zone, and the zone in seconds.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(number) = text.strip_suffix('Z') {
        return Some((number, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (number, zone) = text.split_at_checked(at)?;
    let digits = zone.get(1..)?;
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 =
        digits.get(2..).filter(|text| !text.is_empty()).map_or(Some(0), |text| text.parse().ok())?;
    let seconds = hours * 3600 + minutes * 60;
    Some((number, if zone.starts_with('-') { -seconds } else { seconds }))
}

/// The parts of a substring item, in the form they compare by.
#[derive(Debug)]
pub struct Parts {
    initial: Option<Vec<u8>>,
    any: Vec<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Parts {
    /// None when values of the syntax have no substrings, or a part does not fit.
    pub fn of(syntax: Syntax, item: &Substrings<'_>) -> Option<Parts> {
        let part = |part: &[u8]| match syntax {
            Syntax::CaseIgnore => text_part(part, true),
            Syntax::CaseExact => text_part(part, false),
            Syntax::Telephone => Some(prepare_telephone(std::str::from_utf8(part).ok()?).into_bytes()),
            Syntax::Octets => Some(part.to_vec()),
            Syntax::Integer | Syntax::Dn | Syntax::Boolean | Syntax::Time | Syntax::Oid => None,
        };
        let optional = |value: Option<&[u8]>| match value {
            None => Some(None),
            Some(value) => part(value).map(Some),
        };
        let mut initial = optional(item.initial.as_deref())?;
        let mut last = optional(item.last.as_deref())?;
        if matches!(syntax, Syntax::CaseIgnore | Syntax::CaseExact) {
            // A value never starts or ends with a space once it is prepared.
            initial = initial.map(|part| part.trim_ascii_start().to_vec());
            last = last.map(|part| part.trim_ascii_end().to_vec());
        }
        let any = item.any.iter().map(|value| part(value)).collect::<Option<_>>()?;
        Some(Parts { initial, any, last })
    }

    /// The value has the parts, in order, none over another.
    pub fn matches(&self, syntax: Syntax, value: &[u8]) -> bool {
        let prepared = match Key::of(syntax, value) {
            Some(Key::Text(text)) => text.into_bytes(),
            Some(Key::Bytes(bytes)) => bytes,
            _ => return false,
        };
        let mut rest = prepared.as_slice();
        if let Some(initial) = &self.initial {
            let Some(after) = rest.strip_prefix(initial.as_slice()) else { return false };
            rest = after;
        }
        if let Some(last) = &self.last {
            let Some(before) = rest.strip_suffix(last.as_slice()) else { return false };
            rest = before;
        }
        self.any.iter().all(|part| match find(rest, part) {
            Some(at) => {
                rest = rest.get(at + part.len()..).unwrap_or_default();
                true
            }
            None => false,
        })
    }
}

fn text_part(part: &[u8], fold_case: bool) -> Option<Vec<u8>> {
    Some(prepare_part(std::str::from_utf8(part).ok()?, fold_case).into_bytes())
}

fn find(within: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    within.windows(part.len()).position(|window| window == part)
}

/// A matching rule that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Values are equal by a syntax.
    Equal(Syntax),
    /// All bits of the asserted number are set (1.2.840.113556.1.4.803).
    AllBits,
    /// Any bit of the asserted number is set (1.2.840.113556.1.4.804).
    AnyBit,
}

const RULES: &[(&str, &str, Rule)] = &[
    ("objectIdentifierMatch", "2.5.13.0", Rule::Equal(Syntax::Oid)),
    ("distinguishedNameMatch", "2.5.13.1", Rule::Equal(Syntax::Dn)),
    ("caseIgnoreMatch", "2.5.13.2", Rule::Equal(Syntax::CaseIgnore)),
    ("caseExactMatch", "2.5.13.5", Rule::Equal(Syntax::CaseExact)),
    ("numericStringMatch", "2.5.13.8", Rule::Equal(Syntax::Telephone)),
    ("booleanMatch", "2.5.13.13", Rule::Equal(Syntax::Boolean)),
    ("integerMatch", "2.5.13.14", Rule::Equal(Syntax::Integer)),
    ("octetStringMatch", "2.5.13.17", Rule::Equal(Syntax::Octets)),
    ("telephoneNumberMatch", "2.5.13.20", Rule::Equal(Syntax::Telephone)),
    ("generalizedTimeMatch", "2.5.13.27", Rule::Equal(Syntax::Time)),
    ("caseExactIA5Match", "1.3.6.1.4.1.1466.109.114.1", Rule::Equal(Syntax::CaseExact)),
    ("caseIgnoreIA5Match", "1.3.6.1.4.1.1466.109.114.2", Rule::Equal(Syntax::CaseIgnore)),
    ("LDAP_MATCHING_RULE_BIT_AND", "1.2.840.113556.1.4.803", Rule::AllBits),
    ("LDAP_MATCHING_RULE_BIT_OR", "1.2.840.113556.1.4.804", Rule::AnyBit),
];

impl Rule {
    /// By name or OID. None for all others, 1941 (which walks groups) among them.
    pub fn by_name(name: &str) -> Option<Rule> {
        RULES
            .iter()
            .find(|(rule, oid, _)| *oid == name || rule.eq_ignore_ascii_case(name))
            .map(|(_, _, rule)| *rule)
    }

    /// The rule can be used on values of the syntax.
    pub fn fits(self, syntax: Syntax) -> bool {
        let is_text = |syntax| {
            matches!(syntax, Syntax::CaseIgnore | Syntax::CaseExact | Syntax::Telephone | Syntax::Oid)
        };
        match self {
            Rule::Equal(Syntax::Octets) => true,
            Rule::Equal(own) => own == syntax || (is_text(own) && is_text(syntax)),
            Rule::AllBits | Rule::AnyBit => syntax == Syntax::Integer,
        }
    }

    /// The rule with its asserted value; none when the value does not fit.
    pub fn test(self, value: &[u8]) -> Option<Test> {
        let syntax = if let Rule::Equal(syntax) = self { syntax } else { Syntax::Integer };
        Key::of(syntax, value).map(|key| Test { rule: self, syntax, key })
    }
}

/// A rule with its asserted value.
#[derive(Debug)]
pub struct Test {
    rule: Rule,
    syntax: Syntax,
    key: Key,
}

impl Test {
    /// The value of an entry fits the rule.
    pub fn matches(&self, value: &[u8]) -> bool {
        let Some(key) = Key::of(self.syntax, value) else { return false };
        match (self.rule, &self.key, &key) {
            (Rule::Equal(_), wanted, found) => wanted == found,
            (Rule::AllBits, Key::Number(wanted), Key::Number(found)) => found & wanted == *wanted,
            (Rule::AnyBit, Key::Number(wanted), Key::Number(found)) => found & wanted != 0,
            _ => false,
        }
    }
}
