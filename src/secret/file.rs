//! Files that hold secrets: they are read only while nobody but their owner can.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The bits of a mode that give anything to anybody but the owner.
const OTHERS: u32 = 0o077;
const ROOT: u32 = 0;

/// Why a file that holds a secret was not read. The message never holds any of it.
#[derive(Debug)]
pub enum FileError {
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// Its mode gives others something.
    Exposed {
        path: PathBuf,
        mode: u32,
    },
    /// It belongs to another user, who could read and exchange it.
    Foreign {
        path: PathBuf,
        owner: u32,
        us: u32,
    },
    TooLarge {
        path: PathBuf,
        limit: u64,
    },
}

impl FileError {
    /// What is wrong, without what to do.
    pub fn problem(&self) -> String {
        match self {
            FileError::Unreadable { path, source } => format!("cannot read {}: {source}", path.display()),
            FileError::Exposed { path, mode } => {
                format!(
                    "{} holds a secret and is open to others than its owner (mode {mode:04o})",
                    path.display()
                )
            }
            FileError::Foreign { path, owner, us } => format!(
                "{} holds a secret and belongs to user {owner}, who is neither the user that runs this ({us}) nor root",
                path.display()
            ),
            FileError::TooLarge { path, limit } => {
                format!("{} is larger than {limit} bytes: that is no secret", path.display())
            }
        }
    }

    /// What to do about it: a command where one mends it.
    pub fn remedy(&self) -> String {
        match self {
            FileError::Unreadable { path, source } if source.kind() == ErrorKind::NotFound => {
                format!("write the secret to {}, mode 600, or name the file that holds it", path.display())
            }
            FileError::Unreadable { .. } => "name a file that the gateway's user can read".to_owned(),
            FileError::Exposed { path, .. } => format!("run: chmod 600 {}", quoted(path)),
            FileError::Foreign { path, us, .. } => format!("run: chown {us} {}", quoted(path)),
            FileError::TooLarge { .. } => "name the file that holds the secret and nothing else".to_owned(),
        }
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, FileError::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem(), self.remedy())
    }
}

impl std::error::Error for FileError {}

/// Reads the file, of `limit` bytes at most. One that others can read, or that belongs to somebody else than us or root, is
/// refused, and so is what it says.
pub fn read(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let fail = |source| FileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    // of the opened file, so that nobody can exchange it in between
    let metadata = file.metadata().map_err(fail)?;
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us && metadata.uid() != ROOT {
        return Err(FileError::Foreign { path: path.to_owned(), owner: metadata.uid(), us });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    // room for all of it, so that growing leaves no copy behind
    let expected = usize::try_from(metadata.len().min(limit)).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_may_be_able_to_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("it's one");
        std::fs::write(&path, "secret").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660, 0o601] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let refused = read(&path, 100).unwrap_err();
            assert!(matches!(refused, FileError::Exposed { mode: seen, .. } if seen == mode), "{refused}");
            assert!(refused.remedy().starts_with("run: chmod 600 '/"), "{refused}");
            assert!(refused.remedy().ends_with(r"/it'\''s one'"), "{refused}");
        }
        for mode in [0o600, 0o400, 0o700] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(*read(&path, 6).unwrap(), b"secret");
        }
        assert!(matches!(read(&path, 5), Err(FileError::TooLarge { .. })));
        assert!(read(directory.path(), 5).is_err());
    }

    #[test]
    fn the_file_of_somebody_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("theirs");
        std::fs::write(&path, "secret").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        if std::os::unix::fs::chown(&path, Some(54_321), None).is_err() {
            eprintln!("SKIPPED: only root can give files away");
            return;
        }
        let refused = read(&path, 100).unwrap_err();
        assert!(matches!(refused, FileError::Foreign { owner: 54_321, .. }), "{refused}");
        assert!(refused.to_string().contains("; run: chown "), "{refused}");
    }
}
