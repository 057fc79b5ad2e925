//! A disk that forgets: everything written can be read, but only what was synced survives a power cut. It
//! can also fail at the n-th write. This process serves it, over FUSE.

mod served;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use anyhow::Context;
use fuser::{BackgroundSession, Config, Errno, FileAttr, FileType, INodeNo};

use served::Served;
use support::random::random;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What can be done about a disk error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space, until it is made.
    Full,
    /// One operation fails.
    Broken,
}

enum Change {
    Write { at: usize, data: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Write { at, data } => {
                let end = at + data.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*at..end].copy_from_slice(data);
            }
        }
    }

    /// What of it has reached the disk all the same: sectors, in no order.
    fn torn(&self, seed: u64) -> Vec<Change> {
        let survives = |nth: usize| random(seed ^ nth as u64) & 1 == 0;
        match self {
            Self::Length(length) if survives(0) => vec![Self::Length(*length)],
            Self::Length(_) => Vec::new(),
            Self::Write { at, data } => {
                let (mut from, mut parts) = (0, Vec::new());
                while from < data.len() {
                    let next = ((at + from) / SECTOR + 1) * SECTOR - at;
                    let to = next.min(data.len());
                    if survives(at + from) {
                        parts.push(Self::Write {
                            at: at + from,
                            data: data[from..to].to_vec(),
                        });
                    }
                    from = to;
                }
                parts
            }
        }
    }
}

#[derive(Default)]
struct File {
    mode: u16,
    now: Vec<u8>,
    /// What is on the disk.
    safe: Vec<u8>,
    /// What is not, in its order.
    unsynced: Vec<Change>,
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.safe);
        }
    }
}

#[derive(Default)]
struct State {
    files: HashMap<u64, File>,
    names: BTreeMap<OsString, u64>,
    /// Names that are on the disk.
    safe_names: BTreeMap<OsString, u64>,
    next: u64,
    /// There is no power.
    dead: bool,
    /// What fails, once so many operations have gone well.
    fault: Option<(u64, Fault)>,
    /// Operations that have failed.
    failed: u64,
}

impl State {
    /// Counts an operation that changes something, and fails it if it is its turn.
    fn changes(&mut self) -> Result<(), Errno> {
        self.lives()?;
        let Some((left, fault)) = &mut self.fault else {
            return Ok(());
        };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        self.failed += 1;
        match *fault {
            Fault::Full => Err(Errno::ENOSPC),
            Fault::Broken => {
                self.fault = None;
                Err(Errno::EIO)
            }
        }
    }

    fn lives(&self) -> Result<(), Errno> {
        if self.dead { Err(Errno::EIO) } else { Ok(()) }
    }

    fn file(&mut self, ino: INodeNo) -> Result<&mut File, Errno> {
        self.lives()?;
        self.files.get_mut(&ino.0).ok_or(Errno::ENOENT)
    }

    fn attributes(&self, ino: u64) -> Result<FileAttr, Errno> {
        self.lives()?;
        let (kind, perm, size) = if ino == INodeNo::ROOT.0 {
            (FileType::Directory, 0o700, 0)
        } else {
            let file = self.files.get(&ino).ok_or(Errno::ENOENT)?;
            (FileType::RegularFile, file.mode, file.now.len() as u64)
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// What a cut leaves; with a seed, some of what was not synced has arrived, in no order.
    fn forget(&mut self, torn: Option<u64>) {
        let keeps = |nth: u64| torn.is_some_and(|seed| random(seed ^ nth) & 1 == 0);
        let mut names = self.safe_names.clone();
        for (nth, (name, ino)) in (0..).zip(&self.names) {
            if keeps(nth) {
                names.insert(name.clone(), *ino);
            }
        }
        let known: Vec<u64> = names.values().copied().collect();
        self.files.retain(|ino, _| known.contains(ino));
        for (ino, file) in &mut self.files {
            let unsynced = std::mem::take(&mut file.unsynced);
            if let Some(seed) = torn {
                for (nth, change) in (0..).zip(&unsynced) {
                    for part in change.torn(random(seed ^ (ino << 32) ^ nth)) {
                        part.apply(&mut file.safe);
                    }
                }
            }
            file.now.clone_from(&file.safe);
        }
        self.names.clone_from(&names);
        self.safe_names = names;
        self.dead = false;
    }
}

/// A mounted disk.
pub struct Disk {
    state: Arc<Mutex<State>>,
    at: PathBuf,
    mounted: Option<BackgroundSession>,
}

impl Disk {
    /// Why there can be none here, if so.
    pub fn missing() -> Option<&'static str> {
        let device = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse");
        device
            .is_err()
            .then_some("/dev/fuse can't be opened, which takes root")
    }

    /// Mounts an empty disk at a folder, which is made.
    pub fn mount(at: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at)?;
        let mut disk = Self {
            state: Arc::default(),
            at: at.to_owned(),
            mounted: None,
        };
        disk.lock().next = INodeNo::ROOT.0 + 1;
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&mut self) -> anyhow::Result<()> {
        let served = Served(Arc::clone(&self.state));
        let mounted = fuser::spawn_mount(served, &self.at, &Config::default());
        self.mounted = Some(mounted.context("the disk can't be mounted")?);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing can be read or written.
    pub fn cut(&self) {
        self.lock().dead = true;
    }

    /// Mounts it again after a cut, when nothing is open.
    pub fn power_on(&mut self, torn: Option<u64>) -> anyhow::Result<()> {
        if let Some(mounted) = self.mounted.take() {
            mounted.umount_and_join()?;
        }
        self.lock().forget(torn);
        self.attach()
    }

    /// Fails once `after` operations that change something have gone well.
    pub fn fail(&self, after: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((after, fault));
        state.failed = 0;
    }

    /// Operations that have failed since then.
    pub fn failed(&self) -> u64 {
        self.lock().failed
    }

    /// All goes well again.
    pub fn heal(&self) {
        self.lock().fault = None;
    }
}
