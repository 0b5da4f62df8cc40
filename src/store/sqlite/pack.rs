//! Documents as they lie in their rows: a zlib stream each. Rows of schema 1 hold the plain JSON and stay as they are: JSON begins
//! with `{`, which no zlib stream does.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::store::error::StoreError;

/// Bytes of one document, and of its row. Evidence is about a kilobyte for each person of a domain, so that this is far beyond
/// any real one; a row that would become larger is damage and is never held whole.
pub const DOCUMENT_MAX: usize = 256 << 20;

/// The document as its row holds it.
pub fn pack(document: &[u8]) -> Result<Vec<u8>, StoreError> {
    let refuse = |reason: String| StoreError::Value(format!("a document cannot be kept: {reason}"));
    let too_large = |length: usize| refuse(format!("{length} bytes are more than {DOCUMENT_MAX}"));
    if document.len() > DOCUMENT_MAX {
        return Err(too_large(document.len()));
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(document).and_then(|()| encoder.finish());
    let packed = packed.map_err(|error| refuse(error.to_string()))?;
    // what does not compress grows a little
    if packed.len() > DOCUMENT_MAX { Err(too_large(packed.len())) } else { Ok(packed) }
}

/// The document that a row holds; none when the row is larger than [`DOCUMENT_MAX`]. `what` names the row in an error.
pub fn unpack(row: Option<Vec<u8>>, what: &str) -> Result<Vec<u8>, StoreError> {
    let damaged = |reason: String| StoreError::Damaged(format!("{what}: {reason}"));
    let row = row.ok_or_else(|| damaged(format!("its row is larger than {DOCUMENT_MAX} bytes")))?;
    unpack_within(row, DOCUMENT_MAX).map_err(damaged)
}

fn unpack_within(row: Vec<u8>, limit: usize) -> Result<Vec<u8>, String> {
    if row.first() == Some(&b'{') {
        return Ok(row);
    }
    let mut decoder = ZlibDecoder::new(row.as_slice());
    let mut document = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .by_ref()
        .take(one_more)
        .read_to_end(&mut document)
        .map_err(|error| format!("its document cannot be read: {error}"))?;
    if document.len() > limit {
        return Err(format!("its document is larger than {limit} bytes"));
    }
    if !decoder.into_inner().is_empty() {
        return Err("something follows its document".to_owned());
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_row_is_its_document() {
        assert_eq!(
            unpack_within(b"{\"a\":1}".to_vec(), 4).unwrap(),
            b"{\"a\":1}",
            "its row is bounded already"
        );
    }

    #[test]
    fn a_bomb_is_damage_and_is_not_inflated() {
        let bomb = pack(&vec![b'x'; 10_000_000]).unwrap();
        assert!(bomb.len() < 20_000, "{}", bomb.len());
        let reason = unpack_within(bomb.clone(), 9_999_999).unwrap_err();
        assert!(reason.contains("larger than 9999999 bytes"), "{reason}");
        assert_eq!(unpack_within(bomb, 10_000_000).unwrap().len(), 10_000_000);
        let error = unpack(None, "evidence 7").unwrap_err();
        assert!(matches!(&error, StoreError::Damaged(text) if text.starts_with("evidence 7: ")), "{error}");
    }

    #[test]
    fn what_is_no_stream_is_damage() {
        let packed = pack(b"{\"a\":1}").unwrap();
        let mut longer = packed.clone();
        longer.push(0);
        for row in [Vec::new(), b"[]".to_vec(), b"x{}".to_vec(), vec![0; 9], longer] {
            assert!(unpack(Some(row.clone()), "evidence 7").unwrap_err().closes_gates(), "{row:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_and_a_cut_or_changed_row_does_not_pass(
            document in proptest::collection::vec(any::<u8>(), 0..2_000),
            at in any::<proptest::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let packed = pack(&document).unwrap();
            prop_assert_ne!(packed[0], b'{');
            prop_assert_eq!(&unpack_within(packed.clone(), document.len()).unwrap(), &document);
            let at = at.index(packed.len());
            let cut = packed[..at].to_vec();
            prop_assert!(unpack_within(cut, DOCUMENT_MAX).is_err(), "cut at {at}");
            let mut changed = packed.clone();
            changed[at] ^= flip;
            // the level that the second byte tells, and a stream that says the same in other words, harm nobody
            let read = unpack_within(changed.clone(), DOCUMENT_MAX);
            prop_assert!(changed[0] == b'{' || read.is_err() || read.as_ref() == Ok(&document), "byte {at}");
        }
    }
}
