//! One gateway per store: an exclusive lock on `<data_dir>/gateway.lock`, and on the same name beside the file that the database
//! really is when links lead elsewhere, held as long as the value lives. The operating system lets go of them when the process
//! ends, however it ends.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::store::error::StoreError;

/// The lock's file.
const NAME: &str = "gateway.lock";
/// The database's file in a data folder, as `sqlite::store` opens it.
const DATABASE: &str = "portcullis.sqlite";

/// The locks, held.
#[derive(Debug)]
pub struct GatewayLock(
    #[expect(dead_code, reason = "holding the open files is holding the locks")] Vec<File>,
);

impl GatewayLock {
    /// Takes the lock of the store in `data_dir`, or says that another gateway has it.
    pub fn acquire(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(NAME);
        let open =
            |reason: std::io::Error| StoreError::Open { path: path.clone(), reason: reason.to_string() };
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(open)?;
        let folder = data_dir.canonicalize().map_err(open)?;
        let mut held = vec![lock(&path)?];
        let real = real_folder(&data_dir.join(DATABASE));
        if let Some(real) = real.filter(|real| *real != folder) {
            held.push(lock(&real.join(NAME))?);
        }
        Ok(GatewayLock(held))
    }
}

/// The folder of the file that `database` leads to; none while there is neither file nor link, so that it will be made here.
fn real_folder(database: &Path) -> Option<PathBuf> {
    // a link may lead to a file that is made later: then its folder is what counts
    let target = match std::fs::read_link(database) {
        Ok(target) => database.parent()?.join(target),
        Err(_) => database.to_owned(),
    };
    let real = database.canonicalize().ok().and_then(|file| file.parent().map(Path::to_owned));
    real.or_else(|| target.parent()?.canonicalize().ok())
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let open =
        |reason: std::io::Error| StoreError::Open { path: path.to_owned(), reason: reason.to_string() };
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(open)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
        Err(TryLockError::Error(reason)) => Err(open(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_gateway_is_refused_until_the_first_ends() {
        let directory = tempfile::tempdir().unwrap();
        let first = GatewayLock::acquire(directory.path()).unwrap();
        let second = GatewayLock::acquire(directory.path()).unwrap_err();
        assert!(second.to_string().contains("another gateway runs on this store"), "{second}");
        drop(first);
        GatewayLock::acquire(directory.path()).unwrap();
    }

    #[test]
    fn a_database_behind_a_link_is_locked_where_it_really_is() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        std::fs::create_dir_all(&one).unwrap();
        std::fs::create_dir_all(&two).unwrap();
        std::fs::write(one.join(DATABASE), "").unwrap();
        std::os::unix::fs::symlink(one.join(DATABASE), two.join(DATABASE)).unwrap();
        for (first, second) in [(&one, &two), (&two, &one)] {
            let _held = GatewayLock::acquire(first).unwrap();
            let refused = GatewayLock::acquire(second).unwrap_err();
            assert!(matches!(refused, StoreError::Locked(_)), "{refused}");
        }
        GatewayLock::acquire(&two).unwrap();
    }
}
