//! Real SDKs and coding agents through the gateway, and its records against what the servers counted.
//!
//! `IRIS_CLIENTS_DIRECT=1` leaves the gateway out: the clients talk to the servers directly, and records
//! aren't checked. This shows whether a fault is a client's or the gateway's.
#![expect(
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own that reports to whoever runs it"
)]

mod agents;
mod batches;
mod editor;
mod own_login;
mod parts;
mod provider;
mod realtime;
mod records;
mod sdks;
mod translated;
mod translated_agents;
mod world;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use support::harness::{self, Shared};
use tokio::runtime::Runtime;
use world::World;

fn main() -> ExitCode {
    // `IRIS_LOG=debug` shows what the gateway says.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("IRIS_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let (world, agents) = (Shared::default(), Arc::<Mutex<BTreeSet<String>>>::default());
    let modules = [
        sdks::TESTS,
        realtime::TESTS,
        batches::TESTS,
        translated::TESTS,
        agents::TESTS,
        own_login::TESTS,
        translated_agents::TESTS,
        editor::TESTS,
    ];
    let code = harness::run({
        let (runtime, world, agents) = (Arc::clone(&runtime), world.clone(), Arc::clone(&agents));
        harness::trials(&modules, move |test| {
            let world = world.get(|| runtime.block_on(World::start()))?;
            let ended = runtime.block_on((test.run)(world));
            let seen = runtime.block_on(world.user_agents());
            agents.lock().expect("no panic").extend(seen);
            ended
        })
    });
    for user_agent in agents.lock().expect("no panic").iter() {
        println!("user agent: {user_agent}");
    }
    if let Some(Err(error)) = world.end().map(|world| runtime.block_on(world.stop())) {
        eprintln!("a gateway doesn't stop: {error:#}");
        return ExitCode::FAILURE;
    }
    code
}
