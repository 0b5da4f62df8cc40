//! Why an assessment did not come about. A directory that cannot be measured is no error: its facts say so.

use crate::baseline::facts::EvidenceError;
use crate::policy::terms::{OdsCode, Party};
use crate::store::error::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum AssessError {
    #[error("there is no member {0}")]
    NoMember(OdsCode),
    #[error("{0} is not measured in its state: it is leaving or has left")]
    NotMeasured(OdsCode),
    #[error("the connection of {member} cannot be used: {cause}")]
    Target { member: String, cause: String },
    #[error("there is no policy set in force that checks: mend the policy documents")]
    NoPolicy,
    #[error("the policy has no baseline for {member}: {cause}")]
    NoBaseline { member: String, cause: String },
    #[error("evidence: {0}")]
    Evidence(#[from] EvidenceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the assessment was given up: {0}")]
    Interrupted(String),
    #[error("the gateway is stopping")]
    Stopping,
}

/// Nobody but the end of the runtime cancels our tasks.
impl From<tokio::task::JoinError> for AssessError {
    fn from(error: tokio::task::JoinError) -> Self {
        if error.is_cancelled() { AssessError::Stopping } else { AssessError::Interrupted(error.to_string()) }
    }
}

impl AssessError {
    /// Whose fault it is.
    pub fn party(&self) -> Party {
        match self {
            AssessError::NoMember(_) | AssessError::NotMeasured(_) => Party::Requester,
            AssessError::Target { .. } => Party::Member,
            AssessError::NoPolicy | AssessError::NoBaseline { .. } => Party::Policy,
            AssessError::Store(error) => error.party(),
            AssessError::Evidence(_) | AssessError::Interrupted(_) | AssessError::Stopping => Party::Us,
        }
    }

    /// Whether trying again, unchanged, can help.
    pub fn may_retry(&self) -> bool {
        match self {
            AssessError::Store(error) => error.may_retry(),
            AssessError::Interrupted(_) | AssessError::Stopping => true,
            _ => false,
        }
    }
}
