//! Signed checkpoints of the audit chain, one line each in a file beside the store. Whoever can write the store can write a
//! whole new chain with a true end; without the signing key they cannot make it agree with the checkpoints.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::secret::signing::{self, Signer};
use crate::store::audit::{AuditFault, hex};
use crate::store::error::StoreError;
use crate::store::port::Store;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    /// The record that the chain ended with, and its hash.
    seq: u64,
    hash: String,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// Ed25519 over [`Checkpoint::bytes`], lower-case hex.
    signature: String,
}

impl Checkpoint {
    fn bytes(&self) -> Vec<u8> {
        format!("portcullis audit checkpoint 1:{}:{}:{}", self.seq, self.hash, self.at.unix_timestamp_nanos())
            .into_bytes()
    }
}

/// Signs the chain's end if it lies after record `signed`; returns the record that was signed last.
pub fn write(
    file: &Path,
    store: &dyn Store,
    signer: &Signer,
    now: OffsetDateTime,
    signed: u64,
) -> Result<u64, StoreError> {
    let (seq, hash) = store.audit_end()?;
    if seq <= signed {
        return Ok(signed);
    }
    let mut checkpoint = Checkpoint { seq, hash, at: now, signature: String::new() };
    checkpoint.signature = hex(&signer.sign(&checkpoint.bytes()));
    let mut line = serde_json::to_string(&checkpoint).map_err(|e| StoreError::Value(e.to_string()))?;
    line.push('\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_data()
        })
        .map_err(|error| failure(file, &error))?;
    Ok(seq)
}

/// Holds every checkpoint against the chain; a file that is not there has none.
pub fn verify(file: &Path, store: &dyn Store, public_key: &[u8]) -> Result<Vec<AuditFault>, StoreError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failure(file, &error)),
    };
    let mut faults = Vec::new();
    let mut last = 0;
    for line in text.lines() {
        let Ok(checkpoint) = serde_json::from_str::<Checkpoint>(line) else {
            faults.push(AuditFault::Checkpoint { seq: last });
            continue;
        };
        let signature = bytes(&checkpoint.signature);
        let record = store.audit(checkpoint.seq.saturating_sub(1), 1)?.into_iter().next();
        let agrees = record.is_some_and(|r| r.seq == checkpoint.seq && r.hash == checkpoint.hash);
        // a restart signs anew from the beginning of its own counting, so an equal one is no step back
        let good = checkpoint.seq >= last && agrees;
        if !good || !signing::verify(public_key, &checkpoint.bytes(), &signature) {
            faults.push(AuditFault::Checkpoint { seq: checkpoint.seq });
        }
        last = checkpoint.seq;
    }
    Ok(faults)
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn failure(file: &Path, error: &std::io::Error) -> StoreError {
    StoreError::ReadOnly(format!("{}: {error}", file.display()))
}
