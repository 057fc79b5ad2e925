//! The ledger over both stores: each test runs on a file, in memory and on `PostgreSQL`, whose
//! server is started for the first test that needs it.
//!
//! The name of a test begins with its store: `Memory::`, `File::` or `Postgres::`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
// The model of budgets, which the tests beside the code use too.
#[path = "../../src/records/balances/books.rs"]
mod books;
mod budgets;
mod chats;
mod distance;
mod exports;
mod failover;
mod faults;
mod identity;
mod objects;
mod orders;
mod outbox;
mod pages;
mod queries;
mod relay;
mod reports;
mod retention;
mod rooms;
mod schema;
mod standby;
mod store;
mod written;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use store::{Kind, Place};
use support::harness::{self, Shared, Test, Trial};
use support::postgres::Server;
use tokio::runtime::Runtime;

/// What a test may take: records that are never written are waited for without end.
const LIMIT: Duration = Duration::from_mins(2);

/// Tests that hold for every store.
const EVERY: &[&[Test<Place>]] = &[
    queries::EVERY,
    written::EVERY,
    reports::EVERY,
    retention::EVERY,
    exports::EVERY,
    budgets::EVERY,
    outbox::EVERY,
    audit::EVERY,
    chats::EVERY,
    identity::EVERY,
    objects::EVERY,
];

/// Tests of a database that outlives its ledger.
const LASTING: &[&[Test<Place>]] = &[
    written::LASTING,
    faults::LASTING,
    outbox::LASTING,
    audit::LASTING,
    budgets::LASTING,
    pages::LASTING,
    identity::LASTING,
    schema::LASTING,
];

const FILES: &[&[Test<Place>]] = &[retention::FILES, outbox::FILES, budgets::FILES];

const POSTGRES: &[&[Test<Place>]] = &[
    written::POSTGRES,
    faults::POSTGRES,
    failover::POSTGRES,
    rooms::POSTGRES,
    distance::POSTGRES,
    budgets::POSTGRES,
    orders::POSTGRES,
];

/// The authority for the server's certificate, which is its own.
const CERTIFICATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/ai.tail.test.crt"
);

fn main() -> ExitCode {
    // The ledger trusts what the machine trusts, and that is said in the environment.
    harness::with_environment("SSL_CERT_FILE", CERTIFICATE);
    check(|_| true)
}

/// Runs the tests with names that are `wanted` and selected by the command line.
pub(crate) fn check(wanted: impl Fn(&str) -> bool) -> ExitCode {
    // Silent unless asked, because servers are killed here.
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::OFF.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let server = Shared::default();
    let mut tests = tests(&runtime, &server);
    tests.retain(|test| wanted(test.name()));
    let code = harness::run(tests);
    if let Some(server) = server.end() {
        server.stop();
    }
    code
}

/// Lists of tests, one of each module.
type Tests = &'static [&'static [Test<Place>]];

/// Every test on every store that it is for.
fn tests(runtime: &Arc<Runtime>, server: &Shared<Server>) -> Vec<Trial> {
    let stores: [(Kind, &[Tests]); 3] = [
        (Kind::Memory, &[EVERY]),
        (Kind::File, &[EVERY, LASTING, FILES]),
        (Kind::Postgres, &[EVERY, LASTING, POSTGRES]),
    ];
    let mut tests = Vec::new();
    for (kind, lists) in stores {
        for test in lists.iter().copied().flatten().copied().flatten() {
            let (runtime, server) = (Arc::clone(runtime), server.clone());
            let name = format!("{kind:?}::{}", test.short());
            tests.push(harness::trial(name, move || {
                let server = match kind {
                    Kind::Postgres => Some(server.get(|| Ok(Server::start()))?),
                    _ => None,
                };
                runtime.block_on(async {
                    let place = Place::new(kind, server).await;
                    let done = tokio::time::timeout(LIMIT, (test.run)(&place)).await;
                    done.with_context(|| format!("it did not end within {LIMIT:?}"))?
                })
            }));
        }
    }
    tests
}
