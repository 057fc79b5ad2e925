//! The unit of systemd, run by systemd itself on a machine in namespaces: on the tailnet with all of
//! its restrictions, back after a kill, and stopped as it should be.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::http::Connection;
use crate::parts::{Parts, Process, until};
use crate::world::{CAPABILITY, World};

/// What the script says where there can be no such machine.
const IMPOSSIBLE: i32 = 77;

struct Machine {
    /// `unshare`, whose child is the machine's first process.
    process: Process,
}

impl Machine {
    /// Runs a command inside.
    fn run(&self, command: &[&str]) -> anyhow::Result<Output> {
        let id = self.process.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let first = std::fs::read_to_string(children)?.trim().to_owned();
        let output = Command::new("nsenter")
            .args(["--target", &first, "--mount", "--pid", "--cgroup", "--ipc"])
            .args(["--uts", "--root", "--wd"])
            .args(command)
            .output()?;
        Ok(output)
    }

    /// Properties of the unit.
    fn show(&self, names: &str) -> anyhow::Result<String> {
        let output = self.run(&["systemctl", "show", "iris", "--value", "--property", names])?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn log(&self) -> String {
        let log = self.run(&["journalctl", "--no-pager", "--unit", "iris"]);
        let log = log.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        log.unwrap_or_default()
    }
}

pub async fn the_unit_runs_with_all_its_restrictions(
    _: &Parts,
    world: &World,
) -> anyhow::Result<()> {
    let root = Command::new("id").arg("-u").output()?.stdout;
    if root.trim_ascii() != b"0" || !Path::new("/lib/systemd/systemd").exists() {
        println!("the unit is not run: that takes root, and the package systemd");
        return Ok(());
    }
    let dir = world.dir.path().join("machine");
    std::fs::create_dir_all(dir.join("root"))?;
    std::fs::copy(env!("CARGO_BIN_EXE_iris"), dir.join("iris"))?;
    let config = json!({
        "tailnet": {
            "hostname": "ai-unit",
            "control_url": world.headscale.url,
            "auth_key": world.headscale.tag_key("tag:ai")?,
            "capabilities": [CAPABILITY],
        },
        "listen": { "https": "" },
        "providers": { "private": { "baseurl": world.provider, "models": ["tiny"] } },
        "grants": [
            { "src": ["alice"], "app": { CAPABILITY: [{ "role": "admin" }, { "models": "**" }] } },
        ],
    });
    std::fs::write(dir.join("iris.hujson"), config.to_string())?;
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut process = Process::start(
        Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount", "--cgroup"])
            .args(["--uts", "--ipc"])
            .arg(project.join("tests/tailnet/service.sh"))
            .arg(&dir)
            .arg(project.join("config/iris.service")),
        &dir.join("log"),
    )?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    if process.code() == Some(IMPOSSIBLE) {
        println!("the unit is not run: {}", process.log());
        return Ok(());
    }
    let machine = Machine { process };
    works(world, &machine)
        .await
        .with_context(|| format!("{}{}", machine.process.log(), machine.log()))
}

async fn works(world: &World, machine: &Machine) -> anyhow::Result<()> {
    let first = answered(world).await?;
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
    // A kill is a failure, after which it comes back as the same node.
    machine.run(&["systemctl", "kill", "--signal", "KILL", "iris"])?;
    until("the restart", 30, || async {
        let restarts = machine.show("NRestarts")?;
        ensure!(restarts == "1", "{restarts} restarts");
        Ok(())
    })
    .await?;
    let second = answered(world).await?;
    ensure!(first == second, "{first} has become {second}");
    let stopped = machine.run(&["systemctl", "stop", "iris"])?;
    ensure!(stopped.status.success(), "{stopped:?}");
    let ended = machine.show("ActiveState,Result,ExecMainStatus")?;
    ensure!(
        ended == "inactive success 0" || ended == "success 0 inactive",
        "{ended}"
    );
    Ok(())
}

/// Has alice get an answer from a model; returns the node's address.
async fn answered(world: &World) -> anyhow::Result<String> {
    let body = json!({
        "model": "tiny",
        "max_tokens": 5,
        "messages": [{ "role": "user", "content": "hello" }],
    });
    until("an answer of the unit's gateway", 90, || async {
        let mut ai = Connection::from(&world.alice, "ai-unit").await?;
        let reply = ai.post("/v1/chat/completions", body.to_string()).await?;
        ensure!(reply.status == 200, "{}", reply.text());
        let status = ai.get("/api/status").await?.json()?;
        Ok(status["node"]["addresses"].to_string())
    })
    .await
}
