//! The watch for changes of a configuration, and of the files that it takes values from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{Files, Mark, mark};

/// Between two looks at a file that is watched.
const LOOK: Duration = Duration::from_millis(150);
/// Looks at the file for one at those that it takes values from.
const LOOKS: u32 = 4;

/// Reports changes to a file, also when another one replaces it.
///
/// It is looked at a few times a second. Events of the system would come for its folder, because
/// editors replace files: in a folder where records are kept as well, that is one for each of
/// their writes; and file systems over a network have none.
pub struct Watch {
    path: PathBuf,
    seen: Option<Mark>,
    /// Files that the file takes values from. Links are followed, so that a folder which is
    /// replaced, as Kubernetes does, is seen as well.
    files: BTreeMap<PathBuf, Option<Mark>>,
}

/// Watches a file; links are followed.
#[must_use]
pub fn watch(path: &Path) -> Watch {
    Watch {
        path: path.to_owned(),
        seen: mark(path),
        files: BTreeMap::new(),
    }
}

impl Watch {
    /// Waits for a change, and until the file has come to rest: editors write in several steps.
    pub async fn changed(&mut self) {
        let mut is_new = false;
        for look in 0_u32.. {
            tokio::time::sleep(LOOK).await;
            let now = mark(&self.path);
            let mut differs = now != self.seen;
            self.seen = now;
            if is_new || look % LOOKS == 0 {
                for (path, seen) in &mut self.files {
                    let now = mark(path);
                    differs |= now != *seen;
                    *seen = now;
                }
            }
            if differs {
                is_new = true;
            } else if is_new && now.is_some() {
                return;
            }
        }
    }

    /// Watches the files of a reading as well, and for changes since that reading.
    pub fn follow(&mut self, files: &Files) {
        self.files.clone_from(files.marks());
        self.seen = files.own().or(self.seen);
        if files.have_changed(&self.path) {
            // Looks different from whatever is there, and is read once it has come to rest.
            self.seen = None;
        }
    }
}
