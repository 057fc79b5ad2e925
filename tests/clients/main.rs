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
mod open_webui;
mod own_login;
mod parts;
mod provider;
mod realtime;
mod records;
mod scripted;
mod sdks;
mod translated;
mod translated_agents;
mod world;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use support::harness::{self, Shared, Test};
use tokio::runtime::Runtime;
use world::{LARGE, SINGLE, Single, World};

fn main() -> ExitCode {
    // `IRIS_LOG=debug` shows what the gateway says.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("IRIS_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let (world, large) = (Shared::default(), Shared::default());
    let agents = Arc::<Mutex<BTreeSet<String>>>::default();
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
    let run = |test: &'static Test<World>, world: &Shared<World>, singles: &'static [Single]| {
        let (runtime, world) = (Arc::clone(&runtime), world.clone());
        let agents = Arc::clone(&agents);
        move || {
            let world = world.get(|| runtime.block_on(World::start(singles)))?;
            let ended = runtime.block_on((test.run)(world));
            let seen = runtime.block_on(world.user_agents());
            agents.lock().expect("no panic").extend(seen);
            ended
        }
    };
    let mut trials = Vec::new();
    for test in modules.into_iter().flatten() {
        trials.push(harness::trial(test.short(), run(test, &world, &SINGLE)));
    }
    // It takes 1.3 GB of packages.
    for test in open_webui::TESTS {
        let trial = harness::trial(test.short(), run(test, &world, &SINGLE));
        trials.push(trial.with_ignored_flag(true));
    }
    // The same with a real Ollama and a real vLLM, which take 6 GB of packages.
    for test in [translated::TESTS, translated_agents::TESTS]
        .into_iter()
        .flatten()
    {
        let name = format!("large::{}", test.short());
        let trial = harness::trial(name, run(test, &large, &LARGE));
        trials.push(trial.with_ignored_flag(true));
    }
    let code = harness::run(trials);
    for user_agent in agents.lock().expect("no panic").iter() {
        println!("user agent: {user_agent}");
    }
    for world in [world, large] {
        if let Some(Err(error)) = world.end().map(|world| runtime.block_on(world.stop())) {
            eprintln!("a gateway doesn't stop: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    code
}
