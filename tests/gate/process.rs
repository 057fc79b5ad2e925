//! What this program needs to run others, and how it reports what it skips.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether a program is installed; if not, that is said where nothing hides it.
pub fn has(program: &str, version: &str) -> bool {
    let there = Command::new(program)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        say(&format!("SKIPPED: {program} is not installed"));
    }
    there
}

/// Says something past the harness, which shows the output of failures alone.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "gate: {text}");
}

/// A file of `tests/gate/servers`.
pub fn source(name: &str) -> PathBuf {
    support::root().join("tests/gate/servers").join(name)
}

/// Builds a program of one file of Go.
pub fn go(name: &str, into: &Path) -> PathBuf {
    let program = into.join(name).with_extension("");
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(source(name))
        .current_dir(into)
        .status();
    assert!(status.unwrap().success(), "{name} is not built");
    program
}

/// A number that the environment gives.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
