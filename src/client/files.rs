//! An agent's own files: what `iris connect --write` changes in them, and `--undo` puts back.

use std::fs;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use similar::TextDiff;

use super::agents::{Agent, Settings, Target};
use super::terminal::print;
use crate::base::atomic_file;

/// What the name of a copy ends with. A file that wasn't there before has an empty one.
const BEFORE: &str = ".before-iris";

/// A file, what it says, and what it is to say; `None` if it is to go.
struct Change {
    path: PathBuf,
    before: String,
    after: Option<String>,
}

pub(super) fn home() -> anyhow::Result<PathBuf> {
    std::env::home_dir().context("there is no home folder: HOME is not set")
}

/// Puts settings into an agent's own files, once the person has seen what changes.
pub(super) fn write(agent: &Agent, settings: &Settings, yes: bool) -> anyhow::Result<ExitCode> {
    ensure!(
        !settings.own.is_empty(),
        "{} has no file for these settings; --print shows them",
        agent.name
    );
    let home = home()?;
    let mut changes = Vec::new();
    for own in &settings.own {
        let path = home.join(own.path);
        let before = read(&path)?.unwrap_or_default();
        let after = own.change.apply(&before);
        let after = after.with_context(|| path.display().to_string())?;
        if after != before {
            changes.push(Change {
                path,
                before,
                after: Some(after),
            });
        }
    }
    if changes.is_empty() {
        print("Nothing to change: it is all there.\n");
        return Ok(ExitCode::SUCCESS);
    }
    make(&changes, yes, |change| {
        let copy = copy_of(&change.path);
        if read(&copy)?.is_none() {
            replace(&copy, &change.before, Some(&change.path))
                .with_context(|| format!("can't write {}", copy.display()))?;
        }
        Ok(())
    })
}

/// The files that hold something of an earlier change which these settings would take out, and its keys.
pub(super) fn leftovers(settings: &Settings) -> Vec<(&'static str, String)> {
    let Ok(home) = home() else {
        return Vec::new();
    };
    let left = settings.own.iter().flat_map(|own| {
        let text = read(&home.join(own.path)).ok().flatten();
        let keys = own.change.leftovers(&text.unwrap_or_default());
        keys.into_iter().map(|key| (own.path, key))
    });
    left.collect()
}

/// Puts an agent's own files back as they were before the first change.
pub(super) fn undo(agent: &Agent, yes: bool) -> anyhow::Result<ExitCode> {
    let home = home()?;
    // Which files an agent has doesn't depend on what they say.
    let settings = agent.settings(&Target::default());
    let mut changes = Vec::new();
    for own in &settings.own {
        let path = home.join(own.path);
        if let Some(earlier) = read(&copy_of(&path))? {
            let before = read(&path)?.unwrap_or_default();
            let after = Some(earlier).filter(|text| !text.is_empty());
            changes.push(Change {
                path,
                before,
                after,
            });
        }
    }
    if changes.is_empty() {
        print("Nothing to undo: no file has a copy from before.\n");
        return Ok(ExitCode::SUCCESS);
    }
    let code = make(&changes, yes, |_| Ok(()))?;
    if code == ExitCode::SUCCESS {
        for change in &changes {
            let copy = copy_of(&change.path);
            fs::remove_file(&copy).with_context(|| format!("can't remove {}", copy.display()))?;
        }
    }
    Ok(code)
}

/// Shows changes, asks, and makes them; each after `first`.
fn make(
    changes: &[Change],
    yes: bool,
    first: impl Fn(&Change) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    for Change {
        path,
        before,
        after,
    } in changes
    {
        let name = path.display().to_string();
        let diff = TextDiff::from_lines(before.as_str(), after.as_deref().unwrap_or_default());
        print(&diff.unified_diff().header(&name, &name).to_string());
    }
    if !yes && !confirmed()? {
        print("Nothing was changed.\n");
        return Ok(ExitCode::FAILURE);
    }
    for change in changes {
        first(change)?;
        let made = match &change.after {
            Some(after) => replace(&change.path, after, None),
            // Someone may have removed it already.
            None => match fs::remove_file(&change.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        made.with_context(|| format!("can't write {}", change.path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn copy_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BEFORE);
    name.into()
}

/// The text of a file; `None` if the file does not exist.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

/// Asks on the terminal; without one, --yes must have been given.
fn confirmed() -> anyhow::Result<bool> {
    ensure!(
        std::io::stdin().is_terminal(),
        "there is no terminal to ask at: say --yes"
    );
    print("Write this? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// Writes a file in place of the one that is there, with its permissions or those of the file `like`. A link
/// stays one.
fn replace(path: &Path, text: &str, like: Option<&Path>) -> std::io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let like = like.unwrap_or(&path);
    atomic_file::replace(&path, text.as_bytes(), |new| match fs::metadata(like) {
        Ok(old) => new.set_permissions(old.permissions()),
        Err(_) => Ok(()),
    })
}
