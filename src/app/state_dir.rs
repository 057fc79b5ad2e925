//! The state directory, which belongs to one process at a time.

use std::fs::TryLockError;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;

/// Creates the state directory and locks it: two processes with one key would be the same node twice.
/// The kernel releases the lock of a killed process.
pub(super) fn take(dir: &Path) -> anyhow::Result<std::fs::File> {
    let mut private = std::fs::DirBuilder::new();
    let made = private.recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("the state directory {} cannot be made", dir.display()))?;
    let path = dir.join("lock");
    let lock = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another Iris runs with the state directory {}; give each its own with --state-dir",
            dir.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}
