//! objectGUID (MS-ADTS 3.1.1.1.4): 16 bytes on the wire, little-endian in its first three fields when written as text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An object's GUID, bytes as on the wire; ordered by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// From an attribute value.
    pub fn from_wire(value: &[u8]) -> Option<Guid> {
        value.try_into().ok().map(Guid)
    }
}

/// The text form, as Active Directory shows it, lower case.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes_le(self.0).fmt(f)
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> String {
        guid.to_string()
    }
}

/// Not a GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID: write it as 12345678-1234-1234-1234-123456789abc")]
pub struct NotAGuid;

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Guid, NotAGuid> {
        uuid::Uuid::try_parse(text).map(|uuid| Guid(uuid.to_bytes_le())).map_err(|_| NotAGuid)
    }
}

impl TryFrom<String> for Guid {
    type Error = NotAGuid;

    fn try_from(text: String) -> Result<Guid, NotAGuid> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_fields_are_turned() {
        let guid = Guid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(guid.to_string(), "04030201-0605-0807-090a-0b0c0d0e0f10");
        assert_eq!("04030201-0605-0807-090A-0B0C0D0E0F10".parse(), Ok(guid));
    }
}
