//! Coding agents with models that no provider has in their format, so that Iris translates: each reads a note
//! with a tool of its own.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::agents;
use crate::provider::{SIGNATURE, Served, THOUGHT};
use crate::records;
use crate::translated::translation;
use crate::world::{Server, Single, World};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    claude_code_is_translated,
    codex_is_translated,
    codex_falls_back_from_its_websocket,
    gemini_cli_is_translated,
    opencode_is_translated,
];

/// Models that read the note, and whose provider doesn't speak this format.
fn models(world: &World, own: &str) -> impl Iterator<Item = &'static Single> {
    let singles = world.singles.iter();
    singles.filter(move |single| single.format != own && !single.is_random())
}

async fn claude_code_is_translated(world: &World) -> anyhow::Result<()> {
    for single in models(world, "anthropic_messages") {
        let home = world.home()?;
        let mut command = agents::claude(world, &home, single.model);
        let ran = read(world, &home, &mut command, single, "claude-code").await;
        thinks(&ran?, single)?;
    }
    Ok(())
}

async fn codex_is_translated(world: &World) -> anyhow::Result<()> {
    for single in models(world, "openai_responses") {
        let provider = agents::codex_provider(world, false);
        let ran = codex(world, single, &["model_provider=gateway", &provider]).await;
        thinks(&ran?, single)?;
    }
    Ok(())
}

/// It opens a WebSocket first, which the gateway takes for the sake of other models.
async fn codex_falls_back_from_its_websocket(world: &World) -> anyhow::Result<()> {
    for single in models(world, "openai_responses") {
        codex(world, single, &[&agents::codex_address(world)]).await?;
    }
    Ok(())
}

async fn codex(world: &World, single: &Single, settings: &[&str]) -> anyhow::Result<Vec<Served>> {
    let home = world.home()?;
    let mut command = agents::codex_command(world, &home, single.model, settings)?;
    read(world, &home, &mut command, single, "codex").await
}

async fn gemini_cli_is_translated(world: &World) -> anyhow::Result<()> {
    for single in models(world, "gemini_generate_content") {
        let home = world.home()?;
        let mut command = agents::gemini(world, &home, single.model)?;
        // It keeps no thoughts for the next turn.
        read(world, &home, &mut command, single, "gemini-cli").await?;
    }
    Ok(())
}

async fn opencode_is_translated(world: &World) -> anyhow::Result<()> {
    for single in models(world, "openai_chat") {
        let home = world.home()?;
        let mut command = agents::opencode_command(world, &home, single.model)?;
        read(world, &home, &mut command, single, "opencode").await?;
    }
    Ok(())
}

/// Runs an agent, sees that its tool has run, and compares the records with what the provider counted.
async fn read(
    world: &World,
    home: &std::path::Path,
    command: &mut std::process::Command,
    single: &Single,
    agent: &str,
) -> anyhow::Result<Vec<Served>> {
    if world.direct() {
        return Ok(Vec::new());
    }
    let ran = agents::read_the_note(world, home, command).await;
    let (_, served, rows) = ran.with_context(|| format!("with {}", single.model))?;
    for row in &rows {
        records::complete(row, single.model, single.model, agent)?;
        translation(world, row, single).await?;
    }
    for one in &served {
        ensure!(one.format == single.format, "{one:?} is of another format");
        let is_it = |row: &&Value| {
            let usage = &row["usage"];
            usage["input_tokens"] == one.usage.input && usage["output_tokens"] == one.usage.output
        };
        let row = rows.iter().find(is_it);
        let row = row.with_context(|| format!("no record of {one:?}"))?;
        records::as_counted(row, one)?;
    }
    Ok(served)
}

/// What the model thought before it called the tool has come back to its provider as it was.
fn thinks(served: &[Served], single: &Single) -> anyhow::Result<()> {
    // The model of a real server has none.
    if single.server != Server::Wire {
        return Ok(());
    }
    let thought = if single.format == "openai_chat" {
        THOUGHT
    } else {
        SIGNATURE
    };
    let mut bodies = served.iter().map(|one| one.body.to_string());
    ensure!(
        served.is_empty() || bodies.any(|body| body.contains(thought)),
        "no thought came back"
    );
    Ok(())
}
