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

/// Whether `signature` over `bytes` was made with the private half of `public_key` (32 bytes).
pub fn verify(public_key: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(bytes, signature).is_ok()
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
