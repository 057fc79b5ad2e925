//! The gateway on a real tailnet, against real inference.
#![expect(
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own that reports to whoever runs it"
)]

mod browser;
mod changes;
mod headscale;
mod host;
mod http;
mod identity;
mod life;
mod lifecycle;
mod measure;
mod node;
mod parts;
mod providers;
mod quick;
mod scenarios;
mod service;
mod stale;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use parts::Parts;
use support::harness::{self, Shared};
use tokio::runtime::Runtime;
use world::World;

/// Has nodes reach the relay, which is Headscale's own, as everything of Headscale's here: without
/// TLS. Go reads it when the program starts.
const PLAIN_RELAY: &str = "TS_DEBUG_USE_DERP_HTTP";

fn main() -> ExitCode {
    harness::with_environment(PLAIN_RELAY, "1");
    // `IRIS_LOG=iris_core::net::tailnet=trace` shows what the nodes say.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("IRIS_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    if std::env::args().nth(1).as_deref() == Some(host::INSIDE) {
        let done = Parts::prepare().and_then(|parts| runtime.block_on(host::inside(&parts)));
        if let Err(error) = done {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    let world = Shared::default();
    let code = harness::run({
        let (runtime, world) = (Arc::clone(&runtime), world.clone());
        let mut tests = harness::trials(
            &[
                scenarios::TESTS,
                changes::TESTS,
                lifecycle::TESTS,
                providers::TESTS,
                node::TESTS,
                identity::TESTS,
                life::TESTS,
                stale::TESTS,
                browser::TESTS,
                service::TESTS,
                host::TESTS,
            ],
            {
                let (runtime, world) = (Arc::clone(&runtime), world.clone());
                move |test| {
                    let world = started(&world, &runtime)?;
                    let ended = runtime.block_on((test.run)(world));
                    ended.with_context(|| {
                        format!("the gateway's log:\n{}", world.gateway.process.log())
                    })
                }
            },
        );
        let measure = harness::trial("measure", {
            let runtime = Arc::clone(&runtime);
            move || {
                let world = started(&world, &runtime)?;
                runtime.block_on(measure::run(&world.parts, world))
            }
        });
        tests.push(measure.with_ignored_flag(true));
        let quick = harness::trial("quick", move || {
            runtime.block_on(quick::run(&Parts::prepare()?))
        });
        tests.push(quick.with_ignored_flag(true));
        tests
    });
    // Its processes end with it.
    let _entered = runtime.enter();
    drop(world.end());
    code
}

/// The tailnet that all scenarios share.
fn started<'a>(shared: &'a Shared<World>, runtime: &Runtime) -> anyhow::Result<&'a World> {
    shared.get(|| {
        let world = Parts::prepare().and_then(|parts| runtime.block_on(World::start(parts)));
        world.context("the tailnet could not be set up")
    })
}
