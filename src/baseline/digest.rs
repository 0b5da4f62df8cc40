//! Hashes of evidence documents while they are written and read.

use std::io::{Read, Write};

use sha2::{Digest, Sha256};

use crate::baseline::facts::{Evidence, hex};

/// Bytes that are hashed at once.
pub const CHUNK: usize = 64 << 10;

/// Hashes what is read through it, all but the end, where the hash and the signature stand.
pub struct Seen<R> {
    inner: R,
    hash: Sha256,
    /// The last bytes.
    end: Vec<u8>,
}

/// Bytes at the end of a document that may be its hash and signature: two texts of hex digits with their names.
const END: usize = 256;

impl<R> Seen<R> {
    /// Nothing read yet.
    pub fn new(inner: R) -> Self {
        Seen { inner, hash: Sha256::new(), end: Vec::with_capacity(END + CHUNK) }
    }

    /// Whether the bytes are what the hash of `evidence` is over.
    pub fn is_over(mut self, evidence: &Evidence) -> bool {
        let close =
            |hash: &str, signature: &str| format!("\"hash\":\"{hash}\",\"signature\":\"{signature}\"}}");
        let written = close(&evidence.hash, &evidence.signature);
        let Some(before) = self.end.strip_suffix(written.as_bytes()) else { return false };
        self.hash.update(before);
        self.hash.update(close("", "").as_bytes());
        hex(&self.hash.finalize()) == evidence.hash
    }

    fn note(&mut self, bytes: &[u8]) {
        self.end.extend_from_slice(bytes);
        let past = self.end.len().saturating_sub(END);
        self.hash.update(self.end.get(..past).unwrap_or_default());
        self.end.drain(..past);
    }
}

impl<R: Read> Read for Seen<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(into)?;
        self.note(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Hashes what is written to it.
#[derive(Default)]
pub struct Hashing(Sha256);

impl Hashing {
    /// The hash of everything that was written, lower-case hex.
    pub fn end(self) -> String {
        hex(&self.0.finalize())
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::document::SCHEMA;
    use crate::baseline::facts::Fact;

    #[test]
    fn bytes_tell_what_the_hash_is_over() {
        /// Gives few bytes at a time.
        struct Slowly<'a>(&'a [u8]);
        impl Read for Slowly<'_> {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                let count = into.len().min(7);
                self.0.read(&mut into[..count])
            }
        }
        let text = document();
        let evidence = Evidence::from_json(text.as_bytes()).unwrap();
        let is_over = |bytes: &[u8]| {
            let mut seen = Seen::new(Slowly(bytes));
            std::io::copy(&mut seen, &mut std::io::sink()).unwrap();
            seen.is_over(&evidence)
        };
        assert!(is_over(text.as_bytes()));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert!(!is_over(&changed), "byte {at}");
            assert!(!is_over(&text.as_bytes()[..at]), "cut at {at}");
        }
        // laid out otherwise it is the same document, and is written again to find its hash
        let spaced = text.replace(",\"provenance\"", ", \"provenance\"");
        assert!(!is_over(spaced.as_bytes()));
        assert_eq!(Evidence::read(spaced.as_bytes()).unwrap(), evidence);
    }

    fn document() -> String {
        let mut evidence = Evidence {
            schema: SCHEMA,
            member: "RXA".parse().unwrap(),
            collected_at: time::macros::datetime!(2026-11-24 12:00 UTC),
            collector: "test".to_owned(),
            controllers: Vec::new(),
            facts: Default::default(),
            provenance: Vec::new(),
            attestations: Vec::new(),
            previous: None,
            hash: String::new(),
            signature: String::new(),
        };
        evidence.facts.set("domain.name", Fact::text("rxa"));
        String::from_utf8(evidence.sealed().signed(&[7; 64]).to_json()).unwrap()
    }
}
