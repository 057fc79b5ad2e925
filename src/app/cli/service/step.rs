//! The steps of an installation as data: `--dry-run` prints the same list that is carried out. Each
//! step looks whether there is anything left to do, so that a second run goes on where the first one
//! ended.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::account;
use crate::base::atomic_file;

#[derive(Debug)]
pub(super) enum Step {
    /// Make a system account with this home.
    Account {
        name: String,
        home: PathBuf,
    },
    Directory {
        path: PathBuf,
        mode: u32,
        owner: Option<String>,
    },
    File(File),
    /// Keep a file under a second name before it is replaced. Its folder may belong to the service's
    /// account: nothing is copied, so that a link there gives the service nothing to read.
    Keep {
        path: PathBuf,
        kept: PathBuf,
        /// What it holds, for people.
        what: String,
    },
    /// Remove a file, or a folder with all that is in it.
    Remove(PathBuf),
    /// Remove a folder if nothing is in it.
    RemoveEmpty(PathBuf),
    Run(Run),
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) contents: Vec<u8>,
    pub(super) mode: u32,
    pub(super) owner: Option<String>,
    /// What it holds, for people.
    pub(super) what: String,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) words: Vec<String>,
    /// Go on when it fails, as where a service that is to be stopped does not run.
    pub(super) may_fail: bool,
    pub(super) wait: Option<Wait>,
}

/// A reason for which a command is tried again, once a second. Any other failure ends it.
#[derive(Debug)]
pub(super) struct Wait {
    /// Exit codes that tell of the reason.
    pub(super) codes: &'static [i32],
    /// What is waited for, for people.
    pub(super) until: &'static str,
    pub(super) tries: u32,
}

impl Run {
    pub(super) fn new(words: &[impl AsRef<str>]) -> Self {
        Self {
            words: words.iter().map(|word| word.as_ref().to_owned()).collect(),
            may_fail: false,
            wait: None,
        }
    }
}

impl Step {
    pub(super) fn run(words: &[impl AsRef<str>]) -> Self {
        Self::Run(Run::new(words))
    }

    pub(super) fn try_run(words: &[impl AsRef<str>]) -> Self {
        Self::Run(Run {
            may_fail: true,
            ..Run::new(words)
        })
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Account { name, .. } => account::ids(name).is_some(),
            Self::Directory { path, mode, owner } => {
                fs::metadata(path).is_ok_and(|of| of.is_dir() && has(&of, *mode, owner.as_deref()))
            }
            Self::File(file) => file.is_done(),
            Self::Keep { path, kept, .. } => {
                let id = |path: &Path| {
                    let of = path.symlink_metadata().ok()?;
                    Some((of.dev(), of.ino()))
                };
                id(path).is_some_and(|one| id(kept) == Some(one))
            }
            Self::Remove(path) => path.symlink_metadata().is_err(),
            Self::RemoveEmpty(path) => !path.exists(),
            Self::Run(_) => false,
        }
    }

    pub(super) fn apply(&self) -> anyhow::Result<()> {
        match self {
            Self::Account { name, home } => account::create(name, home),
            Self::Directory { path, mode, owner } => directory(path, *mode, owner.as_deref())
                .with_context(|| format!("cannot create the folder {}", path.display())),
            Self::File(file) => file
                .write()
                .with_context(|| format!("cannot write {}", file.path.display())),
            Self::Keep { path, kept, .. } => {
                let done = atomic_file::keep(path, kept);
                let (path, kept) = (path.display(), kept.display());
                done.with_context(|| format!("cannot keep {path} as {kept}"))
            }
            Self::Remove(path) => {
                let is_dir = path.symlink_metadata().is_ok_and(|of| of.is_dir());
                let removed = if is_dir {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                };
                removed.with_context(|| format!("cannot remove {}", path.display()))
            }
            Self::RemoveEmpty(path) => match fs::remove_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed.with_context(|| format!("cannot remove {}", path.display())),
            },
            Self::Run(run) => run.apply(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account { name, home } => {
                let home = home.display();
                write!(f, "create the system user {name} with the home {home}")
            }
            Self::Directory { path, mode, owner } => {
                write!(f, "create the folder {} (mode {mode:o}", path.display())?;
                owned(f, owner.as_deref())
            }
            Self::File(file) => {
                let (path, what) = (file.path.display(), &file.what);
                write!(f, "write {path}: {what} (mode {:o}", file.mode)?;
                owned(f, file.owner.as_deref())
            }
            Self::Keep { path, kept, what } => {
                let (path, kept) = (path.display(), kept.display());
                write!(f, "keep {path} as {kept}: {what}")
            }
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::RemoveEmpty(path) => {
                write!(f, "remove the folder {} if it is empty", path.display())
            }
            Self::Run(run) => write!(f, "run {}", run.words.join(" ")),
        }
    }
}

fn owned(f: &mut fmt::Formatter<'_>, owner: Option<&str>) -> fmt::Result {
    match owner {
        Some(owner) => write!(f, ", owner {owner})"),
        None => f.write_str(")"),
    }
}

/// Whether something has this mode and this owner.
fn has(of: &fs::Metadata, mode: u32, owner: Option<&str>) -> bool {
    let owned = owner.is_none_or(|name| account::ids(name).is_some_and(|(uid, _)| uid == of.uid()));
    of.mode() & 0o7777 == mode && owned
}

fn ids(owner: Option<&str>) -> io::Result<Option<(u32, u32)>> {
    let Some(name) = owner else { return Ok(None) };
    let ids = account::ids(name);
    let missing = || io::Error::other(format!("there is no user \"{name}\""));
    ids.ok_or_else(missing).map(Some)
}

fn directory(path: &Path, mode: u32, owner: Option<&str>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let folder = fs::File::open(path)?;
    if let Some((uid, gid)) = ids(owner)? {
        fchown(&folder, Some(uid), Some(gid))?;
    }
    folder.set_permissions(fs::Permissions::from_mode(mode))
}

impl File {
    fn is_done(&self) -> bool {
        let found = || atomic_file::read_regular(&self.path);
        let same = || found().is_ok_and(|found| found == self.contents);
        let of = self.path.symlink_metadata();
        of.is_ok_and(|of| of.is_file() && has(&of, self.mode, self.owner.as_deref())) && same()
    }

    /// Replaces it whole: a program that runs can't be written to.
    fn write(&self) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        atomic_file::replace(&self.path, &self.contents, |file| {
            if let Some((uid, gid)) = ids(self.owner.as_deref())? {
                fchown(file, Some(uid), Some(gid))?;
            }
            file.set_permissions(fs::Permissions::from_mode(self.mode))
        })
    }
}

impl Run {
    fn apply(&self) -> anyhow::Result<()> {
        let run = || super::output(&self.words);
        if self.may_fail {
            let _ = run();
            return Ok(());
        }
        let mut output = run()?;
        for nth in 1..self.wait.as_ref().map_or(1, |wait| wait.tries) {
            let code = output.status.code();
            let waits = |wait: &&Wait| code.is_some_and(|code| wait.codes.contains(&code));
            let Some(wait) = self.wait.as_ref().filter(waits) else {
                break;
            };
            if nth == 1 {
                crate::app::cli::print(&format!("  waiting until {}…\n", wait.until));
            }
            super::pause(Duration::from_secs(1));
            output = run()?;
        }
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().replace('\n', "; ");
            bail!("`{}` failed: {said}", self.words.join(" "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: PathBuf, contents: &str) -> Step {
        Step::File(File {
            path,
            contents: contents.into(),
            mode: 0o640,
            owner: None,
            what: "a text".to_owned(),
        })
    }

    #[test]
    fn a_file_is_replaced_whole_and_only_where_it_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/text");
        let step = file(path.clone(), "one");
        assert!(!step.is_done());
        step.apply().unwrap();
        assert!(step.is_done());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        // What an interrupted run has left doesn't matter.
        fs::write(dir.path().join("new/.text.new"), "half").unwrap();
        let other = file(path.clone(), "two");
        assert!(!other.is_done());
        other.apply().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
        // Another mode is a difference too.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!other.is_done());
        assert!(
            other.to_string().ends_with("text: a text (mode 640)"),
            "{other}"
        );
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aim) = (dir.path().join("text"), dir.path().join("aim"));
        fs::write(&aim, "kept").unwrap();
        std::os::unix::fs::symlink(&aim, &path).unwrap();
        let step = file(path.clone(), "kept");
        assert!(!step.is_done());
        step.apply().unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read_to_string(&aim).unwrap(), "kept");
    }

    #[test]
    fn what_is_kept_is_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("text"), "one").unwrap();
        let step = Step::Keep {
            path: at("text"),
            kept: at("old"),
            what: "the text until now".to_owned(),
        };
        assert!(step.to_string().ends_with("old: the text until now"));
        assert!(!step.is_done());
        step.apply().unwrap();
        assert!(step.is_done());
        file(at("text"), "two").apply().unwrap();
        assert!(!step.is_done());
        assert_eq!(fs::read_to_string(at("old")).unwrap(), "one");
        // A link is kept as a link.
        fs::write(at("aim"), "secret").unwrap();
        fs::remove_file(at("text")).unwrap();
        std::os::unix::fs::symlink(at("aim"), at("text")).unwrap();
        step.apply().unwrap();
        assert!(at("old").symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn only_the_reason_to_wait_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let tried = dir.path().join("tried");
        let run = |script: &str, tries| {
            let _ = fs::remove_file(&tried);
            let script = format!("echo >>'{}'; {script}", tried.display());
            let run = Run {
                wait: Some(Wait {
                    codes: &[36, 37],
                    until: "the old service has ended",
                    tries,
                }),
                ..Run::new(&["sh", "-c", &script])
            };
            let outcome = Step::Run(run).apply();
            (outcome.is_ok(), fs::read_to_string(&tried).unwrap().len())
        };
        let second = format!("[ $(wc -l <'{}') = 2 ] || exit 37", tried.display());
        assert_eq!(run(&second, 9), (true, 2));
        assert_eq!(run("exit 5", 9), (false, 1));
        assert_eq!(run("exit 36", 2), (false, 2));
    }

    #[test]
    fn what_fails_says_what_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = file(dir.path().join("file/below"), "x")
            .apply()
            .unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error:#}");
        let error = Step::run(&["sh", "-c", "echo no >&2; exit 3"])
            .apply()
            .unwrap_err();
        assert!(error.to_string().ends_with("failed: no"), "{error:#}");
        Step::try_run(&["false"]).apply().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
