//! The files of an open database: whether those at their paths are still the same.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::base::lock::lock;

/// Which file is open: device and number.
type Identity = (u64, u64);

/// The files of a database as they were when it was opened.
#[derive(Default)]
pub(super) struct Files(Mutex<Vec<(PathBuf, Identity)>>);

impl Files {
    /// Notes which files are open now. Those that exist are needed from now on.
    pub(super) fn open(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let found = paths
            .into_iter()
            .filter_map(|path| identity(&path).ok().map(|identity| (path, identity)));
        *lock(&self.0) = found.collect();
    }

    /// What became of the files since.
    pub(super) fn changed(&self) -> Option<String> {
        lock(&self.0).iter().find_map(|(path, opened)| {
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
}

fn is_gone(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn identity(path: &Path) -> std::io::Result<Identity> {
    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
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
