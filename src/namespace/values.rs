//! Values carried over between two trees.

use crate::ldap::ber;
use crate::ldap::compound::Compound;
use crate::namespace::error::EntryError;
use crate::namespace::names::{self, Suffix};

/// What becomes of the values of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Translation {
    /// Nothing: the values mean the same in both trees.
    Copy,
    /// Text in which somebody may have written an internal name: values that mention the local suffix are dropped.
    Screen,
    /// Distinguished names, alone or with something beside them ([`Compound`]): carried over; dropped when they lie outside
    /// the mounted suffix.
    Name,
    /// `objectGUID`, 16 bytes with the first three fields little-endian (MS-DTYP 2.3.4.2), to `entryUUID` as text.
    Guid,
    /// `objectClass` of Active Directory to the standard classes; classes without counterpart are dropped.
    Class,
}

impl Translation {
    /// Whether a value may be dropped, so that presence here is not presence there.
    pub const fn may_drop(self) -> bool {
        matches!(self, Translation::Screen | Translation::Name)
    }
}

/// The classes of the federated tree that entries of Active Directory have.
const CLASSES: [(&str, u8); 7] = [
    ("top", 1),
    ("person", 2),
    ("organizationalPerson", 4),
    ("inetOrgPerson", 8),
    ("groupOfNames", 16),
    ("organizationalUnit", 32),
    ("device", 64),
];

/// A local class to the bit of the federated one. A computer is a `user` in Active Directory and no person here.
fn class_bit(local: &[u8]) -> u8 {
    let table: [(&[u8], u8); 7] = [
        (b"top", 1),
        (b"person", 2),
        (b"organizationalPerson", 4),
        (b"user", 8),
        (b"group", 16),
        (b"organizationalUnit", 32),
        (b"computer", 64),
    ];
    table.iter().find(|(name, _)| name.eq_ignore_ascii_case(local)).map_or(0, |(_, bit)| *bit)
}

/// What a filter on a federated class asks of Active Directory: the local class, and whether computers must be left
/// out; `None` when no entry has the class.
pub fn local_class(federated: &[u8]) -> Option<(&'static str, bool)> {
    let table = [
        ("top", "top", false),
        ("person", "person", true),
        ("organizationalPerson", "organizationalPerson", true),
        ("inetOrgPerson", "user", true),
        ("groupOfNames", "group", false),
        ("organizationalUnit", "organizationalUnit", false),
        ("device", "computer", false),
    ];
    table
        .iter()
        .find(|(name, _, _)| name.as_bytes().eq_ignore_ascii_case(federated))
        .map(|(_, local, no_computer)| (*local, *no_computer))
}

/// Whether a class of Active Directory has a counterpart.
pub(in crate::namespace) fn is_translated_class(local: &[u8]) -> bool {
    class_bit(local) != 0
}

/// The classes of the federated tree for those of an entry of Active Directory.
pub(in crate::namespace) fn federated_classes<'v>(
    local: impl Iterator<Item = &'v [u8]>,
) -> impl Iterator<Item = &'static str> {
    let bits = local.fold(0, |bits, value| bits | class_bit(value));
    // a computer is nothing of what it derives from
    let bits = if bits & 64 != 0 { bits & (1 | 64) } else { bits };
    CLASSES.iter().filter(move |(_, bit)| bits & bit != 0).map(|(name, _)| *name)
}

/// Writes the translated values as OCTET STRINGs, shortest lengths, and returns how many.
///
/// # Errors
///
/// When a value does not have the attribute's syntax: the entry is to be refused.
pub(in crate::namespace) fn translate<'v>(
    translation: Translation,
    values: impl Iterator<Item = &'v [u8]>,
    from: &Suffix,
    to: &Suffix,
    out: &mut Vec<u8>,
) -> Result<usize, EntryError> {
    let mut count = 0;
    match translation {
        Translation::Class => {
            for name in federated_classes(values) {
                ber::put_octets(out, ber::OCTET_STRING, name.as_bytes());
                count += 1;
            }
        }
        Translation::Copy | Translation::Screen => {
            let screened = translation == Translation::Screen;
            for value in values.filter(|v| !screened || !names::mentions(v, &from.text)) {
                ber::put_octets(out, ber::OCTET_STRING, value);
                count += 1;
            }
        }
        Translation::Name => {
            for value in values {
                let text = std::str::from_utf8(value).map_err(|_| EntryError::Value("a name"))?;
                let value = Compound::split(text);
                let carried = names::carry(value.dn, from, to).map_err(|_| EntryError::Value("a name"))?;
                // somebody may have written an internal name beside the name
                let clean = value.is_plain() || !names::mentions(value.head.as_bytes(), &from.text);
                if let Some((prefix, suffix)) = carried.filter(|_| clean) {
                    let pieces = [value.head, prefix.as_ref(), suffix, value.tail];
                    ber::put_header(out, ber::OCTET_STRING, pieces.iter().map(|piece| piece.len()).sum());
                    pieces.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
                    count += 1;
                }
            }
        }
        Translation::Guid => {
            for value in values {
                let bytes = <[u8; 16]>::try_from(value).map_err(|_| EntryError::Value("objectGUID"))?;
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                let text = uuid::Uuid::from_bytes_le(bytes).hyphenated().encode_lower(&mut text);
                ber::put_octets(out, ber::OCTET_STRING, text.as_bytes());
                count += 1;
            }
        }
    }
    Ok(count)
}

/// The 16 bytes of `objectGUID` as `entryUUID` text.
pub fn guid_text(bytes: &[u8]) -> Option<String> {
    Some(uuid::Uuid::from_bytes_le(<[u8; 16]>::try_from(bytes).ok()?).hyphenated().to_string())
}

/// `entryUUID` text to the 16 bytes of `objectGUID`.
pub fn guid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(text).ok().filter(|t| t.len() == uuid::fmt::Hyphenated::LENGTH)?;
    Some(uuid::Uuid::try_parse(text).ok()?.to_bytes_le())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(translation: Translation, values: &[&[u8]]) -> Result<Vec<String>, EntryError> {
        let (from, to) =
            (Suffix::parse("DC=rxa,DC=test").unwrap(), Suffix::parse("ou=RXA,o=federation").unwrap());
        let mut out = Vec::new();
        let count = translate(translation, values.iter().copied(), &from, &to, &mut out)?;
        let mut reader = ber::Reader::new(&out);
        let mut texts = Vec::new();
        while !reader.is_empty() {
            texts.push(reader.text().unwrap().to_owned());
        }
        assert_eq!(texts.len(), count);
        Ok(texts)
    }

    #[test]
    fn guid_vector_of_ms_dtyp() {
        // {6B29FC40-CA47-1067-B31D-00DD010662DA} is 40fc296b 47ca 6710 b31d 00dd010662da on the wire
        let wire = [0x40, 0xfc, 0x29, 0x6b, 0x47, 0xca, 0x67, 0x10, 0xb3, 0x1d, 0, 0xdd, 1, 6, 0x62, 0xda];
        let text = "6b29fc40-ca47-1067-b31d-00dd010662da";
        assert_eq!(translated(Translation::Guid, &[&wire]).unwrap(), [text]);
        assert_eq!(guid_bytes(text.as_bytes()), Some(wire));
        assert_eq!(guid_bytes(text.to_uppercase().as_bytes()), Some(wire));
        assert_eq!(guid_bytes(b"6b29fc40ca471067b31d00dd010662da"), None);
        assert!(translated(Translation::Guid, &[&wire[..15]]).is_err());
    }

    #[test]
    fn names_outside_are_dropped_and_nonsense_refuses_the_entry() {
        let names: [&[u8]; 2] = [b"CN=Jo,DC=rxa,DC=test", b"CN=Schema,CN=Configuration,DC=forest,DC=test"];
        assert_eq!(translated(Translation::Name, &names).unwrap(), ["CN=Jo,ou=RXA,o=federation"]);
        assert!(translated(Translation::Name, &[b"nonsense"]).is_err());
    }

    /// T43: what stands beside a name is kept, the name in it is carried over, and nothing internal comes out.
    #[test]
    fn compound_values_are_carried_over() {
        let values: [&[u8]; 6] = [
            b"B:8:0A0B0C0D:CN=Jo,DC=rxa,DC=test",
            b"S:5:hello:CN=Jo, DC=RXA, DC=test",
            b"CN=Jo,DC=rxa,DC=test#'0101'B",
            b"B:8:0A0B0C0D:CN=Jo,DC=other,DC=test",
            b"S:14:DC=rxa,DC=test:CN=Jo,DC=rxa,DC=test",
            b"S:16:dc=RXA , DC=test:CN=Jo,DC=rxa,DC=test",
        ];
        assert_eq!(
            translated(Translation::Name, &values).unwrap(),
            [
                "B:8:0A0B0C0D:CN=Jo,ou=RXA,o=federation",
                "S:5:hello:CN=Jo,ou=RXA,o=federation",
                "CN=Jo,ou=RXA,o=federation#'0101'B"
            ]
        );
        // extended names (MS-ADTS 3.1.1.3.4.1.5) were never asked for
        let extended: &[u8] =
            b"<GUID=4db40800-7fc2-47a1-b529-829b96a124c2>;<SID=S-1-5-21-1>;CN=Jo,DC=rxa,DC=test";
        assert!(translated(Translation::Name, &[extended]).is_err());
    }

    #[test]
    fn classes() {
        let user: [&[u8]; 4] = [b"top", b"person", b"organizationalPerson", b"user"];
        assert_eq!(
            translated(Translation::Class, &user).unwrap(),
            ["top", "person", "organizationalPerson", "inetOrgPerson"]
        );
        let computer: [&[u8]; 5] = [b"top", b"person", b"organizationalPerson", b"user", b"computer"];
        assert_eq!(translated(Translation::Class, &computer).unwrap(), ["top", "device"]);
        assert_eq!(translated(Translation::Class, &[b"top", b"msExchSecret"]).unwrap(), ["top"]);
    }
}
