//! The ledger over both stores: each test runs on a file, in memory and on `PostgreSQL`, whose
//! server this program starts for itself. A harness of its own, because all share that server.
//!
//! `cargo test --test ledger -- NAME` runs those whose name contains NAME.
#![expect(clippy::print_stdout, reason = "a harness tells how tests went")]

mod faults;
mod queries;
mod reports;
mod retention;
mod server;
mod store;

use std::future::Future;
use std::pin::Pin;

use store::{Kind, Place};

type Test = fn(Place) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Names a test and boxes it.
macro_rules! test {
    ($module:ident :: $name:ident) => {
        (
            concat!(stringify!($module), "::", stringify!($name)),
            (|place| Box::pin($module::$name(place))) as Test,
        )
    };
}

/// Tests that hold for every store.
const EVERY: &[(&str, Test)] = &[
    test!(queries::requests_round_trip_filter_and_page),
    test!(queries::each_filter_finds_its_own),
    test!(queries::nobody_sees_what_is_not_theirs),
    test!(queries::sessions_of_different_logins_stay_apart),
    test!(queries::strange_records_do_not_stop_the_queue),
    test!(queries::concurrent_records_are_all_there_once),
    test!(reports::a_report_equals_plain_sums),
    test!(reports::hours_are_read_from_the_entries),
    test!(reports::percentiles_keep_their_bound),
    test!(reports::questions_without_an_answer_are_refused),
    test!(retention::zero_writes_nothing_that_was_said),
    test!(retention::old_captures_are_purged_and_sums_stay),
    test!(retention::a_purge_waits_for_the_export),
];

/// Tests of a database that outlives its ledger.
const LASTING: &[(&str, Test)] = &[
    test!(faults::opening_again_migrates_nothing),
    test!(faults::two_ledgers_share_a_database),
];

const FILES: &[(&str, Test)] = &[test!(retention::what_was_purged_is_not_in_the_files)];

const POSTGRES: &[(&str, Test)] = &[
    test!(faults::many_that_start_at_once_migrate_once),
    test!(faults::a_killed_server_loses_and_doubles_nothing),
    test!(faults::a_newer_schema_is_refused),
];

fn main() {
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = |name: &str| {
        only.as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = server::Server::start();
    let mut failed = Vec::new();
    for (kind, lists) in [
        (Kind::Memory, &[EVERY] as &[_]),
        (Kind::File, &[EVERY, LASTING, FILES]),
        (Kind::Postgres, &[EVERY, LASTING, POSTGRES]),
    ] {
        for (name, test) in lists.iter().copied().flatten() {
            let name = format!("{kind:?}::{name}");
            if !wanted(&name) {
                continue;
            }
            let started = std::time::Instant::now();
            let place = runtime.block_on(Place::new(kind, &server));
            // A task of its own, so that a panic ends the test and not the rest.
            let done = runtime.block_on(async { tokio::spawn(test(place)).await });
            let result = if done.is_ok() { "ok" } else { "FAILED" };
            println!("test {name} ... {result} ({:.1?})", started.elapsed());
            if done.is_err() {
                failed.push(name);
            }
        }
    }
    drop(runtime);
    server.stop();
    if !failed.is_empty() {
        println!("\nfailed: {failed:#?}");
        std::process::exit(1);
    }
}
