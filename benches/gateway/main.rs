//! What a gateway costs, side by side with what a user would pick instead.
//!
//! `cargo bench --bench gateway -- [--quick] [PEER…]` starts one peer after the other in front of
//! the same provider, on loopback, drives each with `wrk` (streams with a client of its own), and
//! prints medians over rounds with their ratios to Iris. Peers that are not installed are left
//! out and said so. CPU time is that of the peer's own processes: steadier than the clock on a
//! machine that does other things.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table is printed"
)]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

mod load;
mod peers;
mod process;
mod provider;
mod report;

use std::time::Duration;

use peers::Peer;
use report::{Figure, Figures};

/// How long and how often.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    each: Duration,
    open_streams: usize,
}

const FULL: Plan = Plan {
    rounds: 5,
    each: Duration::from_secs(5),
    open_streams: 2_000,
};
const QUICK: Plan = Plan {
    rounds: 3,
    each: Duration::from_secs(2),
    open_streams: 200,
};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // The provider is a process of its own, so that its CPU time is nobody else's.
    if let Some(port) = words.iter().position(|word| word == "provider") {
        let port = words[port + 1].parse().unwrap();
        return provider::run(port);
    }
    let quick = words.iter().any(|word| word == "--quick");
    let plan = if quick { QUICK } else { FULL };
    let named: Vec<&str> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .map(String::as_str)
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let upstream = process::free_port();
    let program = std::env::current_exe().unwrap();
    let _provider = process::Running::start(
        std::process::Command::new(program)
            .arg("provider")
            .arg(upstream.to_string()),
        upstream,
        Duration::from_secs(10),
    )
    .expect("the provider starts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let peers: Vec<&Peer> = peers::ALL
        .iter()
        .filter(|peer| {
            if named.is_empty() {
                !quick || peer.quick
            } else {
                named.contains(&peer.name)
            }
        })
        .filter(|peer| {
            let is_there = (peer.is_there)();
            if !is_there {
                eprintln!("{} is not installed and left out", peer.name);
            }
            is_there
        })
        .collect();
    let mut all = Figures::new(peers.iter().map(|peer| peer.name));
    for round in 0..plan.rounds {
        for nth in 0..peers.len() {
            // Each begins a round in its turn.
            let peer = peers[(nth + round) % peers.len()];
            eprintln!("round {} of {}: {}", round + 1, plan.rounds, peer.name);
            match measure(&runtime, peer, upstream, dir.path(), plan) {
                Ok(figures) => all.add(peer.name, figures),
                Err(why) => eprintln!("{}: {why}", peer.name),
            }
        }
    }
    println!("{}", all.table());
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    peer: &Peer,
    upstream: u16,
    dir: &std::path::Path,
    plan: Plan,
) -> Result<Vec<(Figure, f64)>, String> {
    let began = std::time::Instant::now();
    let started = (peer.start)(upstream, dir)?;
    let mut figures = vec![(Figure::Start, began.elapsed().as_secs_f64() * 1_000.0)];
    let at = started.port;
    if peer.name != "direct" {
        // Before the load, whose memory would be used again.
        let idle = started.resident();
        let held = runtime.block_on(load::hold(at, plan.open_streams, || started.resident()))?;
        let each = held.saturating_sub(idle) as f64 / plan.open_streams as f64;
        figures.push((Figure::StreamMemory, each));
    }
    load::wrk(at, "small", 32, Duration::from_secs(1))?;
    figures.push((Figure::Idle, started.resident() as f64 / 1024.0));
    for (model, throughput, latency, cpu) in [
        ("small", Figure::Small, Figure::SmallP99, Figure::SmallCpu),
        ("large", Figure::Large, Figure::LargeP99, Figure::LargeCpu),
    ] {
        let before = started.cpu();
        let run = load::wrk(at, model, 32, plan.each)?;
        let spent = started.cpu().saturating_sub(before);
        figures.push((throughput, run.per_second));
        figures.push((latency, run.p99));
        figures.push((cpu, spent.as_secs_f64() * 1e6 / run.requests as f64));
    }
    let alone = load::wrk(at, "small", 1, plan.each)?;
    figures.push((Figure::AloneP50, alone.p50));
    figures.push((Figure::AloneP99, alone.p99));
    let before = started.cpu();
    let events = runtime.block_on(load::streams(at, 8, plan.each))?;
    let spent = started.cpu().saturating_sub(before);
    figures.push((Figure::Events, events as f64 / plan.each.as_secs_f64()));
    figures.push((Figure::EventCpu, spent.as_secs_f64() * 1e6 / events as f64));
    Ok(figures)
}
