//! The unit of systemd, run by systemd itself on a machine in namespaces: on the tailnet with all of its
//! restrictions, restarted after a kill, stopped in order, and installed by `iris service`.

use std::time::Instant;

use anyhow::{Context, ensure};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::http::Connection;
use crate::parts::until;
use crate::world::{CAPABILITY, World};
use support::machine::Machine;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    the_unit_runs_with_all_its_restrictions,
    an_installed_service_joins_with_a_link_or_a_key,
];

fn config(world: &World, name: &str) -> Value {
    json!({
        "tailnet": {
            "hostname": name,
            "control_url": world.headscale.url,
            "capabilities": [CAPABILITY],
        },
        "listen": { "https": "" },
        "providers": { "private": { "baseurl": world.provider, "models": ["tiny"] } },
        "grants": [
            { "src": ["alice"], "app": { CAPABILITY: [{ "role": "admin" }, { "models": "**" }] } },
        ],
    })
}

async fn the_unit_runs_with_all_its_restrictions(world: &World) -> anyhow::Result<()> {
    let mut config = config(world, "ai-unit");
    config["tailnet"]["auth_key"] = json!(world.headscale.tag_key("tag:ai")?);
    let dir = world.dir.path().join("machine");
    // The machine has an environment of its own.
    let more = dir.join("units/iris.service.d");
    std::fs::create_dir_all(&more)?;
    let relay = format!("[Service]\nEnvironment={}=1\n", crate::PLAIN_RELAY);
    std::fs::write(more.join("relay.conf"), relay)?;
    let program = support::iris();
    let Some(machine) = Machine::start(&dir, &program, &config.to_string()).await? else {
        return Ok(());
    };
    works(world, &machine).await.with_context(|| machine.log())
}

async fn works(world: &World, machine: &Machine) -> anyhow::Result<()> {
    let first = answered(world, "ai-unit").await?;
    ensure!(machine.show("ActiveState,SubState")? == "active running");
    // It may write to its own folder: a save through the API takes effect.
    let mut ai = Connection::from(&world.alice, "ai-unit").await?;
    let config = ai.get("/api/config").await?.json()?;
    let text = config["config"].as_str().context("a text")?;
    let changed = json!({ "config": format!("{text}\n// saved\n"), "hash": config["hash"] });
    let request = Request::put("/api/config")
        .header("content-type", "application/json")
        .body(Full::from(changed.to_string()))?;
    let saved = ai.send(request).await?;
    ensure!(saved.status == 200, "{}", saved.text());
    let file = machine.run(&["stat", "--format", "%a %U", "/var/lib/iris/iris.hujson"])?;
    ensure!(file.stdout.trim_ascii() == b"600 iris", "{file:?}");
    // After each end that is a failure it comes back as the same node. A panic of the node's own
    // runtime ends the process as SIGABRT does.
    let mut took = Vec::new();
    for (nth, signal) in ["ABRT", "KILL"].into_iter().enumerate() {
        let ended = Instant::now();
        machine.run(&["systemctl", "kill", "--signal", signal, "iris"])?;
        until("the restart", 30, || async {
            let restarts = machine.show("NRestarts")?;
            ensure!(restarts == (nth + 1).to_string(), "{restarts} restarts");
            Ok(())
        })
        .await?;
        let again = answered(world, "ai-unit").await?;
        ensure!(first == again, "{first} has become {again}");
        took.push(format!("{:.1?} after SIG{signal}", ended.elapsed()));
    }
    println!("  answered on the tailnet again {}", took.join(", "));
    let stopped = machine.run(&["systemctl", "stop", "iris"])?;
    ensure!(stopped.status.success(), "{stopped:?}");
    let ended = machine.show("ActiveState,Result,ExecMainStatus")?;
    ensure!(
        ended == "inactive success 0" || ended == "success 0 inactive",
        "{ended}"
    );
    Ok(())
}

/// `iris service install` on a bare machine: without a key it ends with the link to sign in at, and with
/// one the gateway is on the tailnet when it ends.
async fn an_installed_service_joins_with_a_link_or_a_key(world: &World) -> anyhow::Result<()> {
    let dir = world.dir.path().join("bare");
    let files = dir.join("files");
    std::fs::create_dir_all(&files)?;
    let mut config = config(world, "ai-installed");
    std::fs::write(files.join("iris.hujson"), config.to_string())?;
    let seen = "${file:/run/credentials/iris.service/authkey}";
    config["tailnet"]["auth_key"] = json!(seen);
    std::fs::write(files.join("keyed.hujson"), config.to_string())?;
    std::fs::write(files.join("key"), world.headscale.tag_key("tag:ai")?)?;
    let Some(machine) = Machine::bare(&dir, &support::iris()).await? else {
        return Ok(());
    };
    let relay = format!(
        "mkdir -p /etc/iris && echo {}=1 >/etc/iris/environment",
        crate::PLAIN_RELAY
    );
    machine.run(&["sh", "-c", &relay])?;
    let install = |more: &str| {
        let script = format!("cd /srv && ./iris service install {more} 2>&1");
        let output = machine.run(&["sh", "-c", &script])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{text}\n{}", machine.log());
        anyhow::Ok(text)
    };
    let begun = Instant::now();
    let text = install("")?;
    let link = format!("sign in at {}/register/", world.headscale.url);
    ensure!(text.contains(&link), "no {link}:\n{text}");
    println!(
        "  a link to sign in at {:.1?} after the command",
        begun.elapsed()
    );
    let status = machine.run(&["/srv/iris", "service", "status"])?;
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(status.contains(&link), "no {link}:\n{status}");
    let begun = Instant::now();
    let text = install("--config keyed.hujson --auth-key-file key --force")?;
    ensure!(text.contains("serving http://ai-installed\n"), "{text}");
    println!(
        "  on the tailnet by a key {:.1?} after the command",
        begun.elapsed()
    );
    answered(world, "ai-installed").await?;
    machine.run(&["/srv/iris", "service", "uninstall", "--purge"])?;
    Ok(())
}

/// Has alice get an answer from a model; returns the node's address.
async fn answered(world: &World, name: &str) -> anyhow::Result<String> {
    let body = json!({
        "model": "tiny",
        "max_tokens": 5,
        "messages": [{ "role": "user", "content": "hello" }],
    });
    until("an answer of the unit's gateway", 90, || async {
        let mut ai = Connection::from(&world.alice, name).await?;
        let reply = ai.post("/v1/chat/completions", body.to_string()).await?;
        ensure!(reply.status == 200, "{}", reply.text());
        let status = ai.get("/api/status").await?.json()?;
        Ok(status["node"]["addresses"].to_string())
    })
    .await
}
