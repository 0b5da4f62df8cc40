//! Attribute descriptions (RFC 4512 section 2.5): names, object identifiers, options, and which of them mean the same.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::ldap::error::{DecodeError, DescriptionError, Limit};
use crate::ldap::limits::Limits;
use crate::ldap::schema::{self, Syntax};

/// An attribute type that is known by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// As the schema spells it, for example `sAMAccountName`.
    pub name: &'static str,
    /// Lower case; what every other spelling comes down to.
    pub canonical: String,
    /// Dotted decimal.
    pub oid: &'static str,
    /// How its values compare.
    pub syntax: Syntax,
}

static KNOWN: LazyLock<HashMap<String, Known>> = LazyLock::new(|| {
    let mut index = HashMap::new();
    for (names, oids, syntax) in schema::ATTRIBUTES {
        let mut names = names.split(' ');
        let Some(name) = names.next() else { continue };
        let oid = oids.split(' ').next().unwrap_or_default();
        let known = Known { name, canonical: name.to_ascii_lowercase(), oid, syntax: *syntax };
        for key in names.chain(oids.split(' ')).chain([name]) {
            index.insert(key.to_ascii_lowercase(), known.clone());
        }
    }
    index
});

/// The name without options, and without Active Directory's `OID.` prefix.
fn bare(description: &str) -> &str {
    let name = description.split(';').next().unwrap_or_default();
    match name.split_at_checked(4) {
        Some((prefix, oid)) if prefix.eq_ignore_ascii_case("oid.") => oid,
        _ => name,
    }
}

/// What is known about an attribute, by any of its names or OIDs, options not regarded.
pub fn known(description: &str) -> Option<&'static Known> {
    let name = bare(description);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        KNOWN.get(name.to_ascii_lowercase().as_str())
    } else {
        KNOWN.get(name)
    }
}

/// The one lower-case name of an attribute: aliases and OIDs of known attributes come down to their primary name
/// (`2.5.4.4`, `SurName` and `sn;lang-en` all give `sn`), others to themselves in lower case. Options are left out.
pub fn canonical_name(description: &str) -> Cow<'_, str> {
    if let Some(known) = known(description) {
        return Cow::Borrowed(known.canonical.as_str());
    }
    let name = bare(description);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// How values of the attribute compare: by the table, else by its options (`;binary`), else as text without case.
pub fn syntax(description: &str) -> Syntax {
    if let Some(known) = known(description) {
        return known.syntax;
    }
    let binary = description.split(';').skip(1).any(|option| option.eq_ignore_ascii_case("binary"));
    if binary { Syntax::Octets } else { Syntax::CaseIgnore }
}

/// An attribute description, taken apart and brought to one form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Description {
    /// Canonical name, lower case; see [`canonical_name`].
    pub name: String,
    /// Lower case, sorted, each once; for example `lang-en`, `binary`, `range=0-1499`.
    pub options: Vec<String>,
}

impl Description {
    /// Takes a description apart.
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        if !is_description(text.as_bytes()) {
            return Err(DescriptionError);
        }
        let name = canonical_name(text).into_owned();
        let mut options: Vec<String> = text.split(';').skip(1).map(str::to_ascii_lowercase).collect();
        options.sort();
        options.dedup();
        Ok(Description { name, options })
    }

    /// `self` is `other` or a subtype of it by options: same name, and all of `other`'s options.
    pub fn is_at_or_below(&self, other: &Description) -> bool {
        self.name == other.name && other.options.iter().all(|option| self.options.contains(option))
    }

    /// Active Directory's `range=a-b` option: first index, and last index or none for `*`.
    pub fn range(&self) -> Option<(u32, Option<u32>)> {
        self.options.iter().find_map(|option| {
            let (first, last) = option.strip_prefix("range=")?.split_once('-')?;
            let last = if last == "*" { None } else { Some(last.parse().ok()?) };
            Some((first.parse().ok()?, last))
        })
    }
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        self.options.iter().try_for_each(|option| write!(f, ";{option}"))
    }
}

/// Characters of a name: letters, digits, `-`, `.`, and `_`, which directories have in spite of RFC 4512.
const fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

const fn table(options: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0_u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a byte is always inside 256 places")]
        {
            table[at as usize] = name_byte(at) || (options && matches!(at, b';' | b'=' | b'*'));
        }
        if at == 255 {
            return table;
        }
        at += 1;
    }
}

/// [`is_description`] without `=` and `*` in options: what filters and comparisons may name, so that a filter's text is
/// never read differently from its bytes.
pub fn is_plain_description(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b';').all(|part| !part.is_empty() && all(&NAME, part))
}

static NAME: [bool; 256] = table(false);
static OPTION: [bool; 256] = table(true);

fn all(table: &[bool; 256], bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| table.get(usize::from(*byte)).copied().unwrap_or(false))
}

/// The bytes are a name or OID, then options after `;`. Options may hold `=` and `*`, for `range=0-*`.
pub fn is_description(bytes: &[u8]) -> bool {
    if !bytes.is_empty() && all(&NAME, bytes) {
        return true;
    }
    let mut parts = bytes.split(|byte| *byte == b';');
    let name = parts.next().unwrap_or_default();
    !name.is_empty() && all(&NAME, name) && parts.all(|option| !option.is_empty() && all(&OPTION, option))
}

/// A description inside a message. It is ASCII, so it is also UTF-8.
#[inline]
pub(crate) fn checked_description<'a>(contents: &'a [u8], limits: &Limits) -> Result<&'a str, DecodeError> {
    if contents.len() > limits.name_bytes {
        return Err(DecodeError::Limit(Limit::NameBytes));
    }
    if !is_description(contents) {
        return Err(DecodeError::Name);
    }
    std::str::from_utf8(contents).map_err(|_| DecodeError::Name)
}

/// A description inside a filter or comparison.
pub(crate) fn checked_plain<'a>(contents: &'a [u8], limits: &Limits) -> Result<&'a str, DecodeError> {
    let description = checked_description(contents, limits)?;
    if is_plain_description(contents) { Ok(description) } else { Err(DecodeError::Name) }
}

/// An element of a search's attribute list: a description, or `*`, `+`, `@class` (RFC 4511, 3673, 4529).
pub(crate) fn checked_selector<'a>(contents: &'a [u8], limits: &Limits) -> Result<&'a str, DecodeError> {
    match contents {
        b"*" => Ok("*"),
        b"+" => Ok("+"),
        [b'@', class @ ..] => {
            checked_description(class, limits)?;
            std::str::from_utf8(contents).map_err(|_| DecodeError::Name)
        }
        _ => checked_description(contents, limits),
    }
}

/// An object identifier inside a message: digits and single dots.
pub(crate) fn checked_oid<'a>(contents: &'a [u8], limits: &Limits) -> Result<&'a str, DecodeError> {
    if contents.len() > limits.name_bytes {
        return Err(DecodeError::Limit(Limit::NameBytes));
    }
    let part = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !contents.split(|byte| *byte == b'.').all(part) {
        return Err(DecodeError::Name);
    }
    std::str::from_utf8(contents).map_err(|_| DecodeError::Name)
}
