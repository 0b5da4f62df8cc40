//! Distinguished names read from text (RFC 4514 section 3), and brought to the form they compare by.

use crate::ldap::attribute;
use crate::ldap::ber::Reader;
use crate::ldap::dn::{Dn, Part, Rdn, Value};
use crate::ldap::error::DnError;
use crate::ldap::prepare::prepare;
use crate::ldap::schema::Syntax;

impl Dn {
    /// Reads a name. The empty text is the root. Spaces around separators are let through (RFC 2253 wrote them).
    pub fn parse(text: &str) -> Result<Self, DnError> {
        let mut parser = Parser { text, at: 0 };
        parser.skip_spaces();
        let mut rdns = Vec::new();
        if parser.peek().is_none() {
            return Ok(Dn { rdns });
        }
        loop {
            rdns.push(parser.rdn()?);
            match parser.next() {
                None => return Ok(Dn { rdns }),
                // RFC 2253 section 4 let `;` separate too, but RFC 4514 does not.
                Some(',') => {}
                Some(_) => return Err(parser.fault("expected `,`")),
            }
        }
    }

    /// `attribute=value` (value not escaped) below this name.
    pub fn child(&self, attribute: &str, value: &str) -> Result<Dn, DnError> {
        if !is_type(attribute) || value.is_empty() {
            return Err(DnError { at: 0, problem: "the type is malformed or the value is empty" });
        }
        let part = Part { attribute: attribute.to_owned(), value: Value::Text(value.to_owned()) };
        Ok(Dn { rdns: std::iter::once(Rdn::new(vec![part])).chain(self.rdns.iter().cloned()).collect() })
    }
}

impl std::str::FromStr for Dn {
    type Err = DnError;

    fn from_str(text: &str) -> Result<Self, DnError> {
        Dn::parse(text)
    }
}

impl Rdn {
    /// A relative name of these parts, at least one.
    fn new(parts: Vec<Part>) -> Self {
        if let [part] = parts.as_slice() {
            let normal = normal_part(part);
            return Rdn { parts, normal };
        }
        let mut normal: Vec<String> = parts.iter().map(normal_part).collect();
        normal.sort();
        Rdn { parts, normal: normal.join("+") }
    }
}

/// Type and value in the form they compare by. Separators inside values are escaped, so two names never run together.
fn normal_part(part: &Part) -> String {
    let known = attribute::known(&part.attribute);
    let fold_case = known.is_none_or(|known| known.syntax != Syntax::CaseExact);
    let mut out = String::with_capacity(part.attribute.len() + 32);
    match known {
        Some(known) => out.push_str(&known.canonical),
        None => out.push_str(&attribute::canonical_name(&part.attribute)),
    }
    out.push('=');
    match &part.value {
        Value::Text(text) => push_normal(&mut out, text, fold_case),
        Value::Bytes(bytes) => push_hex(&mut out, "\\x", bytes),
        Value::Ber(bytes) => match ber_text(bytes) {
            Some(text) => push_normal(&mut out, text, fold_case),
            None => push_hex(&mut out, "#", bytes),
        },
    }
    out
}

fn push_normal(out: &mut String, text: &str, fold_case: bool) {
    let separates = |c: char| matches!(c, ',' | '+' | '\\' | '=' | '#');
    if text.bytes().all(|byte| byte.is_ascii_graphic() && !separates(char::from(byte))) {
        // nothing to prepare but the case
        let start = out.len();
        out.push_str(text);
        if fold_case && let Some(added) = out.get_mut(start..) {
            added.make_ascii_lowercase();
        }
        return;
    }
    for c in prepare(text, fold_case).chars() {
        if separates(c) {
            out.push('\\');
        }
        out.push(c);
    }
}

fn push_hex(out: &mut String, prefix: &str, bytes: &[u8]) {
    out.push_str(prefix);
    for byte in bytes {
        let _ = std::fmt::Write::write_fmt(out, format_args!("{byte:02x}"));
    }
}

/// The text of a BER string that a `#hex` value holds: UTF8String, PrintableString, IA5String, TeletexString in ASCII,
/// OCTET STRING.
fn ber_text(bytes: &[u8]) -> Option<&str> {
    let mut reader = Reader::new(bytes);
    let element = reader.element().ok()?;
    reader.end().ok()?;
    match element.tag {
        0x04 | 0x0c => std::str::from_utf8(element.contents).ok(),
        0x13 | 0x14 | 0x16 if element.contents.is_ascii() => std::str::from_utf8(element.contents).ok(),
        _ => None,
    }
}

/// A keystring or a dotted number; no options.
fn is_type(text: &str) -> bool {
    attribute::is_description(text.as_bytes()) && !text.contains(';')
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\n' || c == '\r' || c == '\t'
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn fault(&self, problem: &'static str) -> DnError {
        DnError { at: self.at, problem }
    }

    fn rdn(&mut self) -> Result<Rdn, DnError> {
        let mut parts = vec![self.part()?];
        while self.peek() == Some('+') {
            self.at += 1;
            parts.push(self.part()?);
        }
        Ok(Rdn::new(parts))
    }

    fn part(&mut self) -> Result<Part, DnError> {
        self.skip_spaces();
        let start = self.at;
        let Some((name, _)) = self.rest().split_once('=') else {
            return Err(self.fault("expected a type and `=`"));
        };
        let trimmed = name.trim_end_matches(is_space);
        if !is_type(trimmed) {
            return Err(self.fault("malformed attribute type"));
        }
        self.at = start + name.len() + 1;
        self.skip_spaces();
        let value = if self.peek() == Some('#') { self.hex_value()? } else { self.text_value()? };
        Ok(Part { attribute: trimmed.to_owned(), value })
    }

    fn hex_value(&mut self) -> Result<Value, DnError> {
        self.at += 1;
        let mut bytes = Vec::new();
        while let Some(byte) = self.hex_pair() {
            bytes.push(byte);
        }
        self.skip_spaces();
        if bytes.is_empty() || !matches!(self.peek(), None | Some(',' | '+')) {
            return Err(self.fault("expected pairs of hexadecimal digits after `#`"));
        }
        Ok(Value::Ber(bytes))
    }

    fn hex_pair(&mut self) -> Option<u8> {
        let pair = self.rest().get(..2)?;
        if !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(pair, 16).ok()?;
        self.at += 2;
        Some(byte)
    }

    /// A value in which nothing is escaped, taken as it stands.
    fn plain_value(&mut self) -> Option<Value> {
        let rest = self.rest();
        let special = |byte: &u8| matches!(byte, b',' | b'+' | b'\\' | b'"' | b';' | b'<' | b'>' | 0);
        let end = rest.as_bytes().iter().position(special).unwrap_or(rest.len());
        if !matches!(rest.as_bytes().get(end), None | Some(b',' | b'+')) {
            return None;
        }
        let text = rest.get(..end)?.trim_end_matches(is_space);
        self.at += end;
        Some(Value::Text(text.to_owned()))
    }

    fn text_value(&mut self) -> Result<Value, DnError> {
        if let Some(value) = self.plain_value() {
            return Ok(value);
        }
        let mut bytes = Vec::new();
        // Spaces at the end belong to the value only when escaped: everything up to `kept` stays.
        let mut kept = 0;
        while let Some(c) = self.peek() {
            match c {
                ',' | '+' => break,
                '\\' => {
                    self.at += 1;
                    self.escaped(&mut bytes)?;
                    kept = bytes.len();
                }
                '"' | ';' | '<' | '>' | '\0' => return Err(self.fault("character must be escaped")),
                _ => {
                    self.at += c.len_utf8();
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    if !is_space(c) {
                        kept = bytes.len();
                    }
                }
            }
        }
        bytes.truncate(kept);
        Ok(match String::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(fault) => Value::Bytes(fault.into_bytes()),
        })
    }

    fn escaped(&mut self, bytes: &mut Vec<u8>) -> Result<(), DnError> {
        if let Some(byte) = self.hex_pair() {
            bytes.push(byte);
            return Ok(());
        }
        match self.next() {
            Some(c @ (' ' | '"' | '#' | '+' | ',' | ';' | '<' | '=' | '>' | '\\')) => {
                bytes.push(u8::try_from(c).unwrap_or(b'?'));
                Ok(())
            }
            _ => Err(self.fault("`\\` must be followed by a special character or two hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) {
        assert_eq!(Dn::parse(left).unwrap(), Dn::parse(right).unwrap(), "{left} and {right}");
    }

    #[test]
    fn spellings_of_one_name_are_equal() {
        same("CN=Jo  Bloggs, OU=Staff,DC=rxa", "cn=jo bloggs,ou=staff,dc=RXA");
        same("2.5.4.3=Jo,dc=a", "commonName=jo,0.9.2342.19200300.100.1.25=A");
        same("oid.2.5.4.3=Jo", "cn=jo");
        same("cn=a+uid=b,dc=x", "UID=B + CN=A,dc=x");
        same(r"cn=a\2cb", r"cn=a\,b");
        same(r"cn=#04024869", "cn=hi");
        same("cn=Lu\\c4\\8di\\c4\\87", "cn=lučić");
        same("cn=a\u{200b}b", "cn=ab");
    }

    #[test]
    fn names_that_differ_stay_apart() {
        for (left, right) in [
            (r"cn=evil\,dc=nat,dc=x", "cn=evil,dc=nat,dc=x"),
            (r"cn=a\+uid=b", "cn=a+uid=b"),
            (r"cn=\#0402", "cn=#0402"),
            ("cn=a", "sn=a"),
            ("cn=a", "cn=a,dc=x"),
        ] {
            let (left, right) = (Dn::parse(left).unwrap(), Dn::parse(right).unwrap());
            assert_ne!(left, right);
            assert_ne!(left.normal(), right.normal());
        }
    }

    #[test]
    fn suffixes_are_relative_names_not_text() {
        let suffix = Dn::parse("dc=nat").unwrap();
        assert!(Dn::parse("cn=x,DC=Nat").unwrap().is_at_or_below(&suffix));
        assert!(!Dn::parse(r"cn=evil\,dc=nat").unwrap().is_at_or_below(&suffix));
        assert!(!Dn::parse("cn=x,xdc=nat").unwrap().is_at_or_below(&suffix));
        let name = Dn::parse("cn=x,ou=y,dc=nat").unwrap();
        let moved = name.strip_suffix(&suffix).unwrap().join(&Dn::parse("ou=RXA,o=federation").unwrap());
        assert_eq!(moved.to_string(), "cn=x,ou=y,ou=RXA,o=federation");
        assert!(name.is_at_or_below(&Dn::ROOT));
    }

    #[test]
    fn malformed_names_are_refused() {
        for text in [
            "cn",
            "=a",
            "cn=a,",
            ",cn=a",
            "cn=a;b",
            "cn=\"a\"",
            "cn=a\\",
            "cn=a\\zz",
            "cn=#0",
            "cn=#",
            "cn=#04zz",
            "c n=a",
            "cn=a+",
            "cn=a<b",
            "cn;lang-en=a",
            "<GUID=00>",
            "cn=a\0",
        ] {
            assert!(Dn::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn printing_escapes_what_it_must() {
        for text in
            ["", r"cn=\ a\ ", r"cn=\#a", r"cn=a\,b\+c\=d", r"cn=\0a", "cn=#04024869", r"cn=\ff\fe", r"cn=\ "]
        {
            assert_eq!(Dn::parse(text).unwrap().to_string(), text);
        }
        let dn = Dn::parse("dc=x").unwrap().child("cn", "a, b").unwrap();
        assert_eq!(dn.to_string(), r"cn=a\, b,dc=x");
    }
}
