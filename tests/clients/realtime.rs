//! Sessions of the SDKs that have them: a turn with its counts, and how a refusal reaches the program.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::parts::Process;
use crate::provider::{HELLO, MODEL};
use crate::records::{self, Mark};
use crate::world::World;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    openai_realtime_python,
    genai_live_python,
];

const LIMIT: Duration = Duration::from_mins(1);

/// What a script prints.
#[derive(Debug, Deserialize)]
struct Printed {
    text: String,
    input: u64,
    output: u64,
    /// An error inside the session.
    told: String,
    refused: Refused,
}

/// A session that was not opened.
#[derive(Debug, Deserialize)]
struct Refused {
    code: u16,
    message: String,
}

async fn openai_realtime_python(world: &World) -> anyhow::Result<()> {
    let printed = run(world, "openai_realtime_python.py", "openai_realtime").await?;
    let Some(printed) = printed else {
        return Ok(());
    };
    ensure!(printed.refused.code == 404, "{printed:?}");
    ensure!(printed.told.contains("\"unknown\""), "{printed:?}");
    Ok(())
}

async fn genai_live_python(world: &World) -> anyhow::Result<()> {
    let printed = run(world, "genai_live_python.py", "gemini_live").await?;
    let Some(printed) = printed else {
        return Ok(());
    };
    ensure!(printed.refused.code == 1008, "{printed:?}");
    Ok(())
}

/// Runs a script and compares what it read with what the provider counted and the gateway recorded.
async fn run(world: &World, script: &str, api: &str) -> anyhow::Result<Option<Printed>> {
    let mark = Mark::set(world).await?;
    let home = world.home()?;
    let mut command = world.command("python", &home);
    command
        .arg(world.file(script))
        .args([&world.base(MODEL), MODEL]);
    let text = Process::start(&mut command, &home)?.output(LIMIT).await?;
    let printed: Printed = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(printed.text == HELLO, "{printed:?}");
    let served = world.provider.take();
    let [one] = &served[..] else {
        anyhow::bail!("one turn was asked for: {served:?}");
    };
    let counted = (one.usage.input, one.usage.output);
    ensure!(
        (printed.input, printed.output) == counted,
        "{printed:?} is not {counted:?}"
    );
    if world.direct() {
        return Ok(None);
    }
    ensure!(printed.refused.message.contains("unknown"), "{printed:?}");
    // The opening and the turn.
    let rows = mark.routed(world, 2).await?;
    for (row, status) in rows.iter().zip([101, 200]) {
        ensure!(row["api"] == api && row["status"] == status, "{row}");
        ensure!(
            row["outcome"] == "complete" && row["session"] == rows[0]["session"],
            "{row}"
        );
    }
    let usage = &rows[1]["usage"];
    ensure!(usage["input_tokens"] == printed.input, "{}", rows[1]);
    ensure!(usage["output_tokens"] == printed.output, "{}", rows[1]);
    let agents = records::text(&rows[1], "agent");
    ensure!(!agents.is_empty(), "{}", rows[1]);
    ensure!(mark.refused(world).await? >= 1, "the refusal is on record");
    Ok(Some(printed))
}
