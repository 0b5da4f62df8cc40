//! What can go wrong between us and a directory.

use std::time::Duration;

use crate::policy::terms::Party;

/// A question that a directory did not answer as it should. No message holds a value of an entry or a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// No TCP connection.
    #[error("cannot reach {endpoint}: {cause}")]
    Unreachable { endpoint: String, cause: String },
    /// No TLS connection, or a certificate that is not to be trusted.
    #[error("{endpoint} did not speak TLS as it must: {cause}")]
    Tls { endpoint: String, cause: String },
    /// A deadline passed.
    #[error("no answer to {what} within {} seconds", after.as_secs())]
    TimedOut { what: &'static str, after: Duration },
    /// The bind was refused.
    #[error("the bind was refused with result code {code}: {text}")]
    BindRefused { code: u32, text: String },
    /// What arrived breaks the protocol or a limit of ours; the connection is closed.
    #[error("the directory sent what it must not: {0}")]
    Malformed(String),
    /// The connection ended.
    #[error("the connection to the directory ended: {0}")]
    Closed(String),
    /// We were asked to read an attribute that is never read.
    #[error("attribute `{0}` is never asked for: it holds or can hold a secret")]
    SecretAttribute(String),
    /// We were asked to read every attribute of an entry, which could include a secret.
    #[error("a search must name its attributes")]
    EveryAttribute,
    /// The request makes no sense.
    #[error("the request cannot be sent: {0}")]
    Request(String),
}

impl DirectoryError {
    /// The connection ended; what a library says of it, without where its manual is.
    pub fn closed(text: &str) -> DirectoryError {
        let said = text.split_once(": https://").map_or(text, |(said, _)| said);
        DirectoryError::Closed(said.to_owned())
    }

    /// Whose fault it is, for a directory that belongs to `owner`.
    pub fn party(&self, owner: Party) -> Party {
        match self {
            DirectoryError::SecretAttribute(_)
            | DirectoryError::EveryAttribute
            | DirectoryError::Request(_) => Party::Us,
            _ => owner,
        }
    }

    /// Whether trying again, unchanged, can help.
    pub fn may_retry(&self) -> bool {
        matches!(
            self,
            DirectoryError::Unreachable { .. }
                | DirectoryError::TimedOut { .. }
                | DirectoryError::Closed(_)
                // busy, unavailable
                | DirectoryError::BindRefused { code: 51 | 52, .. }
        )
    }
}
