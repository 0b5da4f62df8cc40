//! Facts as collected, and the evidence document that holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::baseline::attestation::Attestation;
pub use crate::baseline::fact::{Fact, Record};
use crate::baseline::records::Records;
use crate::baseline::strict;
use crate::policy::terms::OdsCode;

/// Records of one kind. Every record should hold the facts `dn` and `name` (texts): offenders are told by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collection {
    pub records: Records,
    /// Known `true` when every record is here. Anything else makes a control over the collection unknown, unless what
    /// is here fails it already.
    pub complete: Fact,
}

impl Collection {
    /// A collection of which nothing could be read, and why.
    pub fn failed(reason: &str) -> Collection {
        Collection { records: Records::default(), complete: Fact::Failed(reason.to_owned()) }
    }
}

/// All facts of one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// By first part of the fact's name: `domain`, `tls`, `kerberos`, `smartcard`, `rights`, `canary` ...
    #[serde(deserialize_with = "strict::uniques")]
    pub records: BTreeMap<String, Record>,
    /// By name: `users`, `computers` ...
    #[serde(deserialize_with = "strict::unique")]
    pub collections: BTreeMap<String, Collection>,
}

impl Facts {
    /// A fact by its full name, as in `domain.machine_account_quota`. `users.complete` is the completeness of a
    /// collection. What is not there was not collected.
    pub fn get(&self, name: &str) -> Fact {
        let Some((record, fact)) = name.split_once('.') else {
            return Fact::NotCollected(format!("`{name}` is no fact"));
        };
        if let Some(found) = self.records.get(record).and_then(|r| r.get(fact)) {
            return found.clone();
        }
        match self.collections.get(record) {
            Some(collection) if fact == "complete" => collection.complete.clone(),
            _ => Fact::NotCollected("the evidence does not hold it".into()),
        }
    }

    /// Sets a fact by its full name; a name without a dot is ignored.
    pub fn set(&mut self, name: &str, fact: Fact) {
        if let Some((record, short)) = name.split_once('.') {
            self.records.entry(record.to_owned()).or_default().insert(short.to_owned(), fact);
        }
    }
}

/// Where facts came from: one search or probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The record or collection it gave facts to (`domain`, `tls`), or the one fact (`attested.strong_binding`).
    pub facts: String,
    /// The probe, or the search as text.
    pub by: String,
    /// The controller asked, as `host:port`; empty when none was.
    pub controller: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Milliseconds.
    pub took_ms: u64,
    pub pages: u64,
    pub entries: u64,
    /// The LDAP result code, when it was a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u32>,
    pub truncated: bool,
}

/// Typed facts collected from one member directory in one pass; immutable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`SCHEMA`](crate::baseline::document::SCHEMA).
    pub schema: u32,
    pub member: OdsCode,
    /// In UTC; ages were taken at this time.
    #[serde(with = "time::serde::rfc3339")]
    pub collected_at: OffsetDateTime,
    /// The collector's name and version.
    pub collector: String,
    /// Controllers asked, as `host:port`.
    pub controllers: Vec<String>,
    #[serde(deserialize_with = "strict::object")]
    pub facts: Facts,
    #[serde(deserialize_with = "strict::objects")]
    pub provenance: Vec<Provenance>,
    /// What the member stated, with its signatures, so that they can be checked again.
    #[serde(deserialize_with = "strict::objects")]
    pub attestations: Vec<Attestation>,
    /// Hash of the member's evidence before this one.
    pub previous: Option<String>,
    /// [`Evidence::content_hash`], lower-case hex; empty until sealed.
    pub hash: String,
    /// Ed25519 over the bytes of the hash text, lower-case hex; empty until signed.
    pub signature: String,
}

/// Why an evidence document cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    #[error("the evidence is not valid JSON of a known shape: {0}")]
    Unreadable(String),
    #[error("the evidence has schema {0}, this program knows 1 and 2")]
    Schema(u32),
    #[error("the evidence does not match its own hash")]
    Hash,
    #[error("the signature of the evidence was not made with the gateway's key")]
    Signature,
    #[error("the evidence does not follow the one before it")]
    Chain,
}

impl Evidence {
    /// The document with its hash filled in, not signed.
    #[must_use]
    pub fn sealed(mut self) -> Evidence {
        self.signature = String::new();
        self.hash = self.content_hash();
        self
    }

    /// What is signed.
    pub fn signed_bytes(&self) -> &[u8] {
        self.hash.as_bytes()
    }

    /// The document with a signature (made by the caller over [`Evidence::signed_bytes`]).
    #[must_use]
    pub fn signed(mut self, signature: &[u8]) -> Evidence {
        self.signature = hex(signature);
        self
    }

    /// Whether its hash was signed with the private half of `public_key` (Ed25519, 32 bytes). That the hash is its own, reading it told.
    pub fn is_signed_by(&self, public_key: &[u8]) -> bool {
        let signature = unhex(&self.signature);
        signature.is_some_and(|it| crate::policy::signature::verify(public_key, self.signed_bytes(), &it))
    }

    /// Checks the hash, the signature by `public_key` (Ed25519, 32 bytes) and that it follows `previous` (`None`: the
    /// first document of the member).
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn verify(&self, public_key: &[u8], previous: Option<&str>) -> Result<(), EvidenceError> {
        if self.hash != self.content_hash() {
            return Err(EvidenceError::Hash);
        }
        if !self.is_signed_by(public_key) {
            return Err(EvidenceError::Signature);
        }
        if self.previous.as_deref() != previous {
            return Err(EvidenceError::Chain);
        }
        Ok(())
    }
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    crate::policy::signature::hex(bytes)
}

/// Hex as bytes.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    crate::policy::signature::unhex(text)
}
