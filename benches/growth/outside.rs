//! The program as it is run, over sockets.

use std::time::Duration;

use tokio::runtime::Runtime;

use support::bench::load;
use support::bench::peers::{self, Started};

use crate::panel;
use crate::plot::Panel;

fn started(upstream: u16, dir: &std::path::Path) -> Started {
    let iris = peers::ALL.iter().find(|peer| peer.name == "iris").unwrap();
    (iris.start)(upstream, dir).expect("the gateway starts")
}

/// Small requests over more and more connections at once.
pub(crate) fn connections(upstream: u16) -> Panel {
    let mut panel = panel(
        "Connections, all busy",
        "connections",
        &["CPU µs a request"],
    );
    let dir = tempfile::tempdir().unwrap();
    let Started { running, target } = started(upstream, dir.path());
    load::wrk(&target, "small", 32, Duration::from_secs(2)).expect("answers");
    for count in [1, 4, 16, 64, 256, 1024, 4096] {
        let before = running.cpu();
        let run = load::wrk(&target, "small", count, Duration::from_secs(4)).expect("answers");
        let spent = running.cpu().saturating_sub(before);
        panel.add(
            count as f64,
            &[spent.as_secs_f64() * 1e6 / run.requests as f64],
        );
    }
    panel
}

/// More and more open streams, each with an event a second.
pub(crate) fn streams(runtime: &Runtime, upstream: u16) -> Panel {
    let mut panel = panel(
        "Open streams, an event a second each",
        "streams",
        &[
            "KiB a stream",
            "CPU µs an event",
            "p99 ms from provider to caller",
            "events later than 50 ms",
            "streams with an event missing",
        ],
    );
    for count in [100, 300, 1_000, 3_000, 9_000] {
        // Each in a process of its own: memory once used would be used again.
        let dir = tempfile::tempdir().unwrap();
        let Started { running, target } = started(upstream, dir.path());
        load::wrk(&target, "small", 1, Duration::from_secs(1)).expect("answers");
        let idle = running.resident();
        let held = load::hold(&target, count, Duration::from_secs(10), &running);
        let held = runtime.block_on(held).expect("streams");
        panel.add(
            count as f64,
            &[
                held.resident.saturating_sub(idle) as f64 / count as f64,
                held.cpu,
                held.p99,
                held.late as f64,
                held.behind as f64,
            ],
        );
    }
    panel
}
