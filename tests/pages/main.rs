//! The pages in a real browser: journeys of an admin and of a user, what hostile text and hostile
//! sites can do, and every page in light and dark at three widths, looked at by axe as well.
//!
//! A word on the command line selects the journeys whose names contain it. `serve` instead keeps
//! the gateways running, for a person to look at.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own that reports to whoever runs it"
)]

mod browser;
mod provider;
mod seed;
#[path = "../tally/mod.rs"]
#[expect(dead_code, reason = "nothing is skipped here")]
mod tally;
mod team;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use tally::Tally;
use world::World;

/// Journeys in the order in which they run; each is a script beside this file.
const JOURNEYS: [&str; 13] = [
    "admin",
    "user",
    "live",
    "chat",
    "kept",
    "turns",
    "hostile",
    "sites",
    "keys",
    "looks",
    "configuration",
    "discovery",
    "readme",
];

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<ExitCode> {
    // `IRIS_LOG=debug` shows what the gateways say.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("IRIS_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let word = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let world = World::start().await?;
    if word.as_deref() == Some("serve") {
        println!(
            "admin: {}\nuser:  {}\nteam:  {}",
            world.admin, world.user, world.team
        );
        tokio::signal::ctrl_c().await?;
        world.stop().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut tally = Tally::default();
    let chosen = |name: &&str| word.as_deref().is_none_or(|word| name.contains(word));
    for name in JOURNEYS.iter().copied().filter(chosen) {
        let start = Instant::now();
        let passed = world.journey(name).await?;
        let outcome = passed.then_some(()).ok_or("its script says why".to_owned());
        tally.end(name, start.elapsed(), outcome);
    }
    world.stop().await?;
    Ok(tally.close())
}
