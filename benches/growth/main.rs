//! How the cost of a request grows with what there is more of: connections, streams, models,
//! grants, callers, bytes. Flat is good, a line is honest, anything steeper is a fault.
//!
//! `cargo bench --bench growth -- [CURVE…]` prints a table for each curve and draws
//! `target/growth.svg`. CPU time is that of the gateway alone: the provider is another process.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tables are printed"
)]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

mod inside;
mod outside;
mod plot;

use std::time::Duration;

use plot::{Curve, Panel};
use support::bench::process;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(port) = words.iter().position(|word| word == "provider") {
        return support::quick_provider::run(words[port + 1].parse().unwrap());
    }
    let named: Vec<&str> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .map(String::as_str)
        .collect();
    let wanted = |name: &str| named.is_empty() || named.contains(&name);
    let upstream = process::free_port();
    let _provider = process::Running::start(
        std::process::Command::new(std::env::current_exe().unwrap())
            .arg("provider")
            .arg(upstream.to_string()),
        upstream,
        Duration::from_secs(10),
    )
    .expect("the provider starts");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut panels = Vec::new();
    if wanted("connections") {
        panels.push(outside::connections(upstream));
    }
    if wanted("streams") {
        panels.push(outside::streams(&runtime, upstream));
    }
    for (name, of) in inside::ALL {
        if wanted(name) {
            panels.push(runtime.block_on(of(upstream)));
        }
    }
    for panel in &panels {
        println!("{}", panel.table());
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/growth.svg");
    std::fs::write(path, plot::draw(&panels)).expect("a picture");
    eprintln!("drawn in {path}");
}

/// An empty panel.
fn panel(title: &'static str, of: &'static str, curves: &[&'static str]) -> Panel {
    Panel {
        title,
        of,
        curves: curves
            .iter()
            .map(|name| Curve {
                name,
                points: Vec::new(),
            })
            .collect(),
    }
}
