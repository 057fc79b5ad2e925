//! Batches and files through the SDKs that have them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::json;
use support::batch_vendor::{self, Does};
use support::message_vendor;

use crate::parts::Process;
use crate::provider::{HELLO, MODEL};
use crate::world::{TINY, World, gateway, get};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    batches_python_with_real_inference,
    batches_python_at_the_wire,
    genai_batches_python_with_real_inference,
    genai_batches_python_at_the_wire,
    genai_batches_node_with_real_inference,
    genai_batches_node_at_the_wire,
    batches_python_with_batches_of_providers,
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

/// What a script of Google's SDK prints.
#[derive(Debug, Deserialize)]
struct Google {
    /// What each request that came with a batch was answered, and its key.
    inline: Vec<String>,
    metadata: Vec<String>,
    /// What each line of a file was answered, and its key.
    file: Vec<String>,
    keys: Vec<String>,
    /// How many numbers each vector has.
    vectors: Vec<usize>,
    refused: BTreeMap<String, u16>,
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

/// What the script for providers with batches of their own prints.
#[derive(Debug, Deserialize)]
struct Relayed {
    status: String,
    ids: [String; 2],
    /// What each line was answered.
    openai: BTreeMap<String, String>,
    anthropic: BTreeMap<String, String>,
}

async fn batches_python_with_batches_of_providers(world: &World) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let (chats, openai) = batch_vendor::Vendor::start(Does::Completes).await;
    let vendor = message_vendor::Vendor {
        answers: true,
        ..message_vendor::Vendor::default()
    };
    let (messages, anthropic) = vendor.start().await;
    let provider = |address: SocketAddr, flags: [&str; 2]| {
        json!({
            "baseurl": format!("http://{address}"), "models": ["m"],
            "compatibility": { flags[0]: true, flags[1]: true, "openai_chat": flags[0] == "openai_chat" },
        })
    };
    let home = world.home()?;
    let config = json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": "127.0.0.1:0" },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**" },
        ] } }],
        "providers": {
            "openai": provider(chats, ["openai_chat", "openai_batches"]),
            "anthropic": provider(messages, ["anthropic_messages", "anthropic_batches"]),
        },
    });
    let running = gateway(&home.join("gateway"), &config).await?;
    let address = running.loopback().context("no door on loopback")?;
    let mut command = world.command("python", &home);
    command.arg(world.file("relayed_batches_python.py")).args([
        &format!("http://{address}"),
        "openai/m",
        "anthropic/m",
    ]);
    let text = Process::start(&mut command, &home)?.output(LIMIT).await?;
    let relayed: Relayed = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(relayed.status == "completed", "{relayed:?}");
    let said = |one: &BTreeMap<String, String>| {
        let said = ["one", "two", "bad"].map(|name| one.get(name).cloned().unwrap_or_default());
        said.map(|text| text.replace('"', ""))
    };
    ensure!(
        said(&relayed.openai) == ["re: one", "re: two", "no"],
        "{relayed:?}"
    );
    ensure!(
        said(&relayed.anthropic) == ["one", "two", "no"],
        "{relayed:?}"
    );
    // The version of the caller's SDK.
    let version = anthropic.lock().expect("no panic").version.clone();
    ensure!(version == "2026-10-21", "{version}");
    // The vendors have run them, a batch each, and no line was asked alone.
    let asked = [
        openai.0.lock().expect("no panic").asked.clone(),
        anthropic.lock().expect("no panic").asked.clone(),
    ];
    let count = |what: &str| asked.iter().flatten().filter(|one| *one == what).count();
    let counts = [
        "batches",
        "messages/batches",
        "chat/completions",
        "messages",
    ]
    .map(|path| count(&format!("POST /v1/{path}")));
    ensure!(counts == [1, 1, 0, 0], "{asked:?}");
    let rows = get(&address.to_string(), "/api/requests?limit=50").await?["requests"].clone();
    for id in relayed.ids {
        let of_batch = rows.as_array().into_iter().flatten();
        let of_batch = of_batch.filter(|row| row["session"] == id.as_str());
        ensure!(of_batch.count() == 3, "{id}: {rows}");
    }
    running.stop().await?;
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

async fn genai_batches_python_with_real_inference(world: &World) -> anyhow::Result<()> {
    google(world, "python", "genai_batches.py", TINY).await
}

async fn genai_batches_python_at_the_wire(world: &World) -> anyhow::Result<()> {
    google(world, "python", "genai_batches.py", MODEL).await
}

async fn genai_batches_node_with_real_inference(world: &World) -> anyhow::Result<()> {
    google(world, "node", "genai_batches.mjs", TINY).await
}

async fn genai_batches_node_at_the_wire(world: &World) -> anyhow::Result<()> {
    google(world, "node", "genai_batches.mjs", MODEL).await
}

/// Runs a script of Google's SDK. A model server that is asked in another format makes no vectors.
async fn google(world: &World, program: &str, script: &str, model: &str) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let is_wire = model == MODEL;
    let embeds = if is_wire { "embeds" } else { "-" };
    let home = world.home()?;
    let mut command = world.command(program, &home);
    command
        .arg(world.file(script))
        .args([&world.base(model), model, embeds]);
    let text = Process::start(&mut command, &home)?.output(LIMIT).await?;
    let printed: Google = serde_json::from_str(&text).with_context(|| text.clone())?;
    world.provider.take();
    ensure!(
        printed.metadata == ["request-0", "request-1"],
        "{printed:?}"
    );
    ensure!(printed.keys == ["line-0", "line-1"], "{printed:?}");
    let mut said = printed.inline.iter().chain(&printed.file);
    let is_right = |said: &String| {
        if is_wire {
            said == HELLO
        } else {
            !said.is_empty()
        }
    };
    ensure!(
        said.clone().count() == 4 && said.all(is_right),
        "{printed:?}"
    );
    let vectors = if is_wire { &[2, 2][..] } else { &[] };
    ensure!(printed.vectors == vectors, "{printed:?}");
    let refused = [("ended", 409), ("gone", 404), ("model", 404)];
    let refused = refused.map(|(name, status)| (name.to_owned(), status));
    ensure!(printed.refused == BTreeMap::from(refused), "{printed:?}");
    Ok(())
}
