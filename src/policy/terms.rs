//! The words that every document and every decision shares.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A member's key: the code that the Organisation Data Service gave it, upper case, 3 to 8 letters and digits.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct OdsCode(String);

/// A text that is no ODS code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ODS code (3 to 8 letters and digits, for example `RXA`)")]
pub struct NotAnOdsCode(String);

impl OdsCode {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OdsCode {
    type Err = NotAnOdsCode;

    fn from_str(text: &str) -> Result<Self, NotAnOdsCode> {
        let good = (3..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if good { Ok(OdsCode(text.to_ascii_uppercase())) } else { Err(NotAnOdsCode(text.to_owned())) }
    }
}

impl TryFrom<String> for OdsCode {
    type Error = NotAnOdsCode;

    fn try_from(text: String) -> Result<Self, NotAnOdsCode> {
        text.parse()
    }
}

impl From<OdsCode> for String {
    fn from(code: OdsCode) -> String {
        code.0
    }
}

impl fmt::Display for OdsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a request goes: one of the directories that are mounted below `o=federation`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The national directory.
    National,
    /// A member directory.
    Member(OdsCode),
}

impl Target {
    /// The name of its organizational unit below `o=federation`: `national`, `RXA`.
    pub fn unit(&self) -> &str {
        match self {
            Target::National => "national",
            Target::Member(member) => member.as_str(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.unit())
    }
}

/// What a member may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// Be looked up, and look up.
    Lookup,
    /// Publish into the national directory.
    Sync,
}

impl Grant {
    /// Every grant, in the order in which reports show them.
    pub const ALL: [Grant; 2] = [Grant::Lookup, Grant::Sync];

    /// The grant as documents, labels and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Grant::Lookup => "lookup",
            Grant::Sync => "sync",
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much a failing control weighs; ordered from light to heavy.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// Every severity, from light to heavy.
    pub const ALL: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The severity as documents, labels and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a baseline or a control is rolled out; ordered from draft to enforced.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Not loaded by a running gateway.
    Draft,
    /// Recorded only.
    Audit,
    /// Also told to the member, with the date on which it will be enforced.
    Warn,
    /// Decides.
    Enforce,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Draft => "draft",
            Stage::Audit => "audit",
            Stage::Warn => "warn",
            Stage::Enforce => "enforce",
        })
    }
}

/// Where an organisation stands in the life of its membership. No state is ever skipped; `enrol::lifecycle` says which
/// steps exist.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// Asked to join; its connection is known, nothing was measured.
    Requested,
    /// Measured at least once; the report is there to be read.
    Checked,
    /// An officer said yes.
    Approved,
    /// Federates while its gate is open, for its pilot group first.
    Piloting,
    /// Federates while its gate is open.
    Federated,
    /// Set aside by an officer: every gate closed whatever the assessment says.
    Suspended,
    /// On the way out: gates closed, its published entries being wound down.
    Leaving,
    /// Gone. A new request starts over.
    Left,
}

impl Membership {
    /// Every state, in the order of a life.
    pub const ALL: [Membership; 8] = [
        Membership::Requested,
        Membership::Checked,
        Membership::Approved,
        Membership::Piloting,
        Membership::Federated,
        Membership::Suspended,
        Membership::Leaving,
        Membership::Left,
    ];

    /// The state as files, labels and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Membership::Requested => "requested",
            Membership::Checked => "checked",
            Membership::Approved => "approved",
            Membership::Piloting => "piloting",
            Membership::Federated => "federated",
            Membership::Suspended => "suspended",
            Membership::Leaving => "leaving",
            Membership::Left => "left",
        }
    }

    /// Whether a gate of this member may be open at all.
    pub const fn may_federate(self) -> bool {
        matches!(self, Membership::Piloting | Membership::Federated)
    }

    /// Whether the member directory is measured: from the request until it has left.
    pub const fn is_measured(self) -> bool {
        !matches!(self, Membership::Leaving | Membership::Left)
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose fault a failure is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Whoever asked.
    Requester,
    /// The member or its directory.
    Member,
    /// The policy documents.
    Policy,
    /// The national directory.
    National,
    /// This gateway, its store, its configuration or its host.
    Us,
}

impl Party {
    /// The party as labels and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Party::Requester => "requester",
            Party::Member => "member",
            Party::Policy => "policy",
            Party::National => "national",
            Party::Us => "us",
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
