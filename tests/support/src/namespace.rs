//! Network namespaces: a network of a test's own, where every address is free.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Whether this is root, whom a server may refuse to be run by and who needs no namespace of users.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command that runs the arguments it still gets in a network of its own. That takes root, or
/// namespaces of users.
pub fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--net");
    command
}

/// Runs `ip` with the words of a line.
pub fn ip(line: &str) {
    let done = Command::new("ip").args(line.split(' ')).status();
    assert!(done.is_ok_and(|done| done.success()), "ip {line}");
}
