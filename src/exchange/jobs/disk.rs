//! Files of callers in a folder of the state directory, which belongs to one process at a time. Each
//! owner has a folder of their own, up to a share of what all may take.
//!
//! Whose a file is stands in the database; here it is only found. What the database no longer has is
//! swept after the longest time that a file is kept.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use http::StatusCode;
use sha2::{Digest, Sha256};

use crate::base::atomic_file;
use crate::base::lock::lock;
use crate::wire::Rejection;

/// An owner may take one part of so many of what all may take.
const SHARE: u64 = 2;

/// The file with this node's id, which outlives the process.
const NODE: &str = "node";

/// The files of this process's state directory.
pub struct Disk {
    folder: PathBuf,
    node: String,
    /// Bytes of each owner's, by the name of their folder.
    used: Mutex<HashMap<String, u64>>,
    /// Whether the folder has been made.
    is_there: Mutex<bool>,
}

/// Why a file can't be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error(
        "files would take more than limits.files allows ({most} bytes for all, a half of it for each caller); delete some, or have an admin raise it"
    )]
    Full { most: u64 },
    #[error("a file on the gateway's disk is gone, or is shorter than it was")]
    Lost,
    #[error("the gateway can't use its disk")]
    Io(#[from] io::Error),
}

impl DiskError {
    /// The code of refusals, and of batches that fail for it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "files_full",
            Self::Lost => "file_lost",
            Self::Io(_) => "disk_unavailable",
        }
    }
}

impl From<DiskError> for Rejection {
    fn from(error: DiskError) -> Self {
        let status = match &error {
            DiskError::Full { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            DiskError::Lost => StatusCode::SERVICE_UNAVAILABLE,
            DiskError::Io(cause) => {
                tracing::error!(%cause, "a file of a caller can't be read or written");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl Disk {
    /// Finds what is in a folder, which need not exist.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        let mut used = HashMap::new();
        for owner in owners(&folder)? {
            if !owner.file_type()?.is_dir() {
                continue;
            }
            let mut bytes = 0;
            for file in fs::read_dir(owner.path())? {
                bytes += file?.metadata()?.len();
            }
            used.insert(owner.file_name().to_string_lossy().into_owned(), bytes);
        }
        Ok(Self {
            node: node(&folder.join(NODE))?,
            folder,
            used: Mutex::new(used),
            is_there: Mutex::default(),
        })
    }

    /// Makes the folder before the first file in it: most gateways keep none.
    fn prepare(&self) -> io::Result<()> {
        let mut is_there = lock(&self.is_there);
        if !*is_there {
            let mut private = fs::DirBuilder::new();
            private.recursive(true).mode(0o700).create(&self.folder)?;
            let place = self.folder.join(NODE);
            if !place.try_exists()? {
                atomic_file::create(&place, self.node.as_bytes(), 0o600)?;
            }
            *is_there = true;
        }
        Ok(())
    }

    /// What tells this state directory from those of other nodes.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Writes a file whole, while all take up to `most` bytes.
    pub(super) fn put(
        &self,
        owner: &str,
        id: &str,
        content: &[u8],
        most: u64,
    ) -> Result<(), DiskError> {
        let path = self.place(owner, id)?;
        self.prepare()?;
        let bytes = content.len() as u64;
        self.reserve(owner, bytes, most)?;
        let written = folder_of(&path).and_then(|()| atomic_file::create(&path, content, 0o600));
        if written.is_err() {
            self.release(&name(owner), bytes);
        }
        Ok(written?)
    }

    /// How many bytes a file has; none if it isn't there.
    pub(super) fn length(&self, owner: &str, id: &str) -> io::Result<u64> {
        match fs::metadata(self.place(owner, id)?) {
            Ok(about) => Ok(about.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Writes text behind the first `at` bytes of a file, which is made if it is missing, and cuts off
    /// what an interrupted write has left there. It is durable when this returns. Returns the new length.
    pub(super) fn append(
        &self,
        owner: &str,
        id: &str,
        at: u64,
        text: &[u8],
        most: u64,
    ) -> Result<u64, DiskError> {
        let path = self.place(owner, id)?;
        self.prepare()?;
        folder_of(&path)?;
        let mut options = OpenOptions::new();
        options
            .create(at == 0)
            .truncate(false)
            .write(true)
            .mode(0o600);
        let mut file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DiskError::Lost),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        if length < at {
            return Err(DiskError::Lost);
        }
        if length > at {
            file.set_len(at)?;
            self.release(&name(owner), length - at);
        }
        let bytes = text.len() as u64;
        self.reserve(owner, bytes, most)?;
        let written = file.seek(SeekFrom::Start(at));
        let written = written
            .and_then(|_| file.write_all(text))
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            if file.set_len(at).is_ok() {
                self.release(&name(owner), bytes);
            }
            return Err(error.into());
        }
        Ok(at + bytes)
    }

    /// Opens a file to read it.
    pub(super) fn read(&self, owner: &str, id: &str) -> io::Result<File> {
        File::open(self.place(owner, id)?)
    }

    /// Deletes a file, if it is there.
    pub(super) fn remove(&self, owner: &str, id: &str) -> io::Result<()> {
        let path = self.place(owner, id)?;
        self.delete(&name(owner), &path)
    }

    /// Deletes files that were last written to before a time.
    pub(super) fn sweep(&self, before: SystemTime) -> io::Result<()> {
        for owner in owners(&self.folder)? {
            if !owner.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(owner.path())? {
                let file = file?;
                if file.metadata()?.modified()? < before {
                    self.delete(&owner.file_name().to_string_lossy(), &file.path())?;
                }
            }
        }
        Ok(())
    }

    /// Deletes an owner's files that aren't in use and were last written to before a time.
    pub(super) fn retain(
        &self,
        owner: &str,
        used: &HashSet<String>,
        before: SystemTime,
    ) -> io::Result<()> {
        let owner = name(owner);
        for file in owners(&self.folder.join(&owner))? {
            let is_used = file
                .file_name()
                .to_str()
                .is_some_and(|id| used.contains(id));
            if !is_used && file.metadata()?.modified()? < before {
                self.delete(&owner, &file.path())?;
            }
        }
        Ok(())
    }

    fn delete(&self, owner: &str, path: &Path) -> io::Result<()> {
        let bytes = match fs::metadata(path) {
            Ok(about) => about.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        fs::remove_file(path)?;
        self.release(owner, bytes);
        Ok(())
    }

    fn reserve(&self, owner: &str, bytes: u64, most: u64) -> Result<(), DiskError> {
        let mut used = lock(&self.used);
        let all: u64 = used.values().sum();
        let own = used.entry(name(owner)).or_default();
        if all.saturating_add(bytes) > most || own.saturating_add(bytes) > most / SHARE {
            return Err(DiskError::Full { most });
        }
        *own += bytes;
        Ok(())
    }

    fn release(&self, owner: &str, bytes: u64) {
        let mut used = lock(&self.used);
        if let Some(own) = used.get_mut(owner) {
            *own = own.saturating_sub(bytes);
        }
    }

    fn place(&self, owner: &str, id: &str) -> io::Result<PathBuf> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if id.is_empty() || !id.bytes().all(is_plain) {
            return Err(io::Error::other(format!(
                "{id:?} is not the id of a file here"
            )));
        }
        Ok(self.folder.join(name(owner)).join(id))
    }
}

/// The name of an owner's folder.
fn name(owner: &str) -> String {
    let digest = Sha256::digest(owner);
    let half = digest.first_chunk::<16>().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

fn folder_of(path: &Path) -> io::Result<()> {
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    path.parent()
        .map_or(Ok(()), |folder| private.create(folder))
}

/// This node's id, or a new one, which is written with the first file.
fn node(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map(|id| id.trim().to_owned()),
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_be_bytes(random)))
}

/// What is in the folder, if there is one.
fn owners(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found?.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::base::clock;

    fn text(disk: &Disk, owner: &str, id: &str) -> String {
        let mut text = String::new();
        let mut file = disk.read(owner, id).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn each_owner_has_a_half_of_the_room_and_gets_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path().join("files")).unwrap();
        disk.put("ann", "a", b"12345", 12).unwrap();
        let full = disk.put("ann", "b", b"67", 12);
        assert!(matches!(full, Err(DiskError::Full { most: 12 })));
        disk.put("bob", "a", b"123456", 12).unwrap();
        assert!(disk.put("eve", "a", b"12", 12).is_err(), "all is taken");
        assert_eq!(
            (text(&disk, "ann", "a"), text(&disk, "bob", "a")),
            ("12345".into(), "123456".into())
        );
        disk.remove("ann", "a").unwrap();
        disk.remove("ann", "a").unwrap();
        assert!(disk.read("ann", "a").is_err());
        // What is there counts at the next start too.
        let (node, disk) = (
            disk.node().to_owned(),
            Disk::open(dir.path().join("files")).unwrap(),
        );
        assert_eq!(disk.node(), node);
        assert!(disk.put("bob", "b", b"1", 12).is_err());
        disk.put("eve", "a", b"123456", 12).unwrap();
        disk.sweep(clock::now() - std::time::Duration::from_mins(1))
            .unwrap();
        assert!(disk.read("eve", "a").is_ok(), "it is young");
        disk.sweep(clock::now() + std::time::Duration::from_mins(1))
            .unwrap();
        assert!(disk.read("eve", "a").is_err());
        disk.put("bob", "b", b"1", 12).unwrap();
    }

    #[test]
    fn what_an_interrupted_write_has_left_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path().to_owned()).unwrap();
        assert_eq!(disk.append("ann", "a", 0, b"one\n", 100).unwrap(), 4);
        assert_eq!(
            disk.append("ann", "a", 4, b"half of a li", 100).unwrap(),
            16
        );
        assert_eq!(disk.append("ann", "a", 4, b"two\n", 100).unwrap(), 8);
        assert_eq!(text(&disk, "ann", "a"), "one\ntwo\n");
        assert!(matches!(
            disk.append("ann", "a", 9, b"three\n", 100),
            Err(DiskError::Lost)
        ));
        assert!(matches!(
            disk.append("ann", "a", 8, &[b'x'; 50], 100),
            Err(DiskError::Full { .. })
        ));
    }

    #[test]
    fn what_is_not_in_use_gives_its_room_back() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path().to_owned()).unwrap();
        disk.put("ann", "old", b"1234", 12).unwrap();
        disk.put("ann", "used", b"12", 12).unwrap();
        disk.put("bob", "old", b"12", 12).unwrap();
        let used = HashSet::from(["used".to_owned()]);
        let minute = std::time::Duration::from_mins(1);
        disk.retain("ann", &used, clock::now() - minute).unwrap();
        assert!(disk.put("ann", "new", b"1234", 12).is_err(), "all is young");
        disk.retain("ann", &used, clock::now() + minute).unwrap();
        disk.put("ann", "new", b"1234", 12).unwrap();
        assert!(disk.read("ann", "old").is_err());
        assert!(disk.read("ann", "used").is_ok() && disk.read("bob", "old").is_ok());
        disk.retain("eve", &used, clock::now()).unwrap();
    }

    #[test]
    fn an_id_leads_to_no_other_folder() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path().to_owned()).unwrap();
        for id in ["", "..", "../node", "a/b", "a.b", "ä"] {
            assert!(disk.put("ann", id, b"", 100).is_err(), "{id}");
            assert!(disk.read("ann", id).is_err(), "{id}");
        }
    }
}
