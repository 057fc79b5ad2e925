//! Kept responses on disk: a file for each, in a folder of the state directory, up to a bound on what all
//! take. Those that are over go first, then those that were not asked for the longest.
//!
//! Nothing depends on a file: one that is missing, damaged or can't be written is a response that a
//! provider is asked for.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::key::Key;
use super::response::Kept;
use crate::base::atomic_file;
use crate::base::clock;
use crate::base::lock::lock;

/// Files that are written at once; a response beyond them isn't kept.
const WRITERS: usize = 8;
/// What the file system takes for a file at least, in bytes.
const BLOCK: u64 = 4 << 10;

/// The kept responses of this process's state directory.
pub struct Store {
    folder: PathBuf,
    index: Mutex<Index>,
    writers: Arc<Semaphore>,
}

#[derive(Default)]
struct Index {
    files: HashMap<Key, File>,
    /// The keys, in the order in which they were last asked for.
    order: BTreeMap<u64, Key>,
    /// Grows with each use.
    uses: u64,
    /// What all files take.
    bytes: u64,
}

#[derive(Clone, Copy)]
struct File {
    bytes: u64,
    until: i64,
    used: u64,
}

impl Store {
    /// Finds what an earlier process has kept in a folder, which need not exist.
    #[must_use]
    pub fn open(folder: PathBuf) -> Self {
        let store = Self {
            folder,
            index: Mutex::default(),
            writers: Arc::new(Semaphore::new(WRITERS)),
        };
        for (key, until, bytes) in files(&store.folder) {
            let displaced = lock(&store.index).add(key, bytes, until);
            store.delete(displaced.as_slice());
        }
        store
    }

    /// The response that is kept under a key, if it was made less than `lasts` ago.
    pub(in crate::exchange) async fn get(
        self: &Arc<Self>,
        key: Key,
        now: i64,
        lasts: Duration,
    ) -> Option<Kept> {
        let until = lock(&self.index).used(&key, now)?;
        let store = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let file = fs::read(store.place(&key, until)).ok().map(Bytes::from);
            file.as_ref().and_then(Kept::read)
        });
        let kept = read.await.ok().flatten();
        // Someone may have emptied the folder.
        if kept.is_none() {
            lock(&self.index).forget(&key, until);
        }
        let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        kept.filter(|kept| kept.until > now && kept.made.saturating_add(lasts) > now)
    }

    /// Keeps a response, while all take up to `limit` bytes. It is written beside the threads that serve
    /// requests.
    pub(in crate::exchange) fn keep(self: &Arc<Self>, key: Key, kept: Kept, limit: u64) {
        let Ok(writer) = Arc::clone(&self.writers).try_acquire_owned() else {
            return;
        };
        let store = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let _writer = writer;
            if let Err(error) = store.write(key, &kept, limit) {
                let folder = store.folder.display();
                tracing::warn!(%error, "a response can't be kept in {folder}");
            }
        });
    }

    fn write(&self, key: Key, kept: &Kept, limit: u64) -> io::Result<()> {
        let file = kept.written();
        let bytes = (file.len() as u64).next_multiple_of(BLOCK);
        if bytes > limit {
            return Ok(());
        }
        let gone = lock(&self.index).make_room(&key, bytes, limit, clock::unix_ms());
        self.delete(&gone);
        fs::create_dir_all(&self.folder)?;
        atomic_file::replace(&self.place(&key, kept.until), &file, |_| Ok(()))?;
        let displaced = lock(&self.index).add(key, bytes, kept.until);
        self.delete(displaced.as_slice());
        Ok(())
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        let gone: Vec<_> = std::mem::take(&mut *lock(&self.index))
            .files
            .into_iter()
            .map(|(key, file)| (key, file.until))
            .collect();
        self.delete(&gone);
    }

    fn delete(&self, gone: &[(Key, i64)]) {
        for (key, until) in gone {
            // What can't be deleted now is found at the next start.
            let _ = fs::remove_file(self.place(key, *until));
        }
    }

    fn place(&self, key: &Key, until: i64) -> PathBuf {
        self.folder.join(format!("{}-{until}", hex(key)))
    }
}

impl Index {
    /// Notes that a response is asked for. Returns until when it may be given, if it still may.
    fn used(&mut self, key: &Key, now: i64) -> Option<i64> {
        let file = self.files.get_mut(key).filter(|file| file.until > now)?;
        self.order.remove(&file.used);
        self.uses += 1;
        file.used = self.uses;
        self.order.insert(self.uses, *key);
        Some(file.until)
    }

    /// Adds a file. Returns the one that it displaces: requests at the same time write one each.
    fn add(&mut self, key: Key, bytes: u64, until: i64) -> Option<(Key, i64)> {
        let displaced = self.remove(&key).filter(|(_, before)| *before != until);
        self.uses += 1;
        let used = self.uses;
        self.files.insert(key, File { bytes, until, used });
        self.order.insert(used, key);
        self.bytes += bytes;
        displaced
    }

    /// Forgets a file that can't be read, unless another has taken its place.
    fn forget(&mut self, key: &Key, until: i64) {
        if self.files.get(key).is_some_and(|file| file.until == until) {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<(Key, i64)> {
        let file = self.files.remove(key)?;
        self.order.remove(&file.used);
        self.bytes -= file.bytes;
        Some((*key, file.until))
    }

    /// Makes room for so many bytes, in place of what is kept under the same key. Returns what goes.
    fn make_room(&mut self, key: &Key, bytes: u64, limit: u64, now: i64) -> Vec<(Key, i64)> {
        let mut gone: Vec<_> = self.remove(key).into_iter().collect();
        if self.bytes + bytes > limit {
            let over = self.files.iter().filter(|(_, file)| file.until <= now);
            let over: Vec<Key> = over.map(|(key, _)| *key).collect();
            gone.extend(over.iter().filter_map(|key| self.remove(key)));
        }
        while self.bytes + bytes > limit {
            let Some((_, oldest)) = self.order.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            gone.extend(self.remove(&oldest));
        }
        gone
    }
}

/// The files of a folder that are kept responses: key, until when, and bytes; the oldest first.
fn files(folder: &Path) -> Vec<(Key, i64, u64)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let (key, until) = name.to_str()?.split_once('-')?;
            let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let bytes = about.len().next_multiple_of(BLOCK);
            Some((
                about.modified().ok(),
                unhex(key)?,
                until.parse().ok()?,
                bytes,
            ))
        })
        .collect();
    found.sort_unstable();
    let found = found.into_iter();
    found
        .map(|(_, key, until, bytes)| (key, until, bytes))
        .collect()
}

fn hex(key: &Key) -> String {
    use std::fmt::Write as _;
    key.iter().fold(String::new(), |mut text, byte| {
        // A string takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Key> {
    let mut key = Key::default();
    if text.len() != 2 * key.len() || !text.is_ascii() {
        return None;
    }
    for (nth, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * nth..2 * nth + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 3 * BLOCK;
    const LASTS: Duration = Duration::from_mins(1);

    fn kept(text: &str, made: i64) -> Kept {
        Kept::new(
            Bytes::copy_from_slice(text.as_bytes()),
            made,
            Duration::from_mins(1),
        )
    }

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[tokio::test]
    async fn what_is_kept_is_found_again_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let (now, key) = (clock::unix_ms(), [1; 32]);
        let store = Arc::new(Store::open(folder.path().join("cache")));
        assert_eq!(store.get(key, now, LASTS).await, None);
        store.write(key, &kept("one", now), LIMIT).unwrap();
        assert_eq!(store.get(key, now, LASTS).await, Some(kept("one", now)));
        assert_eq!(store.get([2; 32], now, LASTS).await, None);
        // Another response in its place.
        store.write(key, &kept("two", now + 1), LIMIT).unwrap();
        assert_eq!(names(&store.folder), 1);
        let again = Arc::new(Store::open(folder.path().join("cache")));
        assert_eq!(again.get(key, now, LASTS).await, Some(kept("two", now + 1)));
        assert_eq!(
            again.get(key, now + 60_002, LASTS).await,
            None,
            "it is over"
        );
        let short = Duration::from_secs(1);
        assert!(again.get(key, now + 500, short).await.is_some());
        assert_eq!(
            again.get(key, now + 2_000, short).await,
            None,
            "for this grant"
        );
        again.clear();
        assert_eq!(
            (names(&again.folder), again.get(key, now, LASTS).await),
            (0, None)
        );
    }

    #[tokio::test]
    async fn requests_at_the_same_time_leave_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let (now, key) = (clock::unix_ms(), [1; 32]);
        let store = Arc::new(Store::open(folder.path().to_owned()));
        for made in [now, now + 1, now + 1] {
            // As if both had made room before either was added.
            let bytes = kept("x", made).written();
            fs::write(store.place(&key, kept("x", made).until), bytes).unwrap();
            let displaced = lock(&store.index).add(key, BLOCK, kept("x", made).until);
            store.delete(displaced.as_slice());
        }
        assert_eq!(names(folder.path()), 1);
        fs::write(store.place(&key, 5), "older").unwrap();
        let again = Arc::new(Store::open(folder.path().to_owned()));
        assert_eq!(
            names(folder.path()),
            1,
            "of two files of one key, one stays"
        );
        assert_eq!(lock(&again.index).bytes, BLOCK);
    }

    #[tokio::test]
    async fn beyond_the_bound_goes_what_is_over_and_then_what_was_asked_for_least_lately() {
        let folder = tempfile::tempdir().unwrap();
        let now = clock::unix_ms();
        let store = Arc::new(Store::open(folder.path().to_owned()));
        store
            .write([0; 32], &kept("over", now - 120_000), LIMIT)
            .unwrap();
        for nth in 1..=2 {
            store.write([nth; 32], &kept("x", now), LIMIT).unwrap();
        }
        assert!(store.get([1; 32], now, LASTS).await.is_some());
        store.write([3; 32], &kept("x", now), LIMIT).unwrap();
        assert_eq!(names(folder.path()), 3, "the one that is over is gone");
        store.write([4; 32], &kept("x", now), LIMIT).unwrap();
        assert!(
            store.get([2; 32], now, LASTS).await.is_none(),
            "the oldest use"
        );
        for nth in [1, 3, 4] {
            assert!(store.get([nth; 32], now, LASTS).await.is_some(), "{nth}");
        }
        // What is larger than all that may be kept makes no room for itself.
        let large = kept(&"x".repeat(usize::try_from(LIMIT).unwrap()), now);
        store.write([5; 32], &large, LIMIT).unwrap();
        assert_eq!(names(folder.path()), 3);
    }

    #[tokio::test]
    async fn a_folder_that_others_empty_or_fill_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let now = clock::unix_ms();
        let place = folder.path();
        for name in [
            "notes",
            "ab-1",
            "-",
            &format!("{}-x", "0".repeat(64)),
            &"é".repeat(32),
        ] {
            fs::write(place.join(name), "x").unwrap();
        }
        let store = Arc::new(Store::open(place.to_owned()));
        let key = [7; 32];
        store.write(key, &kept("one", now), LIMIT).unwrap();
        let file = store.place(&key, kept("one", now).until);
        fs::write(&file, "damaged").unwrap();
        assert_eq!(store.get(key, now, LASTS).await, None);
        store.write(key, &kept("one", now), LIMIT).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(store.get(key, now, LASTS).await, None);
        store.clear();
        assert_eq!(names(place), 5);
    }
}
