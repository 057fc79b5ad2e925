//! Network namespaces: a network of a test's own, where every address is free.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Whether this is root, which needs no user namespace. Some servers refuse to run as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command that runs the arguments added to it in a network of its own. It needs root, or user
/// namespaces.
pub fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--net");
    command
}

/// Runs `ip` with the words of a line as its arguments.
pub fn ip(line: &str) {
    let done = Command::new("ip").args(line.split(' ')).status();
    assert!(done.is_ok_and(|done| done.success()), "ip {line}");
}
