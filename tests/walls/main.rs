//! The walls between callers, and around secrets: the program itself with several callers at once, which
//! a stand-in for this machine's `tailscaled` identifies. It runs in a network namespace of its own, in
//! which every address of the tailnet is this machine's.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program of its own, whose helpers fail as its tests do"
)]

mod batches;
mod cached;
mod crowd;
mod daemon;
mod doors;
mod echo;
mod namesakes;
mod objects;
mod others;
mod owned;
mod places;
mod policy;
mod secrets;
mod spoofed;
mod vanished;
mod world;

use std::process::ExitCode;

use support::harness;
use support::namespace::ip;

/// Set inside the namespace.
const INSIDE: &str = "IRIS_TEST_WALLS_INSIDE";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(vanished::FAR) {
        return vanished::far();
    }
    if !harness::arguments().list {
        harness::in_a_namespace(INSIDE);
        ip("link set lo up");
        // The tailnet, and who is at none: behind a router of subnets, and from afar.
        for prefix in ["100.64.0.0/16"].iter().chain(&crowd::ELSEWHERE) {
            ip(&format!("route add local {prefix} dev lo"));
        }
    }
    harness::run(harness::unshared(&[
        batches::TESTS,
        cached::TESTS,
        crowd::TESTS,
        doors::TESTS,
        objects::TESTS,
        namesakes::TESTS,
        secrets::TESTS,
        spoofed::TESTS,
        others::TESTS,
        owned::TESTS,
        vanished::TESTS,
    ]))
}
