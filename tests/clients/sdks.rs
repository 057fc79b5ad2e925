//! Each SDK makes each of its calls once, and prints what it read.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::parts::Process;
use crate::provider::{HELLO, MODEL, OWN};
use crate::records::{self, Call, Mark};
use crate::world::{TINY, World, models};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    openai_python_with_real_inference,
    openai_python_at_the_wire,
    openai_python_in_the_background,
    openai_node_with_real_inference,
    openai_node_at_the_wire,
    anthropic_python_with_real_inference,
    anthropic_python_at_the_wire,
    anthropic_node_with_real_inference,
    anthropic_node_at_the_wire,
    genai_python,
    genai_node,
    boto3,
    ai_sdk,
    llm_with_real_inference,
    ollama_python_with_real_inference,
    ollama_python_at_the_wire,
    ollama_node_with_real_inference,
    ollama_node_at_the_wire,
];

const LIMIT: Duration = Duration::from_secs(90);

/// What a script prints.
#[derive(Debug, Deserialize)]
struct Printed {
    calls: Vec<Call>,
    #[serde(default)]
    models: Vec<String>,
    refusals: HashMap<String, Refusal>,
}

/// An error as the SDK raised it.
#[derive(Debug, Deserialize)]
struct Refusal {
    class: String,
    code: Option<u16>,
    message: String,
}

async fn openai_python_with_real_inference(world: &World) -> anyhow::Result<()> {
    openai(world, "openai_python.py", TINY, "openai-python").await
}

async fn openai_python_at_the_wire(world: &World) -> anyhow::Result<()> {
    openai(world, "openai_python.py", MODEL, "openai-python").await
}

/// Responses in the background and by their id, and the models of the provider by direct access.
async fn openai_python_in_the_background(world: &World) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let mark = Mark::set(world).await?;
    let home = world.home()?;
    let mut command = world.command("python", &home);
    command
        .arg(world.file("openai_stored_python.py"))
        .args([&world.base(MODEL), MODEL]);
    let text = Process::start(&mut command, &home)?.output(LIMIT).await?;
    let seen: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    for (key, expected) in [
        ("begun", json!("queued")),
        ("ended", json!("completed")),
        ("text", json!(HELLO)),
        ("items", json!(["msg_input"])),
        ("cancelled", json!("cancelled")),
        ("direct", json!([MODEL])),
    ] {
        ensure!(seen[key] == expected, "{key} in {seen}");
    }
    let deleted = seen["deleted"].as_str().unwrap_or_default();
    ensure!(deleted.contains("not found"), "{seen}");
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let begun = loop {
        let rows = mark.all(world).await?;
        let begun = rows
            .into_iter()
            .filter(|row| row["path"] == "/v1/responses");
        let begun: Vec<Value> = begun.collect();
        if begun.len() == 2 {
            break begun;
        }
        ensure!(std::time::Instant::now() < until, "{begun:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let ended = begun.iter().find(|row| row["outcome"] == "complete");
    let ended = ended.context("none is complete")?;
    let usage = &ended["usage"];
    let total = usage["input_tokens"].as_u64().unwrap_or_default()
        + usage["output_tokens"].as_u64().unwrap_or_default();
    ensure!(seen["usage"] == total, "{ended} is not {seen}");
    let cancelled = begun.iter().find(|row| row["outcome"] == "client_closed");
    cancelled.context("none is cancelled")?;
    Ok(())
}

async fn openai_node_with_real_inference(world: &World) -> anyhow::Result<()> {
    openai(world, "openai_node.mjs", TINY, "openai-js").await
}

async fn openai_node_at_the_wire(world: &World) -> anyhow::Result<()> {
    openai(world, "openai_node.mjs", MODEL, "openai-js").await
}

async fn openai(world: &World, script: &str, model: &str, agent: &str) -> anyhow::Result<()> {
    let (printed, rows) = run(world, script, model, agent).await?;
    ensure!(printed.models.iter().any(|id| id == model));
    if world.direct() {
        return Ok(());
    }
    let listed: BTreeSet<&str> = printed.models.iter().map(String::as_str).collect();
    ensure!(listed == models(), "{listed:?}");
    // The second chat goes on with the first.
    let session = records::text(&rows[0], "session");
    ensure!(session.starts_with("chat_"), "{session} is no chat");
    ensure!(rows[1]["session"] == session, "{} is another", rows[1]);
    for name in ["chat", "responses", "embeddings"] {
        if let Some(refusal) = printed.refusals.get(name) {
            not_found(refusal, "NotFoundError")?;
        }
    }
    closed(&printed)
}

async fn anthropic_python_with_real_inference(world: &World) -> anyhow::Result<()> {
    anthropic(world, "anthropic_python.py", TINY, "anthropic-python").await
}

async fn anthropic_python_at_the_wire(world: &World) -> anyhow::Result<()> {
    anthropic(world, "anthropic_python.py", MODEL, "anthropic-python").await
}

async fn anthropic_node_with_real_inference(world: &World) -> anyhow::Result<()> {
    anthropic(world, "anthropic_node.mjs", TINY, "anthropic-js").await
}

async fn anthropic_node_at_the_wire(world: &World) -> anyhow::Result<()> {
    anthropic(world, "anthropic_node.mjs", MODEL, "anthropic-js").await
}

async fn anthropic(world: &World, script: &str, model: &str, agent: &str) -> anyhow::Result<()> {
    let (printed, rows) = run(world, script, model, agent).await?;
    if world.direct() {
        return Ok(());
    }
    // The second message goes on with the first.
    ensure!(rows[0]["session"] == rows[1]["session"], "two sessions");
    for name in ["messages", "count_tokens"] {
        if let Some(refusal) = printed.refusals.get(name) {
            not_found(refusal, "NotFoundError")?;
        }
    }
    closed(&printed)
}

async fn genai_python(world: &World) -> anyhow::Result<()> {
    let (printed, _) = run(world, "genai_python.py", MODEL, "google-genai-python").await?;
    genai(
        world,
        &printed,
        &["generate", "stream", "count"],
        "ClientError",
    )
}

async fn genai_node(world: &World) -> anyhow::Result<()> {
    let (printed, _) = run(world, "genai_node.mjs", MODEL, "google-genai-js").await?;
    genai(world, &printed, &["generate"], "ApiError")
}

fn genai(world: &World, printed: &Printed, names: &[&str], class: &str) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    for name in names {
        let refusal = printed.refusals.get(*name);
        let refusal = refusal.with_context(|| format!("{name} was not refused"))?;
        not_found(refusal, class)?;
        ensure!(refusal.code == Some(404), "{refusal:?}");
    }
    if let Some(refusal) = printed.refusals.get("closed") {
        ensure!(refusal.code == Some(403), "{refusal:?}");
    }
    Ok(())
}

/// The AWS SDK, which signs its requests and reads Amazon's own framing.
async fn boto3(world: &World) -> anyhow::Result<()> {
    let (printed, _) = run(world, "bedrock_python.py", MODEL, "boto3").await?;
    if world.direct() {
        return Ok(());
    }
    for name in ["converse", "invoke"] {
        let refusal = printed.refusals.get(name).context("no refusal")?;
        not_found(refusal, "ResourceNotFoundException")?;
    }
    let refusal = printed.refusals.get("closed").context("no refusal")?;
    ensure!(refusal.class == "AccessDeniedException", "{refusal:?}");
    ensure!(refusal.code == Some(403), "{refusal:?}");
    Ok(())
}

async fn ollama_python_with_real_inference(world: &World) -> anyhow::Result<()> {
    ollama(world, "ollama_python.py", TINY, "ollama-python").await
}

async fn ollama_python_at_the_wire(world: &World) -> anyhow::Result<()> {
    ollama(world, "ollama_python.py", MODEL, "ollama-python").await
}

async fn ollama_node_with_real_inference(world: &World) -> anyhow::Result<()> {
    ollama(world, "ollama_node.mjs", TINY, "ollama-js").await
}

async fn ollama_node_at_the_wire(world: &World) -> anyhow::Result<()> {
    ollama(world, "ollama_node.mjs", MODEL, "ollama-js").await
}

/// No server of these tests speaks Ollama's API: its requests are translated.
async fn ollama(world: &World, script: &str, model: &str, agent: &str) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let (printed, rows) = run(world, script, model, agent).await?;
    let listed: BTreeSet<&str> = printed.models.iter().map(String::as_str).collect();
    let mut expected = models();
    // Callers' own logins go with no translation.
    expected.remove(OWN);
    ensure!(listed == expected, "{listed:?}");
    // The second chat goes on with the first.
    ensure!(rows[0]["session"] == rows[1]["session"], "two sessions");
    for name in ["chat", "generate"] {
        if let Some(refusal) = printed.refusals.get(name) {
            ensure!(
                refusal.message == "model 'unknown' not found",
                "{refusal:?}"
            );
            ensure!(refusal.code == Some(404), "{refusal:?}");
        }
    }
    let closed = printed.refusals.get("closed").context("no refusal")?;
    ensure!(closed.code == Some(403), "{closed:?}");
    Ok(())
}

async fn ai_sdk(world: &World) -> anyhow::Result<()> {
    let (printed, _) = run(world, "ai_sdk.mjs", MODEL, "ai-sdk").await?;
    if world.direct() {
        return Ok(());
    }
    let refusal = printed.refusals.get("responses").context("no refusal")?;
    ensure!(refusal.code == Some(404), "{refusal:?}");
    Ok(())
}

/// A program on top of the OpenAI SDK, which streams and keeps a chat of its own.
async fn llm_with_real_inference(world: &World) -> anyhow::Result<()> {
    let mark = Mark::set(world).await?;
    let home = world.home()?;
    let models = format!(
        "- model_id: gateway\n  model_name: {TINY}\n  api_base: {}/v1\n",
        world.base(TINY)
    );
    std::fs::write(home.join("extra-openai-models.yaml"), models)?;
    let mut counts = Vec::new();
    for more in [["-m", "gateway"].as_slice(), &["-c"]] {
        let mut command = world.command("llm", &home);
        command.env("LLM_USER_PATH", &home).args(more).args([
            "-u",
            "-o",
            "max_tokens",
            "20",
            "Say hello.",
        ]);
        let process = Process::start(&mut command, &home)?;
        let said = process.output(LIMIT).await?;
        ensure!(!said.trim().is_empty(), "it said nothing");
        let log = std::fs::read_to_string(home.join("stderr"))?;
        counts.push(log.trim().to_owned());
    }
    if world.direct() {
        return Ok(());
    }
    let rows = mark.routed(world, 2).await?;
    for (row, printed) in rows.iter().zip(&counts) {
        // It has no name of its own in its requests.
        records::complete(row, "llama", TINY, "openai-python")?;
        ensure!(
            row["api"] == "openai_chat" && row["stream"] == true,
            "{row}"
        );
        let usage = &row["usage"];
        let expected = format!(
            "Token usage: {} input, {} output",
            usage["input_tokens"], usage["output_tokens"]
        );
        ensure!(printed.starts_with(&expected), "{printed} in {row}");
    }
    ensure!(rows[0]["session"] == rows[1]["session"], "two sessions");
    Ok(())
}

/// Runs a script and compares what it printed with what the servers counted.
async fn run(
    world: &World,
    script: &str,
    model: &str,
    agent: &str,
) -> anyhow::Result<(Printed, Vec<Value>)> {
    let mark = Mark::set(world).await?;
    let home = world.home()?;
    let python = script.rsplit_once('.').is_some_and(|(_, end)| end == "py");
    let mut command = world.command(if python { "python" } else { "node" }, &home);
    command
        .arg(world.file(script))
        .args([&world.base(model), model, &world.closed(model)]);
    let text = Process::start(&mut command, &home)?.output(LIMIT).await?;
    let printed: Printed = serde_json::from_str(&text).with_context(|| text.clone())?;
    for call in &printed.calls {
        let said = match &call.text {
            Value::String(said) if model == MODEL => said == HELLO,
            Value::String(said) => !said.is_empty(),
            other => !other.is_null(),
        };
        ensure!(said, "{call:?} says something else");
    }
    let served = world.provider.take();
    if model == MODEL {
        ensure!(served.len() >= printed.calls.len(), "{served:?}");
        for (call, served) in printed.calls.iter().zip(&served) {
            let usage = (served.usage.input, served.usage.output);
            let (input, output) = (
                call.input.unwrap_or(usage.0),
                call.output.unwrap_or(usage.1),
            );
            ensure!((input, output) == usage, "{call:?} is not {usage:?}");
        }
    }
    if world.direct() {
        return Ok((printed, Vec::new()));
    }
    let rows = mark.routed(world, printed.calls.len()).await?;
    let provider = if model == MODEL { "wire" } else { "llama" };
    for row in &rows {
        records::complete(row, provider, model, agent)?;
    }
    records::as_called(&rows, &printed.calls)?;
    records::as_served(&rows, &served)?;
    let refused = mark.refused(world).await?;
    // What the other gateway refuses is in its records, not in these.
    let elsewhere = usize::from(printed.refusals.contains_key("closed"));
    let expected = printed.refusals.len() - elsewhere;
    ensure!(
        refused == expected,
        "{refused} records of {expected} refusals"
    );
    Ok((printed, rows))
}

/// An unknown model is named in the message of the error that the SDK has for it.
fn not_found(refusal: &Refusal, class: &str) -> anyhow::Result<()> {
    ensure!(refusal.class == class, "{refusal:?} is no {class}");
    ensure!(refusal.message.contains("unknown"), "{refusal:?}");
    Ok(())
}

/// A caller without any grant gets the error that the SDK has for it.
fn closed(printed: &Printed) -> anyhow::Result<()> {
    match printed.refusals.get("closed") {
        Some(refusal) => {
            ensure!(refusal.class == "PermissionDeniedError", "{refusal:?}");
            Ok(())
        }
        None => Ok(()),
    }
}
