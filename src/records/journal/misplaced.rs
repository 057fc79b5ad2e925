//! A database file that is deleted, moved or replaced while it is open. Writes then succeed, and reach
//! a file that nobody will find again: requests are refused until the file is back.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::records::stores::Store;
use crate::records::{Error, Shared};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(250);

/// How long a ledger takes to be gone after its last connection.
const CLOSING: Duration = Duration::from_millis(50);

/// Which file is open: device and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

/// The files of a database as they were when it was opened.
#[derive(Default)]
pub(crate) struct Files(Mutex<Vec<(PathBuf, Identity)>>);

impl Files {
    /// Notes which files are open now. Those that are there are needed for good.
    pub(crate) fn open(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let found = paths.into_iter().filter_map(|path| {
            let identity = identity(&path).ok()?;
            Some((path, identity))
        });
        *self.lock() = found.collect();
    }

    /// What became of the files since.
    pub(crate) fn changed(&self) -> Option<String> {
        self.lock().iter().find_map(|(path, opened)| {
            let what = match identity(path) {
                Ok(found) if found == *opened => return None,
                Ok(_) => "was replaced",
                Err(error) if is_gone(&error) => "was deleted or moved",
                // That is another trouble, which a write will meet as well.
                Err(_) => return None,
            };
            Some(format!(
                "the file {} {what} while Iris runs",
                path.display()
            ))
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PathBuf, Identity)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn identity(path: &Path) -> std::io::Result<Identity> {
    let found = std::fs::metadata(path)?;
    Ok(Identity(found.dev(), found.ino()))
}

/// Looks on a thread of its own, because the writer can wait for its disk. It ends with the ledger.
pub(crate) fn watch(store: &Arc<dyn Store>, shared: &Arc<Shared>) -> Result<(), Error> {
    if !store.is_file() {
        return Ok(());
    }
    let (store, shared) = (Arc::clone(store), Arc::downgrade(shared));
    let look = move || {
        while shared.strong_count() > 0 {
            if store.misplaced().is_some() {
                // When the ledger is closed, files go with its last connection.
                std::thread::park_timeout(CLOSING);
            }
            if let Some(shared) = shared.upgrade() {
                note(&shared, store.misplaced());
            }
            std::thread::park_timeout(EVERY);
        }
    };
    let thread = std::thread::Builder::new().name("ledger-file".into());
    thread.spawn(look).map(drop).map_err(Error::Thread)
}

/// Notes where the files are, and says so where that has changed.
pub(crate) fn note(shared: &Shared, now: Option<String>) {
    let mut misplaced = shared
        .misplaced
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if *misplaced == now {
        return;
    }
    if let Some(why) = &now {
        tracing::error!(
            "ledger: {why}; requests are refused, because their records would be lost; put the \
             file back, or restart Iris to go on with what is there now"
        );
        shared.failing.notify_waiters();
    } else {
        tracing::info!("ledger: the database's file is back in its place");
    }
    *misplaced = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_or_another_is_told_apart_from_one_that_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["db", "db-wal"] {
            std::fs::write(path(name), "x").unwrap();
        }
        let files = Files::default();
        assert_eq!(files.changed(), None, "nothing is open");
        files.open(["db", "db-wal", "none"].map(path));
        assert_eq!(files.changed(), None);
        for name in ["db", "db-wal"] {
            std::fs::rename(path(name), path("away")).unwrap();
            let what = files.changed().unwrap();
            assert!(what.contains("deleted or moved"), "{what}");
            std::fs::write(path(name), "x").unwrap();
            let what = files.changed().unwrap();
            assert!(what.ends_with("was replaced while Iris runs"), "{what}");
            std::fs::rename(path("away"), path(name)).unwrap();
            assert_eq!(files.changed(), None, "it is back");
        }
        // What is written to a file does not make it another.
        std::fs::write(path("db"), "longer").unwrap();
        assert_eq!(files.changed(), None);
    }
}
