//! What can go wrong with the store, whose fault it is, and whether trying again can help.

use std::path::PathBuf;

use crate::policy::terms::{OdsCode, Party};

/// A store operation did not happen. Nothing of a failed operation is kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the store's size limit is reached; the text says what makes room.
    #[error("the store is full: {0}; gates stay closed until it can be written")]
    Full(String),
    /// The file or its directory cannot be written.
    #[error(
        "the store cannot be written: {0}; check the owner and mount of its directory, gates stay closed"
    )]
    ReadOnly(String),
    /// Somebody else held it for longer than the time allowed.
    #[error("the store is busy: {0}; try again")]
    Busy(String),
    /// The store's content is damaged, or was changed by something that is not us.
    #[error("the store is damaged: {0}; stop the gateway and restore it from a backup")]
    Damaged(String),
    /// The file was written by a newer version.
    #[error("the store has schema {found}, this program knows up to {known}: run a newer portcullis")]
    TooNew { found: i64, known: i64 },
    /// The value was changed by somebody else since it was read.
    #[error("{0} was changed meanwhile: read it again")]
    Conflict(String),
    /// The lease is no longer held: another holder has a higher epoch, or it ended.
    #[error("the lease `{name}` with epoch {epoch} is no longer held")]
    Fenced { name: String, epoch: u64 },
    /// A value that must exist does not.
    #[error("there is no member {0}")]
    NoMember(OdsCode),
    /// The directory or file cannot be opened.
    #[error("cannot open the store {}: {reason}", path.display())]
    Open { path: PathBuf, reason: String },
    /// Another gateway runs on this store.
    #[error("another gateway runs on this store ({} is locked): stop it first", .0.display())]
    Locked(PathBuf),
    /// A value cannot be written as JSON or read back.
    #[error("a stored value is not what it should be: {0}")]
    Value(String),
    /// Anything else that the database says.
    #[error("the store failed: {0}")]
    Other(String),
}

impl StoreError {
    /// Whose fault it is: always ours, but for asking for a member that is not there.
    pub fn party(&self) -> Party {
        match self {
            StoreError::NoMember(_) | StoreError::Conflict(_) => Party::Requester,
            _ => Party::Us,
        }
    }

    /// Whether trying again, unchanged, can help.
    pub fn may_retry(&self) -> bool {
        matches!(self, StoreError::Busy(_) | StoreError::Full(_))
    }

    /// Whether it means that nothing can be recorded, so that every gate must close.
    pub fn closes_gates(&self) -> bool {
        !matches!(
            self,
            StoreError::NoMember(_)
                | StoreError::Conflict(_)
                | StoreError::Fenced { .. }
                | StoreError::Busy(_)
                | StoreError::Value(_)
        )
    }
}
