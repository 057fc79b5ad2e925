//! What Iris has reported stays true: the program itself under load, killed, cut off from power, out of
//! space and out of descriptors, flooded and reloaded. It has a harness of its own, because each test needs
//! the whole machine.
//!
//! The environment says how often: `IRIS_CRASH_RESTARTS`, `IRIS_CRASH_PANICS`, `IRIS_CRASH_KILLS`,
//! `IRIS_CRASH_NODES`, `IRIS_CRASH_CUTS`, `IRIS_CRASH_ERRORS`, `IRIS_CRASH_DAMAGES`, `IRIS_CRASH_AWAY` (seconds) and
//! `IRIS_SOAK_REQUESTS`; `just crash` and `just soak` have the long forms.
#![expect(clippy::print_stdout, reason = "figures for people")]
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
#[cfg(feature = "postgres")]
mod nodes;
mod panics;
mod provider;
mod records;
mod restarts;
mod service;
mod tailnet;

use std::process::ExitCode;

use support::harness;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(tailnet::INSIDE) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        if let Err(error) = runtime.block_on(account::inside()) {
            println!("{error:#}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    harness::run(harness::unshared(&[
        kills::TESTS,
        #[cfg(feature = "postgres")]
        nodes::TESTS,
        restarts::TESTS,
        service::TESTS,
        install::TESTS,
        panics::TESTS,
        #[cfg(target_os = "linux")]
        cuts::TESTS,
        #[cfg(target_os = "linux")]
        errors::TESTS,
        database::TESTS,
        account::TESTS,
        flood::TESTS,
        changes::TESTS,
    ]))
}

/// How often, from the environment or the short form.
fn times(variable: &str, short: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.replace('_', "").parse().ok())
        .unwrap_or(short)
}
