//! Entries: owned, borrowed from a message, and a reader that walks a SearchResultEntry without allocating.

use std::borrow::Cow;
use std::ops::Range;

use crate::ldap::attribute;
use crate::ldap::ber::{self, Reader};
use crate::ldap::control::{CONTROLS, Control};
use crate::ldap::error::{DecodeError, Limit};
use crate::ldap::limits::Limits;

/// Tag of a SearchResultEntry.
pub const SEARCH_ENTRY: u8 = 0x64;

/// An entry of our own.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// The name as the directory wrote it.
    pub dn: String,
    /// In the order sent.
    pub attributes: Vec<Attribute>,
}

/// An attribute of our own.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Attribute {
    /// Name or OID and options, as written.
    pub description: String,
    /// Bytes; may be empty when only types were asked for.
    pub values: Vec<Vec<u8>>,
}

impl Entry {
    /// The values of an attribute, found by any of its names, options not regarded; empty when it is absent.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let wanted = attribute::canonical_name(name).into_owned();
        self.attributes
            .iter()
            .filter(move |attribute| attribute::canonical_name(&attribute.description) == wanted)
            .flat_map(|attribute| attribute.values.iter().map(Vec::as_slice))
    }

    /// The first value of an attribute, found by any of its names.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The first value of an attribute if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.first(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All values of an attribute that are UTF-8.
    pub fn texts<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values(name).filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The attribute is there, under any of its names, with or without values.
    pub fn has(&self, name: &str) -> bool {
        let wanted = attribute::canonical_name(name);
        self.attributes.iter().any(|attribute| attribute::canonical_name(&attribute.description) == wanted)
    }

    /// The same entry for a message.
    pub fn as_wire(&self) -> WireEntry<'_> {
        WireEntry {
            dn: Cow::Borrowed(&self.dn),
            attributes: self
                .attributes
                .iter()
                .map(|attribute| WireAttribute {
                    description: Cow::Borrowed(&attribute.description),
                    values: attribute.values.iter().map(|value| Cow::Borrowed(value.as_slice())).collect(),
                })
                .collect(),
        }
    }
}

/// An entry inside a message: SearchResultEntry and AddRequest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WireEntry<'a> {
    /// The name as written.
    pub dn: Cow<'a, str>,
    /// In the order sent.
    pub attributes: Vec<WireAttribute<'a>>,
}

/// An attribute inside a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WireAttribute<'a> {
    /// Name or OID and options, as written.
    pub description: Cow<'a, str>,
    /// Bytes.
    pub values: Vec<Cow<'a, [u8]>>,
}

impl WireEntry<'_> {
    /// The same, owned.
    pub fn to_entry(&self) -> Entry {
        Entry {
            dn: self.dn.clone().into_owned(),
            attributes: self
                .attributes
                .iter()
                .map(|attribute| Attribute {
                    description: attribute.description.clone().into_owned(),
                    values: attribute.values.iter().map(|value| value.clone().into_owned()).collect(),
                })
                .collect(),
        }
    }
}

/// A SearchResultEntry message, walked without allocating.
///
/// [`EntryReader::read`] checks everything around the attribute list; [`EntryReader::attributes`] checks the list to the
/// last byte while it walks. Write nothing before the walk has ended without an error.
#[derive(Debug, Clone)]
pub struct EntryReader<'a> {
    /// The message id.
    pub id: i32,
    /// The name as written.
    pub dn: &'a str,
    /// Controls of the message; reading an entry allocates only if it has any.
    pub controls: Vec<Control<'a>>,
    list: &'a [u8],
    limits: Limits,
}

impl<'a> EntryReader<'a> {
    /// Reads one whole message (as [`crate::ldap::codec::frame`] cuts them). `DecodeError::Operation` when it is another one.
    pub fn read(message: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut outer = Reader::new(message);
        let mut body = outer.nested(ber::SEQUENCE)?;
        outer.end()?;
        if body.rest().len() > limits.message_bytes {
            return Err(DecodeError::Limit(Limit::MessageBytes));
        }
        let id = body.integer(ber::INTEGER)?;
        if id < 0 {
            return Err(DecodeError::Integer);
        }
        let operation = body.element()?;
        if operation.tag != SEARCH_ENTRY {
            return Err(DecodeError::Operation(operation.tag));
        }
        let controls = match body.optional(CONTROLS)? {
            Some(contents) => Control::read_list(contents, limits)?,
            None => Vec::new(),
        };
        body.end()?;
        let mut operation = Reader::new(operation.contents);
        let dn = checked_dn(operation.octets()?, limits)?;
        let list = operation.expect(ber::SEQUENCE)?;
        operation.end()?;
        Ok(EntryReader { id, dn, controls, list, limits: *limits })
    }

    /// The contents of the attribute list; [`AttributeView::range`] counts in it.
    pub fn list(&self) -> &'a [u8] {
        self.list
    }

    /// Walks the attributes. After an error the walk ends.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes {
            whole: self.list.len(),
            rest: Reader::new(self.list),
            limits: self.limits,
            attributes: 0,
            values: 0,
        }
    }

    /// The whole entry, owned; checks everything.
    pub fn to_entry(&self) -> Result<Entry, DecodeError> {
        let mut attributes = Vec::new();
        for attribute in self.attributes() {
            let attribute = attribute?;
            attributes.push(Attribute {
                description: attribute.name.to_owned(),
                values: attribute.values().map(<[u8]>::to_vec).collect(),
            });
        }
        Ok(Entry { dn: self.dn.to_owned(), attributes })
    }
}

/// The walk over an attribute list.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    whole: usize,
    rest: Reader<'a>,
    limits: Limits,
    attributes: usize,
    values: usize,
}

/// One attribute of the list, checked to its last byte.
#[derive(Debug, Clone)]
pub struct AttributeView<'a> {
    /// Name or OID and options, as written; its characters are checked.
    pub name: &'a str,
    /// Where its element stands in [`EntryReader::list`], tag and length included.
    pub range: Range<usize>,
    /// Every length in `range` is minimal: these bytes may be copied as they are.
    pub canonical: bool,
    /// How many values.
    pub count: usize,
    /// Bytes of all values as canonical elements: the contents of the SET OF.
    pub values_size: usize,
    values: &'a [u8],
}

impl<'a> AttributeView<'a> {
    /// The values, in order.
    #[inline]
    pub fn values(&self) -> Values<'a> {
        Values { rest: Reader::new(self.values) }
    }

    /// Bytes of the whole attribute when written canonically under a name of `name_length` bytes.
    #[inline]
    pub fn size_as(&self, name_length: usize, values_size: usize) -> usize {
        ber::tlv_size(ber::tlv_size(name_length) + ber::tlv_size(values_size))
    }
}

/// The values of an attribute that was checked already.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() { None } else { self.rest.octets().ok() }
    }
}

impl<'a> Attributes<'a> {
    fn read(&mut self) -> Result<AttributeView<'a>, DecodeError> {
        let start = self.whole - self.rest.rest().len();
        let element = self.rest.element()?;
        if element.tag != ber::SEQUENCE {
            return Err(DecodeError::Tag(element.tag));
        }
        self.attributes += 1;
        if self.attributes > self.limits.attributes {
            return Err(DecodeError::Limit(Limit::Attributes));
        }
        let mut canonical = element.minimal;
        let mut attribute = Reader::new(element.contents);
        let name = attribute.element()?;
        if name.tag != ber::OCTET_STRING {
            return Err(DecodeError::Tag(name.tag));
        }
        let set = attribute.element()?;
        if set.tag != ber::SET {
            return Err(DecodeError::Tag(set.tag));
        }
        attribute.end()?;
        canonical &= name.minimal & set.minimal;
        let name = attribute::checked_description(name.contents, &self.limits)?;
        let (mut count, mut values_size) = (0, 0);
        let mut values = Reader::new(set.contents);
        while !values.is_empty() {
            let value = values.element()?;
            if value.tag != ber::OCTET_STRING {
                return Err(DecodeError::Tag(value.tag));
            }
            canonical &= value.minimal;
            count += 1;
            values_size += ber::tlv_size(value.contents.len());
        }
        self.values += count;
        if self.values > self.limits.values {
            return Err(DecodeError::Limit(Limit::Values));
        }
        let end = self.whole - self.rest.rest().len();
        Ok(AttributeView { name, range: start..end, canonical, count, values_size, values: set.contents })
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<AttributeView<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(read)
    }
}

/// A name inside a message: UTF-8 within the limit. Its syntax is for [`crate::ldap::dn::Dn::parse`].
pub(crate) fn checked_dn<'a>(contents: &'a [u8], limits: &Limits) -> Result<&'a str, DecodeError> {
    if contents.len() > limits.dn_bytes {
        return Err(DecodeError::Limit(Limit::DnBytes));
    }
    ber::utf8(contents)
}
