//! The other values that the store keeps: documents with the few fields that they are found by.
//!
//! Every `document` is JSON as bytes, kept and given back unchanged, so that a hash over it stays true; evidence comes packed, because it can
//! be large.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use unicode_security::confusable_detection::skeleton;

use crate::policy::terms::{Grant, OdsCode};
use crate::store::packed::Packed;

/// One evidence document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceRecord {
    pub member: OdsCode,
    /// The document's own content hash, lower-case hex: its key.
    pub hash: String,
    /// The hash of the member's evidence before it; none for the first. The store refuses a gap as a conflict.
    pub previous: Option<String>,
    /// In UTC.
    pub collected_at: OffsetDateTime,
    pub document: Packed,
}

/// One assessment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssessmentRecord {
    /// Its id: its key.
    pub id: String,
    pub member: OdsCode,
    /// In UTC.
    pub assessed_at: OffsetDateTime,
    pub policy_hash: String,
    pub evidence_hash: String,
    pub document: Vec<u8>,
}

/// The longest that an exception holds from its approval, whatever its record says.
pub const EXCEPTION_LONGEST: Duration = Duration::days(366);

/// A control set aside for one member, asked for and granted by command (those in policy files live there).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionRecord {
    /// Its key, chosen by whoever asks for it.
    pub id: String,
    pub member: OdsCode,
    pub control: String,
    /// DNs or names of the records it covers; empty: the whole control.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    pub owner: String,
    pub reason: String,
    pub compensating_control: String,
    /// Who asked for it; none for one that was granted before two persons were needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// When it was asked for, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub requested_at: Option<OffsetDateTime>,
    /// Who approved it; empty while nobody did.
    pub approver: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_reason: Option<String>,
    /// From when on it holds, in UTC: its approval, or a day after it. Of a request, when it was made, or the day that it asks for.
    #[serde(with = "time::serde::rfc3339")]
    pub granted_at: OffsetDateTime,
    /// When it ends by itself, in UTC; mandatory.
    #[serde(with = "time::serde::rfc3339")]
    pub ends_at: OffsetDateTime,
    /// When it was withdrawn before its end, or refused, in UTC.
    #[serde(with = "time::serde::rfc3339::option")]
    pub withdrawn_at: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawal_reason: Option<String>,
}

impl ExceptionRecord {
    /// Whether it was approved, and by somebody else than who asked for it. One that was not sets nothing aside, whoever wrote it.
    pub fn is_approved(&self) -> bool {
        let asked = self.requested_by.as_deref();
        !self.approver.trim().is_empty() && !asked.is_some_and(|asked| same_person(asked, &self.approver))
    }

    /// Whether it waits for its approval: nobody approved or refused it.
    pub fn is_request(&self) -> bool {
        self.requested_by.is_some() && self.approver.trim().is_empty() && self.withdrawn_at.is_none()
    }

    /// When it ends by itself; no record makes it last.
    pub fn ends(&self) -> OffsetDateTime {
        let longest = self.granted_at.checked_add(EXCEPTION_LONGEST);
        longest.map_or(self.ends_at, |longest| longest.min(self.ends_at))
    }
}

/// Whether two names of actors are one person's.
pub fn same_person(one: &str, other: &str) -> bool {
    person(one) == person(other)
}

/// What a name comes to when persons are counted: letters and digits as they look (Unicode TS #39, section 4), whatever their case. Whoever
/// writes a name with another alphabet's letters, an invisible character or a full stop is no second person by that.
pub fn person(name: &str) -> String {
    let lower = name.to_lowercase();
    skeleton(&lower).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect()
}

/// One change of a gate; the newest of a member and grant is what the gate is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRecord {
    pub member: OdsCode,
    pub grant: Grant,
    /// When it changed, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `open`, `held` or `closed`.
    pub state: String,
    /// Until when it is held, in UTC.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// Why, one sentence each.
    pub reasons: Vec<String>,
    /// The assessment that says so.
    pub assessment: Option<String>,
}

/// A member object as last read, staged for planning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedObject {
    /// objectGUID, as the member directory sends it.
    pub guid: [u8; 16],
    /// The parent's objectGUID.
    pub parent: Option<[u8; 16]>,
    /// The number of the pass that last saw it.
    pub pass: u64,
    pub document: Vec<u8>,
}

/// Everything that one page of reading changes; all of it happens or none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagedPage {
    /// Objects to insert or replace.
    pub put: Vec<StagedObject>,
    /// Objects to forget.
    pub forget: Vec<[u8; 16]>,
    /// Key-values to set (`Some`) or to remove (`None`); the cookie is one of them.
    pub values: Vec<(String, Option<Vec<u8>>)>,
}

/// One plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRecord {
    /// Its content hash, lower-case hex: its key.
    pub hash: String,
    pub member: OdsCode,
    /// In UTC.
    pub made_at: OffsetDateTime,
    /// What became of it, in the words of `sync` (for example `planned`, `held`, `running`, `done`, `failed`).
    pub state: String,
    pub document: Vec<u8>,
}

/// An officer's approval of exactly one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub plan: String,
    pub member: OdsCode,
    pub officer: String,
    pub reason: String,
    /// In UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// When it is no longer good, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub ends_at: OffsetDateTime,
}

/// A line to be appended to a member's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJournalEntry {
    pub plan: String,
    /// The step of the plan, from 0.
    pub step: u64,
    /// `intended`, `done`, `failed`, or another word of `sync`.
    pub phase: String,
    /// In UTC.
    pub at: OffsetDateTime,
    pub document: Vec<u8>,
}

/// A line of a member's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its number in the whole journal; rises, never reused.
    pub seq: u64,
    pub entry: NewJournalEntry,
}

/// What an officer did with the set in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyStep {
    /// Put a set in force.
    Activate,
    /// Put an earlier one in force again.
    Rollback,
    /// Went back to the folder of the configuration.
    Deactivate,
}

/// One change of the set in force; the newest says what is in force now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    pub step: PolicyStep,
    /// The set; none means that the folder of the configuration counts.
    pub hash: Option<String>,
    /// In UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub actor: String,
    pub reason: String,
    /// The officers whose signatures lay with the set; `(not checked)` behind a name where the configuration asked for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
}

/// The right to be the only one who does something, until it ends. `epoch` rises with every new holder and fences old ones off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for, for example `sync/RXA`.
    pub name: String,
    pub holder: String,
    pub epoch: u64,
    /// In UTC.
    pub ends_at: OffsetDateTime,
}
