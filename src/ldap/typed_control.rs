//! The controls whose values are understood here. Each has its `OID`, makes itself into a
//! [`crate::ldap::control::Control`] and reads itself from a control's value.

use std::borrow::Cow;

use crate::ldap::attribute;
use crate::ldap::ber::{self, Reader};
use crate::ldap::control::Control;
use crate::ldap::entry::{Attribute, Entry, checked_dn};
use crate::ldap::error::{DecodeError, Limit};
use crate::ldap::filter::Filter;
use crate::ldap::filter_wire;
use crate::ldap::limits::Limits;
use crate::ldap::message::ResultCode;
use crate::ldap::tag;

/// Show deleted objects (MS-ADTS 3.1.1.3.4.1.14); has no value.
pub const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
/// Tell of every change, without end (MS-ADTS 3.1.1.3.4.1.9); has no value.
pub const NOTIFICATION: &str = "1.2.840.113556.1.4.528";
/// Show recycled objects (MS-ADTS 3.1.1.3.4.1.26); has no value.
pub const SHOW_RECYCLED: &str = "1.2.840.113556.1.4.2064";
/// Treat referral objects as entries (RFC 3296); has no value.
pub const MANAGE_DSA_IT: &str = "2.16.840.1.113730.3.4.2";
/// Do not chase referrals while searching (MS-ADTS 3.1.1.3.4.1.4); has no value.
pub const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";
/// Act for somebody else (RFC 4370).
pub const PROXIED_AUTHORIZATION: &str = "2.16.840.1.113730.3.4.18";
/// The same in the form of an early draft (draft-weltman-ldapv3-proxy-04), which some clients still send.
pub const PROXIED_AUTHORIZATION_DRAFT: &str = "2.16.840.1.113730.3.4.12";
/// Do it only if a filter is true of the entry (RFC 4528).
pub const ASSERTION: &str = "1.3.6.1.1.12";
/// The entry as it was before (RFC 4527).
pub const PRE_READ: &str = "1.3.6.1.1.13.1";
/// The entry as it is after (RFC 4527).
pub const POST_READ: &str = "1.3.6.1.1.13.2";
/// Values that match only (RFC 3876).
pub const MATCHED_VALUES: &str = "1.2.826.0.1.3344810.2.3";

fn make(oid: &'static str, critical: bool, value: Vec<u8>) -> Control<'static> {
    Control { oid: Cow::Borrowed(oid), critical, value: Some(Cow::Owned(value)) }
}

/// A control without a value: `SHOW_DELETED`, `SHOW_RECYCLED`, `MANAGE_DSA_IT`, `DOMAIN_SCOPE`.
pub fn without_value(oid: &'static str, critical: bool) -> Control<'static> {
    Control { oid: Cow::Borrowed(oid), critical, value: None }
}

/// The value of the control with this OID; `Truncated` when it has none.
pub fn value_of<'c>(controls: &'c [Control<'_>], oid: &str) -> Option<Result<&'c [u8], DecodeError>> {
    let control = controls.iter().find(|control| control.oid == oid)?;
    Some(control.value.as_deref().ok_or(DecodeError::Truncated))
}

fn within(tag: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let start = ber::open(&mut out, tag);
    write(&mut out);
    ber::close(&mut out, start);
    out
}

fn sequence(value: &[u8]) -> Result<Reader<'_>, DecodeError> {
    let mut outer = Reader::new(value);
    let inner = outer.nested(ber::SEQUENCE)?;
    outer.end()?;
    Ok(inner)
}

/// Paged results (RFC 2696).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PagedResults {
    /// Entries of a page; in an answer, an estimate of all entries, or 0.
    pub size: u32,
    /// Where to go on; empty at the start and at the end.
    pub cookie: Vec<u8>,
}

impl PagedResults {
    /// Its OID.
    pub const OID: &'static str = "1.2.840.113556.1.4.319";

    /// As a control.
    pub fn control(&self, critical: bool) -> Control<'static> {
        let value = within(ber::SEQUENCE, |out| {
            ber::put_int(out, ber::INTEGER, i32::try_from(self.size).unwrap_or(i32::MAX));
            ber::put_octets(out, ber::OCTET_STRING, &self.cookie);
        });
        make(Self::OID, critical, value)
    }

    /// Reads a control's value.
    pub fn read(value: &[u8]) -> Result<Self, DecodeError> {
        let mut body = sequence(value)?;
        let size = body.unsigned(ber::INTEGER)?;
        let cookie = body.octets()?.to_vec();
        body.end()?;
        Ok(PagedResults { size, cookie })
    }
}

/// Directory synchronisation, as asked (MS-ADTS 3.1.1.3.4.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirSync {
    /// Bits of `DirSync::OBJECT_SECURITY` and its fellows.
    pub flags: u32,
    /// Bytes that an answer should not pass.
    pub max_bytes: u32,
    /// Where to go on; empty at the start.
    pub cookie: Vec<u8>,
}

/// Directory synchronisation, as answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirSyncAnswer {
    /// More changes wait: ask again with the cookie.
    pub more: bool,
    /// Where to go on.
    pub cookie: Vec<u8>,
}

impl DirSync {
    /// Its OID, of both directions.
    pub const OID: &'static str = "1.2.840.113556.1.4.841";
    /// Only what the asking account may read; asks for no replication right.
    pub const OBJECT_SECURITY: u32 = 0x1;
    /// Parents come before children.
    pub const ANCESTORS_FIRST_ORDER: u32 = 0x800;
    /// Hide what is not public.
    pub const PUBLIC_DATA_ONLY: u32 = 0x2000;
    /// Of multi-valued links, only the changed values.
    pub const INCREMENTAL_VALUES: u32 = 0x8000_0000;

    /// As a control. The flags travel as a signed INTEGER of 32 bits: the top bit makes it negative.
    pub fn control(&self, critical: bool) -> Control<'static> {
        let value = within(ber::SEQUENCE, |out| {
            ber::put_int(out, ber::INTEGER, self.flags.cast_signed());
            ber::put_int(out, ber::INTEGER, i32::try_from(self.max_bytes).unwrap_or(i32::MAX));
            ber::put_octets(out, ber::OCTET_STRING, &self.cookie);
        });
        make(Self::OID, critical, value)
    }

    /// Reads a request's value.
    pub fn read(value: &[u8]) -> Result<Self, DecodeError> {
        let mut body = sequence(value)?;
        let flags = body.integer(ber::INTEGER)?.cast_unsigned();
        let max_bytes = body.unsigned(ber::INTEGER)?;
        let cookie = body.octets()?.to_vec();
        body.end()?;
        Ok(DirSync { flags, max_bytes, cookie })
    }
}

impl DirSyncAnswer {
    /// Reads an answer's value. Its second number has no use and is not looked at.
    pub fn read(value: &[u8]) -> Result<Self, DecodeError> {
        let mut body = sequence(value)?;
        let more = body.integer(ber::INTEGER)? != 0;
        body.expect(ber::INTEGER)?;
        let cookie = body.octets()?.to_vec();
        body.end()?;
        Ok(DirSyncAnswer { more, cookie })
    }

    /// As a control.
    pub fn control(&self) -> Control<'static> {
        let value = within(ber::SEQUENCE, |out| {
            ber::put_int(out, ber::INTEGER, i32::from(self.more));
            ber::put_int(out, ber::INTEGER, 0);
            ber::put_octets(out, ber::OCTET_STRING, &self.cookie);
        });
        make(DirSync::OID, false, value)
    }
}

/// Which parts of a security descriptor to read (MS-ADTS 3.1.1.3.4.1.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdFlags(pub u32);

impl SdFlags {
    /// Its OID.
    pub const OID: &'static str = "1.2.840.113556.1.4.801";
    /// Owner, group and discretionary list: everything that needs no audit privilege.
    pub const WITHOUT_AUDIT: SdFlags = SdFlags(0x7);

    /// As a control.
    pub fn control(self, critical: bool) -> Control<'static> {
        let value = within(ber::SEQUENCE, |out| ber::put_int(out, ber::INTEGER, self.0.cast_signed()));
        make(Self::OID, critical, value)
    }

    /// Reads a control's value.
    pub fn read(value: &[u8]) -> Result<Self, DecodeError> {
        let mut body = sequence(value)?;
        let flags = body.integer(ber::INTEGER)?.cast_unsigned();
        body.end()?;
        Ok(SdFlags(flags))
    }
}

/// One key of a server-side sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// Attribute description.
    pub attribute: String,
    /// Ordering rule, if not the attribute's own.
    pub rule: Option<String>,
    /// Largest first.
    pub reverse: bool,
}

/// Server-side sort, as asked (RFC 2891).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort(pub Vec<SortKey>);

/// Server-side sort, as answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortAnswer {
    /// How it went.
    pub code: ResultCode,
    /// The attribute that was the trouble.
    pub attribute: Option<String>,
}

const SORT_RULE: u8 = 0x80;
const SORT_REVERSE: u8 = 0x81;

impl Sort {
    /// Its OID.
    pub const OID: &'static str = "1.2.840.113556.1.4.473";

    /// As a control.
    pub fn control(&self, critical: bool) -> Control<'static> {
        let value = within(ber::SEQUENCE, |out| {
            for key in &self.0 {
                let start = ber::open(out, ber::SEQUENCE);
                ber::put_octets(out, ber::OCTET_STRING, key.attribute.as_bytes());
                if let Some(rule) = &key.rule {
                    ber::put_octets(out, SORT_RULE, rule.as_bytes());
                }
                if key.reverse {
                    ber::put_bool(out, SORT_REVERSE, true);
                }
                ber::close(out, start);
            }
        });
        make(Self::OID, critical, value)
    }

    /// Reads a request's value. At least one key.
    pub fn read(value: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut list = sequence(value)?;
        let mut keys = Vec::new();
        while !list.is_empty() {
            if keys.len() >= limits.attributes {
                return Err(DecodeError::Limit(Limit::Attributes));
            }
            let mut key = list.nested(ber::SEQUENCE)?;
            let attribute = attribute::checked_plain(key.octets()?, limits)?.to_owned();
            let rule = match key.optional(SORT_RULE)? {
                Some(contents) => Some(attribute::checked_plain(contents, limits)?.to_owned()),
                None => None,
            };
            let reverse = match key.optional(SORT_REVERSE)? {
                Some(contents) => ber::encapsulated_boolean(contents)?,
                None => false,
            };
            key.end()?;
            keys.push(SortKey { attribute, rule, reverse });
        }
        if keys.is_empty() { Err(DecodeError::Empty) } else { Ok(Sort(keys)) }
    }
}

impl SortAnswer {
    /// Its OID.
    pub const OID: &'static str = "1.2.840.113556.1.4.474";

    /// As a control.
    pub fn control(&self) -> Control<'static> {
        let value = within(ber::SEQUENCE, |out| {
            ber::put_int(out, ber::ENUMERATED, i32::try_from(self.code.0).unwrap_or(i32::MAX));
            if let Some(attribute) = &self.attribute {
                ber::put_octets(out, SORT_RULE, attribute.as_bytes());
            }
        });
        make(Self::OID, false, value)
    }

    /// Reads an answer's value.
    pub fn read(value: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut body = sequence(value)?;
        let code = ResultCode(body.unsigned(ber::ENUMERATED)?);
        let attribute = match body.optional(SORT_RULE)? {
            Some(contents) => Some(attribute::checked_description(contents, limits)?.to_owned()),
            None => None,
        };
        body.end()?;
        Ok(SortAnswer { code, attribute })
    }
}

/// The assertion control: do it only if the filter is true of the entry.
pub fn assertion(filter: &Filter<'_>, critical: bool) -> Control<'static> {
    let mut value = Vec::new();
    filter_wire::write(filter, &mut value);
    make(ASSERTION, critical, value)
}

/// Reads an assertion control's value.
pub fn read_assertion<'a>(value: &'a [u8], limits: &Limits) -> Result<Filter<'a>, DecodeError> {
    let mut reader = Reader::new(value);
    let filter = filter_wire::read(&mut reader, limits)?;
    reader.end()?;
    Ok(filter)
}

/// Reads a matched values control: items without `&`, `|` and `!`, at least one.
pub fn read_matched_values<'a>(value: &'a [u8], limits: &Limits) -> Result<Vec<Filter<'a>>, DecodeError> {
    let mut list = sequence(value)?;
    let mut filters = Vec::new();
    while !list.is_empty() {
        if filters.len() >= limits.filter_items {
            return Err(DecodeError::Limit(Limit::FilterItems));
        }
        if let Some(tag @ 0xa0..=0xa2) = list.peek() {
            return Err(DecodeError::Tag(tag));
        }
        filters.push(filter_wire::read(&mut list, limits)?);
    }
    if filters.is_empty() { Err(DecodeError::Empty) } else { Ok(filters) }
}

/// The pre-read or post-read control (`PRE_READ`, `POST_READ`), as asked.
pub fn read_entry(oid: &'static str, attributes: &[&str], critical: bool) -> Control<'static> {
    let value = within(ber::SEQUENCE, |out| {
        attributes.iter().for_each(|name| ber::put_octets(out, ber::OCTET_STRING, name.as_bytes()));
    });
    make(oid, critical, value)
}

/// Reads the entry that a pre-read or post-read control answers with. Some servers write it as a plain SEQUENCE.
pub fn read_entry_answer(value: &[u8], limits: &Limits) -> Result<Entry, DecodeError> {
    let mut outer = Reader::new(value);
    let element = outer.element()?;
    outer.end()?;
    if element.tag != tag::SEARCH_ENTRY && element.tag != ber::SEQUENCE {
        return Err(DecodeError::Tag(element.tag));
    }
    let mut body = Reader::new(element.contents);
    let dn = checked_dn(body.octets()?, limits)?.to_owned();
    let mut list = body.nested(ber::SEQUENCE)?;
    body.end()?;
    let mut attributes = Vec::new();
    let mut count = 0;
    while !list.is_empty() {
        if attributes.len() >= limits.attributes {
            return Err(DecodeError::Limit(Limit::Attributes));
        }
        let mut attribute = list.nested(ber::SEQUENCE)?;
        let description = attribute::checked_description(attribute.octets()?, limits)?.to_owned();
        let mut set = attribute.nested(ber::SET)?;
        attribute.end()?;
        let mut values = Vec::new();
        while !set.is_empty() {
            count += 1;
            if count > limits.values {
                return Err(DecodeError::Limit(Limit::Values));
            }
            values.push(set.octets()?.to_vec());
        }
        attributes.push(Attribute { description, values });
    }
    Ok(Entry { dn, attributes })
}

/// The proxied authorisation control; `authorization` is `dn:...` or `u:...`. Always critical, as RFC 4370 wants.
pub fn proxied_authorization(authorization: &str) -> Control<'static> {
    make(PROXIED_AUTHORIZATION, true, authorization.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirsync_flags_are_a_negative_integer_of_four_bytes() {
        let asked =
            DirSync { flags: DirSync::INCREMENTAL_VALUES | 1, max_bytes: 1 << 20, cookie: b"c".to_vec() };
        let control = asked.control(true);
        let value = control.value.as_deref().unwrap();
        assert_eq!(value, b"\x30\x0e\x02\x04\x80\x00\x00\x01\x02\x03\x10\x00\x00\x04\x01c");
        assert_eq!(DirSync::read(value), Ok(asked));
        let whole = DirSync { flags: 0x8000_0000, ..DirSync::default() }.control(true);
        assert!(whole.value.unwrap().starts_with(b"\x30\x0b\x02\x04\x80\x00\x00\x00"));
    }

    #[test]
    fn controls_read_what_they_write() {
        let limits = Limits::default();
        let paged = PagedResults { size: 500, cookie: vec![0, 255] };
        assert_eq!(PagedResults::read(&paged.control(true).value.unwrap()), Ok(paged));
        let sort =
            Sort(vec![SortKey { attribute: "sn".into(), rule: Some("2.5.13.3".into()), reverse: true }]);
        assert_eq!(Sort::read(&sort.control(false).value.unwrap(), &limits), Ok(sort));
        let answer = SortAnswer { code: ResultCode::NO_SUCH_ATTRIBUTE, attribute: Some("sn".into()) };
        assert_eq!(SortAnswer::read(&answer.control().value.unwrap(), &limits), Ok(answer));
        let answer = DirSyncAnswer { more: true, cookie: vec![1] };
        assert_eq!(DirSyncAnswer::read(&answer.control().value.unwrap()), Ok(answer));
        assert_eq!(SdFlags::read(&SdFlags(7).control(true).value.unwrap()), Ok(SdFlags(7)));
        let filter = Filter::parse("(&(cn=a)(sn=b*))").unwrap();
        let control = assertion(&filter, true);
        assert_eq!(read_assertion(control.value.as_deref().unwrap(), &limits), Ok(filter));
    }

    #[test]
    fn a_sort_may_write_true_as_it_likes() {
        let key = |reverse: &[u8]| [b"\x30\x09\x30\x07\x04\x02sn\x81".as_slice(), reverse].concat();
        let reverse =
            |octets: &[u8]| Sort::read(&key(octets), &Limits::default()).map(|sort| sort.0[0].reverse);
        assert_eq!(reverse(b"\x01\xff"), Ok(true));
        assert_eq!(reverse(b"\x01\x01"), Ok(true), "as pyasn1 writes it");
        assert_eq!(reverse(b"\x01\x00"), Ok(false));
        assert_eq!(reverse(b"\x00").err(), Some(DecodeError::Truncated));
    }
}
