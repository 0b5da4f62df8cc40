//! Signatures over content hashes: Ed25519 (RFC 8032).

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

/// How many different officers of `keys` (name and public key, 32 bytes) signed `hash`.
pub fn officers(hash: &str, signatures: &[Signature], keys: &[(String, Vec<u8>)]) -> usize {
    keys.iter()
        .filter(|(name, key)| {
            signatures.iter().any(|signature| {
                signature.officer == *name
                    && signature.hash == hash
                    && unhex(&signature.signature)
                        .is_some_and(|bytes| verify(key, &signed_bytes(hash), &bytes))
            })
        })
        .count()
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
