//! What stands between callers, and between secrets and everybody: the program itself with several
//! callers at once, known by a stand-in for this machine's `tailscaled`. It happens in a network
//! namespace of its own, where every address of the tailnet is this machine's.
#![expect(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program of its own, whose helpers fail as its tests do, and not all are used"
)]

#[path = "../gate/cases.rs"]
mod cases;
mod crowd;
mod daemon;
mod doors;
mod echo;
#[path = "../gate/frames.rs"]
mod frames;
#[path = "../gate/http2.rs"]
mod http2;
mod namesakes;
mod objects;
mod others;
mod places;
mod policy;
#[path = "../gate/provider.rs"]
mod provider;
mod secrets;
#[cfg(feature = "postgres")]
#[path = "../ledger/server.rs"]
mod server;
mod spoofed;
#[path = "../loopback/support.rs"]
mod support;
#[path = "../tally/mod.rs"]
mod tally;
mod vanished;
mod world;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::time::Instant;

use tally::Tally;

type Test = fn() -> Pin<Box<dyn Future<Output = ()>>>;

const TESTS: &[(&str, Test)] = &[
    ("crowd::unknown_callers_cost_known_ones_nothing", || {
        Box::pin(crowd::unknown_callers_cost_known_ones_nothing())
    }),
    (
        "doors::what_can_be_read_in_two_ways_is_refused_over_tls_too",
        || Box::pin(doors::what_can_be_read_in_two_ways_is_refused_over_tls_too()),
    ),
    ("doors::a_silent_caller_is_closed_over_tls_too", || {
        Box::pin(doors::a_silent_caller_is_closed_over_tls_too())
    }),
    (
        "objects::nobody_reads_what_is_anothers_on_any_route",
        || Box::pin(objects::nobody_reads_what_is_anothers_on_any_route()),
    ),
    ("namesakes::who_shares_a_name_shares_nothing", || {
        Box::pin(namesakes::who_shares_a_name_shares_nothing())
    }),
    ("namesakes::nobody_is_what_their_name_reads_like", || {
        Box::pin(namesakes::nobody_is_what_their_name_reads_like())
    }),
    ("secrets::no_secret_is_where_it_has_no_business", || {
        Box::pin(secrets::no_secret_is_where_it_has_no_business())
    }),
    #[cfg(feature = "postgres")]
    (
        "secrets::no_secret_is_in_postgres_nor_told_when_it_is_gone",
        || Box::pin(secrets::no_secret_is_in_postgres_nor_told_when_it_is_gone()),
    ),
    ("spoofed::no_header_makes_somebody_of_a_caller", || {
        Box::pin(spoofed::no_header_makes_somebody_of_a_caller())
    }),
    ("others::another_user_of_the_machine_reads_nothing", || {
        Box::pin(others::another_user_of_the_machine_reads_nothing())
    }),
    (
        "vanished::a_machine_that_vanishes_is_told_from_one_that_is_slow",
        || Box::pin(vanished::a_machine_that_vanishes_is_told_from_one_that_is_slow()),
    ),
];

const INSIDE: &str = "--inside-namespace";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // What asks for a list of tests gets an empty one.
    if words.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if words.first().is_some_and(|word| word == vanished::FAR) {
        return vanished::far();
    }
    if words.first().is_none_or(|word| word != INSIDE) {
        return outside(&words);
    }
    let ip = |line: &str| {
        let done = Command::new("ip").args(line.split(' ')).status();
        assert!(done.unwrap().success(), "ip {line}");
    };
    ip("link set lo up");
    // The tailnet, and who is at none: behind a router of subnets, and from afar.
    for prefix in ["100.64.0.0/16"].iter().chain(&crowd::ELSEWHERE) {
        ip(&format!("route add local {prefix} dev lo"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let wanted: Vec<&String> = words[1..]
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let mut tally = Tally::default();
    for (name, test) in TESTS {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            let started = Instant::now();
            // A panic ends the test and not the rest.
            let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test())));
            let outcome = done.map_err(|_| "it panicked; the message is above".to_owned());
            tally.end(name, started.elapsed(), outcome);
        }
    }
    tally.close()
}

/// Starts this program once more, in a namespace: that takes root, or namespaces of users.
fn outside(words: &[String]) -> ExitCode {
    let user = Command::new("id").arg("-u").output().unwrap();
    let mut command = Command::new("unshare");
    if user.stdout.trim_ascii() != b"0" {
        command.arg("--map-root-user");
    }
    let inside = command
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .arg(INSIDE)
        .args(words)
        .status()
        .unwrap();
    if inside.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
