//! Batches and files through the SDKs that have them.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::parts::Process;
use crate::provider::{HELLO, MODEL};
use crate::world::{TINY, World};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    batches_python_with_real_inference,
    batches_python_at_the_wire,
];

const LIMIT: Duration = Duration::from_secs(90);

/// What the script prints.
#[derive(Debug, Deserialize)]
struct Printed {
    status: String,
    completed: u64,
    /// What each line was answered.
    openai: Vec<String>,
    /// The status of a batch of a file that was deleted.
    gone: Option<u16>,
    succeeded: u64,
    anthropic: Vec<String>,
}

async fn batches_python_with_real_inference(world: &World) -> anyhow::Result<()> {
    let printed = run(world, TINY).await?;
    let all = printed
        .iter()
        .flat_map(|one| one.openai.iter().chain(&one.anthropic));
    ensure!(all.clone().all(|said| !said.is_empty()), "{printed:?}");
    Ok(())
}

async fn batches_python_at_the_wire(world: &World) -> anyhow::Result<()> {
    let printed = run(world, MODEL).await?;
    let all = printed
        .iter()
        .flat_map(|one| one.openai.iter().chain(&one.anthropic));
    ensure!(all.clone().all(|said| said == HELLO), "{printed:?}");
    Ok(())
}

/// Runs the script. The servers of these tests have no batches of their own.
async fn run(world: &World, model: &str) -> anyhow::Result<Option<Printed>> {
    if world.direct() {
        return Ok(None);
    }
    let home = world.home()?;
    let mut command = world.command("python", &home);
    command
        .arg(world.file("batches_python.py"))
        .args([&world.base(model), model]);
    let text = Process::start(&mut command, &home)?.output(LIMIT).await?;
    let printed: Printed = serde_json::from_str(&text).with_context(|| text.clone())?;
    world.provider.take();
    ensure!(printed.status == "completed", "{printed:?}");
    ensure!(
        (printed.completed, printed.succeeded) == (2, 2),
        "{printed:?}"
    );
    ensure!(
        (printed.openai.len(), printed.anthropic.len()) == (2, 2),
        "{printed:?}"
    );
    ensure!(printed.gone == Some(404), "{printed:?}");
    Ok(Some(printed))
}
