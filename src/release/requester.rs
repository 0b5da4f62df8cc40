//! Who asks.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::terms::OdsCode;

/// The kinds of requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// A person, known by a client certificate that maps to one account.
    Person,
    /// A member's own connector.
    Connector,
    /// A national application.
    Application,
}

impl Category {
    /// The category as documents, labels and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::Person => "person",
            Category::Connector => "connector",
            Category::Application => "application",
        }
    }
}

/// How a requester proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    Smartcard,
    Certificate,
    Password,
}

impl Authentication {
    /// The level as documents, labels and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Authentication::Smartcard => "smartcard",
            Authentication::Certificate => "certificate",
            Authentication::Password => "password",
        }
    }
}

/// Whoever asks through the front door, after a successful bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    pub category: Category,
    /// The member that the requester belongs to; `None` for a national application.
    pub member: Option<OdsCode>,
    /// For an application: its name as the configuration gives it.
    pub name: Option<String>,
    /// A keyed, pseudonymous identifier for the audit record; never a name.
    pub id: String,
    pub authentication: Authentication,
    /// When the proof ends (certificate expiry, or earlier); nothing is decided for the requester from then on.
    pub not_after: OffsetDateTime,
}

/// What is asked for. Nothing else is ever let through the front door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Search,
    Compare,
}
