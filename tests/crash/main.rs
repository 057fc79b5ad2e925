//! What Iris has said stays true: the program itself under load, killed, cut off from power, out
//! of space and out of descriptors, flooded and reloaded. A harness of its own, because each test
//! has the machine for itself.
//!
//! `cargo test --test crash -- WORD…` runs those whose names contain one of the words. How often
//! is said by the environment: `IRIS_CRASH_RESTARTS`, `IRIS_CRASH_PANICS`, `IRIS_CRASH_KILLS`,
//! `IRIS_CRASH_CUTS`, `IRIS_CRASH_ERRORS`, `IRIS_CRASH_DAMAGES`, `IRIS_CRASH_AWAY` (seconds) and
//! `IRIS_SOAK_REQUESTS`; `just crash` and `just soak` have the long forms.
#![expect(clippy::print_stdout, reason = "a harness tells how tests went")]
#![expect(unreachable_pub, reason = "a program of its own")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures for people"
)]

mod account;
mod bare;
mod changes;
mod client;
#[cfg(target_os = "linux")]
mod cuts;
mod database;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod errors;
mod flood;
mod install;
mod iris;
mod kills;
#[path = "../tailnet/machine.rs"]
mod machine;
mod panics;
mod provider;
mod records;
mod restarts;
#[cfg(feature = "postgres")]
#[path = "../ledger/server.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "without a server there is nothing to test"
)]
mod server;
mod service;
mod tailnet;
#[path = "../tally/mod.rs"]
mod tally;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use tally::Tally;

type Outcome = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;
type Test = fn() -> Outcome;

/// Names a test and boxes it.
macro_rules! test {
    ($module:ident :: $name:ident) => {
        (
            concat!(stringify!($module), "::", stringify!($name)),
            (|| Box::pin($module::$name())) as Test,
        )
    };
}

const ALL: &[(&str, Test)] = &[
    test!(kills::nothing_acknowledged_is_lost),
    test!(restarts::no_connection_is_refused),
    test!(restarts::a_socket_that_is_no_loopback_door_is_not_served),
    test!(service::what_is_killed_or_hangs_is_started_again),
    test!(install::a_bare_machine_becomes_a_service_and_a_bare_machine_again),
    test!(install::a_user_has_a_service_without_root),
    test!(panics::one_request_is_hurt_and_no_other),
    test!(panics::a_record_that_can_not_be_written_holds_up_no_other),
    test!(panics::what_runs_beside_the_requests_begins_anew),
    #[cfg(target_os = "linux")]
    test!(cuts::only_what_was_synced_is_acknowledged),
    #[cfg(target_os = "linux")]
    test!(errors::the_nth_write_fails),
    test!(database::held_by_another_it_loses_nothing),
    #[cfg(feature = "postgres")]
    test!(database::gone_it_loses_nothing),
    test!(database::damaged_it_is_refused_or_serves),
    test!(account::sums_equal_the_providers),
    test!(flood::descriptors_run_out),
    test!(flood::slow_callers_are_closed),
    test!(flood::slow_readers_are_bounded),
    test!(flood::slow_readers_leave_room_on_a_shared_connection),
    test!(flood::overload_is_refused_quickly),
    test!(changes::a_storm_of_reloads_is_not_felt),
    test!(changes::clocks_may_jump),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if std::env::args().nth(1).as_deref() == Some(tailnet::INSIDE) {
        if let Err(error) = runtime.block_on(account::inside()) {
            println!("{error:#}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    let mut tally = Tally::default();
    for (name, test) in ALL {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let started = Instant::now();
        let run = AssertUnwindSafe(|| runtime.block_on(test()));
        // A panic ends the test and not the rest.
        let outcome = match catch_unwind(run) {
            Ok(done) => done.map_err(|error| format!("{error:#}")),
            Err(_) => Err("it panicked; the message is above".to_owned()),
        };
        tally.end(name, started.elapsed(), outcome);
    }
    runtime.shutdown_background();
    tally.close()
}

/// How often, from the environment or the short form.
fn times(variable: &str, short: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.replace('_', "").parse().ok())
        .unwrap_or(short)
}

/// Splitmix64: the same run for the same seed.
fn random(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
