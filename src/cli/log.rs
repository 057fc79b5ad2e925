//! What the process says of itself: for eyes on a terminal, as JSON everywhere else.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error; `IRIS_LOG` filters, as in `IRIS_LOG=iris=debug`.
pub(super) fn start() {
    start_with("info");
}

/// The same beside [`super::progress`], which tells people of joining in its own way.
pub(super) fn start_beside_progress() {
    start_with(if std::io::stderr().is_terminal() {
        "info,iris::server::doors=error"
    } else {
        "info"
    });
}

/// The same beside the demo's tour, which a line for each request would bury.
pub(super) fn start_beside_tour() {
    start_with(if std::io::stderr().is_terminal() {
        "warn"
    } else {
        "info"
    });
}

fn start_with(usual: &str) {
    let filter = EnvFilter::try_from_env("IRIS_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would say on standard error that standard error is gone, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
}
