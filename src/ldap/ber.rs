//! Basic Encoding Rules as RFC 4511 section 5.1 restricts them: definite lengths, low tag numbers, at most four length
//! bytes. Reading accepts lengths that are not minimal (Active Directory writes `84` forms); writing is always minimal.

use crate::ldap::error::DecodeError;

/// BOOLEAN.
pub const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// ENUMERATED.
pub const ENUMERATED: u8 = 0x0a;
/// SEQUENCE and SEQUENCE OF.
pub const SEQUENCE: u8 = 0x30;
/// SET OF.
pub const SET: u8 = 0x31;

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The tag byte, with class and form.
    pub tag: u8,
    /// The contents.
    pub contents: &'a [u8],
    /// The length was written in the shortest form.
    pub minimal: bool,
}

/// Reads elements off the front of a slice. Copy it to look ahead.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next tag, if anything is left.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever its tag.
    #[inline]
    pub fn element(&mut self) -> Result<Element<'a>, DecodeError> {
        let [tag, first, after @ ..] = self.rest else { return Err(DecodeError::Truncated) };
        if tag & 0x1f == 0x1f {
            return Err(DecodeError::LongTag);
        }
        let (length, minimal, after) =
            if *first < 0x80 { (usize::from(*first), true, after) } else { long_length(*first, after)? };
        let (contents, rest) = after.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(Element { tag: *tag, contents, minimal })
    }

    /// The contents of the next element, which must have this tag.
    #[inline]
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], DecodeError> {
        let element = self.element()?;
        if element.tag == tag { Ok(element.contents) } else { Err(DecodeError::Tag(element.tag)) }
    }

    /// The contents of the next element if it has this tag.
    #[inline]
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.peek() == Some(tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }

    /// A reader of the contents of the next element, which must have this tag.
    #[inline]
    pub fn nested(&mut self, tag: u8) -> Result<Reader<'a>, DecodeError> {
        self.expect(tag).map(Reader::new)
    }

    /// OCTET STRING.
    #[inline]
    pub fn octets(&mut self) -> Result<&'a [u8], DecodeError> {
        self.expect(OCTET_STRING)
    }

    /// OCTET STRING that holds UTF-8.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        utf8(self.octets()?)
    }

    /// A minimal INTEGER (or ENUMERATED, or a tagged one) of at most 4 bytes.
    #[inline]
    pub fn integer(&mut self, tag: u8) -> Result<i32, DecodeError> {
        integer(self.expect(tag)?)
    }

    /// The same, and not negative.
    #[inline]
    pub fn unsigned(&mut self, tag: u8) -> Result<u32, DecodeError> {
        u32::try_from(self.integer(tag)?).map_err(|_| DecodeError::Integer)
    }

    /// BOOLEAN (or a tagged one): 00 or FF.
    #[inline]
    pub fn boolean(&mut self, tag: u8) -> Result<bool, DecodeError> {
        boolean(self.expect(tag)?)
    }

    /// Nothing may be left.
    #[inline]
    pub fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

#[cold]
fn long_length(first: u8, after: &[u8]) -> Result<(usize, bool, &[u8]), DecodeError> {
    let count = usize::from(first & 0x7f);
    if count == 0 {
        return Err(DecodeError::Indefinite);
    }
    if count > 4 {
        return Err(DecodeError::LengthOfLength);
    }
    let (bytes, after) = after.split_at_checked(count).ok_or(DecodeError::Truncated)?;
    let length = bytes.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    Ok((length, length_size(length) == 1 + count, after))
}

/// The contents of a text.
#[inline]
pub fn utf8(contents: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(contents).map_err(|_| DecodeError::Utf8)
}

/// The contents of an INTEGER of at most 4 bytes, minimal as X.690 section 8.3.2 wants.
#[inline]
pub fn integer(contents: &[u8]) -> Result<i32, DecodeError> {
    match *contents {
        [] => return Err(DecodeError::Integer),
        [0x00, second, ..] if second < 0x80 => return Err(DecodeError::Integer),
        [0xff, second, ..] if second >= 0x80 => return Err(DecodeError::Integer),
        _ => {}
    }
    if contents.len() > 4 {
        return Err(DecodeError::Integer);
    }
    let start = if contents.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
    Ok(contents.iter().fold(start, |sum: i32, byte| (sum << 8) | i32::from(*byte)))
}

/// The contents of a BOOLEAN: RFC 4511 section 5.1 wants FF for true.
#[inline]
pub fn boolean(contents: &[u8]) -> Result<bool, DecodeError> {
    match contents {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(DecodeError::Boolean),
    }
}

/// The contents of a BOOLEAN inside a value that travels as an OCTET STRING, a control's for example. RFC 4511 section 5.1
/// does not bind what is in there, so every octet but 0 is true (X.690 section 8.2.2); libraries do write 1.
pub fn encapsulated_boolean(contents: &[u8]) -> Result<bool, DecodeError> {
    match contents {
        [octet] => Ok(*octet != 0),
        _ => Err(DecodeError::Boolean),
    }
}

/// Bytes that the length field of `contents` bytes takes.
#[inline]
pub const fn length_size(contents: usize) -> usize {
    match contents {
        0..0x80 => 1,
        0x80..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x100_0000 => 4,
        _ => 5,
    }
}

/// Bytes that an element with `contents` bytes takes, tag and length included.
#[inline]
pub const fn tlv_size(contents: usize) -> usize {
    1 + length_size(contents) + contents
}

/// Writes tag and shortest length.
#[inline]
pub fn put_header(out: &mut Vec<u8>, tag: u8, contents: usize) {
    // A message of 4 GiB cannot be made: `Limits::message_bytes` stands far below.
    let [a, b, c, d] = u32::try_from(contents).unwrap_or(u32::MAX).to_be_bytes();
    match contents {
        0..0x80 => out.extend_from_slice(&[tag, d]),
        0x80..0x100 => out.extend_from_slice(&[tag, 0x81, d]),
        0x100..0x1_0000 => out.extend_from_slice(&[tag, 0x82, c, d]),
        0x1_0000..0x100_0000 => out.extend_from_slice(&[tag, 0x83, b, c, d]),
        _ => out.extend_from_slice(&[tag, 0x84, a, b, c, d]),
    }
}

/// Writes an element with these contents.
#[inline]
pub fn put_octets(out: &mut Vec<u8>, tag: u8, contents: &[u8]) {
    put_header(out, tag, contents.len());
    out.extend_from_slice(contents);
}

/// Bytes of `value` that a minimal INTEGER leaves out.
#[inline]
fn skipped(value: i32) -> usize {
    match value {
        -0x80..0x80 => 3,
        -0x8000..0x8000 => 2,
        -0x80_0000..0x80_0000 => 1,
        _ => 0,
    }
}

/// Bytes that `value` takes as an INTEGER, tag and length included.
#[inline]
pub fn int_size(value: i32) -> usize {
    6 - skipped(value)
}

/// Writes an INTEGER or ENUMERATED in the shortest form.
#[inline]
pub fn put_int(out: &mut Vec<u8>, tag: u8, value: i32) {
    let bytes = value.to_be_bytes();
    put_octets(out, tag, bytes.get(skipped(value)..).unwrap_or_default());
}

/// Writes a BOOLEAN.
#[inline]
pub fn put_bool(out: &mut Vec<u8>, tag: u8, value: bool) {
    out.extend_from_slice(&[tag, 1, if value { 0xff } else { 0x00 }]);
}

/// Where an element that was opened starts; give it to [`close`].
#[derive(Debug)]
#[must_use = "an element that is not closed has no length"]
pub struct Open(usize);

/// Starts an element whose size is not known yet: one length byte, widened by [`close`] when needed.
#[inline]
pub fn open(out: &mut Vec<u8>, tag: u8) -> Open {
    out.extend_from_slice(&[tag, 0]);
    Open(out.len())
}

/// Ends an element: writes its length in the shortest form.
#[inline]
pub fn close(out: &mut Vec<u8>, start: Open) {
    let at = start.0;
    let end = out.len();
    let length = end.saturating_sub(at);
    let extra = length_size(length) - 1;
    if extra > 0 {
        out.resize(end + extra, 0);
        out.copy_within(at..end, at + extra);
    }
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let bytes: &[u8] = match extra {
        0 => &[d],
        1 => &[0x81, d],
        2 => &[0x82, c, d],
        3 => &[0x83, b, c, d],
        _ => &[0x84, a, b, c, d],
    };
    if let Some(place) = out.get_mut(at - 1..at + extra) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_both_ways() {
        for value in [
            0,
            1,
            -1,
            127,
            128,
            -128,
            -129,
            255,
            256,
            32767,
            32768,
            -32768,
            8388607,
            8388608,
            i32::MAX,
            i32::MIN,
        ] {
            let mut out = Vec::new();
            put_int(&mut out, INTEGER, value);
            assert_eq!(out.len(), int_size(value));
            assert_eq!(Reader::new(&out).integer(INTEGER), Ok(value));
        }
        for contents in [&[][..], &[0, 1], &[0xff, 0x80], &[1, 2, 3, 4, 5]] {
            assert_eq!(integer(contents), Err(DecodeError::Integer));
        }
    }

    #[test]
    fn lengths_are_written_short_and_read_long() {
        for size in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 16_777_215, 16_777_216] {
            let contents = vec![7; size];
            let mut short = Vec::new();
            put_octets(&mut short, OCTET_STRING, &contents);
            assert_eq!(short.len(), tlv_size(size));
            let mut opened = Vec::new();
            let start = open(&mut opened, OCTET_STRING);
            opened.extend_from_slice(&contents);
            close(&mut opened, start);
            assert_eq!(short, opened);
            let element = Reader::new(&short).element().unwrap();
            assert!(element.minimal && element.contents == contents);
            let mut long = vec![OCTET_STRING, 0x84];
            long.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
            long.extend_from_slice(&contents);
            let element = Reader::new(&long).element().unwrap();
            assert_eq!(element.contents, contents);
            assert_eq!(element.minimal, size >= 16_777_216);
        }
    }
}
