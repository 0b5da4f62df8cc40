//! The two suffixes of a mounted tree, and names carried over between them.

use std::borrow::Cow;

use crate::ldap::dn::Dn;
use crate::namespace::error::MappingError;

/// One suffix, as text and taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suffix {
    pub text: String,
    pub dn: Dn,
}

impl Suffix {
    /// # Errors
    ///
    /// When `text` is no distinguished name or the empty one.
    pub fn parse(text: &str) -> Result<Suffix, MappingError> {
        let dn = Dn::parse(text).map_err(|_| MappingError::Suffix(text.to_owned()))?;
        if dn.is_root() {
            return Err(MappingError::EmptySuffix);
        }
        Ok(Suffix { text: dn.to_string(), dn })
    }
}

/// Bytes of the part of `name` before `suffix`, comma included, when `name` is in a plain spelling (no escapes, no
/// quotes, the suffix spelled as ours but for case): 0 for the suffix itself. `None`: take it apart to know.
#[inline]
pub fn plain_prefix(name: &str, suffix: &str) -> Option<usize> {
    let at = name.len().checked_sub(suffix.len())?;
    let (prefix, tail) = name.split_at_checked(at)?;
    if !tail.eq_ignore_ascii_case(suffix) {
        return None;
    }
    let Some(body) = prefix.strip_suffix(',') else { return prefix.is_empty().then_some(0) };
    let special =
        |b: u8| b < 0x20 || b == 0x7f || matches!(b, b'\\' | b'"' | b'#' | b'+' | b';' | b'<' | b'>');
    if body.bytes().any(special) || !well_formed(body) {
        return None;
    }
    Some(at)
}

/// Every part between commas is `type=value`, type and value not empty, no second `=`, no blanks at the edges.
fn well_formed(body: &str) -> bool {
    body.split(',').all(|part| match part.split_once('=') {
        Some((kind, value)) => {
            !kind.is_empty()
                && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
                && !value.is_empty()
                && !value.contains('=')
                && !value.starts_with(' ')
                && !value.ends_with(' ')
        }
        None => false,
    })
}

/// `name` carried from below `from` to below `to`, in two pieces to be written one after the other. `Ok(None)` when it
/// lies elsewhere, `Err` when it is no name.
pub fn carry<'a>(
    name: &'a str,
    from: &Suffix,
    to: &'a Suffix,
) -> Result<Option<(Cow<'a, str>, &'a str)>, NotAName> {
    if let Some(at) = plain_prefix(name, &from.text) {
        return Ok(name.get(..at).map(|prefix| (Cow::Borrowed(prefix), to.text.as_str())));
    }
    let dn = Dn::parse(name).map_err(|_| NotAName)?;
    let Some(above) = dn.strip_suffix(&from.dn) else { return Ok(None) };
    let mut prefix = above.to_string();
    if !above.is_root() {
        prefix.push(',');
    }
    Ok(Some((Cow::Owned(prefix), &to.text)))
}

/// A text that is no distinguished name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAName;

/// Whether `value` holds the text of `suffix` anywhere, whatever the case and with blanks anywhere.
pub fn mentions(value: &[u8], suffix: &str) -> bool {
    if !value.contains(&b'=') {
        return false;
    }
    let squeeze = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().filter(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect()
    };
    let (value, suffix) = (squeeze(value), squeeze(suffix.as_bytes()));
    value.windows(suffix.len()).any(|w| w == suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suffix(text: &str) -> Suffix {
        Suffix::parse(text).unwrap()
    }

    fn carried(name: &str) -> Result<Option<String>, NotAName> {
        let (from, to) = (suffix("DC=rxa,DC=test"), suffix("ou=RXA,o=federation"));
        carry(name, &from, &to).map(|c| c.map(|(prefix, suffix)| format!("{prefix}{suffix}")))
    }

    #[test]
    fn names_are_carried_whatever_their_spelling() {
        for (name, expected) in [
            ("DC=rxa,DC=test", "ou=RXA,o=federation"),
            ("dc=RXA,dc=TEST", "ou=RXA,o=federation"),
            ("CN=Jo,DC=rxa,DC=test", "CN=Jo,ou=RXA,o=federation"),
            ("CN=Jo, DC=rxa , DC=test", "CN=Jo,ou=RXA,o=federation"),
            ("CN=Smith\\, Jo,DC=rxa,DC=test", "CN=Smith\\,Jo,ou=RXA,o=federation"),
        ] {
            let got = carried(name).unwrap().unwrap();
            assert_eq!(
                Dn::parse(&got).unwrap(),
                Dn::parse(&expected.replace("\\,Jo", "\\, Jo")).unwrap(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_suffix_inside_a_value_is_no_suffix() {
        assert_eq!(carried("CN=x\\,DC=rxa,DC=test"), Ok(None));
        assert_eq!(carried("CN=evilDC=rxa,DC=test"), Ok(None));
        assert_eq!(carried("DC=test"), Ok(None));
        assert_eq!(carried("CN=Jo,DC=rxb,DC=test"), Ok(None));
        assert_eq!(carried("<GUID=00>,DC=rxa,DC=test"), Err(NotAName));
        assert_eq!(carried("nonsense"), Err(NotAName));
    }

    #[test]
    fn mentions_are_found() {
        assert!(mentions(b"see ou=staff, dc=RXA , dc=test.", "DC=rxa,DC=test"));
        assert!(!mentions(b"jo@rxa.test", "DC=rxa,DC=test"));
        assert!(!mentions(b"", "DC=rxa,DC=test"));
    }
}
