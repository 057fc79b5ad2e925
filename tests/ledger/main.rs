//! The ledger over both stores: each test runs on a file, in memory and on `PostgreSQL`, whose
//! server this program starts for itself. A harness of its own, because all share that server.
//!
//! `cargo test --test ledger -- NAME` runs those whose name contains NAME; `--first` ends with the
//! first that fails.
#![expect(clippy::print_stdout, reason = "a harness tells how tests went")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod audit;
#[path = "../../src/records/balances/books.rs"]
mod books;
mod budgets;
mod chats;
mod distance;
mod exports;
mod failover;
mod faults;
mod identity;
mod orders;
mod outbox;
mod pages;
mod queries;
mod relay;
mod reports;
mod retention;
mod rooms;
mod server;
mod standby;
mod store;
#[path = "../tally/mod.rs"]
mod tally;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use store::{Kind, Place};
use tally::Tally;

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

/// What a test may take: records that are never written are waited for without end.
const LIMIT: Duration = Duration::from_mins(2);

/// Tests that hold for every store.
const EVERY: &[(&str, Test)] = &[
    test!(queries::requests_round_trip_filter_and_page),
    test!(queries::each_filter_finds_its_own),
    test!(queries::nobody_sees_what_is_not_theirs),
    test!(queries::sessions_of_different_logins_stay_apart),
    test!(queries::sessions_are_found_by_a_tool_however_common),
    test!(queries::strange_records_do_not_stop_the_queue),
    test!(queries::calls_of_tools_are_counted_by_day),
    test!(queries::concurrent_records_are_all_there_once),
    test!(reports::a_report_equals_plain_sums),
    test!(reports::hours_are_read_from_the_entries),
    test!(reports::percentiles_keep_their_bound),
    test!(reports::questions_without_an_answer_are_refused),
    test!(retention::zero_writes_nothing_that_was_said),
    test!(retention::old_captures_are_purged_and_sums_stay),
    test!(retention::a_purge_waits_for_the_export),
    test!(exports::each_record_is_queued_for_each_exporter),
    test!(exports::a_batch_is_one_exporters_until_it_is_given_back),
    test!(budgets::overdrafts_help_out_in_order),
    test!(budgets::a_look_holds_nothing),
    test!(outbox::each_delivery_is_taken_by_one_and_comes_back_until_it_is_done),
    test!(outbox::what_is_too_much_or_for_nobody_is_forgotten),
    test!(audit::what_was_done_is_found_and_paged),
    test!(audit::versions_have_parents_and_a_bound),
    test!(chats::each_has_their_own_and_what_is_old_goes),
    test!(chats::beyond_the_bound_the_oldest_go),
    test!(identity::one_login_of_several_callers_shares_nothing),
    test!(identity::what_agrees_in_its_beginning_stays_apart),
    test!(budgets::a_bucket_that_counts_something_else_is_another),
    test!(identity::a_bucket_is_shown_under_the_name_that_its_owner_has_now),
    test!(chats::a_write_follows_the_version_that_it_names),
];

/// Tests of a database that outlives its ledger.
const LASTING: &[(&str, Test)] = &[
    test!(faults::opening_again_migrates_nothing),
    test!(faults::two_ledgers_share_a_database),
    test!(outbox::two_nodes_never_take_the_same),
    test!(audit::what_was_done_outlives_the_process),
    test!(budgets::two_hundred_at_once_spend_what_there_is),
    test!(budgets::balances_outlive_the_process),
    test!(pages::figures_equal_sql),
    test!(pages::long_tables_are_turned),
    test!(identity::records_from_before_go_to_who_made_them),
];

const FILES: &[(&str, Test)] = &[
    test!(retention::what_was_purged_is_not_in_the_files),
    test!(retention::what_was_purged_while_somebody_read_goes_later),
    test!(outbox::what_was_told_is_not_in_the_files),
    test!(budgets::a_refill_comes_after_what_was_taken_before_it),
];

const POSTGRES: &[(&str, Test)] = &[
    test!(faults::many_that_start_at_once_migrate_once),
    test!(failover::a_server_that_takes_no_writes_any_more_is_left),
    test!(failover::every_host_and_address_is_tried),
    test!(failover::a_start_on_a_standby_waits_until_it_is_promoted),
    test!(failover::what_was_closed_while_idle_is_felt_by_nobody),
    test!(failover::what_was_forgotten_while_idle_is_noticed),
    test!(failover::what_is_committed_without_an_answer_is_not_done_twice),
    test!(rooms::at_the_limit_the_connections_that_are_open_do_all_the_work),
    test!(rooms::a_pooler_that_shares_sessions_is_no_trouble),
    test!(distance::holds_at_once_share_their_round_trips),
    test!(distance::who_does_not_wait_any_more_holds_nothing),
    test!(distance::leases_are_by_the_clock_of_the_database),
    test!(budgets::two_nodes_spend_one_budget),
    test!(budgets::two_nodes_spend_one_budget_whatever_the_isolation),
    test!(budgets::a_node_that_dies_frees_what_it_held),
    test!(budgets::a_hold_that_is_renewed_outlives_its_lease),
    test!(orders::every_order_of_two_nodes_keeps_the_books),
    test!(faults::a_killed_server_loses_and_doubles_nothing),
    test!(faults::connections_are_kept),
    test!(faults::a_newer_schema_is_refused),
    test!(faults::a_user_without_the_right_to_create_can_write),
    test!(faults::tls_is_used_and_verified_where_asked_for),
    test!(faults::a_server_is_trusted_by_the_file_that_its_url_names),
];

/// The authority for the server's certificate, which is its own.
const CERTIFICATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/ai.tail.test.crt"
);

fn main() {
    // The ledger trusts what the machine trusts, and that is said in the environment.
    if std::env::var_os("SSL_CERT_FILE").is_none_or(|file| file != CERTIFICATE) {
        let program = std::env::current_exe().expect("this program");
        let again = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env("SSL_CERT_FILE", CERTIFICATE)
            .status()
            .expect("this program runs");
        std::process::exit(again.code().unwrap_or(1));
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let only = words.iter().find(|word| !word.starts_with('-'));
    let only = only.map_or("", String::as_str);
    let first = words.iter().any(|word| word == "--first");
    if !check(|name| name.contains(only), first) {
        std::process::exit(1);
    }
}

/// Runs the tests with names that are `wanted`, all or up to the `first` that fails. Says whether
/// all passed.
pub(crate) fn check(wanted: impl Fn(&str) -> bool, first: bool) -> bool {
    // Silent unless asked, because servers are killed here.
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::OFF.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut server = None;
    let (mut tally, mut failed) = (Tally::default(), 0);
    for (kind, name, test) in tests() {
        if !wanted(&name) {
            continue;
        }
        let started = std::time::Instant::now();
        if kind == Kind::Postgres && server.is_none() {
            server = Some(server::Server::start());
        }
        let place = runtime.block_on(Place::new(kind, server.as_ref()));
        // A task of its own, so that a panic ends the test and not the rest.
        let done = runtime
            .block_on(async { tokio::time::timeout(LIMIT, tokio::spawn(test(place))).await });
        let outcome = match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("it panicked; the message is above".to_owned()),
            Err(_) => Err(format!("it did not end within {LIMIT:?}")),
        };
        failed = tally.end(&name, started.elapsed(), outcome);
        if first && failed > 0 {
            break;
        }
    }
    runtime.shutdown_background();
    if let Some(server) = server {
        server.stop();
    }
    tally.close();
    failed == 0
}

/// Every test on every store that it is for.
fn tests() -> Vec<(Kind, String, Test)> {
    let mut tests = Vec::new();
    for (kind, lists) in [
        (Kind::Memory, &[EVERY] as &[_]),
        (Kind::File, &[EVERY, LASTING, FILES]),
        (Kind::Postgres, &[EVERY, LASTING, POSTGRES]),
    ] {
        for (name, test) in lists.iter().copied().flatten() {
            tests.push((kind, format!("{kind:?}::{name}"), *test));
        }
    }
    tests
}
