//! Documents as they are kept: a zlib stream each, written and read as a stream. Rows of the store's schema 1 hold the plain JSON and stay
//! as they are: JSON begins with `{`, which no zlib stream does.

use std::fmt;
use std::io::{Error, Read, Write};

use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::store::error::StoreError;

/// Bytes of one document, and of its row. Evidence is some hundreds of bytes for each account of a domain, so that this is far beyond any
/// real one; a row that would become larger is damage and is never held whole.
pub const DOCUMENT_MAX: usize = 256 << 20;

/// A document, packed.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(Vec<u8>);

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.0.len())
    }
}

impl Packed {
    /// Packs what `write` writes.
    ///
    /// # Errors
    /// More than [`DOCUMENT_MAX`], or what `write` says.
    pub fn by(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<Packed, StoreError> {
        let refuse = |error: Error| StoreError::Value(format!("a document cannot be kept: {error}"));
        let encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut out = Bounded { inner: encoder, left: DOCUMENT_MAX };
        write(&mut out).map_err(refuse)?;
        let mut packed = out.inner.finish().map_err(refuse)?;
        // what does not compress grows a little
        if packed.len() > DOCUMENT_MAX {
            return Err(refuse(too_large()));
        }
        packed.shrink_to_fit();
        Ok(Packed(packed))
    }

    /// Packs a whole document.
    ///
    /// # Errors
    /// More than [`DOCUMENT_MAX`].
    pub fn of(document: &[u8]) -> Result<Packed, StoreError> {
        Packed::by(|out| out.write_all(document))
    }

    /// What a row holds, read through once; none when the row is larger than [`DOCUMENT_MAX`]. `what` names the row in an error.
    ///
    /// # Errors
    /// A row that is damaged.
    pub fn from_row(row: Option<Vec<u8>>, what: &str) -> Result<Packed, StoreError> {
        let row =
            row.ok_or_else(|| damaged(what, &format!("its row is larger than {DOCUMENT_MAX} bytes")))?;
        let packed = Packed(row);
        let read = std::io::copy(&mut packed.open(), &mut std::io::sink());
        match read {
            Ok(_) => Ok(packed),
            Err(error) => Err(damaged(what, &format!("its document cannot be read: {error}"))),
        }
    }

    /// The bytes of the row.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The document as a stream. It fails where the row is damaged, and when it would give more than [`DOCUMENT_MAX`].
    pub fn open(&self) -> impl Read {
        self.within(DOCUMENT_MAX)
    }

    /// The whole document. `what` names the row in an error.
    pub fn unpack(&self, what: &str) -> Result<Vec<u8>, StoreError> {
        self.unpack_within(DOCUMENT_MAX).map_err(|reason| damaged(what, &reason))
    }

    fn within(&self, limit: usize) -> Opened<'_> {
        let form = match self.0.first() {
            Some(b'{') => Form::Plain(&self.0),
            _ => Form::Stream(ZlibDecoder::new(&self.0)),
        };
        Opened { form, left: limit }
    }

    fn unpack_within(&self, limit: usize) -> Result<Vec<u8>, String> {
        let mut document = Vec::new();
        let read = self.within(limit).read_to_end(&mut document);
        read.map_err(|error| format!("its document cannot be read: {error}"))?;
        Ok(document)
    }
}

fn damaged(what: &str, reason: &str) -> StoreError {
    StoreError::Damaged(format!("{what}: {reason}"))
}

fn too_large() -> Error {
    Error::other(format!("it is larger than {DOCUMENT_MAX} bytes"))
}

/// Takes so many bytes and no more.
struct Bounded<W> {
    inner: W,
    left: usize,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(too_large)?;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// A document while it is read.
struct Opened<'a> {
    form: Form<'a>,
    left: usize,
}

enum Form<'a> {
    Plain(&'a [u8]),
    Stream(ZlibDecoder<&'a [u8]>),
}

impl Read for Opened<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let stream = match &mut self.form {
            Form::Plain(rest) => return rest.read(into),
            Form::Stream(stream) => stream,
        };
        let count = stream.read(into)?;
        if count == 0 && !into.is_empty() && !stream.get_ref().is_empty() {
            return Err(Error::other("something follows it"));
        }
        self.left = self
            .left
            .checked_sub(count)
            .ok_or_else(|| Error::other("it is larger than a document may be"))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_row_is_its_document() {
        let row = Packed(b"{\"a\":1}".to_vec());
        assert_eq!(row.unpack_within(4).unwrap(), b"{\"a\":1}", "its row is bounded already");
    }

    #[test]
    fn a_bomb_is_damage_and_is_not_inflated() {
        let bomb = Packed::of(&vec![b'x'; 10_000_000]).unwrap();
        assert!(bomb.0.len() < 20_000, "{}", bomb.0.len());
        let reason = bomb.unpack_within(9_999_999).unwrap_err();
        assert!(reason.contains("larger than a document may be"), "{reason}");
        assert_eq!(bomb.unpack_within(10_000_000).unwrap().len(), 10_000_000);
        let error = Packed::from_row(None, "evidence 7").unwrap_err();
        assert!(matches!(&error, StoreError::Damaged(text) if text.starts_with("evidence 7: ")), "{error}");
    }

    #[test]
    fn what_is_no_stream_is_damage() {
        let mut longer = Packed::of(b"{\"a\":1}").unwrap().0;
        longer.push(0);
        for row in [Vec::new(), b"[]".to_vec(), b"x{}".to_vec(), vec![0; 9], longer] {
            assert!(Packed::from_row(Some(row.clone()), "evidence 7").unwrap_err().closes_gates(), "{row:?}");
            assert!(Packed(row.clone()).unpack("evidence 7").unwrap_err().closes_gates(), "{row:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_and_a_cut_or_changed_row_does_not_pass(
            document in proptest::collection::vec(any::<u8>(), 0..2_000),
            at in any::<proptest::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let packed = Packed::of(&document).unwrap().0;
            prop_assert_ne!(packed[0], b'{');
            prop_assert_eq!(&Packed(packed.clone()).unpack_within(document.len()).unwrap(), &document);
            let at = at.index(packed.len());
            let cut = packed[..at].to_vec();
            prop_assert!(Packed(cut).unpack_within(DOCUMENT_MAX).is_err(), "cut at {at}");
            let mut changed = packed.clone();
            changed[at] ^= flip;
            // the level that the second byte tells, and a stream that says the same in other words, harm nobody
            let read = Packed(changed.clone()).unpack_within(DOCUMENT_MAX);
            prop_assert!(changed[0] == b'{' || read.is_err() || read.as_ref() == Ok(&document), "byte {at}");
        }
    }

    #[test]
    fn a_document_that_is_too_large_is_not_packed() {
        let line = [b'x'; 1 << 20];
        let written = Packed::by(|out| (0..257).try_for_each(|_| out.write_all(&line)));
        assert!(
            matches!(written.unwrap_err(), StoreError::Value(text) if text.contains("larger than 268435456 bytes"))
        );
    }
}
