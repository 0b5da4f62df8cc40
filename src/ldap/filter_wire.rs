//! Filters as bytes (RFC 4511 section 4.5.1).

use std::borrow::Cow;

use crate::ldap::attribute;
use crate::ldap::ber::{self, Element, Reader};
use crate::ldap::error::{DecodeError, Limit};
use crate::ldap::filter::{Assertion, Extensible, Filter, Substrings};
use crate::ldap::limits::Limits;

const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUALITY: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const GREATER_OR_EQUAL: u8 = 0xa5;
const LESS_OR_EQUAL: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const APPROXIMATE: u8 = 0xa8;
const EXTENSIBLE: u8 = 0xa9;

const INITIAL: u8 = 0x80;
const ANY: u8 = 0x81;
const LAST: u8 = 0x82;

const RULE: u8 = 0x81;
const TYPE: u8 = 0x82;
const VALUE: u8 = 0x83;
const DN_ATTRIBUTES: u8 = 0x84;

/// Reads one filter; what follows it stays in the reader.
pub fn read<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Filter<'a>, DecodeError> {
    let mut state = State { limits, items: 0 };
    state.filter(reader, limits.depth)
}

struct State<'l> {
    limits: &'l Limits,
    items: usize,
}

impl State<'_> {
    fn count(&mut self) -> Result<(), DecodeError> {
        self.items += 1;
        if self.items > self.limits.filter_items {
            return Err(DecodeError::Limit(Limit::FilterItems));
        }
        Ok(())
    }

    fn filter<'a>(&mut self, reader: &mut Reader<'a>, depth: u8) -> Result<Filter<'a>, DecodeError> {
        let below = depth.checked_sub(1).ok_or(DecodeError::Limit(Limit::Depth))?;
        self.count()?;
        let element = reader.element()?;
        let mut inner = Reader::new(element.contents);
        match element.tag {
            AND => Ok(Filter::And(self.set(inner, below)?)),
            OR => Ok(Filter::Or(self.set(inner, below)?)),
            NOT if inner.is_empty() => Err(DecodeError::Empty),
            NOT => {
                let filter = self.filter(&mut inner, below)?;
                inner.end()?;
                Ok(Filter::Not(Box::new(filter)))
            }
            _ => self.item(element),
        }
    }

    /// A filter that holds no other. It stands apart so that little lies on the stack for each level above it.
    fn item<'a>(&mut self, element: Element<'a>) -> Result<Filter<'a>, DecodeError> {
        let inner = Reader::new(element.contents);
        match element.tag {
            EQUALITY => Ok(Filter::Equality(read_assertion(inner, self.limits)?)),
            GREATER_OR_EQUAL => Ok(Filter::GreaterOrEqual(read_assertion(inner, self.limits)?)),
            LESS_OR_EQUAL => Ok(Filter::LessOrEqual(read_assertion(inner, self.limits)?)),
            APPROXIMATE => Ok(Filter::Approximate(read_assertion(inner, self.limits)?)),
            SUBSTRINGS => Ok(Filter::Substrings(self.substrings(inner)?)),
            PRESENT => {
                let attribute = attribute::checked_plain(element.contents, self.limits)?;
                Ok(Filter::Present(Cow::Borrowed(attribute)))
            }
            EXTENSIBLE => Ok(Filter::Extensible(self.extensible(inner)?)),
            other => Err(DecodeError::Filter(other)),
        }
    }

    fn set<'a>(&mut self, mut inner: Reader<'a>, below: u8) -> Result<Vec<Filter<'a>>, DecodeError> {
        let mut filters = Vec::new();
        while !inner.is_empty() {
            filters.push(self.filter(&mut inner, below)?);
        }
        Ok(filters)
    }

    fn substrings<'a>(&mut self, mut inner: Reader<'a>) -> Result<Substrings<'a>, DecodeError> {
        let attribute = attribute::checked_plain(inner.octets()?, self.limits)?;
        let mut list = inner.nested(ber::SEQUENCE)?;
        inner.end()?;
        let mut parts =
            Substrings { attribute: Cow::Borrowed(attribute), initial: None, any: Vec::new(), last: None };
        let mut first = true;
        while !list.is_empty() {
            self.count()?;
            let part = list.element()?;
            if part.contents.is_empty() || parts.last.is_some() {
                return Err(DecodeError::Substrings);
            }
            let value = Cow::Borrowed(part.contents);
            match part.tag {
                INITIAL if first => parts.initial = Some(value),
                INITIAL => return Err(DecodeError::Substrings),
                ANY => parts.any.push(value),
                LAST => parts.last = Some(value),
                other => return Err(DecodeError::Tag(other)),
            }
            first = false;
        }
        if first { Err(DecodeError::Empty) } else { Ok(parts) }
    }

    fn extensible<'a>(&mut self, mut inner: Reader<'a>) -> Result<Extensible<'a>, DecodeError> {
        let rule = match inner.optional(RULE)? {
            // As text, a rule of this name would read as the flag for the name's attributes.
            Some(contents) if contents.eq_ignore_ascii_case(b"dn") => return Err(DecodeError::Name),
            Some(contents) => Some(Cow::Borrowed(attribute::checked_plain(contents, self.limits)?)),
            None => None,
        };
        let attribute = match inner.optional(TYPE)? {
            Some(contents) => Some(Cow::Borrowed(attribute::checked_plain(contents, self.limits)?)),
            None => None,
        };
        let value = Cow::Borrowed(inner.expect(VALUE)?);
        let dn_attributes = match inner.optional(DN_ATTRIBUTES)? {
            Some(contents) => ber::boolean(contents)?,
            None => false,
        };
        inner.end()?;
        if rule.is_none() && attribute.is_none() {
            return Err(DecodeError::Empty);
        }
        Ok(Extensible { rule, attribute, value, dn_attributes })
    }
}

/// Reads the contents of an AttributeValueAssertion.
pub fn read_assertion<'a>(mut inner: Reader<'a>, limits: &Limits) -> Result<Assertion<'a>, DecodeError> {
    let attribute = attribute::checked_plain(inner.octets()?, limits)?;
    let value = inner.octets()?;
    inner.end()?;
    Ok(Assertion { attribute: Cow::Borrowed(attribute), value: Cow::Borrowed(value) })
}

/// Writes an AttributeValueAssertion under a tag.
pub fn write_assertion(assertion: &Assertion<'_>, tag: u8, out: &mut Vec<u8>) {
    let size = ber::tlv_size(assertion.attribute.len()) + ber::tlv_size(assertion.value.len());
    ber::put_header(out, tag, size);
    ber::put_octets(out, ber::OCTET_STRING, assertion.attribute.as_bytes());
    ber::put_octets(out, ber::OCTET_STRING, &assertion.value);
}

/// Writes one filter.
pub fn write(filter: &Filter<'_>, out: &mut Vec<u8>) {
    match filter {
        Filter::And(all) => write_set(AND, all, out),
        Filter::Or(any) => write_set(OR, any, out),
        Filter::Not(inner) => write_set(NOT, std::slice::from_ref(inner.as_ref()), out),
        Filter::Equality(assertion) => write_assertion(assertion, EQUALITY, out),
        Filter::GreaterOrEqual(assertion) => write_assertion(assertion, GREATER_OR_EQUAL, out),
        Filter::LessOrEqual(assertion) => write_assertion(assertion, LESS_OR_EQUAL, out),
        Filter::Approximate(assertion) => write_assertion(assertion, APPROXIMATE, out),
        Filter::Substrings(parts) => write_substrings(parts, out),
        Filter::Present(attribute) => ber::put_octets(out, PRESENT, attribute.as_bytes()),
        Filter::Extensible(rule) => write_extensible(rule, out),
    }
}

fn write_set(tag: u8, filters: &[Filter<'_>], out: &mut Vec<u8>) {
    let start = ber::open(out, tag);
    for filter in filters {
        write(filter, out);
    }
    ber::close(out, start);
}

fn write_substrings(parts: &Substrings<'_>, out: &mut Vec<u8>) {
    let start = ber::open(out, SUBSTRINGS);
    ber::put_octets(out, ber::OCTET_STRING, parts.attribute.as_bytes());
    let list = ber::open(out, ber::SEQUENCE);
    if let Some(initial) = &parts.initial {
        ber::put_octets(out, INITIAL, initial);
    }
    for part in &parts.any {
        ber::put_octets(out, ANY, part);
    }
    if let Some(last) = &parts.last {
        ber::put_octets(out, LAST, last);
    }
    ber::close(out, list);
    ber::close(out, start);
}

fn write_extensible(rule: &Extensible<'_>, out: &mut Vec<u8>) {
    let start = ber::open(out, EXTENSIBLE);
    if let Some(name) = &rule.rule {
        ber::put_octets(out, RULE, name.as_bytes());
    }
    if let Some(attribute) = &rule.attribute {
        ber::put_octets(out, TYPE, attribute.as_bytes());
    }
    ber::put_octets(out, VALUE, &rule.value);
    if rule.dn_attributes {
        ber::put_bool(out, DN_ATTRIBUTES, true);
    }
    ber::close(out, start);
}
