//! Where a secret is kept: what configuration and the store hold instead of the secret itself.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::secret::file::{self, FileError};
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
#[derive(Debug)]
pub enum SecretError {
    File(FileError),
    NotText { path: PathBuf },
    Environment(String),
    Empty(SecretReference),
}

impl SecretError {
    /// What is wrong, without what to do.
    pub fn problem(&self) -> String {
        match self {
            SecretError::File(error) => error.problem(),
            SecretError::NotText { path } => format!("{} holds a secret that is not UTF-8", path.display()),
            SecretError::Environment(name) => {
                format!("the environment variable {name} is not set or not UTF-8")
            }
            SecretError::Empty(place) => {
                format!("{place} holds an empty secret: an empty password would bind as nobody")
            }
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            SecretError::File(error) => error.remedy(),
            SecretError::NotText { .. } => "write the secret as UTF-8 text".to_owned(),
            SecretError::Environment(name) => format!("set {name} for the gateway, or use `file:`"),
            SecretError::Empty(_) => "write the secret there".to_owned(),
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem(), self.remedy())
    }
}

impl std::error::Error for SecretError {}

impl SecretReference {
    /// Reads the secret now, from a file only if nobody else can read it. An empty secret is an error, because an empty password binds as nobody.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let secret = match self {
            SecretReference::File(path) => {
                let bytes = file::read(path, MAX_BYTES).map_err(SecretError::File)?;
                let text =
                    std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText { path: path.clone() })?;
                let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
                Secret::new(text.to_owned())
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(path: &std::path::Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_file_is_read_without_its_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        write(&path, "correct horse \n");
        assert_eq!(SecretReference::File(path).read().unwrap().expose(), "correct horse ");
    }

    #[test]
    fn nothing_is_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        write(&path, "\n");
        assert!(matches!(SecretReference::File(path).read(), Err(SecretError::Empty(_))));
        let missing = SecretReference::Environment("PORTCULLIS_NO_SUCH_VARIABLE".to_owned());
        assert!(matches!(missing.read(), Err(SecretError::Environment(_))));
    }
}
