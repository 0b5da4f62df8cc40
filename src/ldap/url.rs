//! LDAP URLs (RFC 4516), as referrals and certificates hold them.

use std::fmt;

use crate::ldap::attribute;
use crate::ldap::dn::Dn;
use crate::ldap::error::UrlError;
use crate::ldap::filter::Filter;
use crate::ldap::message::Scope;

/// An LDAP URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `ldaps` instead of `ldap`.
    pub tls: bool,
    /// Name or address, an IPv6 address without its brackets; empty when the URL names none.
    pub host: String,
    /// If the URL names one; otherwise 389 or 636.
    pub port: Option<u16>,
    /// The entry.
    pub dn: Dn,
    /// Attributes asked for.
    pub attributes: Vec<String>,
    /// Scope, if named.
    pub scope: Option<Scope>,
    /// Filter, if named.
    pub filter: Option<Filter<'static>>,
}

impl Url {
    /// Takes a URL apart. Extensions that are not critical are left out.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ldap" => false,
            "ldaps" => true,
            _ => return Err(UrlError::Scheme),
        };
        let (place, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = read_place(place)?;
        let mut fields = rest.splitn(5, '?');
        let mut field = || fields.next().unwrap_or_default();
        let dn = Dn::parse(&unescape(field())?)?;
        let names = field();
        let mut attributes = Vec::new();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let name = unescape(name)?;
            if name != "*" && name != "+" && !attribute::is_description(name.as_bytes()) {
                return Err(UrlError::Escape);
            }
            attributes.push(name);
        }
        let scope = match field().to_ascii_lowercase().as_str() {
            "" => None,
            "base" => Some(Scope::Base),
            "one" => Some(Scope::One),
            "sub" => Some(Scope::Subtree),
            _ => return Err(UrlError::Scope),
        };
        let filter = match field() {
            "" => None,
            filter => Some(Filter::parse(&unescape(filter)?)?),
        };
        if field().split(',').any(|extension| extension.starts_with('!')) {
            return Err(UrlError::Extension);
        }
        Ok(Url { tls, host, port, dn, attributes, scope, filter })
    }

    /// The port to go to.
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 636 } else { 389 })
    }
}

fn read_place(place: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(UrlError::Host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':').ok_or(UrlError::Host)?)),
            }
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if !host.bytes().all(good) {
        return Err(UrlError::Host);
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| UrlError::Host)?)
        }
        Some(_) => return Err(UrlError::Host),
    };
    Ok((host.to_owned(), port))
}

fn unescape(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit =
            || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or(UrlError::Escape);
        let value = digit()? << 4 | digit()?;
        bytes.push(u8::try_from(value).map_err(|_| UrlError::Escape)?);
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Escape)
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'='
            | b','
            | b';'
            | b':'
            | b'('
            | b')'
            | b'*'
            | b'&'
            | b'!'
            | b'+'
            | b'@' => fmt::Write::write_char(f, char::from(byte))?,
            _ => write!(f, "%{byte:02X}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "ldaps://" } else { "ldap://" })?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str("/")?;
        escape(f, &self.dn.to_string())?;
        if self.attributes.is_empty() && self.scope.is_none() && self.filter.is_none() {
            return Ok(());
        }
        f.write_str("?")?;
        escape(f, &self.attributes.join(","))?;
        f.write_str("?")?;
        f.write_str(match self.scope {
            None => "",
            Some(Scope::Base) => "base",
            Some(Scope::One) => "one",
            Some(Scope::Subtree | Scope::Children) => "sub",
        })?;
        if let Some(filter) = &self.filter {
            f.write_str("?")?;
            escape(f, &filter.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_back_as_they_were() {
        for text in [
            "ldap://dc1.rxa.test/",
            "ldaps://[2001:db8::7]:3269/dc=rxa,dc=test",
            "ldap:///ou=a%20b,dc=x?cn,sn?sub?(cn=a%20*)",
            "ldap://h/??base",
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "http://h/",
            "ldap://h:x/",
            "ldap://h/%zz",
            "ldap://h/cn",
            "ldap://h/??deep",
            "ldap://h/????!x",
            "ldap://a@b/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
