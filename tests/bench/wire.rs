//! The few messages that the load sends and reads.

use std::io;

pub const SEARCH_ENTRY: u8 = 0x64;
pub const SEARCH_DONE: u8 = 0x65;
pub const BIND_DONE: u8 = 0x61;

/// A simple bind, or SASL EXTERNAL where there is no name.
pub fn bind(id: u32, simple: Option<(&str, &str)>) -> Vec<u8> {
    let (name, authentication) = match simple {
        Some((name, password)) => (name, element(0x80, password.as_bytes())),
        None => ("", element(0xa3, &element(4, b"EXTERNAL"))),
    };
    message(id, &element(0x60, &[element(2, &[3]), element(4, name.as_bytes()), authentication].concat()))
}

pub fn unbind(id: u32) -> Vec<u8> {
    message(id, &[0x42, 0])
}

/// `scope`: 0 base, 2 subtree. The filter is an equality, or `(objectClass=*)` where there is none.
pub fn search(id: u32, base: &str, scope: u8, equality: Option<(&str, &str)>) -> Vec<u8> {
    let filter = match equality {
        Some((name, value)) => {
            element(0xa3, &[element(4, name.as_bytes()), element(4, value.as_bytes())].concat())
        }
        None => element(0x87, b"objectClass"),
    };
    let parts = [
        element(4, base.as_bytes()),
        element(10, &[scope]),
        element(10, &[0]),
        element(2, &[0]),
        element(2, &[0]),
        element(1, &[0]),
        filter,
        element(0x30, &[]),
    ];
    message(id, &element(0x63, &parts.concat()))
}

fn message(id: u32, operation: &[u8]) -> Vec<u8> {
    let bytes = id.to_be_bytes();
    let skip = bytes.iter().take(3).take_while(|b| **b == 0).count();
    let mut number = bytes[skip..].to_vec();
    if number.first().is_some_and(|b| *b >= 0x80) {
        number.insert(0, 0);
    }
    element(0x30, &[element(2, &number), operation.to_vec()].concat())
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        n @ 0..=0x7f => out.push(n as u8),
        n => {
            out.push(0x82);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(contents);
    out
}

/// What is known of one message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub id: u32,
    pub tag: u8,
    /// The result code, where it is a result.
    pub code: u8,
}

/// Bytes that came, cut into messages.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub fn next(&mut self) -> io::Result<Option<Heard>> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((start, length)) = header(rest) else { return Ok(None) };
        let Some(body) = rest.get(start..start + length) else { return Ok(None) };
        self.taken += start + length;
        heard(body).map(Some).ok_or_else(|| io::Error::other("no LDAP message"))
    }
}

fn heard(body: &[u8]) -> Option<Heard> {
    let (id_start, id_length) = header(body)?;
    let id = body.get(id_start..id_start + id_length)?.iter().fold(0, |sum, b| sum << 8 | u32::from(*b));
    let operation = body.get(id_start + id_length..)?;
    let (start, _) = header(operation)?;
    let code = operation.get(start + 2).copied().unwrap_or(255);
    Some(Heard { id, tag: *operation.first()?, code })
}

/// Size of the tag and length octets, and the length.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let n = usize::from(first & 0x7f);
    let length = bytes.get(2..2 + n)?.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
    Some((2 + n, length))
}
