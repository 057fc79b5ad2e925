//! Files that are written whole or not at all. A full disk or a crash in the middle leaves what was
//! there before, and nothing that would stand in the way of a second try.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Writes a new file with this mode, as far as the process's umask allows it.
///
/// # Errors
/// As the system gives them: `AlreadyExists` for a file that is there, which stays as it is.
pub fn create(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    placed(path, contents, mode, |_| Ok(()), publish)
}

/// Writes a file in place of the one that is there. `finish` gives it an owner and a mode: through
/// the descriptor, because others may be able to change what the name stands for. Until then only
/// its owner can read it.
///
/// # Errors
/// As the system gives them.
pub fn replace(
    path: &Path,
    contents: &[u8],
    finish: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    placed(path, contents, 0o600, finish, |new, path| {
        fs::rename(new, path)
    })
}

/// Keeps a file under a second name as well, in place of what has that name. A link is not followed:
/// the link itself is kept.
///
/// # Errors
/// As the system gives them.
pub fn keep(path: &Path, kept: &Path) -> io::Result<()> {
    let new = beside(kept)?;
    remove(&new)?;
    let done = fs::hard_link(path, &new).and_then(|()| fs::rename(&new, kept));
    // Renaming one name of a file to another of its names does nothing.
    remove(&new)?;
    done
}

/// Reads a file in a folder that others can change. A link is not followed, and a pipe isn't waited
/// for.
///
/// # Errors
/// As the system gives them, and when it isn't a regular file.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let is_link = |error: &io::Error| error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    let mut file = match opened {
        Err(error) if is_link(&error) => return Err(irregular()),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(irregular());
    }
    let mut contents = Vec::new();
    file.read_to_end(&mut contents)?;
    Ok(contents)
}

fn irregular() -> io::Error {
    io::Error::other("expected a regular file, not a link or a device; put the file itself there")
}

fn placed(
    path: &Path,
    contents: &[u8],
    mode: u32,
    finish: impl FnOnce(&File) -> io::Result<()>,
    place: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let new = beside(path)?;
    // What an interrupted run has left.
    remove(&new)?;
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(contents)?;
        finish(&file)?;
        file.sync_all()?;
        place(&new, path)
    };
    let written = write();
    let removed = remove(&new);
    written.and(removed)
}

/// The name of a file while it is written.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::other("it names no file"));
    };
    Ok(path.with_file_name(format!(".{}.new", name.to_string_lossy())))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives a file its name, unless another one has it.
fn publish(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        // FAT has no hard links.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => rename_only(new, path),
        linked => linked,
    }
}

fn rename_only(new: &Path, path: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, new, CWD, path, RenameFlags::NOREPLACE)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        // What an interrupted run has left is removed.
        fs::write(dir.path().join(".text.new"), "half").unwrap();
        create(&path, b"one", 0o600).unwrap();
        for place in [publish, rename_only] {
            let again = placed(&path, b"two", 0o600, |_| Ok(()), place);
            assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        // A link that leads nowhere is there as well.
        let link = dir.path().join("link");
        symlink(dir.path().join("aim"), &link).unwrap();
        assert!(create(&link, b"two", 0o600).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(dir.path()), ["link", "text"]);
        let moved = dir.path().join("moved");
        placed(&moved, b"two", 0o600, |_| Ok(()), rename_only).unwrap();
        assert_eq!(names(dir.path()), ["link", "moved", "text"]);
    }

    #[test]
    fn what_can_not_be_finished_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        fs::write(&path, "old").unwrap();
        let full = |_: &File| Err(io::Error::other("full"));
        assert!(replace(&path, b"new", full).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let never = placed(&dir.path().join("never"), b"x", 0o600, full, publish);
        assert!(never.is_err());
        assert_eq!(names(dir.path()), ["text"]);
        replace(&path, b"new", |_| Ok(())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_is_kept_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("text"), "one").unwrap();
        for _ in 0..2 {
            keep(&at("text"), &at("kept")).unwrap();
            assert_eq!(names(dir.path()), ["kept", "text"]);
        }
        replace(&at("text"), b"two", |_| Ok(())).unwrap();
        assert_eq!(fs::read(at("kept")).unwrap(), b"one");
        assert_eq!(read_regular(&at("text")).unwrap(), b"two");

        symlink(at("text"), at("link")).unwrap();
        keep(&at("link"), &at("kept")).unwrap();
        assert!(at("kept").symlink_metadata().unwrap().is_symlink());
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        for odd in ["link", "pipe", "."] {
            let error = read_regular(&at(odd)).unwrap_err();
            assert!(error.to_string().contains("regular file"), "{odd}: {error}");
        }
        let missing = read_regular(&at("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
