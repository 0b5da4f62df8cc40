//! One pass over a member directory: what is read, and what it brought.

use serde::{Deserialize, Serialize};

use crate::sync::terms::settings::{Scope, Settings};

/// People, and the containers that make the tree.
pub const LIVING: &str = "(|(objectClass=organizationalUnit)(objectClass=container)(objectClass=domainDNS)\
                          (&(objectClass=user)(!(objectClass=computer))))";
/// The Deleted Objects container of a naming context (MS-ADTS 6.1.1.4.2).
pub const DELETED_OBJECTS: &str = "18E2EA80684F11D2B9AA00C04F79F805";

/// How changes are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    #[default]
    DirSync,
    UsnChanged,
}

/// What one pass brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Whether everything was read; otherwise what changed.
    pub complete: bool,
    /// Why everything was read.
    pub because: Option<String>,
    #[serde(default)]
    pub method: Method,
    pub pages: u64,
    /// Objects that came, changed or not.
    pub objects: u64,
    /// Objects that were deleted, told or found.
    pub deleted: u64,
    /// Objects that a complete pass did not bring though every deletion was told.
    #[serde(default)]
    pub unseen: u64,
    /// Whether the directory tells us of deletions.
    pub deletions_told: bool,
    /// Whether the object that must be readable was.
    pub canary_seen: bool,
    pub controller: String,
    /// It was another controller than the time before.
    #[serde(default)]
    pub failover: bool,
    /// The controller was set back to an earlier state, and nobody has looked at it since.
    #[serde(default)]
    pub suspect: bool,
}

/// What is read and from where.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The naming context.
    pub base: &'a str,
    /// A DN that must be readable; none means the base.
    pub canary: Option<&'a str>,
    pub scope: &'a Scope,
    pub settings: &'a Settings,
    /// Read everything whatever the cookie says.
    pub complete: bool,
    /// The address of the controller.
    pub endpoint: &'a str,
}
