//! Why a step was not taken.

use crate::enrol::lifecycle::NoSuchStep;
use crate::policy::terms::{OdsCode, Party};
use crate::store::error::StoreError;

/// A step in the life of a membership was not taken; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("there is no member {0}: `portcullis member list` shows them all")]
    NoMember(OdsCode),
    #[error("{member} {refused}")]
    Step { member: OdsCode, refused: NoSuchStep },
    #[error("{0} is a member already; `portcullis member show {0}` says where it stands")]
    AlreadyThere(OdsCode),
    #[error("{0} is the name of the national directory: a member needs an ODS code of its own")]
    NationalName(OdsCode),
    #[error("a reason is mandatory: say why with --reason")]
    NoReason,
    #[error("the request is not complete: {0}")]
    Incomplete(String),
    #[error("{held} belongs to {owner}: take it out of the request, or let {owner} leave first")]
    Held { held: String, owner: OdsCode },
    #[error(
        "`{0}` is no public key that can be relied on: write 64 hex digits in lower case, as `portcullis attestation key` prints them"
    )]
    NotAKey(String),
    #[error("{0} has left: it states nothing any more")]
    HasLeft(OdsCode),
    #[error("{subject} of {member} {why}")]
    Attestation { member: OdsCode, subject: String, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EnrolError {
    /// Whose fault it is.
    pub fn party(&self) -> Party {
        match self {
            EnrolError::Store(error) => error.party(),
            _ => Party::Requester,
        }
    }

    /// Whether trying again, unchanged, can help.
    pub fn may_retry(&self) -> bool {
        matches!(self, EnrolError::Store(error) if error.may_retry())
    }
}
