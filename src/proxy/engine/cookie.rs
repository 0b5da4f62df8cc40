//! The cookies of paged results: sealed, so that nobody can make or alter one, and bound to who may bring it back.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

/// Where a paged search goes on: a place in the table of this shard, and the number that the search has there. The
/// number changes with every page, so a cookie is good once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bookmark {
    pub place: u64,
    pub serial: u64,
}

/// Makes and reads cookies. The key is this shard's alone and lives as long as the process.
pub struct Seal {
    /// None only when the key could not be taken in; no cookie is made or read then.
    key: Option<LessSafeKey>,
    nonces: hmac::Key,
    made: u64,
}

impl Seal {
    /// `secret`: unguessable bytes that are used for nothing else.
    pub fn new(secret: &[u8; 32]) -> Seal {
        let master = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = UnboundKey::new(&AES_256_GCM, hmac::sign(&master, b"seal").as_ref());
        let nonces = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, b"nonce").as_ref());
        Seal { key: key.ok().map(LessSafeKey::new), nonces, made: 0 }
    }

    /// A cookie that [`Seal::open`] takes only with the same `bound_to`.
    pub fn seal(&mut self, bookmark: Bookmark, bound_to: &[u8]) -> Option<Vec<u8>> {
        self.made = self.made.checked_add(1)?;
        // A nonce never comes twice, and does not tell how many cookies others got.
        let tag = hmac::sign(&self.nonces, &self.made.to_be_bytes());
        let nonce: [u8; NONCE_LEN] = tag.as_ref().get(..NONCE_LEN)?.try_into().ok()?;
        let mut sealed = [bookmark.place.to_be_bytes(), bookmark.serial.to_be_bytes()].concat();
        let key = self.key.as_ref()?;
        let aad = Aad::from(bound_to);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// What a cookie says; None when we did not make it for `bound_to`, or not so.
    pub fn open(&self, cookie: &[u8], bound_to: &[u8]) -> Option<Bookmark> {
        let (nonce, sealed) = cookie.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let key = self.key.as_ref()?;
        let aad = Aad::from(bound_to);
        let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed).ok()?;
        let (place, serial) = plain.split_first_chunk::<8>()?;
        let serial: [u8; 8] = serial.try_into().ok()?;
        Some(Bookmark { place: u64::from_be_bytes(*place), serial: u64::from_be_bytes(serial) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Bookmark = Bookmark { place: 3, serial: 1 << 40 };

    #[test]
    fn t31_a_cookie_comes_back_whole_and_to_whom_it_was_given() {
        let mut seal = Seal::new(&[7; 32]);
        let cookie = seal.seal(MARK, b"who and what").unwrap();
        assert_eq!(seal.open(&cookie, b"who and what"), Some(MARK));
        assert_eq!(seal.open(&cookie, b"who and whaT"), None);
        assert_eq!(Seal::new(&[8; 32]).open(&cookie, b"who and what"), None);
    }

    #[test]
    fn t31_every_bit_counts() {
        let mut seal = Seal::new(&[7; 32]);
        let cookie = seal.seal(MARK, b"x").unwrap();
        for bit in 0..cookie.len() * 8 {
            let mut other = cookie.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal.open(&other, b"x"), None, "bit {bit}");
        }
        for length in 0..cookie.len() {
            assert_eq!(seal.open(&cookie[..length], b"x"), None, "{length} bytes");
        }
        assert_eq!(seal.open(&[cookie.as_slice(), b"\0"].concat(), b"x"), None);
    }

    #[test]
    fn two_cookies_of_one_place_have_nothing_in_common() {
        let mut seal = Seal::new(&[7; 32]);
        let (one, two) = (seal.seal(MARK, b"x").unwrap(), seal.seal(MARK, b"x").unwrap());
        assert_eq!(one.len(), two.len());
        assert_ne!(one[..12], two[..12]);
        assert_ne!(one[12..], two[12..]);
    }
}
