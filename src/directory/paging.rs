//! The paged results control, RFC 2696.

use crate::directory::error::DirectoryError;
use crate::directory::request::RawControl;
use crate::ldap::ber::{INTEGER, OCTET_STRING, Reader, SEQUENCE};
use crate::ldap::error::DecodeError;

/// OID of the paged results control.
pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// The control that asks for `size` entries from where `cookie` says; an empty cookie starts.
pub fn paged_control(size: u32, cookie: &[u8]) -> RawControl {
    let mut number = size.to_be_bytes().to_vec();
    // shortest two's complement that is not negative
    if number.first().is_some_and(|byte| *byte >= 0x80) {
        number.insert(0, 0);
    }
    while let [0, next, ..] = number.as_slice() {
        if *next >= 0x80 {
            break;
        }
        number.remove(0);
    }
    let mut contents = Vec::new();
    put(&mut contents, INTEGER, &number);
    put(&mut contents, OCTET_STRING, cookie);
    let mut value = Vec::new();
    put(&mut value, SEQUENCE, &contents);
    RawControl { oid: PAGED_RESULTS.to_owned(), critical: true, value: Some(value) }
}

/// The cookie for the next page; none when this was the last or the answer has no such control.
pub fn next_cookie(controls: &[RawControl]) -> Result<Option<Vec<u8>>, DirectoryError> {
    let Some(control) = controls.iter().find(|control| control.oid == PAGED_RESULTS) else { return Ok(None) };
    let cookie = read(control.value.as_deref().unwrap_or_default())
        .map_err(|error| DirectoryError::Malformed(format!("the paged results control: {error}")))?;
    Ok((!cookie.is_empty()).then(|| cookie.to_vec()))
}

fn read(value: &[u8]) -> Result<&[u8], DecodeError> {
    let mut inside = Reader::new(Reader::new(value).expect(SEQUENCE)?);
    inside.expect(INTEGER)?;
    inside.expect(OCTET_STRING)
}

fn put(out: &mut Vec<u8>, tag: u8, contents: &[u8]) {
    out.push(tag);
    match u32::try_from(contents.len()) {
        Ok(short @ 0..=0x7f) => out.extend(short.to_be_bytes().last()),
        Ok(long) => {
            out.push(0x84);
            out.extend(long.to_be_bytes());
        }
        // a cookie of 4 GiB does not exist: it came in a message of limited size
        Err(_) => out.push(0),
    }
    out.extend_from_slice(contents);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_is_read_back() {
        for size in [1, 127, 128, 500, 65_535, u32::MAX] {
            let control = paged_control(size, b"next");
            assert_eq!(next_cookie(&[control]).unwrap().as_deref(), Some(&b"next"[..]));
        }
        assert_eq!(paged_control(500, b"").value.unwrap(), b"\x30\x06\x02\x02\x01\xf4\x04\x00");
        assert_eq!(next_cookie(&[paged_control(500, b"")]), Ok(None));
        assert_eq!(next_cookie(&[]), Ok(None));
        let broken = RawControl::critical(PAGED_RESULTS).with_value(vec![0x30, 9]);
        assert!(next_cookie(&[broken]).is_err());
    }
}
