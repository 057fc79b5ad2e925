//! Providers on the tailnet that disappear suddenly.

use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::http::Connection;
use crate::parts::{Parts, until};
use crate::scenarios::{CHAT, chat};
use crate::world::{Gateway, World};
use support::process::{Process, free_address};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    a_provider_that_is_gone_costs_no_request,
];

/// A machine of its own with a node, which passes what comes to this machine's ports.
fn machine(parts: &Parts, world: &World, name: &str) -> anyhow::Result<Process> {
    let dir = world.dir.path().join(name);
    std::fs::create_dir(&dir)?;
    let socket = dir.join("socket");
    let daemon = Process::start(
        Command::new(parts.servers.join("tailscaled"))
            .env("TS_NO_LOGS_NO_SUPPORT", "true")
            .args(["--tun=userspace-networking", "--port=0", "--statedir"])
            .arg(&dir)
            .arg("--socket")
            .arg(&socket),
        &dir.join("log"),
    )?;
    let up = Command::new(parts.servers.join("tailscale"))
        .arg("--socket")
        .arg(&socket)
        .args(["up", "--accept-dns=false"])
        .arg(format!("--hostname={name}"))
        .arg(format!("--login-server={}", world.headscale.url))
        .arg(format!("--authkey={}", world.headscale.tag_key("tag:gpu")?))
        .output()?;
    let said = String::from_utf8_lossy(&up.stderr);
    ensure!(up.status.success(), "{name}: {said}");
    Ok(daemon)
}

/// A gateway prefers two machines to the provider of all tests. The one's power fails, the other
/// leaves the tailnet; each time the request that comes next, on a kept connection, goes elsewhere.
async fn a_provider_that_is_gone_costs_no_request(world: &World) -> anyhow::Result<()> {
    let parts = &world.parts;
    let power = machine(parts, world, "gpu-power")?;
    let _member = machine(parts, world, "gpu-member")?;
    let dir = world.dir.path().join("ai-seven");
    std::fs::create_dir(&dir)?;
    let local = format!("127.0.0.1:{}", free_address().port());
    let port = world.llama.port;
    let more = format!(
        r#""timeouts": {{ "connect": "8s", "first_byte": "5m" }},
  "providers": {{
    "power": {{ "baseurl": "http://gpu-power:{port}", "models": ["tiny"], "preference": 20 }},
    "member": {{ "baseurl": "http://gpu-member:{port}", "models": ["tiny"], "preference": 10 }},"#
    );
    let text = std::fs::read_to_string(&world.gateway.config)?
        .replace("\"hostname\": \"ai\"", "\"hostname\": \"ai-seven\"")
        .replace(&world.gateway.local, &local)
        .replacen("\"providers\": {", &more, 1)
        .replace(
            "[{ \"role\": \"admin\" }]",
            "[{ \"role\": \"admin\" }, { \"models\": \"**\" }]",
        );
    let key = world.headscale.tag_key("tag:ai")?;
    let mut gateway = Gateway::start(&dir, &text, local.clone(), &key).await?;
    let asked = std::cell::Cell::new(0);
    let ask = async |seed: u32| {
        let body = chat(json!({ "max_tokens": 1, "seed": seed }));
        let reply = Connection::local(&local).await?.post(CHAT, body).await?;
        asked.set(asked.get() + 1);
        ensure!(reply.status == 200, "{reply:?}");
        until("the record", 10, || async {
            let rows = gateway.records("limit=200").await?;
            ensure!(rows.len() == asked.get(), "{} records", rows.len());
            let provider = rows.first().map(|row: &Value| row["provider"].clone());
            provider.context("no record")
        })
        .await
    };
    let is_asked = async |name: &str| {
        until(name, 90, || async {
            let provider = ask(1).await?;
            ensure!(provider == name, "{provider} was asked");
            Ok(())
        })
        .await
    };
    let outcome = async {
        is_asked("power").await?;
        power.signal("KILL")?;
        let provider = ask(2).await?;
        ensure!(provider == "member", "{provider} was asked");
        is_asked("member").await?;
        let id = world.headscale.id("gpu-member")?;
        world.headscale.delete(&id)?;
        // A request may still reach it, until the gateway has heard that it is gone.
        is_asked("private").await
    };
    let outcome = outcome.await;
    let log = gateway.process.log();
    gateway.process.stop().await?;
    outcome.with_context(|| log)
}
