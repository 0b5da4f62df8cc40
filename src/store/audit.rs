//! The audit chain: values, hash, and what a verification finds. Records hold who, what, which member, decision, rule and
//! counts; no values of attributes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::policy::terms::OdsCode;

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAudit {
    /// In UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who did it: an officer's name, or `gateway`.
    pub actor: String,
    /// What, as a fixed word with dots: `member.approve`, `gate.close`, `sync.approve`.
    pub action: String,
    /// Which member, when it is about one.
    pub member: Option<OdsCode>,
    /// The rest, as JSON.
    pub detail: serde_json::Value,
}

/// A record of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// From 1, without a gap.
    pub seq: u64,
    #[serde(flatten)]
    pub audit: NewAudit,
    /// The hash of the record before, lower-case hex; 64 zeros before the first.
    pub previous: String,
    /// The hash of this one, lower-case hex.
    pub hash: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Records read.
    pub records: u64,
    /// The last record's hash.
    pub head: String,
    /// Every break found; none means that the chain is whole.
    pub faults: Vec<AuditFault>,
}

impl AuditReport {
    /// Whether the chain is whole.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }
}

/// A break in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum AuditFault {
    #[error("record {seq} was changed: its hash does not match what it says")]
    Changed { seq: u64 },
    #[error("records {from} to {to} are missing")]
    Gap { from: u64, to: u64 },
    #[error("record {seq} does not follow the record before it")]
    Unchained { seq: u64 },
    #[error("the chain ends at record {found}, but record {expected} was written")]
    Truncated { found: u64, expected: u64 },
    #[error("record {seq} cannot be read: {reason}")]
    Unreadable { seq: u64, reason: String },
    #[error("the signed checkpoint at record {seq} does not match the chain")]
    Checkpoint { seq: u64 },
}

/// The hash before the first record.
pub const BEFORE_FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of a record, lower-case hex: SHA-256 over its fields, each preceded by its length (8 bytes, big-endian), so
/// that no two different records have the same bytes. `detail` is the JSON text exactly as kept.
pub fn record_hash(previous: &str, seq: u64, audit: &NewAudit, at: &str, detail: &str) -> String {
    let mut hasher = Sha256::new();
    let member = audit.member.as_ref().map_or("", OdsCode::as_str);
    for field in [previous, &seq.to_string(), at, &audit.actor, &audit.action, member, detail] {
        hasher.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(field.as_bytes());
    }
    hex(&hasher.finalize())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}
