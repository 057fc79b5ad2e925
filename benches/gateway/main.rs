//! What a gateway costs, side by side with what a user would pick instead.
//!
//! `cargo bench --bench gateway -- [--quick | --try] [PEER…]` starts one peer after the other in
//! front of the same provider, on loopback, drives each with `wrk` (streams with a client of its
//! own), and prints medians over rounds with their ratios to Iris; `target/gateway.md` has those of
//! the rounds so far. `--try` only shows that each peer starts and answers. Peers that are not
//! installed are left out and said so. CPU time is that of the peer's own processes: steadier than
//! the clock on a machine that does other things.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table is printed"
)]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

mod bare;
mod plain;
mod report;

use std::time::Duration;

use report::{Figure, Figures};
use support::bench::peers::{Peer, Started, Target};
use support::bench::process::Running;
use support::bench::{load, peers, process};

/// How long and how often.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    each: Duration,
    open_streams: usize,
    /// How long the open streams are watched.
    watched: Duration,
}

const FULL: Plan = Plan {
    rounds: 3,
    each: Duration::from_secs(4),
    open_streams: 1_000,
    watched: Duration::from_secs(5),
};
/// Too short for figures.
const TRY: Plan = Plan {
    rounds: 1,
    each: Duration::from_secs(1),
    open_streams: 8,
    watched: Duration::from_secs(2),
};
const QUICK: Plan = Plan {
    rounds: 3,
    each: Duration::from_secs(2),
    open_streams: 200,
    watched: Duration::from_secs(2),
};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // The provider is a process of its own, so that its CPU time is nobody else's.
    if let Some(port) = words.iter().position(|word| word == "provider") {
        let port = words[port + 1].parse().unwrap();
        return support::quick_provider::run(port);
    }
    if let Some(at) = words.iter().position(|word| word == "bare") {
        let port = |nth: usize| words[at + nth].parse().unwrap();
        return bare::serve(port(1), port(2));
    }
    if let Some(at) = words.iter().position(|word| word == "plain") {
        let port = |nth: usize| words[at + nth].parse().unwrap();
        return plain::serve(port(1), port(2), words[at + 3].as_ref());
    }
    let quick = words.iter().any(|word| word == "--quick");
    let plan = if quick {
        QUICK
    } else if words.iter().any(|word| word == "--try") {
        TRY
    } else {
        FULL
    };
    let named: Vec<&str> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .map(String::as_str)
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let upstream = process::free_port();
    let program = std::env::current_exe().unwrap();
    let _provider = Running::start(
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
    if words.iter().any(|word| word == "--profile") {
        return profile(upstream, dir.path());
    }
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
            let mut figures = Vec::new();
            if let Err(why) = measure(&runtime, peer, upstream, dir.path(), plan, &mut figures) {
                eprintln!("{}: {why}", peer.name);
            }
            all.add(peer.name, figures);
        }
        keep(&all);
    }
    println!("{}", all.table());
}

/// Keeps what was measured so far, in case that the run is interrupted.
fn keep(all: &Figures) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/target/gateway.md");
    if let Err(why) = std::fs::write(file, all.table()) {
        eprintln!("{file}: {why}");
    }
}

/// Small requests for half a minute, for a profiler that is told whom to look at.
fn profile(upstream: u16, dir: &std::path::Path) {
    let iris = &peers::ALL[0];
    let Started { running, target } = (iris.start)(upstream, dir).expect("the gateway starts");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/target/profiled.pid");
    std::fs::write(file, running.id().to_string()).expect("a file");
    load::wrk(&target, "small", 32, Duration::from_secs(20)).expect("answers");
    std::fs::remove_file(file).expect("a file");
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    peer: &Peer,
    upstream: u16,
    dir: &std::path::Path,
    plan: Plan,
    figures: &mut Vec<(Figure, f64)>,
) -> Result<(), String> {
    let began = std::time::Instant::now();
    let Started { running, target } = (peer.start)(upstream, dir)?;
    let at = &target;
    load::wait(at, Duration::from_mins(1))?;
    figures.push((Figure::Start, began.elapsed().as_secs_f64() * 1_000.0));
    if let Some(files) = (peer.files)() {
        figures.push((Figure::Size, size(&files) as f64 / f64::from(1 << 20)));
    }
    load::wrk(at, "small", 1, Duration::from_secs(1))?;
    // What a peer can't do is said, and the rest is measured all the same.
    let part = |what: &str, done: Result<(), String>| {
        if let Err(why) = done {
            eprintln!("{}: {what}: {why}", peer.name);
        }
    };
    if peer.name != "direct" {
        // Before the load, whose memory would be used again.
        let held = runtime.block_on(open_streams(at, &running, plan, figures));
        part("open streams", held);
    }
    part("requests", requests(at, &running, plan, figures));
    let events = runtime.block_on(events(at, &running, plan, figures));
    part("streams", events);
    Ok(())
}

async fn open_streams(
    at: &Target,
    running: &Running,
    plan: Plan,
    figures: &mut Vec<(Figure, f64)>,
) -> Result<(), String> {
    let idle = running.resident();
    figures.push((Figure::Fresh, idle as f64 / 1024.0));
    let held = load::hold(at, plan.open_streams, plan.watched, running).await?;
    let more = held.resident.saturating_sub(idle) as f64;
    figures.push((Figure::StreamMemory, more / plan.open_streams as f64));
    figures.push((Figure::SlowCpu, held.cpu));
    figures.push((Figure::SlowP99, held.p99));
    if held.late > 0 || held.behind > 0 {
        let (late, behind) = (held.late, held.behind);
        eprintln!("{late} events later than 50 ms, {behind} streams miss one");
    }
    Ok(())
}

fn requests(
    at: &Target,
    running: &Running,
    plan: Plan,
    figures: &mut Vec<(Figure, f64)>,
) -> Result<(), String> {
    load::wrk(at, "small", 32, Duration::from_secs(1))?;
    for (model, throughput, latency, cpu) in [
        ("small", Figure::Small, Figure::SmallP99, Figure::SmallCpu),
        ("large", Figure::Large, Figure::LargeP99, Figure::LargeCpu),
    ] {
        let before = running.cpu();
        let run = load::wrk(at, model, 32, plan.each)?;
        let spent = running.cpu().saturating_sub(before);
        figures.push((throughput, run.per_second));
        figures.push((latency, run.p99));
        if !spent.is_zero() && run.requests > 0 {
            figures.push((cpu, spent.as_secs_f64() * 1e6 / run.requests as f64));
        }
    }
    if running.resident() > 0 {
        figures.push((Figure::After, running.resident() as f64 / 1024.0));
    }
    let alone = load::wrk(at, "small", 1, plan.each)?;
    figures.push((Figure::AloneP50, alone.p50));
    figures.push((Figure::AloneP99, alone.p99));
    Ok(())
}

async fn events(
    at: &Target,
    running: &Running,
    plan: Plan,
    figures: &mut Vec<(Figure, f64)>,
) -> Result<(), String> {
    let before = running.cpu();
    let events = load::streams(at, 8, plan.each).await?;
    let spent = running.cpu().saturating_sub(before);
    figures.push((Figure::Events, events as f64 / plan.each.as_secs_f64()));
    if !spent.is_zero() {
        figures.push((Figure::EventCpu, spent.as_secs_f64() * 1e6 / events as f64));
    }
    Ok(())
}

/// Bytes of a file, or of all files below a folder.
fn size(path: &std::path::Path) -> u64 {
    let Ok(about) = path.symlink_metadata() else {
        return 0;
    };
    if !about.is_dir() {
        return about.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}
