//! Offenders as the nation sees them.

use ring::hmac;

use crate::baseline::assessment::Offender;
use crate::policy::signature::hex;
use crate::policy::terms::OdsCode;

/// What the key is derived from, by signing it: nobody else can make that signature, and it is always the same.
pub const SALT: &[u8] = b"portcullis: key of offender pseudonyms, version 1";
/// Bytes of a hash that are shown: 64 bits.
const SHOWN: usize = 8;

/// Makes keyed hashes of offenders.
#[derive(Debug)]
pub struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    /// With a secret key.
    pub fn new(key: &[u8]) -> Pseudonyms {
        Pseudonyms(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// One object of one member, whatever was found of it.
    pub fn of(&self, member: &OdsCode, offender: &Offender) -> String {
        self.tag(member, &[object(offender)])
    }

    /// All of them together, in any order: the same objects give the same hash.
    pub fn of_all(&self, member: &OdsCode, offenders: &[Offender]) -> String {
        let mut objects: Vec<String> = offenders.iter().map(object).collect();
        objects.sort();
        objects.dedup();
        self.tag(member, &objects)
    }

    fn tag(&self, member: &OdsCode, objects: &[String]) -> String {
        let tag = hmac::sign(&self.0, format!("{member}\0{}", objects.join("\0")).as_bytes());
        hex(tag.as_ref().get(..SHOWN).unwrap_or_default())
    }
}

/// Names and DNs do not tell capitals from small letters.
fn object(offender: &Offender) -> String {
    format!("{}\n{}", offender.dn.to_lowercase(), offender.name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offender(name: &str, found: &str) -> Offender {
        Offender { name: name.into(), dn: format!("CN={name}"), found: found.into(), excepted: false }
    }

    #[test]
    fn an_object_has_one_hash_at_one_member_under_one_key() {
        let (one, other) = (Pseudonyms::new(b"one"), Pseudonyms::new(b"other"));
        let (rxa, rxb): (OdsCode, OdsCode) = ("RXA".parse().unwrap(), "RXB".parse().unwrap());
        let hash = one.of(&rxa, &offender("Mabel", "180d"));
        assert_eq!(hash.len(), 16);
        assert_eq!(hash, one.of(&rxa, &offender("mabel", "181d")));
        assert_ne!(hash, one.of(&rxb, &offender("Mabel", "180d")));
        assert_ne!(hash, other.of(&rxa, &offender("Mabel", "180d")));
        let (a, b) = (offender("a", ""), offender("b", ""));
        assert_eq!(one.of_all(&rxa, &[a.clone(), b.clone()]), one.of_all(&rxa, &[b, a]));
        assert!(!format!("{one:?}").contains("6f6e65"), "a key is not printed");
    }
}
