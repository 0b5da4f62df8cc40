//! What can go wrong with a sync run.

use crate::directory::error::DirectoryError;
use crate::policy::terms::{OdsCode, Party};
use crate::store::error::StoreError;

/// A run ended early. What was done before is in the journal; running again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the member directory: {0}")]
    Source(DirectoryError),
    #[error("the national directory: {0}")]
    Target(DirectoryError),
    /// The member directory answered, but not as it must.
    #[error("the member directory cannot be read: {0}")]
    Unreadable(String),
    /// The national directory answered, but not as it must.
    #[error("the national directory cannot be used: {0}")]
    Unusable(String),
    /// This domain controller is not to be read now.
    #[error("the domain controller is not read: {0}")]
    Controller(String),
    #[error("the sync scope cannot be used: {0}")]
    Scope(String),
    #[error("the sync gate of {0} is closed: `portcullis gate show {0}` says why")]
    GateClosed(OdsCode),
    #[error("sync of {0} is paused by hand: `portcullis sync status {0}` says by whom and why")]
    Paused(OdsCode),
    #[error(
        "the journal holds nothing that plan {0} wrote and that was not undone: `portcullis sync status MEMBER` names the plans that were written"
    )]
    NotWritten(String),
    #[error("another run holds the lease of {0}: wait for it, or for its lease to end")]
    Busy(OdsCode),
    #[error(
        "{0} has no directory of its own: its people are registered with `portcullis register FILE --apply`; \
         `portcullis register --organisation {0}` shows what is still to be done, with `--apply` it does it"
    )]
    NoDirectory(OdsCode),
    /// Its people cannot be registered by file.
    #[error("the people of {0} cannot be registered by file: {1}")]
    NotRegistered(OdsCode, String),
    #[error("the gateway is stopping")]
    Stopping,
    /// Somebody asked for an end before anything more was written.
    #[error("interrupted: nothing more was written; the same command goes on from there")]
    Interrupted,
    /// A task of ours ended in a way it must not.
    #[error("an internal task failed: {0}")]
    Internal(String),
}

/// What the store keeps of a member under this key cannot be read: taking it for nothing would let something through.
pub fn damaged(key: &str, why: &dyn std::fmt::Display) -> SyncError {
    let text = format!(
        "`{key}` of the member cannot be read ({why}); nothing is written until the store is restored from a copy (`portcullis store check`)"
    );
    SyncError::Store(StoreError::Value(text))
}

/// Nobody but the end of the runtime cancels our tasks.
impl From<tokio::task::JoinError> for SyncError {
    fn from(error: tokio::task::JoinError) -> Self {
        if error.is_cancelled() { SyncError::Stopping } else { SyncError::Internal(error.to_string()) }
    }
}

impl SyncError {
    /// Whose fault it is.
    pub fn party(&self) -> Party {
        match self {
            SyncError::Store(error) => error.party(),
            SyncError::Source(error) => error.party(Party::Member),
            SyncError::Target(error) => error.party(Party::National),
            SyncError::Unreadable(_) | SyncError::Controller(_) | SyncError::GateClosed(_) => Party::Member,
            SyncError::Unusable(_) => Party::National,
            SyncError::Scope(_) => Party::Policy,
            SyncError::Busy(_)
            | SyncError::Paused(_)
            | SyncError::NotWritten(_)
            | SyncError::NoDirectory(_)
            | SyncError::NotRegistered(..) => Party::Requester,
            SyncError::Stopping | SyncError::Interrupted | SyncError::Internal(_) => Party::Us,
        }
    }

    /// Whether trying again, unchanged, can help.
    pub fn may_retry(&self) -> bool {
        match self {
            SyncError::Store(error) => error.may_retry(),
            SyncError::Source(error) | SyncError::Target(error) => error.may_retry(),
            SyncError::Busy(_) | SyncError::Stopping | SyncError::Interrupted | SyncError::Controller(_) => {
                true
            }
            _ => false,
        }
    }

    /// A fixed word for labels.
    pub fn code(&self) -> &'static str {
        match self {
            SyncError::Store(_) => "store",
            SyncError::Source(_) => "source",
            SyncError::Target(_) => "target",
            SyncError::Unreadable(_) => "unreadable",
            SyncError::Unusable(_) => "unusable",
            SyncError::Controller(_) => "controller",
            SyncError::Scope(_) => "scope",
            SyncError::GateClosed(_) => "gate_closed",
            SyncError::Paused(_) => "paused",
            SyncError::NotWritten(_) => "not_written",
            SyncError::Busy(_) => "busy",
            SyncError::NoDirectory(_) => "no_directory",
            SyncError::NotRegistered(..) => "not_registered",
            SyncError::Stopping => "stopping",
            SyncError::Interrupted => "interrupted",
            SyncError::Internal(_) => "internal",
        }
    }
}

/// What ends a search whose entries are used as they come: the directory, or their use.
#[derive(Debug)]
pub enum Broken {
    Directory(DirectoryError),
    Use(SyncError),
}

impl From<DirectoryError> for Broken {
    fn from(error: DirectoryError) -> Broken {
        Broken::Directory(error)
    }
}

impl From<SyncError> for Broken {
    fn from(error: SyncError) -> Broken {
        Broken::Use(error)
    }
}

impl Broken {
    /// The error of a run, when the directory was this one.
    pub fn in_directory(self, wrap: fn(DirectoryError) -> SyncError) -> SyncError {
        match self {
            Broken::Directory(error) => wrap(error),
            Broken::Use(error) => error,
        }
    }
}
