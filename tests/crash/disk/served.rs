//! The requests of the kernel to the disk, over FUSE.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{
    BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{Change, File, State};

/// Nothing is remembered by the kernel.
const NOW: Duration = Duration::ZERO;

/// What the kernel asks.
pub(super) struct Served(pub(super) Arc<Mutex<State>>);

impl Served {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a file is opened: past the kernel's cache, but for what is mapped into memory.
    fn opened(&self, ino: u64) -> FopenFlags {
        let state = self.lock();
        let name = state.names.iter().find(|(_, known)| **known == ino);
        if name.is_some_and(|(name, _)| name.to_string_lossy().ends_with("-shm")) {
            FopenFlags::FOPEN_KEEP_CACHE
        } else {
            FopenFlags::FOPEN_DIRECT_IO
        }
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.lock();
        let found = state.names.get(name).copied().ok_or(Errno::ENOENT);
        match found.and_then(|ino| state.attributes(ino)) {
            Ok(attributes) => reply.entry(&NOW, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.lock().attributes(ino.0) {
            Ok(attributes) => reply.attr(&NOW, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.lock();
        let mut set = || {
            if size.is_some() {
                state.changes()?;
            }
            if ino != INodeNo::ROOT {
                let file = state.file(ino)?;
                if let Some(mode) = mode {
                    file.mode = (mode & 0o7777) as u16;
                }
                if let Some(size) = size {
                    file.change(Change::Length(size as usize));
                }
            }
            state.attributes(ino.0)
        };
        match set() {
            Ok(attributes) => reply.attr(&NOW, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = {
            let mut state = self.lock();
            state.changes().and_then(|()| {
                let ino = state.next;
                state.next += 1;
                let file = File {
                    mode: (mode & 0o7777) as u16,
                    ..File::default()
                };
                state.files.insert(ino, file);
                state.names.insert(name.to_owned(), ino);
                state.attributes(ino)
            })
        };
        match made {
            Ok(attributes) => {
                let flags = self.opened(attributes.ino.0);
                reply.created(&NOW, &attributes, Generation(0), FileHandle(0), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let lives = self.lock().file(ino).map(drop);
        match lives {
            Ok(()) => reply.opened(FileHandle(0), self.opened(ino.0)),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.lock().file(ino) {
            Ok(file) => {
                let from = (offset as usize).min(file.now.len());
                let to = (from + size as usize).min(file.now.len());
                reply.data(&file.now[from..to]);
            }
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.lock();
        // What comes from mapped memory comes when the kernel likes.
        let mapped = flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let may = if mapped { Ok(()) } else { state.changes() };
        match may.and_then(|()| state.file(ino)) {
            Ok(file) => {
                file.change(Change::Write {
                    at: offset as usize,
                    data: data.to_vec(),
                });
                reply.written(data.len() as u32);
            }
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.lock();
        match state.changes().and_then(|()| state.file(ino)) {
            Ok(file) => {
                file.sync();
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.lock();
        match state.changes() {
            Ok(()) => {
                state.safe_names = state.names.clone();
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.lock();
        let gone = state
            .changes()
            .and_then(|()| state.names.remove(name).ok_or(Errno::ENOENT));
        match gone {
            Ok(_) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut state = self.lock();
        let moved = state
            .changes()
            .and_then(|()| state.names.remove(name).ok_or(Errno::ENOENT));
        match moved {
            Ok(ino) => {
                state.names.insert(new.to_owned(), ino);
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let state = self.lock();
        for (nth, (name, ino)) in (1..).zip(&state.names).skip(offset as usize) {
            if reply.add(INodeNo(*ino), nth, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // Plenty: a disk that fills slowly would be warned of.
        reply.statfs(1 << 28, 1 << 27, 1 << 27, 1 << 20, 1 << 19, 4096, 255, 4096);
    }
}
