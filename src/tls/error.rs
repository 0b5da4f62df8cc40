//! What can be wrong with keys, certificates and revocation lists. Always ours: the operator gave the file.

use std::path::PathBuf;

/// A fault in TLS material. Trying again helps only after the file was mended.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read `{path}`: {cause}")]
    Unreadable { path: PathBuf, cause: String },
    #[error("`{path}` holds no {what} in PEM form")]
    Missing { path: PathBuf, what: &'static str },
    #[error("`{path}`: {cause}")]
    Malformed { path: PathBuf, cause: String },
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
