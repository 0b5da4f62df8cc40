//! Content synchronisation (RFC 4533): the request, and what comes with entries, between them and at the end. What the parts mean
//! together is for `sync::watching::content`.

use std::borrow::Cow;
use std::fmt;

use crate::ldap::ber::{self, Reader};
use crate::ldap::control::Control;
use crate::ldap::error::{DecodeError, Limit};
use crate::ldap::limits::Limits;

/// Result code: the cookie is of no use, start without one (section 2.5; the number as registered by IANA).
pub const REFRESH_REQUIRED: u32 = 4096;
/// OID of the Sync Info Message (section 2.6).
pub const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";

const NEW_COOKIE: u8 = 0x80;
const REFRESH_DELETE: u8 = 0xa1;
const REFRESH_PRESENT: u8 = 0xa2;
const ID_SET: u8 = 0xa3;

/// What identifies an entry of the content, whatever its name (section 2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyncUuid(pub [u8; 16]);

impl SyncUuid {
    fn read(contents: &[u8]) -> Result<SyncUuid, DecodeError> {
        contents.try_into().map(SyncUuid).map_err(|_| DecodeError::Unknown("sync UUID"))
    }
}

impl fmt::Debug for SyncUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&uuid::Uuid::from_bytes(self.0), f)
    }
}

/// How long a search goes on (section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Until the content is brought up to date.
    RefreshOnly,
    /// For ever: changes are told as they happen.
    RefreshAndPersist,
}

/// The Sync Request Control (section 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    pub mode: SyncMode,
    /// Where to go on; none: everything.
    pub cookie: Option<Vec<u8>>,
    /// Rather everything anew than an end with [`REFRESH_REQUIRED`].
    pub reload_hint: bool,
}

/// What a Sync State Control says of its entry (section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// It is unchanged; the message has no attributes.
    Present,
    Add,
    Modify,
    /// It is no longer part of the content; the message has no attributes.
    Delete,
}

/// The Sync State Control (section 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncState {
    pub state: EntryState,
    pub uuid: SyncUuid,
    pub cookie: Option<Vec<u8>>,
}

/// The Sync Done Control (section 2.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncDone {
    pub cookie: Option<Vec<u8>>,
    /// It was a delete phase: only what was said to be deleted is. Otherwise whatever was not mentioned is gone.
    pub refresh_deletes: bool,
}

/// The Sync Info Message (section 2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncInfo {
    NewCookie(Vec<u8>),
    /// A delete phase ended; with `done` so did the refresh.
    RefreshDelete {
        cookie: Option<Vec<u8>>,
        done: bool,
    },
    /// A present phase ended; with `done` so did the refresh.
    RefreshPresent {
        cookie: Option<Vec<u8>>,
        done: bool,
    },
    IdSet {
        cookie: Option<Vec<u8>>,
        /// The entries are deleted; otherwise they are present and unchanged.
        refresh_deletes: bool,
        uuids: Vec<SyncUuid>,
    },
}

fn cookie(body: &mut Reader<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
    Ok(body.optional(ber::OCTET_STRING)?.map(<[u8]>::to_vec))
}

fn flag(body: &mut Reader<'_>, default: bool) -> Result<bool, DecodeError> {
    body.optional(ber::BOOLEAN)?.map_or(Ok(default), ber::encapsulated_boolean)
}

fn put_cookie(out: &mut Vec<u8>, cookie: Option<&[u8]>) {
    if let Some(cookie) = cookie {
        ber::put_octets(out, ber::OCTET_STRING, cookie);
    }
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

fn control(oid: &'static str, critical: bool, value: Vec<u8>) -> Control<'static> {
    Control { oid: Cow::Borrowed(oid), critical, value: Some(Cow::Owned(value)) }
}

impl SyncRequest {
    /// Its OID.
    pub const OID: &'static str = "1.3.6.1.4.1.4203.1.9.1.1";

    /// As a control.
    pub fn control(&self, critical: bool) -> Control<'static> {
        let mode = match self.mode {
            SyncMode::RefreshOnly => 1,
            SyncMode::RefreshAndPersist => 3,
        };
        let value = within(ber::SEQUENCE, |out| {
            ber::put_int(out, ber::ENUMERATED, mode);
            put_cookie(out, self.cookie.as_deref());
            if self.reload_hint {
                ber::put_bool(out, ber::BOOLEAN, true);
            }
        });
        control(Self::OID, critical, value)
    }

    /// Reads a control's value.
    pub fn read(value: &[u8]) -> Result<Self, DecodeError> {
        let mut body = sequence(value)?;
        let mode = match body.unsigned(ber::ENUMERATED)? {
            1 => SyncMode::RefreshOnly,
            3 => SyncMode::RefreshAndPersist,
            _ => return Err(DecodeError::Unknown("sync mode")),
        };
        let cookie = cookie(&mut body)?;
        let reload_hint = flag(&mut body, false)?;
        body.end()?;
        Ok(SyncRequest { mode, cookie, reload_hint })
    }
}

impl SyncState {
    /// Its OID.
    pub const OID: &'static str = "1.3.6.1.4.1.4203.1.9.1.2";

    /// As a control.
    pub fn control(&self) -> Control<'static> {
        let state = match self.state {
            EntryState::Present => 0,
            EntryState::Add => 1,
            EntryState::Modify => 2,
            EntryState::Delete => 3,
        };
        let value = within(ber::SEQUENCE, |out| {
            ber::put_int(out, ber::ENUMERATED, state);
            ber::put_octets(out, ber::OCTET_STRING, &self.uuid.0);
            put_cookie(out, self.cookie.as_deref());
        });
        control(Self::OID, false, value)
    }

    /// Reads a control's value.
    pub fn read(value: &[u8]) -> Result<Self, DecodeError> {
        let mut body = sequence(value)?;
        let state = match body.unsigned(ber::ENUMERATED)? {
            0 => EntryState::Present,
            1 => EntryState::Add,
            2 => EntryState::Modify,
            3 => EntryState::Delete,
            _ => return Err(DecodeError::Unknown("sync state")),
        };
        let uuid = SyncUuid::read(body.octets()?)?;
        let cookie = cookie(&mut body)?;
        body.end()?;
        Ok(SyncState { state, uuid, cookie })
    }
}

impl SyncDone {
    /// Its OID.
    pub const OID: &'static str = "1.3.6.1.4.1.4203.1.9.1.3";

    /// As a control.
    pub fn control(&self) -> Control<'static> {
        let value = within(ber::SEQUENCE, |out| {
            put_cookie(out, self.cookie.as_deref());
            if self.refresh_deletes {
                ber::put_bool(out, ber::BOOLEAN, true);
            }
        });
        control(Self::OID, false, value)
    }

    /// Reads a control's value.
    pub fn read(value: &[u8]) -> Result<Self, DecodeError> {
        let mut body = sequence(value)?;
        let cookie = cookie(&mut body)?;
        let refresh_deletes = flag(&mut body, false)?;
        body.end()?;
        Ok(SyncDone { cookie, refresh_deletes })
    }
}

impl SyncInfo {
    /// The value of an intermediate response of [`SYNC_INFO`].
    pub fn to_value(&self) -> Vec<u8> {
        let phase = |tag, cookie: &Option<Vec<u8>>, done: bool| {
            within(tag, |out| {
                put_cookie(out, cookie.as_deref());
                if !done {
                    ber::put_bool(out, ber::BOOLEAN, false);
                }
            })
        };
        match self {
            SyncInfo::NewCookie(cookie) => {
                let mut out = Vec::new();
                ber::put_octets(&mut out, NEW_COOKIE, cookie);
                out
            }
            SyncInfo::RefreshDelete { cookie, done } => phase(REFRESH_DELETE, cookie, *done),
            SyncInfo::RefreshPresent { cookie, done } => phase(REFRESH_PRESENT, cookie, *done),
            SyncInfo::IdSet { cookie, refresh_deletes, uuids } => within(ID_SET, |out| {
                put_cookie(out, cookie.as_deref());
                if *refresh_deletes {
                    ber::put_bool(out, ber::BOOLEAN, true);
                }
                let start = ber::open(out, ber::SET);
                uuids.iter().for_each(|uuid| ber::put_octets(out, ber::OCTET_STRING, &uuid.0));
                ber::close(out, start);
            }),
        }
    }

    /// Reads such a value. A set has at most `Limits::values` identifiers.
    pub fn read(value: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut outer = Reader::new(value);
        let element = outer.element()?;
        outer.end()?;
        let mut body = Reader::new(element.contents);
        let info = match element.tag {
            NEW_COOKIE => return Ok(SyncInfo::NewCookie(element.contents.to_vec())),
            REFRESH_DELETE => {
                SyncInfo::RefreshDelete { cookie: cookie(&mut body)?, done: flag(&mut body, true)? }
            }
            REFRESH_PRESENT => {
                SyncInfo::RefreshPresent { cookie: cookie(&mut body)?, done: flag(&mut body, true)? }
            }
            ID_SET => {
                let cookie = cookie(&mut body)?;
                let refresh_deletes = flag(&mut body, false)?;
                let mut set = body.nested(ber::SET)?;
                let mut uuids = Vec::new();
                while !set.is_empty() {
                    if uuids.len() >= limits.values {
                        return Err(DecodeError::Limit(Limit::Values));
                    }
                    uuids.push(SyncUuid::read(set.octets()?)?);
                }
                SyncInfo::IdSet { cookie, refresh_deletes, uuids }
            }
            other => return Err(DecodeError::Tag(other)),
        };
        body.end()?;
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(control: &Control<'static>) -> Vec<u8> {
        control.value.as_deref().unwrap().to_vec()
    }

    #[test]
    fn a_request_is_these_bytes() {
        let first = SyncRequest { mode: SyncMode::RefreshOnly, cookie: None, reload_hint: false };
        assert_eq!(value(&first.control(true)), b"\x30\x03\x0a\x01\x01");
        let on = SyncRequest {
            mode: SyncMode::RefreshAndPersist,
            cookie: Some(b"c1".to_vec()),
            reload_hint: true,
        };
        let bytes = b"\x30\x0a\x0a\x01\x03\x04\x02c1\x01\x01\xff";
        assert_eq!(value(&on.control(true)), bytes);
        assert_eq!(SyncRequest::read(bytes), Ok(on));
        assert_eq!(SyncRequest::read(b"\x30\x03\x0a\x01\x02"), Err(DecodeError::Unknown("sync mode")));
    }

    #[test]
    fn a_state_that_a_directory_sent() {
        // as seen from 389 Directory Server
        let bytes = b"\x30\x15\x0a\x01\x01\x04\x10\x04\xfdu\x48\xeb\xc5\x11\xf1\xa2\xac\xb4\xaa\x87U\x1f!";
        let state = SyncState::read(bytes).unwrap();
        assert_eq!(state.state, EntryState::Add);
        assert_eq!(format!("{:?}", state.uuid), "04fd7548-ebc5-11f1-a2ac-b4aa87551f21");
        assert_eq!(value(&state.control()), bytes);
        assert!(SyncState::read(b"\x30\x08\x0a\x01\x01\x04\x03abc").is_err(), "16 octets, no fewer");
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(SyncDone::read(b"\x30\x00"), Ok(SyncDone::default()));
        let limits = Limits::default();
        let read = |bytes: &[u8]| SyncInfo::read(bytes, &limits);
        assert_eq!(read(b"\x80\x01c"), Ok(SyncInfo::NewCookie(b"c".to_vec())));
        assert_eq!(read(b"\xa1\x00"), Ok(SyncInfo::RefreshDelete { cookie: None, done: true }));
        let going = SyncInfo::RefreshPresent { cookie: Some(b"c".to_vec()), done: false };
        assert_eq!(read(b"\xa2\x06\x04\x01c\x01\x01\x00"), Ok(going));
        let none = SyncInfo::IdSet { cookie: None, refresh_deletes: false, uuids: Vec::new() };
        assert_eq!(read(b"\xa3\x02\x31\x00"), Ok(none));
        assert_eq!(read(b"\xa4\x00"), Err(DecodeError::Tag(0xa4)));
        assert_eq!(read(b"\x80\x01cx"), Err(DecodeError::Trailing));
    }

    #[test]
    fn a_set_has_a_limit() {
        let uuids = vec![SyncUuid([7; 16]); 3];
        let set = SyncInfo::IdSet { cookie: None, refresh_deletes: true, uuids };
        let bytes = set.to_value();
        let small = Limits { values: 2, ..Limits::default() };
        assert_eq!(SyncInfo::read(&bytes, &small), Err(DecodeError::Limit(Limit::Values)));
        assert_eq!(SyncInfo::read(&bytes, &Limits { values: 3, ..small }), Ok(set));
    }

    fn cookies() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))
    }

    fn infos() -> impl Strategy<Value = SyncInfo> {
        let uuids = proptest::collection::vec(any::<[u8; 16]>().prop_map(SyncUuid), 0..20);
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200).prop_map(SyncInfo::NewCookie),
            (cookies(), any::<bool>()).prop_map(|(cookie, done)| SyncInfo::RefreshDelete { cookie, done }),
            (cookies(), any::<bool>()).prop_map(|(cookie, done)| SyncInfo::RefreshPresent { cookie, done }),
            (cookies(), any::<bool>(), uuids).prop_map(|(cookie, refresh_deletes, uuids)| SyncInfo::IdSet {
                cookie,
                refresh_deletes,
                uuids
            }),
        ]
    }

    proptest! {
        #[test]
        fn everything_comes_back(info in infos(), cookie in cookies(), uuid in any::<[u8; 16]>(), yes in any::<bool>()) {
            prop_assert_eq!(SyncInfo::read(&info.to_value(), &Limits::default()), Ok(info));
            let done = SyncDone { cookie: cookie.clone(), refresh_deletes: yes };
            prop_assert_eq!(SyncDone::read(&value(&done.control())), Ok(done));
            let mode = if yes { SyncMode::RefreshOnly } else { SyncMode::RefreshAndPersist };
            let request = SyncRequest { mode, cookie: cookie.clone(), reload_hint: yes };
            prop_assert_eq!(SyncRequest::read(&value(&request.control(yes))), Ok(request));
            for state in [EntryState::Present, EntryState::Add, EntryState::Modify, EntryState::Delete] {
                let state = SyncState { state, uuid: SyncUuid(uuid), cookie: cookie.clone() };
                prop_assert_eq!(SyncState::read(&value(&state.control())), Ok(state));
            }
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..64), info in infos(), cut in 0_usize..300) {
            let _ = (SyncInfo::read(&bytes, &Limits::default()), SyncState::read(&bytes), SyncDone::read(&bytes));
            let _ = SyncRequest::read(&bytes);
            let whole = info.to_value();
            if let Some(part) = whole.get(..cut).filter(|part| part.len() < whole.len()) {
                prop_assert!(SyncInfo::read(part, &Limits::default()).is_err());
            }
        }
    }
}
