//! Signatures over content hashes: Ed25519 (RFC 8032), and how many of whom are enough.

use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// An officer's signature over the hash of a policy set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub officer: String,
    /// The set's hash, lower-case hex.
    pub hash: String,
    /// 64 bytes, lower-case hex.
    pub signature: String,
}

/// An officer whose signature counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Officer {
    pub name: String,
    /// The public key, 32 bytes.
    pub key: Vec<u8>,
}

/// The signatures that a set must have before a gateway takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required {
    /// Of so many different officers.
    pub signatures: u32,
    pub officers: Vec<Officer>,
}

/// Where one signature stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub officer: String,
    pub holds: bool,
    /// Why it does not count, as the end of a sentence that begins with the officer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What the signatures of a set come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub signatures: Vec<Standing>,
    /// How many count.
    pub hold: usize,
    /// How many must; none when the configuration asks for none.
    pub required: Option<u32>,
}

impl Verified {
    /// Whether there are enough.
    pub fn is_enough(&self) -> bool {
        let required = self.required.map_or(0, |required| usize::try_from(required).unwrap_or(usize::MAX));
        self.hold >= required
    }
}

/// Holds every signature against the set's hash and the officers that are known. A key counts once, whatever names it has.
pub fn verified(hash: &str, signatures: &[Signature], required: Option<&Required>) -> Verified {
    let mut counted: Vec<&[u8]> = Vec::new();
    let officers = required.map_or(&[][..], |required| &required.officers);
    let standings = signatures.iter().map(|signature| {
        let why = match judge(hash, signature, officers) {
            Ok(key) if counted.contains(&key) => Some("signed with a key that is counted already".to_owned()),
            Ok(key) => {
                counted.push(key);
                None
            }
            Err(why) => Some(why),
        };
        Standing { officer: signature.officer.clone(), holds: why.is_none(), why }
    });
    let signatures = standings.collect();
    Verified { signatures, hold: counted.len(), required: required.map(|required| required.signatures) }
}

/// The key with which a signature over the set holds, or why it does not.
fn judge<'o>(hash: &str, signature: &Signature, officers: &'o [Officer]) -> Result<&'o [u8], String> {
    if signature.hash != hash {
        return Err("signed another set than this one".to_owned());
    }
    let bytes = unhex(&signature.signature).unwrap_or_default();
    let made_by = |officer: &&Officer| verify(&officer.key, &signed_bytes(hash), &bytes);
    let Some(officer) = officers.iter().find(|officer| officer.name == signature.officer) else {
        return Err("is no officer of this configuration (`policy_signatures`)".to_owned());
    };
    if made_by(&officer) {
        return Ok(&officer.key);
    }
    Err(match officers.iter().find(made_by) {
        Some(other) => format!("is not who signed it: that is the key of {}", other.name),
        None => "has another key than the one that signed it".to_owned(),
    })
}

/// What an officer signs for a policy set.
pub fn signed_bytes(hash: &str) -> Vec<u8> {
    format!("portcullis policy set {hash}").into_bytes()
}

/// The points of small order (y, little endian, without the sign of x), as [`is_weak`] explains.
const SMALL_ORDER: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Whether a public key proves nothing: for a point of small order anybody can make signatures that verify. A number of 2^255 - 19 or
/// more is no way to write a point (RFC 8032 section 5.1.3).
pub fn is_weak(public_key: &[u8]) -> bool {
    let [first, middle @ .., last] = public_key else { return false };
    let y = last & 0x7f;
    let not_reduced = *first >= 0xed && middle.iter().all(|byte| *byte == 0xff) && y == 0x7f;
    let unsigned = [&[*first], middle, &[y]].concat();
    not_reduced || SMALL_ORDER.contains(&hex(&unsigned).as_str())
}

/// Whether `signature` over `bytes` was made with the private half of `public_key` (32 bytes).
pub fn verify(public_key: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    !is_weak(public_key) && UnparsedPublicKey::new(&ED25519, public_key).verify(bytes, signature).is_ok()
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// Hex as bytes; `None` when it is none.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_count_by_key_and_over_this_set_alone() {
        let pair = |seed: u8| ring::signature::Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let officer = |name: &str, seed| Officer {
            name: name.to_owned(),
            key: ring::signature::KeyPair::public_key(&pair(seed)).as_ref().to_vec(),
        };
        let sign = |name: &str, seed, hash: &str| Signature {
            officer: name.to_owned(),
            hash: hash.to_owned(),
            signature: hex(pair(seed).sign(&signed_bytes(hash)).as_ref()),
        };
        // the same key twice, which no configuration has
        let officers = vec![officer("ada", 1), officer("ben", 2), officer("cyd", 1)];
        let required = Required { signatures: 2, officers };
        let judged = |signatures: &[Signature]| {
            let all = verified("abc", signatures, Some(&required));
            let why = all.signatures.iter().map(|s| s.why.clone().unwrap_or_default()).collect::<Vec<_>>();
            (all.hold, all.is_enough(), why.join("|"))
        };
        assert_eq!(judged(&[sign("ada", 1, "abc"), sign("ben", 2, "abc")]), (2, true, "|".to_owned()));
        let (hold, enough, why) = judged(&[sign("ada", 1, "abc"), sign("cyd", 1, "abc")]);
        assert!(hold == 1 && !enough && why.contains("counted already"), "{why}");
        let replayed = Signature { hash: "abc".to_owned(), ..sign("ben", 2, "abd") };
        let broken = Signature { signature: "zz".to_owned(), ..sign("ben", 2, "abc") };
        for (signature, part) in [
            (sign("ben", 2, "abd"), "another set"),
            (replayed, "another key"),
            (broken, "another key"),
            (sign("ben", 1, "abc"), "that is the key of ada"),
            (sign("dee", 4, "abc"), "no officer"),
        ] {
            let (hold, enough, why) = judged(&[signature]);
            assert!(hold == 0 && !enough && why.contains(part), "{why}");
        }
        assert!(verified("abc", &[], None).is_enough());
    }

    #[test]
    fn a_key_for_which_anybody_can_sign_verifies_nothing() {
        // the identity as key and as commitment, and zero: fits every text
        let mut identity = vec![1];
        identity.extend([0; 31]);
        let forged = [identity.clone(), vec![0; 32]].concat();
        assert!(UnparsedPublicKey::new(&ED25519, &identity).verify(b"anything", &forged).is_ok());
        assert!(!verify(&identity, b"anything", &forged));
        let with = |first: u8, rest: u8, last: u8| [vec![first], vec![rest; 30], vec![last]].concat();
        for weak in [
            with(0, 0, 0x80),
            with(1, 0, 0x80),
            with(0xec, 0xff, 0xff),
            with(0xed, 0xff, 0x7f),
            with(0xee, 0xff, 0xff),
            unhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa").unwrap(),
        ] {
            assert!(is_weak(&weak), "{}", hex(&weak));
        }
        let real = unhex("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29").unwrap();
        assert!(!is_weak(&real) && !is_weak(&with(0xeb, 0xff, 0x7f)) && !is_weak(&[]));
    }
}
