//! Where a secret is kept: what configuration and the store hold instead of the secret itself.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::secret::text::Secret;

/// The largest secret file that is read; a password or PIN is far smaller.
const MAX_BYTES: u64 = 64 * 1024;

/// A place that a secret is read from when it is needed: `file: /path` or `environment: NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretReference {
    /// The content of this file without one trailing line end.
    File(PathBuf),
    /// The value of this environment variable.
    Environment(String),
}

/// The referenced secret could not be read. The message never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret file {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the secret file {} is larger than {MAX_BYTES} bytes: it is not a password", path.display())]
    TooLarge { path: PathBuf },
    #[error("the secret file {} is not UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("the environment variable {0} is not set or not UTF-8")]
    Environment(String),
    #[error("{0} holds an empty secret: an empty password would bind as nobody")]
    Empty(SecretReference),
}

impl SecretReference {
    /// Reads the secret now. An empty secret is an error, because an empty password binds as nobody.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let secret = match self {
            SecretReference::File(path) => {
                let fail = |source| SecretError::File { path: path.clone(), source };
                if std::fs::metadata(path).map_err(fail)?.len() > MAX_BYTES {
                    return Err(SecretError::TooLarge { path: path.clone() });
                }
                let bytes = std::fs::read(path).map_err(fail)?;
                let mut text = String::from_utf8(bytes).map_err(|error| {
                    error.into_bytes().zeroize();
                    SecretError::NotText { path: path.clone() }
                })?;
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                Secret::new(text)
            }
            SecretReference::Environment(name) => {
                Secret::new(std::env::var(name).map_err(|_| SecretError::Environment(name.clone()))?)
            }
        };
        if secret.is_empty() { Err(SecretError::Empty(self.clone())) } else { Ok(secret) }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretReference::File(path) => write!(f, "file {}", path.display()),
            SecretReference::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_without_its_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "correct horse \n").unwrap();
        assert_eq!(SecretReference::File(path).read().unwrap().expose(), "correct horse ");
    }

    #[test]
    fn nothing_is_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(SecretReference::File(path).read(), Err(SecretError::Empty(_))));
        let missing = SecretReference::Environment("PORTCULLIS_NO_SUCH_VARIABLE".to_owned());
        assert!(matches!(missing.read(), Err(SecretError::Environment(_))));
    }
}
