//! Real SDKs and coding agents through the gateway, and its records against what the servers
//! counted.
//!
//! A word on the command line selects the scenarios whose names contain it. `direct` in front of
//! it leaves the gateway out: the clients talk to the servers themselves, and no record is
//! looked at. It tells a client's fault from the gateway's.
#![expect(
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own that reports to whoever runs it"
)]

mod agents;
mod editor;
mod parts;
mod provider;
mod records;
mod sdks;
#[path = "../tally/mod.rs"]
#[expect(dead_code, reason = "nothing is skipped here")]
mod tally;
mod world;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use parts::Parts;
use tally::Tally;
use world::World;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the clients could not be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios, one after the other.
async fn run() -> anyhow::Result<ExitCode> {
    // `IRIS_LOG=debug` shows what the gateway says.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("IRIS_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .peekable();
    let direct = words.next_if(|word| word == "direct").is_some();
    let only = words.next();
    let parts = Parts::prepare()?;
    let world = World::start(&parts, direct).await?;
    let mut tally = Tally::default();
    let mut agents = BTreeSet::new();
    macro_rules! scenarios {
        ($($module:ident::$name:ident)*) => {$(
            if only.as_ref().is_none_or(|word| stringify!($name).contains(word.as_str())) {
                let began = Instant::now();
                let outcome = $module::$name(&world).await;
                let outcome = outcome.map_err(|error| format!("{error:#}"));
                tally.end(stringify!($name), began.elapsed(), outcome);
                agents.extend(world.user_agents().await);
            }
        )*};
    }
    scenarios! {
        sdks::openai_python_with_real_inference
        sdks::openai_python_at_the_wire
        sdks::openai_node_with_real_inference
        sdks::openai_node_at_the_wire
        sdks::anthropic_python_with_real_inference
        sdks::anthropic_python_at_the_wire
        sdks::anthropic_node_with_real_inference
        sdks::anthropic_node_at_the_wire
        sdks::genai_python
        sdks::genai_node
        sdks::boto3
        sdks::ai_sdk
        sdks::llm_with_real_inference
        agents::claude_code
        agents::claude_code_counts_its_context
        agents::codex_over_http
        agents::codex_over_a_websocket
        agents::codex_as_it_comes
        agents::gemini_cli
        agents::opencode
        agents::through_connect
        agents::llm_through_connect
        editor::the_schema_and_the_check_agree
    }
    for user_agent in agents {
        println!("user agent: {user_agent}");
    }
    world.stop().await?;
    Ok(tally.close())
}
