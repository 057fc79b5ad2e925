//! The file that the configuration is in: read, and replaced as a whole.

use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::config;

/// A file that was saved is to be put in force; answered once it is.
pub type Saved = oneshot::Sender<Result<(), String>>;

/// The configuration's file.
pub struct Control {
    path: PathBuf,
    saved: mpsc::Sender<Saved>,
    /// One save at a time.
    saving: Mutex<()>,
}

/// Why a text was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// It is not the text any more that was changed.
    #[error("the configuration has changed since it was read; read it again")]
    Changed,
    /// The file can't be written.
    #[error("the configuration cannot be written to {path}: {why}{}", hint(why), path = path.display())]
    Io {
        /// Where it was to be written.
        path: PathBuf,
        /// The cause.
        why: io::Error,
    },
    /// It was written, and is not in force.
    #[error("the configuration was written and is not in force: {0}")]
    NotInForce(String),
}

impl Control {
    /// For the file at `path`, whether or not it is there yet. What comes out of the receiver is
    /// to be put in force.
    #[must_use]
    pub fn new(path: PathBuf) -> (Self, mpsc::Receiver<Saved>) {
        let (saved, receiver) = mpsc::channel(1);
        let control = Self {
            path,
            saved,
            saving: Mutex::default(),
        };
        (control, receiver)
    }

    /// Where the file is, or will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text; `None` if there is no file.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn text(&self) -> io::Result<Option<String>> {
        match config::text(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the text whose hash is `expected`, and waits until the new one is in force.
    ///
    /// # Errors
    /// `SaveError`; but for its last kind, the file is as it was.
    pub async fn save(&self, expected: &str, text: String) -> Result<(), SaveError> {
        let _one = self.saving.lock().await;
        let failed = |why| SaveError::Io {
            path: self.path.clone(),
            why,
        };
        let current = self.text().map_err(failed)?;
        if hash(current.as_deref().unwrap_or_default()) != expected {
            return Err(SaveError::Changed);
        }
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || replace(&path, text.as_bytes())).await;
        written
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)?;
        let gone = || SaveError::NotInForce("the gateway is stopping".to_owned());
        let (done, in_force) = oneshot::channel();
        self.saved.send(done).await.map_err(|_| gone())?;
        in_force
            .await
            .map_err(|_| gone())?
            .map_err(SaveError::NotInForce)
    }
}

/// What to do about a file that can't be written.
fn hint(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "; its file system is read-only",
        io::ErrorKind::PermissionDenied => "; Iris may not write to its folder or keep its owner",
        io::ErrorKind::ResourceBusy => "; it is mounted as a single file: mount its folder instead",
        _ => "",
    }
}

/// What tells two texts apart: 128 bits of SHA-256, in hexadecimal.
#[must_use]
pub(in crate::web) fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let half = digest.iter().take(16);
    half.fold(String::with_capacity(32), |mut text, byte| {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
        text.extend([digit(byte >> 4), digit(byte & 15)]);
        text
    })
}

fn random() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

/// Replaces a file so that a reader sees either the old text or the new one. Links are followed;
/// mode and owner stay. A new file is its owner's alone.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let mut name = target.file_name().unwrap_or_default().to_owned();
    // Nobody can have put a link there.
    name.push(format!(".{:016x}.new", random()?));
    let new = folder.join(name);
    let before = std::fs::metadata(&target).ok();
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let mode = before
            .as_ref()
            .map_or(0o600, |before| before.mode() & 0o7777);
        if let Some(before) = &before {
            let ours = file.metadata()?;
            if (ours.uid(), ours.gid()) != (before.uid(), before.gid()) {
                std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
        }
        // After the owner, whose change takes some bits away.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&new, &target)?;
        std::fs::File::open(folder)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // It may not have been made at all.
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_behind_its_link_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        let fresh = dir.path().join("fresh");
        replace(&fresh, b"x").unwrap();
        assert_eq!(std::fs::metadata(&fresh).unwrap().mode() & 0o777, 0o600);
        assert!(replace(&dir.path().join("none/x"), b"x").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
