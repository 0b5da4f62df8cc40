//! Search filters as values (RFC 4511 section 4.5.1.7, RFC 4526), and how they are written as text (RFC 4515).
//!
//! Reading text is in [`crate::ldap::filter_text`], bytes in [`crate::ldap::filter_wire`].

use std::borrow::Cow;
use std::fmt;

/// A filter. `And` of nothing is absolutely true, `Or` of nothing absolutely false (RFC 4526).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter<'a> {
    /// `(&...)`
    And(Vec<Filter<'a>>),
    /// `(|...)`
    Or(Vec<Filter<'a>>),
    /// `(!...)`
    Not(Box<Filter<'a>>),
    /// `(a=b)`
    Equality(Assertion<'a>),
    /// `(a>=b)`
    GreaterOrEqual(Assertion<'a>),
    /// `(a<=b)`
    LessOrEqual(Assertion<'a>),
    /// `(a~=b)`
    Approximate(Assertion<'a>),
    /// `(a=b*c*d)`
    Substrings(Substrings<'a>),
    /// `(a=*)`
    Present(Cow<'a, str>),
    /// `(a:dn:rule:=b)`
    Extensible(Extensible<'a>),
}

/// An attribute and a value to hold it against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Assertion<'a> {
    /// Attribute description, as written.
    pub attribute: Cow<'a, str>,
    /// Bytes, not escaped.
    pub value: Cow<'a, [u8]>,
}

/// Parts of a value, in order. At least one part; no part is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Substrings<'a> {
    /// Attribute description, as written.
    pub attribute: Cow<'a, str>,
    /// How the value starts.
    pub initial: Option<Cow<'a, [u8]>>,
    /// What follows, in order.
    pub any: Vec<Cow<'a, [u8]>>,
    /// How the value ends.
    pub last: Option<Cow<'a, [u8]>>,
}

/// A match by a named rule. At least one of `rule` and `attribute` is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Extensible<'a> {
    /// Matching rule, by name or OID.
    pub rule: Option<Cow<'a, str>>,
    /// Attribute description; absent means every attribute that the rule fits.
    pub attribute: Option<Cow<'a, str>>,
    /// Bytes, not escaped.
    pub value: Cow<'a, [u8]>,
    /// Also match against the attributes in the entry's name.
    pub dn_attributes: bool,
}

fn owned_text(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn owned_bytes(bytes: Cow<'_, [u8]>) -> Cow<'static, [u8]> {
    Cow::Owned(bytes.into_owned())
}

impl<'a> Assertion<'a> {
    /// An assertion.
    pub fn new(attribute: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Assertion { attribute: attribute.into(), value: value.into() }
    }

    /// The same, owned.
    pub fn into_owned(self) -> Assertion<'static> {
        Assertion { attribute: owned_text(self.attribute), value: owned_bytes(self.value) }
    }
}

impl<'a> Filter<'a> {
    /// Matches every entry.
    pub const TRUE: Filter<'static> = Filter::And(Vec::new());
    /// Matches no entry.
    pub const FALSE: Filter<'static> = Filter::Or(Vec::new());

    /// `(attribute=value)`
    pub fn equal(attribute: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Filter::Equality(Assertion::new(attribute, value))
    }

    /// `(attribute=*)`
    pub fn present(attribute: impl Into<Cow<'a, str>>) -> Self {
        Filter::Present(attribute.into())
    }

    /// The opposite.
    pub fn negate(self) -> Self {
        Filter::Not(Box::new(self))
    }

    /// An attribute among `these` that some part of the filter holds a value against. Presence holds none; a match by rule that names
    /// no attribute is against all of them, and answers with the rule.
    pub fn compares(&self, these: &impl Fn(&str) -> bool) -> Option<&str> {
        match self {
            Filter::And(parts) | Filter::Or(parts) => parts.iter().find_map(|part| part.compares(these)),
            Filter::Not(inner) => inner.compares(these),
            Filter::Equality(held)
            | Filter::GreaterOrEqual(held)
            | Filter::LessOrEqual(held)
            | Filter::Approximate(held) => Some(&*held.attribute).filter(|name| these(name)),
            Filter::Substrings(held) => Some(&*held.attribute).filter(|name| these(name)),
            Filter::Present(_) => None,
            Filter::Extensible(Extensible { attribute: Some(name), .. }) => {
                Some(&**name).filter(|name| these(name))
            }
            Filter::Extensible(Extensible { rule, .. }) => Some(rule.as_deref().unwrap_or(":=")),
        }
    }

    /// Tells every attribute that some part of the filter is about, as often as it comes.
    pub fn each_attribute<'f>(&'f self, tell: &mut impl FnMut(&'f str)) {
        match self {
            Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| part.each_attribute(tell)),
            Filter::Not(inner) => inner.each_attribute(tell),
            Filter::Equality(held)
            | Filter::GreaterOrEqual(held)
            | Filter::LessOrEqual(held)
            | Filter::Approximate(held) => tell(&held.attribute),
            Filter::Substrings(held) => tell(&held.attribute),
            Filter::Present(name) => tell(name),
            Filter::Extensible(held) => held.attribute.iter().for_each(|name| tell(name)),
        }
    }

    /// The same, owned.
    pub fn into_owned(self) -> Filter<'static> {
        match self {
            Filter::And(all) => Filter::And(all.into_iter().map(Filter::into_owned).collect()),
            Filter::Or(any) => Filter::Or(any.into_iter().map(Filter::into_owned).collect()),
            Filter::Not(inner) => Filter::Not(Box::new(inner.into_owned())),
            Filter::Equality(assertion) => Filter::Equality(assertion.into_owned()),
            Filter::GreaterOrEqual(assertion) => Filter::GreaterOrEqual(assertion.into_owned()),
            Filter::LessOrEqual(assertion) => Filter::LessOrEqual(assertion.into_owned()),
            Filter::Approximate(assertion) => Filter::Approximate(assertion.into_owned()),
            Filter::Substrings(parts) => Filter::Substrings(Substrings {
                attribute: owned_text(parts.attribute),
                initial: parts.initial.map(owned_bytes),
                any: parts.any.into_iter().map(owned_bytes).collect(),
                last: parts.last.map(owned_bytes),
            }),
            Filter::Present(attribute) => Filter::Present(owned_text(attribute)),
            Filter::Extensible(rule) => Filter::Extensible(Extensible {
                rule: rule.rule.map(owned_text),
                attribute: rule.attribute.map(owned_text),
                value: owned_bytes(rule.value),
                dn_attributes: rule.dn_attributes,
            }),
        }
    }
}

/// Writes a value with the characters of RFC 4515 escaped; whatever is not UTF-8 is escaped byte by byte.
fn write_value(f: &mut fmt::Formatter<'_>, value: &[u8]) -> fmt::Result {
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '*' | '(' | ')' | '\\' | '\0'..='\x1f' | '\x7f' => write!(f, "\\{:02x}", u32::from(c))?,
                _ => fmt::Write::write_char(f, c)?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\{byte:02x}")?;
        }
    }
    Ok(())
}

fn write_set(f: &mut fmt::Formatter<'_>, sign: char, filters: &[Filter<'_>]) -> fmt::Result {
    write!(f, "({sign}")?;
    for filter in filters {
        fmt::Display::fmt(filter, f)?;
    }
    f.write_str(")")
}

fn write_assertion(f: &mut fmt::Formatter<'_>, sign: &str, assertion: &Assertion<'_>) -> fmt::Result {
    write!(f, "({}{sign}", assertion.attribute)?;
    write_value(f, &assertion.value)?;
    f.write_str(")")
}

impl fmt::Display for Substrings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}=", self.attribute)?;
        write_value(f, self.initial.as_deref().unwrap_or_default())?;
        f.write_str("*")?;
        for part in &self.any {
            write_value(f, part)?;
            f.write_str("*")?;
        }
        write_value(f, self.last.as_deref().unwrap_or_default())?;
        f.write_str(")")
    }
}

impl fmt::Display for Extensible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        f.write_str(self.attribute.as_deref().unwrap_or_default())?;
        if self.dn_attributes {
            f.write_str(":dn")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ":{rule}")?;
        }
        f.write_str(":=")?;
        write_value(f, &self.value)?;
        f.write_str(")")
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::And(all) => write_set(f, '&', all),
            Filter::Or(any) => write_set(f, '|', any),
            Filter::Not(inner) => write!(f, "(!{inner})"),
            Filter::Equality(assertion) => write_assertion(f, "=", assertion),
            Filter::GreaterOrEqual(assertion) => write_assertion(f, ">=", assertion),
            Filter::LessOrEqual(assertion) => write_assertion(f, "<=", assertion),
            Filter::Approximate(assertion) => write_assertion(f, "~=", assertion),
            Filter::Substrings(parts) => fmt::Display::fmt(parts, f),
            Filter::Present(attribute) => write!(f, "({attribute}=*)"),
            Filter::Extensible(rule) => fmt::Display::fmt(rule, f),
        }
    }
}
