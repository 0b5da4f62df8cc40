//! What can be wrong with names and entries on their way between two trees.

use crate::ldap::error::DecodeError;
use crate::policy::terms::Party;

/// A mapping that cannot be built. The configuration's fault or enrolment's; trying again cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error(
        "`{0}` is not a distinguished name; write the suffix as the directory does, for example `DC=rxa,DC=test`"
    )]
    Suffix(String),
    #[error("the suffix is empty; name the naming context of the directory")]
    EmptySuffix,
}

/// An entry that is not passed on. Always the directory's fault that sent it; asking again does not help. Nothing of
/// the entry has been written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("the entry is malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the name of the entry is not a distinguished name")]
    Name,
    #[error("the entry lies outside the mounted suffix")]
    Outside,
    #[error("a value of `{0}` does not have the attribute's syntax")]
    Value(&'static str),
    #[error("the entry is larger than a message may be")]
    TooLarge,
}

impl EntryError {
    /// Whose fault it is.
    pub const fn party(&self) -> Party {
        Party::Member
    }
}

/// A search that is not sent. The requester's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error(
        "the search would ask more than {limit} directories; add an equality on mail or search below one `ou`"
    )]
    TooBroad { limit: usize },
}
