//! Filters read from text (RFC 4515).

use std::borrow::Cow;

use crate::ldap::attribute;
use crate::ldap::error::FilterError;
use crate::ldap::filter::{Assertion, Extensible, Filter, Substrings};

/// Filters inside one another that a text may have; the same as the default of messages.
const DEPTH: u8 = 32;

impl Filter<'static> {
    /// Reads a filter. Nesting deeper than 32 is refused. The outermost parentheses may be left out around one item.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { text, at: 0 };
        let filter = if text.starts_with('(') { parser.filter(DEPTH)? } else { parser.item()? };
        if parser.at == text.len() { Ok(filter) } else { Err(parser.fault("text follows the filter")) }
    }
}

impl std::str::FromStr for Filter<'static> {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Filter::parse(text)
    }
}

/// A value for use inside a filter text: what RFC 4515 wants escaped is.
pub fn escape(value: &[u8]) -> String {
    let shown = Filter::Equality(Assertion::new("a", value)).to_string();
    shown.strip_prefix("(a=").and_then(|rest| rest.strip_suffix(')')).unwrap_or_default().to_owned()
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

/// How an item compares, by what stands before its `=`.
enum Sign {
    Equal,
    Greater,
    Less,
    Approximate,
    Extensible,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault(&self, problem: &'static str) -> FilterError {
        FilterError { at: self.at, problem }
    }

    fn eat(&mut self, c: char, problem: &'static str) -> Result<(), FilterError> {
        if !self.rest().starts_with(c) {
            return Err(self.fault(problem));
        }
        self.at += c.len_utf8();
        Ok(())
    }

    fn filter(&mut self, depth: u8) -> Result<Filter<'static>, FilterError> {
        let below = depth.checked_sub(1).ok_or_else(|| self.fault("filters are nested too deeply"))?;
        self.eat('(', "expected `(`")?;
        let filter = match self.rest().chars().next() {
            Some('&') => {
                self.at += 1;
                Filter::And(self.list(below)?)
            }
            Some('|') => {
                self.at += 1;
                Filter::Or(self.list(below)?)
            }
            Some('!') => {
                self.at += 1;
                Filter::Not(Box::new(self.filter(below)?))
            }
            _ => self.item()?,
        };
        self.eat(')', "expected `)`")?;
        Ok(filter)
    }

    fn list(&mut self, depth: u8) -> Result<Vec<Filter<'static>>, FilterError> {
        let mut filters = Vec::new();
        while self.rest().starts_with('(') {
            filters.push(self.filter(depth)?);
        }
        Ok(filters)
    }

    fn item(&mut self) -> Result<Filter<'static>, FilterError> {
        let start = self.at;
        let (left, sign) = self.left()?;
        if matches!(sign, Sign::Extensible) {
            return self.extensible(left, start);
        }
        if !attribute::is_plain_description(left.as_bytes()) {
            return Err(FilterError { at: start, problem: "malformed attribute description" });
        }
        let raw = self.raw_value();
        let assertion = |value: Vec<u8>| Assertion::new(left.to_owned(), value);
        match sign {
            Sign::Greater => Ok(Filter::GreaterOrEqual(assertion(self.value(raw)?))),
            Sign::Less => Ok(Filter::LessOrEqual(assertion(self.value(raw)?))),
            Sign::Approximate => Ok(Filter::Approximate(assertion(self.value(raw)?))),
            _ if raw == "*" => {
                self.at += 1;
                Ok(Filter::Present(Cow::Owned(left.to_owned())))
            }
            _ if raw.contains('*') => self.substrings(left, raw),
            _ => Ok(Filter::Equality(assertion(self.value(raw)?))),
        }
    }

    /// What stands before the `=`, and the sign.
    fn left(&mut self) -> Result<(&'t str, Sign), FilterError> {
        let end =
            self.rest().find(['=', '(', ')']).filter(|end| self.rest().as_bytes().get(*end) == Some(&b'='));
        let Some((before, _)) = end.and_then(|end| self.rest().split_at_checked(end)) else {
            return Err(self.fault("expected an attribute and `=`"));
        };
        self.at += before.len() + 1;
        let signs =
            [('>', Sign::Greater), ('<', Sign::Less), ('~', Sign::Approximate), (':', Sign::Extensible)];
        for (c, sign) in signs {
            if let Some(left) = before.strip_suffix(c) {
                return Ok((left, sign));
            }
        }
        Ok((before, Sign::Equal))
    }

    /// The value as written, up to the closing parenthesis.
    fn raw_value(&self) -> &'t str {
        let rest = self.rest();
        rest.split_once(['(', ')']).map_or(rest, |(value, _)| value)
    }

    /// Undoes the escapes of a piece of text that stands here, and goes beyond it.
    fn value(&mut self, raw: &str) -> Result<Vec<u8>, FilterError> {
        let mut value = Vec::with_capacity(raw.len());
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'\\' => {
                    let digits = [bytes.next().unwrap_or(b'?'), bytes.next().unwrap_or(b'?')];
                    let Some(byte) = hex(digits) else {
                        return Err(self.fault("`\\` must be followed by two hexadecimal digits"));
                    };
                    self.at += 3;
                    byte
                }
                b'*' | b'(' | b')' | 0 => return Err(self.fault("character must be escaped")),
                _ => {
                    self.at += 1;
                    byte
                }
            };
            value.push(byte);
        }
        Ok(value)
    }

    fn substrings(&mut self, attribute: &str, raw: &str) -> Result<Filter<'static>, FilterError> {
        let mut parts = Substrings {
            attribute: Cow::Owned(attribute.to_owned()),
            initial: None,
            any: Vec::new(),
            last: None,
        };
        let count = raw.matches('*').count();
        for (at, piece) in raw.split('*').enumerate() {
            if at > 0 {
                self.at += 1;
            }
            let value = self.value(piece)?;
            match (value.is_empty(), at) {
                (true, at) if at == 0 || at == count => {}
                (true, _) => return Err(self.fault("`**` has nothing in between")),
                (false, 0) => parts.initial = Some(Cow::Owned(value)),
                (false, at) if at == count => parts.last = Some(Cow::Owned(value)),
                (false, _) => parts.any.push(Cow::Owned(value)),
            }
        }
        Ok(Filter::Substrings(parts))
    }

    fn extensible(&mut self, left: &str, start: usize) -> Result<Filter<'static>, FilterError> {
        let fault = FilterError { at: start, problem: "malformed extensible match" };
        let mut pieces = left.split(':');
        let attribute = pieces.next().filter(|name| !name.is_empty());
        let mut next = pieces.next();
        let dn_attributes = next.is_some_and(|piece| piece.eq_ignore_ascii_case("dn"));
        if dn_attributes {
            next = pieces.next();
        }
        let good = |name: &&str| attribute::is_plain_description(name.as_bytes());
        // As on the wire: a rule of this name would read as the flag.
        let flag = next.is_some_and(|rule| rule.eq_ignore_ascii_case("dn"));
        let well = !flag && attribute.iter().all(good) && next.iter().all(good) && pieces.next().is_none();
        if !well || (attribute.is_none() && next.is_none()) {
            return Err(fault);
        }
        let raw = self.raw_value();
        let value = self.value(raw)?;
        Ok(Filter::Extensible(Extensible {
            rule: next.map(|rule| Cow::Owned(rule.to_owned())),
            attribute: attribute.map(|name| Cow::Owned(name.to_owned())),
            value: Cow::Owned(value),
            dn_attributes,
        }))
    }
}

fn hex(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        for text in [
            "(&)",
            "(|)",
            "(!(&))",
            "(cn=Jo)",
            "(cn=)",
            "(cn=*)",
            "(cn=a*)",
            "(cn=*a)",
            "(cn=*a*)",
            "(cn=a*b*c)",
            "(cn>=a)",
            "(cn<=a)",
            "(cn~=a)",
            "(cn:dn:2.5.13.2:=a)",
            "(:caseExactMatch:=a)",
            "(cn:=a)",
            "(cn:dn:=a)",
            "(userAccountControl:1.2.840.113556.1.4.803:=2)",
            r"(cn=\2a\28\29\5c\00)",
            r"(objectGUID=\ff\fe)",
            "(&(|(a=b)(!(c=d)))(e=*))",
            "(cn=Lučić)",
            "(cn;lang-en=x)",
            "(cn=a=b)",
            "(o= a )",
        ] {
            assert_eq!(Filter::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Filter::parse("cn=Jo").unwrap().to_string(), "(cn=Jo)");
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "",
            "(",
            "()",
            "(cn)",
            "(=a)",
            "(cn=a",
            "cn=a)",
            "(cn=a)(b=c)",
            "(&(cn=a)",
            "(!)",
            "(!(a=b)(c=d))",
            "(cn=a(b)",
            "(cn=a**b)",
            "(cn=**)",
            r"(cn=\)",
            r"(cn=\g0)",
            r"(cn=\2)",
            "(:=a)",
            "(:dn:=a)",
            "(cn:a:b:=c)",
            "(cn:dn:dn:=a)",
            "(c n=a)",
            "(cn>=a*)",
            "(cn:=a*)",
            "((cn=a))",
            " (cn=a)",
            "(cn=a) ",
            "(member;range=0-1=x)",
        ] {
            if text == "(member;range=0-1=x)" {
                assert_eq!(Filter::parse(text).unwrap(), Filter::equal("member;range", b"0-1=x".as_slice()));
                continue;
            }
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| format!("{}(a=b){}", "(!".repeat(depth - 1), ")".repeat(depth - 1));
        assert!(Filter::parse(&nested(32)).is_ok());
        assert!(Filter::parse(&nested(33)).is_err());
        assert!(Filter::parse(&nested(1_000_000)).is_err());
    }

    #[test]
    fn values_are_escaped() {
        assert_eq!(escape(b"a*(b)\\\xff"), r"a\2a\28b\29\5c\ff");
    }
}
