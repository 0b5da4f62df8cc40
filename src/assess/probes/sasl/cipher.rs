//! aes128-cts-hmac-sha1-96 and aes256-cts-hmac-sha1-96 (RFC 3962, RFC 3961 section 5): encryption of one message.

use aes::cipher::{Array, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes256};
use ring::hmac;
use zeroize::Zeroizing;

use crate::ambient::chance;

const BLOCK: usize = 16;
/// The first 96 bits of HMAC-SHA1 are sent.
const MAC: usize = 12;
/// RFC 3961 section 5.3: constants of the derived keys for encryption and integrity.
const FOR_ENCRYPTION: u8 = 0xaa;
const FOR_INTEGRITY: u8 = 0x55;

/// Encrypts under a session key of this encryption type (RFC 3961 numbers) for a use (RFC 4120 section 7.5.1).
pub fn encrypt(kind: i32, key: &[u8], usage: u32, plain: &[u8]) -> Result<Vec<u8>, String> {
    match (kind, key.len()) {
        (17, 16) => sealed::<Aes128>(key, usage, plain),
        (18, 32) => sealed::<Aes256>(key, usage, plain),
        _ => Err(format!("the session key has encryption type {kind}, which this probe does not speak")),
    }
}

trait Cipher: BlockCipherEncrypt + KeyInit + BlockSizeUser<BlockSize = aes::cipher::consts::U16> {}
impl<C: BlockCipherEncrypt + KeyInit + BlockSizeUser<BlockSize = aes::cipher::consts::U16>> Cipher for C {}

fn sealed<C: Cipher>(key: &[u8], usage: u32, plain: &[u8]) -> Result<Vec<u8>, String> {
    let confounder = chance::bytes::<BLOCK>().map_err(|error| error.to_string())?;
    let text = Zeroizing::new([confounder.as_slice(), plain].concat());
    let encryption = derived::<C>(key, usage, FOR_ENCRYPTION)?;
    let integrity = derived::<C>(key, usage, FOR_INTEGRITY)?;
    let mut out = cts::<C>(&encryption, &text)?;
    let integrity = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &integrity);
    out.extend(hmac::sign(&integrity, &text).as_ref().iter().take(MAC));
    Ok(out)
}

fn derived<C: Cipher>(key: &[u8], usage: u32, constant: u8) -> Result<Zeroizing<Vec<u8>>, String> {
    derive::<C>(key, &[usage.to_be_bytes().as_slice(), &[constant]].concat())
}

/// DK of RFC 3961 section 5.1.
fn derive<C: Cipher>(key: &[u8], constant: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let cipher = cipher::<C>(key)?;
    let mut block = [0; BLOCK];
    for (to, from) in block.iter_mut().zip(n_fold(constant, BLOCK)) {
        *to = from;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(key.len()));
    while out.len() < key.len() {
        block = one(&cipher, block);
        out.extend_from_slice(&block);
    }
    Ok(out)
}

fn cipher<C: Cipher>(key: &[u8]) -> Result<C, String> {
    C::new_from_slice(key).map_err(|_| "a key of a wrong length".to_owned())
}

fn one<C: Cipher>(cipher: &C, block: [u8; BLOCK]) -> [u8; BLOCK] {
    let mut block = Array::from(block);
    cipher.encrypt_block(&mut block);
    block.into()
}

/// CBC with ciphertext stealing and an initial vector of zeros; the last two blocks are always swapped (RFC 3962 section 5).
/// For more than one block.
fn cts<C: Cipher>(key: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
    let cipher = cipher::<C>(key)?;
    let mut blocks: Vec<[u8; BLOCK]> = Vec::with_capacity(text.len().div_ceil(BLOCK));
    for chunk in text.chunks(BLOCK) {
        let mut block = blocks.last().copied().unwrap_or_default();
        for (to, from) in block.iter_mut().zip(chunk) {
            *to ^= from;
        }
        blocks.push(one(&cipher, block));
    }
    let (Some(last), Some(before)) = (blocks.pop(), blocks.pop()) else {
        return Err("a message that is too short to be encrypted".to_owned());
    };
    let mut out = blocks.concat();
    out.extend_from_slice(&last);
    out.extend_from_slice(&before);
    out.truncate(text.len());
    Ok(out)
}

/// RFC 3961 section 5.1: copies of `input`, each rotated right by 13 bits more, added up in pieces of `size` bytes with the
/// carry going round.
fn n_fold(input: &[u8], size: usize) -> Vec<u8> {
    let bits = input.len() * 8;
    let mut out = vec![0_u8; size];
    if bits == 0 || size == 0 {
        return out;
    }
    let bit = |copy: usize, at: usize| {
        let from = (at + bits - (13 * copy) % bits) % bits;
        input.get(from / 8).map_or(0, |byte| byte >> (7 - from % 8) & 1)
    };
    let whole = input.len() * size / gcd(input.len(), size);
    let long: Vec<u8> = (0..whole)
        .map(|byte| {
            let (copy, at) = (byte / input.len(), byte % input.len() * 8);
            (0..8).fold(0, |value, place| value << 1 | bit(copy, at + place))
        })
        .collect();
    for piece in long.chunks(size) {
        let mut carry = 0_u16;
        // a carry out of the first byte comes in at the last: at most once more round
        for _ in 0..2 {
            let added: &[u8] = if carry == 0 { piece } else { &[] };
            let filler = std::iter::repeat(&0_u8);
            for (to, from) in out.iter_mut().rev().zip(added.iter().rev().chain(filler)) {
                let sum = u16::from(*to) + u16::from(*from) + carry;
                let [high, low] = sum.to_be_bytes();
                *to = low;
                carry = u16::from(high);
            }
            if carry == 0 {
                break;
            }
        }
    }
    out
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::facts::{hex, unhex};

    /// RFC 3961 appendix A.1.
    #[test]
    fn folding_is_that_of_the_rfc() {
        for (input, size, expected) in [
            ("012345", 8, "be072631276b1955"),
            ("password", 7, "78a07b6caf85fa"),
            ("Rough Consensus, and Running Code", 8, "bb6ed30870b7f0e0"),
            ("password", 21, "59e4a8ca7c0385c3c37b3f6d2000247cb6e6bd5b3e"),
            ("MASSACHVSETTS INSTITVTE OF TECHNOLOGY", 24, "db3b0d8f0b061e603282b308a50841229ad798fab9540c1b"),
            ("Q", 21, "518a54a215a8452a518a54a215a8452a518a54a215"),
            ("kerberos", 16, "6b65726265726f737b9b5b2b93132b93"),
        ] {
            assert_eq!(hex(&n_fold(input.as_bytes(), size)), expected, "{input}");
        }
    }

    /// RFC 3962 appendix B.
    #[test]
    fn stealing_is_that_of_the_rfc() {
        let key = b"chicken teriyaki";
        let text = b"I would like the General Gau's Chicken, please, and wonton soup.";
        for (length, expected) in [
            (17, "c6353568f2bf8cb4d8a580362da7ff7f97"),
            (31, "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5"),
            (32, "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584"),
            (
                47,
                "97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e39312523a78662d5be7fcbcc98ebf5",
            ),
        ] {
            assert_eq!(hex(&cts::<Aes128>(key, &text[..length]).unwrap()), expected, "{length}");
        }
        assert!(cts::<Aes128>(key, b"short").is_err());
    }

    /// RFC 3962 appendix B (from the PBKDF2 output to the key), and the checksum key that OpenSSL's KRB5KDF derives.
    #[test]
    fn derived_keys_are_those_of_others() {
        let key = unhex("cdedb5281bb2f801565a1122b25635150ad1f7a04bb9f3a333ecc0e2e1f70837").unwrap();
        assert_eq!(
            hex(&derive::<Aes256>(&key, b"kerberos").unwrap()),
            "fe697b52bc0d3ce14432ba036a92e65bbb52280990a2fa27883998d72af30161"
        );
        let key = unhex("42263c6e89f4fc28b8df68ee09799f15").unwrap();
        assert_eq!(hex(&derived::<Aes128>(&key, 2, 0x99).unwrap()), "34280a382bc92769b2da2f9ef066854b");
    }

    #[test]
    fn only_keys_that_fit_are_taken() {
        assert!(encrypt(18, &[0; 32], 11, b"x").is_ok_and(|sealed| sealed.len() == 16 + 1 + 12));
        assert!(encrypt(17, &[0; 16], 11, b"").is_err());
        assert!(encrypt(18, &[0; 16], 11, b"x").is_err());
        assert!(encrypt(23, &[0; 16], 11, b"x").is_err());
    }
}
