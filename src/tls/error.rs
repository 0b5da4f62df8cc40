//! What can be wrong with keys, certificates and revocation lists. Always ours: the operator gave the file.

use std::path::PathBuf;

use crate::secret::file::FileError;

/// A fault in TLS material. Trying again helps only after the file was mended.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read `{path}`: {cause}")]
    Unreadable { path: PathBuf, cause: String },
    #[error("`{path}` holds no {what} in PEM form")]
    Missing { path: PathBuf, what: &'static str },
    #[error("`{path}`: {cause}")]
    Malformed { path: PathBuf, cause: String },
    #[error(transparent)]
    Secret(#[from] FileError),
    #[error("the certificate chain is empty")]
    NoCertificate,
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    #[error("the private key does not fit the certificate or cannot be used: {0}")]
    Key(String),
    #[error("no trust anchor was given, so nothing could ever be verified")]
    NoAnchor,
    #[error("TLS settings were refused: {0}")]
    Settings(String),
}

impl TlsError {
    /// What is wrong, without what to do.
    pub fn problem(&self) -> String {
        match self {
            TlsError::Secret(error) => error.problem(),
            other => other.to_string(),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        let text = match self {
            TlsError::Secret(error) => return error.remedy(),
            TlsError::Unreadable { .. } => "put the file there, or name one that the gateway's user can read",
            TlsError::Missing { what, .. } => {
                return format!(
                    "put the {what} there in PEM form, with its `-----BEGIN` and `-----END` lines"
                );
            }
            TlsError::Malformed { .. } | TlsError::Certificate(_) => {
                "write the file anew from its source; a part of it is missing or damaged"
            }
            TlsError::Key(_) => {
                "name the key that the certificate was made for: `openssl x509 -noout -pubkey -in CERTIFICATE` and \
                 `openssl pkey -pubout -in KEY` print the same for a pair"
            }
            TlsError::NoCertificate | TlsError::NoAnchor => "give at least one certificate",
            TlsError::Settings(_) => "report it: this program made settings that its own TLS library refuses",
        };
        text.to_owned()
    }
}
