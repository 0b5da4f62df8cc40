//! Signing keys (Ed25519, RFC 8032): the gateway's own signs evidence and audit checkpoints, a member's its attestations.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::secret::file::{self, FileError};

/// The largest key file that is read; an Ed25519 key has 83 bytes.
const MAX_BYTES: u64 = 4 * 1024;

/// A signing key. It is never printed and never leaves the process but for its own file.
pub struct Signer(Ed25519KeyPair);

/// The signing key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("{} is there already, and no key is ever overwritten: name another file", path.display())]
    Taken { path: PathBuf },
    #[error("cannot make the signing key file {}: {source}", path.display())]
    Make { path: PathBuf, source: std::io::Error },
    #[error("the signing key: {0}")]
    File(#[from] FileError),
    #[error("{} is not an Ed25519 key in PKCS#8; put the key back that was made before", path.display())]
    NotAKey { path: PathBuf },
    #[error("the operating system gave no random bytes for a signing key")]
    NoChance,
}

impl Signer {
    /// Reads the key (PKCS#8 version 2, DER) from `path`, or makes one there, readable by its owner only.
    pub fn load_or_create(path: &Path) -> Result<Self, SigningError> {
        match Self::load(path) {
            Err(SigningError::File(error)) if error.is_missing() => match Self::make(path) {
                // another process made it in between: theirs is the key
                Err(SigningError::Taken { .. }) => Self::load(path),
                made => made,
            },
            other => other,
        }
    }

    /// Reads the key that was made before. One that others can read is refused.
    pub fn load(path: &Path) -> Result<Self, SigningError> {
        Self::parse(&file::read(path, MAX_BYTES)?, path)
    }

    /// Makes a key at `path`, readable by its owner only. A file that is there already is left as it is.
    pub fn make(path: &Path) -> Result<Self, SigningError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SigningError::NoChance)?;
        let fail = |source| SigningError::Make { path: path.to_owned(), source };
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = match made {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(SigningError::Taken { path: path.to_owned() });
            }
            Err(source) => return Err(fail(source)),
        };
        file.write_all(document.as_ref()).and_then(|()| file.sync_all()).map_err(fail)?;
        Self::parse(document.as_ref(), path)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, SigningError> {
        let pair =
            Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| SigningError::NotAKey { path: path.to_owned() })?;
        Ok(Signer(pair))
    }

    /// A key that lives as long as the value: for tests, and for a check that keeps nothing.
    pub fn ephemeral() -> Result<Self, SigningError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SigningError::NoChance)?;
        Self::parse(document.as_ref(), Path::new("ephemeral"))
    }

    /// The signature over `bytes`, 64 bytes.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }

    /// The public key, 32 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// Whether `signature` over `bytes` was made with the private half of `public_key` (32 bytes).
pub fn verify(public_key: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(bytes, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signing.key");
        let made = Signer::load_or_create(&path).unwrap();
        let read = Signer::load_or_create(&path).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        let signature = made.sign(b"evidence");
        assert!(verify(read.public_key(), b"evidence", &signature));
        assert!(!verify(read.public_key(), b"evidences", &signature));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("attestations.key");
        let made = Signer::make(&path).unwrap();
        assert!(matches!(Signer::make(&path), Err(SigningError::Taken { .. })));
        assert_eq!(Signer::load(&path).unwrap().public_key(), made.public_key());
    }

    #[test]
    fn a_key_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signing.key");
        Signer::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let refused = Signer::load_or_create(&path).unwrap_err().to_string();
        assert!(refused.contains("mode 0640") && refused.contains("chmod 600"), "{refused}");
    }
}
