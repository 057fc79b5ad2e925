//! Coding agents: each is asked for the content of a note, reads it with a tool of its own because the
//! model wants it to, and reports what it has read.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::parts::Process;
use crate::provider::{MODEL, Served, WORD};
use crate::records::{self, Mark};
use crate::world::{TINY, World};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    claude_code,
    claude_code_counts_its_context,
    codex_over_http,
    codex_over_a_websocket,
    codex_as_it_comes,
    gemini_cli,
    opencode,
    through_connect,
    llm_through_connect,
];

const LIMIT: Duration = Duration::from_mins(2);
pub const PROMPT: &str = "What does the note say?";

/// Anthropic's agent, which names its session in the body.
async fn claude_code(world: &World) -> anyhow::Result<()> {
    let home = world.home()?;
    let mut command = claude(world, &home, MODEL);
    command.args(["--output-format", "json"]);
    let (text, served, rows) = run(world, &home, &mut command, "claude-code").await?;
    let printed: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let session = printed["session_id"].as_str().context("no session")?;
    for one in &served {
        let user = one.body["metadata"]["user_id"].as_str();
        let user: Value = serde_json::from_str(user.context("no user")?)?;
        ensure!(user["session_id"] == session, "{user} is not {session}");
    }
    in_session(&rows, session)
}

/// It has each part of its prompt counted by itself, at the same time.
async fn claude_code_counts_its_context(world: &World) -> anyhow::Result<()> {
    let mark = Mark::set(world).await?;
    let home = world.home()?;
    let mut command = claude_code_alone(world, &home, MODEL);
    command.args(["-p", "/context"]);
    let text = Process::start(&mut command, &home)?.output(LIMIT).await?;
    ensure!(text.contains("Context Usage"), "{text}");
    let served = world.provider.take();
    ensure!(served.len() > 1, "it counted only {served:?}");
    if world.direct() {
        return Ok(());
    }
    let rows = mark.routed(world, served.len()).await?;
    for row in &rows {
        records::complete(row, "wire", MODEL, "claude-code")?;
    }
    records::as_served(&rows, &served)
}

/// It is asked for the note, which it may read.
pub fn claude(world: &World, home: &Path, model: &str) -> Command {
    let mut command = claude_code_alone(world, home, model);
    command
        .args(["-p", PROMPT, "--allowedTools", "Read", "--add-dir"])
        .arg(world.file("."));
    command
}

fn claude_code_alone(world: &World, home: &Path, model: &str) -> Command {
    let mut command = world.command("claude", home);
    command
        .env("ANTHROPIC_BASE_URL", world.base(model))
        .env("ANTHROPIC_API_KEY", "unused")
        .env("ANTHROPIC_DEFAULT_HAIKU_MODEL", model)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("CLAUDE_CONFIG_DIR", home.join("claude"))
        .args(["--model", model]);
    command
}

/// OpenAI's agent; its own header names the session.
async fn codex_over_http(world: &World) -> anyhow::Result<()> {
    let provider = codex_provider(world, false);
    codex(world, false, &["model_provider=gateway", &provider]).await
}

/// It prefers a socket to a provider that supports them.
async fn codex_over_a_websocket(world: &World) -> anyhow::Result<()> {
    let provider = codex_provider(world, true);
    codex(world, true, &["model_provider=gateway", &provider]).await
}

/// As it comes, told only another address for OpenAI.
async fn codex_as_it_comes(world: &World) -> anyhow::Result<()> {
    codex(world, true, &[&codex_address(world)]).await
}

/// The setting of another address for OpenAI.
pub fn codex_address(world: &World) -> String {
    format!(r#"openai_base_url="{}/v1""#, world.base(MODEL))
}

/// The setting of a provider of its own, with sockets or without.
pub fn codex_provider(world: &World, sockets: bool) -> String {
    format!(
        r#"model_providers.gateway={{name="gateway",base_url="{}/v1",env_key="CODEX_API_KEY",wire_api="responses",supports_websockets={sockets}}}"#,
        world.base(MODEL)
    )
}

async fn codex(world: &World, socket: bool, settings: &[&str]) -> anyhow::Result<()> {
    let home = world.home()?;
    let mut command = codex_command(world, &home, MODEL, settings)?;
    let (_, served, rows) = run(world, &home, &mut command, "codex").await?;
    for one in &served {
        let over_socket = !one.header("upgrade").is_empty();
        ensure!(over_socket == socket, "{} came the other way", one.path);
    }
    let session = served[0].header("session-id");
    ensure!(!session.is_empty(), "no session in {:?}", served[0].headers);
    in_session(&rows, session)
}

/// It is asked for the note, with these settings.
pub fn codex_command(
    world: &World,
    home: &Path,
    model: &str,
    settings: &[&str],
) -> anyhow::Result<Command> {
    let codex = home.join("codex");
    std::fs::create_dir(&codex)?;
    let mut command = world.command("codex", home);
    command
        .env("CODEX_HOME", codex)
        .env("CODEX_API_KEY", "unused")
        .args(["exec", "--skip-git-repo-check", "--json", "-m", model])
        .args(["-c", "analytics.enabled=false"])
        // It has no sandbox where tests run, and reads one file.
        .args(["--dangerously-bypass-approvals-and-sandbox", PROMPT]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    Ok(command)
}

/// Google's agent, which names no session: its turns are known by how they began.
async fn gemini_cli(world: &World) -> anyhow::Result<()> {
    let home = world.home()?;
    let mut command = gemini(world, &home, MODEL)?;
    let (_, _, rows) = run(world, &home, &mut command, "gemini-cli").await?;
    let session = rows.first().map(|row| records::text(row, "session"));
    in_session(&rows, &session.unwrap_or_default())
}

/// It is asked for the note.
pub fn gemini(world: &World, home: &Path, model: &str) -> anyhow::Result<Command> {
    let folder = home.join(".gemini");
    std::fs::create_dir(&folder)?;
    let settings = json!({
        "security": { "auth": { "selectedType": "gemini-api-key" } },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
        "general": { "enableAutoUpdate": false, "enableAutoUpdateNotification": false },
    });
    std::fs::write(folder.join("settings.json"), settings.to_string())?;
    let mut command = world.command("gemini", home);
    command
        .env("GEMINI_API_KEY", "unused")
        .env("GOOGLE_GEMINI_BASE_URL", world.base(model))
        .env("GEMINI_CLI_TRUST_WORKSPACE", "true")
        .args(["-p", PROMPT, "-m", model, "--include-directories"])
        .arg(world.file("."));
    Ok(command)
}

/// An agent on top of Vercel's SDK; its own header names the session.
async fn opencode(world: &World) -> anyhow::Result<()> {
    let home = world.home()?;
    let mut command = opencode_command(world, &home, MODEL)?;
    let (_, served, rows) = run(world, &home, &mut command, "opencode").await?;
    let session = served[0].header("x-session-id");
    ensure!(!session.is_empty(), "no session in {:?}", served[0].headers);
    in_session(&rows, session)
}

/// It is asked for the note.
pub fn opencode_command(world: &World, home: &Path, model: &str) -> anyhow::Result<Command> {
    let config = json!({
        "autoupdate": false,
        "share": "disabled",
        "permission": { "read": "allow", "external_directory": "allow" },
        "provider": { "gateway": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "gateway",
            "options": { "baseURL": format!("{}/v1", world.base(model)), "apiKey": "unused" },
            "models": { model: { "name": model, "tool_call": true } },
        } },
    });
    std::fs::write(home.join("opencode.json"), config.to_string())?;
    let mut command = world.command("opencode", home);
    command
        .env("OPENCODE_CONFIG", home.join("opencode.json"))
        .env("OPENCODE_DISABLE_MODELS_FETCH", "1")
        .env("OPENCODE_DISABLE_AUTOUPDATE", "1")
        .args(["run", "-m", &format!("gateway/{model}"), PROMPT]);
    Ok(command)
}

/// Each as `iris connect` starts it, with nothing but that.
async fn through_connect(world: &World) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let note = world.file(".").display().to_string();
    // By its name here, by what records call it, and what it is told.
    let runs: [(&str, &str, &[&str]); 7] = [
        (
            "claude-code",
            "claude-code",
            &["-p", PROMPT, "--allowedTools", "Read", "--add-dir", &note],
        ),
        (
            "codex",
            "codex",
            &[
                "exec",
                "--skip-git-repo-check",
                "--dangerously-bypass-approvals-and-sandbox",
                PROMPT,
            ],
        ),
        (
            "gemini-cli",
            "gemini-cli",
            &["-p", PROMPT, "--include-directories", &note],
        ),
        ("opencode", "opencode", &["run", PROMPT]),
        (
            "qwen-code",
            "qwen-code",
            &[
                "-p",
                PROMPT,
                "--approval-mode",
                "yolo",
                "--include-directories",
                &note,
            ],
        ),
        // Its requests have the name of a minified class.
        ("continue", "ls", &["-p", "--auto", PROMPT]),
        ("cline", "ai-sdk", &[PROMPT]),
    ];
    for (id, agent, args) in runs {
        let home = world.home()?;
        let mut command = world.command(env!("CARGO_BIN_EXE_iris"), &home);
        command
            .args(["connect", id, "--model", MODEL, "--url"])
            .arg(world.base(MODEL))
            .arg("--")
            .args(args)
            // Gemini's trusts no folder below one that everybody may write to.
            .env("XDG_CACHE_HOME", &world.cache)
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("GEMINI_CLI_TRUST_WORKSPACE", "true")
            .env("OPENCODE_DISABLE_MODELS_FETCH", "1")
            .env(
                "OPENCODE_PERMISSION",
                r#"{"read":"allow","external_directory":"allow"}"#,
            );
        run(world, &home, &mut command, agent)
            .await
            .with_context(|| format!("iris connect {id}"))?;
    }
    Ok(())
}

/// `llm` has no tools of its own: a real model is asked, as `iris connect` sets it up.
async fn llm_through_connect(world: &World) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let mark = Mark::set(world).await?;
    let home = world.home()?;
    let mut command = world.command(env!("CARGO_BIN_EXE_iris"), &home);
    command
        .args(["connect", "llm", "--model", TINY, "--url"])
        .arg(world.base(TINY))
        .args(["--", "-o", "max_tokens", "20", "Say hello."])
        .env("XDG_CACHE_HOME", &world.cache);
    let said = Process::start(&mut command, &home)?.output(LIMIT).await?;
    ensure!(!said.trim().is_empty(), "it said nothing");
    let rows = mark.routed(world, 1).await?;
    records::complete(&rows[0], "llama", TINY, "openai-python")
}

/// Runs an agent with [`MODEL`], and compares the records with what the provider counted.
async fn run(
    world: &World,
    home: &Path,
    command: &mut Command,
    agent: &str,
) -> anyhow::Result<(String, Vec<Served>, Vec<Value>)> {
    run_at(world, home, command, agent, ("wire", MODEL)).await
}

/// The same with a provider, by its name, and its model.
pub async fn run_at(
    world: &World,
    home: &Path,
    command: &mut Command,
    agent: &str,
    (provider, model): (&str, &str),
) -> anyhow::Result<(String, Vec<Served>, Vec<Value>)> {
    let (text, served, rows) = read_the_note(world, home, command).await?;
    for row in &rows {
        records::complete(row, provider, model, agent)?;
    }
    if !world.direct() {
        records::as_served(&rows, &served)?;
    }
    Ok((text, served, rows))
}

/// Runs an agent, and sees that its tool has run. Returns what it said, what the provider served, and the
/// records of that.
pub async fn read_the_note(
    world: &World,
    home: &Path,
    command: &mut Command,
) -> anyhow::Result<(String, Vec<Served>, Vec<Value>)> {
    let mark = Mark::set(world).await?;
    let text = Process::start(command, home)?.output(LIMIT).await?;
    let said = format!("The note says {WORD}.");
    ensure!(text.contains(&said), "it did not read the note: {text}");
    let mut served = world.served();
    ensure!(served.len() > 1, "its tool did not run: {served:?}");
    if world.direct() {
        return Ok((text, served, Vec::new()));
    }
    // Whether a request that generates nothing has a record is the gateway's own affair.
    let idle = served.iter().filter(|one| one.idle).count();
    served.retain(|one| !one.idle);
    let rows = match mark.routed(world, served.len()).await {
        Err(_) if idle > 0 => mark.routed(world, served.len() + idle).await?,
        other => other?,
    };
    Ok((text, served, rows))
}

fn in_session(rows: &[Value], session: &str) -> anyhow::Result<()> {
    for row in rows {
        ensure!(row["session"] == session, "{row} is not of {session}");
    }
    Ok(())
}
