//! The pages in a real browser: journeys of an admin and of a user, what hostile text and hostile sites can
//! do, and every page in light and dark at three widths, also checked by axe.
//!
//! `--ignored serve` keeps the gateways running, so that you can look at them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own that reports to whoever runs it"
)]

mod provider;
mod seed;
mod team;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use support::harness::{self, Shared, Trial};
use tokio::runtime::Runtime;
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
    // `IRIS_LOG=debug` shows what the gateways say.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("IRIS_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let shared = Shared::default();
    let code = harness::run({
        let mut tests: Vec<Trial> = JOURNEYS
            .into_iter()
            .map(|name| {
                let (runtime, shared) = (Arc::clone(&runtime), shared.clone());
                harness::trial(name, move || {
                    let world = shared.get(|| runtime.block_on(World::start()))?;
                    let passed = runtime.block_on(world.journey(name))?;
                    ensure!(passed, "its script says why");
                    Ok(())
                })
            })
            .collect();
        let (runtime, shared) = (Arc::clone(&runtime), shared.clone());
        let serve = harness::trial("serve", move || {
            let world = shared.get(|| runtime.block_on(World::start()))?;
            println!(
                "\nadmin: {}\nuser:  {}\nteam:  {}",
                world.admin, world.user, world.team
            );
            Ok(runtime.block_on(tokio::signal::ctrl_c())?)
        });
        tests.push(serve.with_ignored_flag(true));
        tests
    });
    if let Some(Err(error)) = shared.end().map(|world| runtime.block_on(world.stop())) {
        eprintln!("a gateway doesn't stop: {error:#}");
        return ExitCode::FAILURE;
    }
    code
}
