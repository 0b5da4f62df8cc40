//! Attestations: what a member states because nobody can read it from afar, signed with its own key (Ed25519, RFC 8032), until a day.
//!
//! The signature covers the member, the statement as the policies word it, who states it and both dates: none of them can be changed, and
//! a statement that the policies word anew must be signed anew.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::baseline::strict::Object;
use crate::policy::documents::Statement;
use crate::policy::signature::{hex, is_weak, unhex, verify};
use crate::policy::terms::OdsCode;

/// What is signed begins with this, so that no signature made for something else is one of an attestation.
const DOMAIN: &str = "portcullis attestation 1\n";
/// How far the clock of the member may go before ours.
const SKEW: Duration = Duration::minutes(5);
/// An attestation ends soon when it ends within this.
pub const SOON: Duration = Duration::days(30);
/// Bytes of a document that are read at most, and of who states it and of a note.
pub const DOCUMENT_BYTES_MAX: u64 = 16 * 1024;
const NAME_BYTES_MAX: usize = 200;
const NOTE_BYTES_MAX: usize = 2_000;
/// Bytes of a public key.
const KEY_BYTES: usize = 32;

/// A signed statement of the member about what cannot be read remotely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    pub member: OdsCode,
    /// The full name of its fact, as in `attested.strong_binding`.
    pub subject: String,
    /// The statement as the policies worded it when it was signed.
    pub statement: String,
    /// Who states it: name and role.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub signed_at: OffsetDateTime,
    /// Exclusive: the start of the day after the last day that it holds.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// The public key that signed it, lower-case hex.
    pub key: String,
    /// Over [`Attestation::signed_bytes`], lower-case hex; empty until signed.
    pub signature: String,
    /// Whoever collected it could not hold the key against one that is registered for the member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unregistered: bool,
}

/// What is signed, in this order.
#[derive(Serialize)]
struct Signed<'a> {
    member: &'a OdsCode,
    subject: &'a str,
    statement: &'a str,
    by: &'a str,
    note: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339")]
    signed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    until: OffsetDateTime,
}

/// The key that a member's attestations must be signed with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Registered {
    /// The member has registered none.
    #[default]
    Nothing,
    /// Lower-case hex.
    Key(String),
    /// Nobody here knows what is registered: any key will do, and it is told.
    Unchecked,
}

/// What is known of a member's statements when its evidence is collected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    pub attestations: Vec<Attestation>,
    pub registered: Registered,
}

/// Why an attestation does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("this is no attestation: {0}")]
    Unreadable(String),
    #[error("the attestation is of {of}, not of {not}")]
    Member { of: OdsCode, not: OdsCode },
    #[error("the member has no key for attestations: register it with `portcullis member attestation-key`")]
    NoKey,
    #[error("the attestation was signed with another key than the registered one")]
    Key,
    #[error(
        "the signature does not fit the attestation: it was changed after it was signed, or signed with another key"
    )]
    Signature,
    #[error("the statement was worded anew since it was signed: sign the new one")]
    Statement,
    #[error(
        "the attestation says that it was signed on {0}, which is in the future: set the clock where it is signed"
    )]
    Future(String),
    #[error("the attestation ends more than {0} days after it was signed")]
    TooLong(i64),
    #[error("the attestation ended on {0}: sign a new one")]
    Ended(String),
}

impl Attestation {
    /// Reads a document.
    ///
    /// # Errors
    /// Not JSON of this shape; texts that are empty, too long or would steer a terminal.
    pub fn from_json(bytes: &[u8]) -> Result<Attestation, Problem> {
        let Object::<Attestation>(read) =
            serde_json::from_slice(bytes).map_err(|error| Problem::Unreadable(error.to_string()))?;
        let read = Attestation { unregistered: false, ..read };
        match read.fault() {
            Some(fault) => Err(Problem::Unreadable(fault)),
            None => Ok(read),
        }
    }

    /// What is wrong with its texts.
    pub fn fault(&self) -> Option<String> {
        let note = self.note.as_deref().unwrap_or("-");
        let texts = [("by", self.by.as_str(), NAME_BYTES_MAX), ("note", note, NOTE_BYTES_MAX)];
        texts.into_iter().find_map(|(name, text, most)| {
            if text.trim().is_empty() {
                Some(format!("`{name}` is empty"))
            } else if text.len() > most {
                Some(format!("`{name}` has more than {most} bytes"))
            } else if text.chars().any(char::is_control) {
                Some(format!("`{name}` has characters that are no text: write one line"))
            } else {
                None
            }
        })
    }

    /// What is signed: everything but the key and the signature.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let signed = Signed {
            member: &self.member,
            subject: &self.subject,
            statement: &self.statement,
            by: &self.by,
            note: self.note.as_deref(),
            signed_at: self.signed_at,
            until: self.until,
        };
        let mut bytes = DOMAIN.as_bytes().to_vec();
        bytes.extend(serde_json::to_vec(&signed).unwrap_or_default());
        bytes
    }

    /// The document with its signature (made by the caller over [`Attestation::signed_bytes`]).
    #[must_use]
    pub fn signed(mut self, signature: &[u8]) -> Attestation {
        self.signature = hex(signature);
        self
    }

    /// Whether it is the member's own: its code, its key, and the signature over every word.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn is_of(&self, member: &OdsCode, registered: &Registered) -> Result<(), Problem> {
        if self.member != *member {
            return Err(Problem::Member { of: self.member.clone(), not: member.clone() });
        }
        match registered {
            Registered::Nothing => return Err(Problem::NoKey),
            Registered::Key(key) if *key != self.key => return Err(Problem::Key),
            Registered::Key(_) | Registered::Unchecked => {}
        }
        let (Some(key), Some(signature)) = (public_key(&self.key), unhex(&self.signature)) else {
            return Err(Problem::Signature);
        };
        if verify(&key, &self.signed_bytes(), &signature) { Ok(()) } else { Err(Problem::Signature) }
    }

    /// Whether it says what the policies ask, for a time that they allow, and still holds at `now`.
    ///
    /// # Errors
    /// The first of these that does not hold; that it ended comes last.
    pub fn answers(&self, statement: &Statement, now: OffsetDateTime) -> Result<(), Problem> {
        if self.statement != statement.text {
            return Err(Problem::Statement);
        }
        if self.signed_at > now.checked_add(SKEW).unwrap_or(now) {
            return Err(Problem::Future(day(self.signed_at)));
        }
        if self.until - self.signed_at > statement.at_most {
            return Err(Problem::TooLong(statement.at_most.whole_days()));
        }
        if self.has_ended(now) { Err(Problem::Ended(self.last_day())) } else { Ok(()) }
    }

    /// Whether it does not hold any more.
    pub fn has_ended(&self, now: OffsetDateTime) -> bool {
        self.until <= now
    }

    /// Whether it still holds and ends within [`SOON`].
    pub fn ends_soon(&self, now: OffsetDateTime) -> bool {
        !self.has_ended(now) && self.until - now <= SOON
    }

    /// The last day that it holds.
    pub fn last_day(&self) -> String {
        last_day(self.until)
    }
}

/// The last day before an exclusive end.
pub fn last_day(until: OffsetDateTime) -> String {
    day(until.checked_sub(Duration::SECOND).unwrap_or(until))
}

/// A public key as 32 bytes; none when the hex is not one in lower case, or it is one for which anybody can sign.
pub fn public_key(text: &str) -> Option<Vec<u8>> {
    let bytes = unhex(text).filter(|bytes| bytes.len() == KEY_BYTES)?;
    (hex(&bytes) == text && !is_weak(&bytes)).then_some(bytes)
}

/// What two people read to each other to make sure that they mean the same key: 16 bytes of its SHA-256, in fours.
pub fn fingerprint(key: &[u8]) -> String {
    let digest = hex(&Sha256::digest(key));
    let digits: Vec<char> = digest.chars().take(32).collect();
    digits.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

fn day(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).date().to_string()
}

#[cfg(test)]
mod tests;
