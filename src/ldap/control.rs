//! Controls as they travel (RFC 4511 section 4.1.11). What their values mean is in [`crate::ldap::typed_control`].

use std::borrow::Cow;

use crate::ldap::attribute;
use crate::ldap::ber::{self, Reader};
use crate::ldap::error::{DecodeError, Limit};
use crate::ldap::limits::Limits;

/// Tag of the controls of a message.
pub const CONTROLS: u8 = 0xa0;

/// One control, whatever it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control<'a> {
    /// Dotted decimal.
    pub oid: Cow<'a, str>,
    /// The peer must refuse the operation if it cannot obey.
    pub critical: bool,
    /// Its own bytes; absent is not the same as empty.
    pub value: Option<Cow<'a, [u8]>>,
}

impl<'a> Control<'a> {
    /// The same, owned.
    pub fn into_owned(self) -> Control<'static> {
        Control {
            oid: Cow::Owned(self.oid.into_owned()),
            critical: self.critical,
            value: self.value.map(|value| Cow::Owned(value.into_owned())),
        }
    }

    /// Reads the contents of the `[0]` element that ends a message.
    pub fn read_list(contents: &'a [u8], limits: &Limits) -> Result<Vec<Control<'a>>, DecodeError> {
        let mut list = Reader::new(contents);
        let mut controls = Vec::new();
        while !list.is_empty() {
            if controls.len() >= limits.controls {
                return Err(DecodeError::Limit(Limit::Controls));
            }
            let mut control = list.nested(ber::SEQUENCE)?;
            let oid = attribute::checked_oid(control.octets()?, limits)?;
            let critical = match control.optional(ber::BOOLEAN)? {
                Some(contents) => ber::boolean(contents)?,
                None => false,
            };
            let value = control.optional(ber::OCTET_STRING)?.map(Cow::Borrowed);
            control.end()?;
            controls.push(Control { oid: Cow::Borrowed(oid), critical, value });
        }
        Ok(controls)
    }

    /// Writes the `[0]` element that ends a message, or nothing when there is no control.
    pub fn write_list(controls: &[Control<'_>], out: &mut Vec<u8>) {
        if controls.is_empty() {
            return;
        }
        let list = ber::open(out, CONTROLS);
        for control in controls {
            let start = ber::open(out, ber::SEQUENCE);
            ber::put_octets(out, ber::OCTET_STRING, control.oid.as_bytes());
            if control.critical {
                ber::put_bool(out, ber::BOOLEAN, true);
            }
            if let Some(value) = &control.value {
                ber::put_octets(out, ber::OCTET_STRING, value);
            }
            ber::close(out, start);
        }
        ber::close(out, list);
    }
}
