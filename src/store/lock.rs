//! One gateway per store: an exclusive lock on `<data_dir>/gateway.lock`, held as long as the value lives. The operating
//! system lets go of it when the process ends, however it ends.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::store::error::StoreError;

/// The lock, held.
#[derive(Debug)]
pub struct GatewayLock(#[expect(dead_code, reason = "holding the open file is holding the lock")] File);

impl GatewayLock {
    /// Takes the lock, or says that another gateway has it.
    pub fn acquire(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join("gateway.lock");
        let open =
            |reason: std::io::Error| StoreError::Open { path: path.clone(), reason: reason.to_string() };
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(open)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(open)?;
        match file.try_lock() {
            Ok(()) => Ok(GatewayLock(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path)),
            Err(TryLockError::Error(reason)) => Err(open(reason)),
        }
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
}
