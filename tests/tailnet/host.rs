//! Host mode: the gateway on a machine that is itself on the tailnet, by a real `tailscaled` with a real
//! tunnel interface. The whole tailnet is in a network namespace of its own, so that it doesn't touch the
//! machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use iris::net::tailnet::Node;
use serde_json::json;

use crate::changes::withdrawal_is_felt_soon;
use crate::headscale::Headscale;
use crate::http::Connection;
use crate::parts::{Parts, until};
use crate::scenarios::{CHAT, chat};
use crate::world::{CAPABILITY, Gateway, Llama, World, node};
use support::process::{Process, free_address};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    host_mode_uses_the_machines_own_tailscaled,
];

/// The argument with which the test starts itself inside the namespace.
pub const INSIDE: &str = "--inside-namespace";

/// Starts this program once more, in a namespace.
async fn host_mode_uses_the_machines_own_tailscaled(_: &World) -> anyhow::Result<()> {
    let mut unshare = tokio::task::spawn_blocking(|| {
        let mut command = support::namespace::unshare();
        command.arg(std::env::current_exe()?).arg(INSIDE).output()
    });
    let output = (&mut unshare).await?.context("unshare does not start")?;
    ensure!(
        output.status.success(),
        "in the namespace (making one needs root, or user namespaces): {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// What happens inside.
pub async fn inside(parts: &Parts) -> anyhow::Result<()> {
    network()?;
    let dir = tempfile::tempdir()?;
    let (mut headscale, llama) = tokio::try_join!(
        Headscale::start(parts, dir.path()),
        Llama::start(parts, dir.path())
    )?;
    let socket = dir.path().join("tailscaled.sock");
    let _daemon = tailscaled(parts, dir.path(), &socket, &headscale)?;
    let local = format!("127.0.0.1:{}", free_address().port());
    let config = json!({
        "tailnet": {
            "mode": "host", "socket": socket, "capabilities": [CAPABILITY], "stale_after": "3s",
        },
        "listen": { "https": "", "loopback": local },
        "providers": {
            "private": { "baseurl": format!("http://127.0.0.1:{}", llama.port), "models": ["tiny"] },
            "strict": {
                "baseurl": format!("http://localhost:{}", llama.port),
                "models": ["tiny"],
                "network": "tailnet",
            },
        },
        "grants": [{
            "src": ["(loopback)"],
            "app": { CAPABILITY: [{ "role": "admin" }, { "models": "**" }] },
        }],
    });
    let gateway = Gateway::start(dir.path(), &config.to_string(), local, "").await?;
    let alice = node(
        &headscale.url,
        dir.path(),
        "alice-laptop",
        headscale.user_key("1")?,
    )
    .await?;
    let bob = node(
        &headscale.url,
        dir.path(),
        "bob-laptop",
        headscale.user_key("2")?,
    )
    .await?;
    for caller in [&alice, &bob] {
        until("http://ai", 60, || async {
            Connection::from(caller, "ai").await?.get("/healthz").await
        })
        .await
        .with_context(|| gateway.process.log())?;
    }
    calls(&headscale, &gateway, &alice, &bob).await?;
    admin(parts, dir.path(), &socket, &headscale, llama.port)?;
    let strict = chat(json!({ "model": "strict/tiny" }));
    let mut local = Connection::local(&gateway.local).await?;
    let reply = local.post(CHAT, strict).await?;
    ensure!(
        reply.status == 502 && reply.text().contains("not an address on the tailnet"),
        "{reply:?}"
    );
    unheard(&mut headscale, &alice, &mut local).await
}

/// The control server ends: callers are refused as the configuration says, and there is an alert.
async fn unheard(
    headscale: &mut Headscale,
    alice: &Node,
    local: &mut Connection,
) -> anyhow::Result<()> {
    let mut open = Connection::from(alice, "ai").await?;
    ensure!(open.get("/api/whoami").await?.status == 200);
    headscale.end().await?;
    let end = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let reply = open.get("/api/whoami").await?;
        if reply.status == 503 && reply.text().contains("tailnet.stale_after") {
            break;
        }
        ensure!(std::time::Instant::now() < end, "{reply:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let status = local.get("/api/status").await?.text();
    ensure!(status.contains("\"tailnet_stale\""), "{status}");
    Ok(())
}

/// `iris init` asks a machine's tailscaled who the admin is: this machine's, which has a tag, and one
/// that is signed in as alice.
fn admin(
    parts: &Parts,
    dir: &Path,
    socket: &Path,
    headscale: &Headscale,
    model_port: u16,
) -> anyhow::Result<()> {
    let file = dir.join("admin.hujson");
    let init = |socket: &Path| {
        Command::new(env!("CARGO_BIN_EXE_iris"))
            .args(["init", "--control", &headscale.url, "--hostname", "ai"])
            .args(["--admin", "me", "--provider"])
            .arg(format!("http://127.0.0.1:{model_port}"))
            .arg("--socket")
            .arg(socket)
            .arg("--output")
            .arg(&file)
            .output()
    };
    let tagged = init(socket)?;
    let message = String::from_utf8_lossy(&tagged.stderr);
    ensure!(message.contains("signed in as a tag"), "{tagged:?}");
    let own = dir.join("alice.sock");
    let mut daemon = Command::new(parts.servers.join("tailscaled"));
    daemon
        .env("TS_NO_LOGS_NO_SUPPORT", "true")
        .args(["--tun=userspace-networking", "--port=0", "--statedir"])
        .arg(dir.join("alice"))
        .arg("--socket")
        .arg(&own);
    let _daemon = Process::start(&mut daemon, &dir.join("alice.log"))?;
    let up = Command::new(parts.servers.join("tailscale"))
        .arg("--socket")
        .arg(&own)
        .args(["up", "--hostname=alice-desktop"])
        .arg(format!("--login-server={}", headscale.url))
        .arg(format!("--authkey={}", headscale.user_key("1")?))
        .output()?;
    ensure!(up.status.success(), "{up:?}");
    let written = init(&own)?;
    ensure!(written.status.success(), "{written:?}");
    let text = std::fs::read_to_string(&file)?;
    let loaded = iris::config::parse(&text, &|_| None);
    let loaded = loaded.ok().context("it is valid")?;
    let admins = &loaded.file.grants[0].src;
    ensure!(
        admins.len() == 1 && admins[0].starts_with("alice"),
        "{text}"
    );
    doctor(parts, dir, &own)
}

/// `iris doctor` asks the machine's own Tailscale why a gateway isn't found.
fn doctor(parts: &Parts, dir: &Path, socket: &Path) -> anyhow::Result<()> {
    let tailscale = parts.servers.join("tailscale");
    let programs = dir.join("programs");
    std::fs::create_dir(&programs)?;
    let program = programs.join("tailscale");
    // The program of a machine with one daemon needs no socket.
    let script = format!(
        "#!/bin/sh\nexec '{}' --socket '{}' \"$@\"\n",
        tailscale.display(),
        socket.display()
    );
    std::fs::write(&program, script)?;
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
    let path = std::env::var("PATH")?;
    let checked = || {
        let output = Command::new(env!("CARGO_BIN_EXE_iris"))
            .args(["doctor", "--json", "--url", "http://no-gateway"])
            .env("PATH", format!("{}:{path}", programs.display()))
            .output()?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let checks = report["checks"].as_array().cloned().unwrap_or_default();
        let found = checks.into_iter().find(|one| one["check"] == "tailnet");
        found.with_context(|| format!("{output:?}"))
    };
    let up = checked()?;
    ensure!(up["result"] == "ok", "{up}");
    let down = Command::new(&program).arg("down").output()?;
    ensure!(down.status.success(), "{down:?}");
    let stopped = checked()?;
    ensure!(
        stopped["result"] == "wrong" && stopped["what"].to_string().contains("is stopped"),
        "{stopped}"
    );
    Ok(())
}

/// Makes the namespace look like a machine with a network.
fn network() -> anyhow::Result<()> {
    // Without a default route tailscaled takes the network for down.
    for line in [
        "link set lo up",
        "link add out0 type veth peer name out1",
        "addr add 192.0.2.1/24 dev out0",
        "link set out0 up",
        "link set out1 up",
        "route add default via 192.0.2.2",
    ] {
        let status = Command::new("ip").args(line.split(' ')).status()?;
        ensure!(status.success(), "ip {line}");
    }
    Ok(())
}

/// Joins the tailnet as this machine.
fn tailscaled(
    parts: &Parts,
    dir: &Path,
    socket: &Path,
    headscale: &Headscale,
) -> anyhow::Result<Process> {
    let daemon = Process::start(
        Command::new(parts.servers.join("tailscaled"))
            .env("TS_NO_LOGS_NO_SUPPORT", "true")
            .args(["--tun=tailscale0", "--port=0", "--statedir"])
            .arg(dir.join("tailscaled"))
            .arg("--socket")
            .arg(socket),
        &dir.join("tailscaled.log"),
    )?;
    let up = Command::new(parts.servers.join("tailscale"))
        .arg("--socket")
        .arg(socket)
        .args([
            "up",
            "--hostname=ai",
            "--netfilter-mode=off",
            "--accept-dns=false",
        ])
        .arg(format!("--login-server={}", headscale.url))
        .arg(format!("--authkey={}", headscale.tag_key("tag:ai")?))
        .output()?;
    ensure!(
        up.status.success(),
        "{}{}",
        String::from_utf8_lossy(&up.stderr),
        daemon.log()
    );
    Ok(daemon)
}

async fn calls(
    headscale: &Headscale,
    gateway: &Gateway,
    alice: &Node,
    bob: &Node,
) -> anyhow::Result<()> {
    let mut open = Connection::from(alice, "ai").await?;
    let reply = open.post(CHAT, chat(json!({}))).await?;
    ensure!(reply.status == 200, "{reply:?}");
    let refused = Connection::from(bob, "ai")
        .await?
        .post(CHAT, chat(json!({})))
        .await?;
    ensure!(refused.status == 403, "{refused:?}");
    let record = until("the record", 5, || async {
        gateway
            .records("login=alice")
            .await?
            .into_iter()
            .next()
            .context("no record yet")
    })
    .await?;
    ensure!(record["node_name"] == "alice-laptop", "{record}");
    ensure!(
        record["usage"]["output_tokens"] == reply.json()?["usage"]["completion_tokens"],
        "{record}"
    );
    // Nobody but the tailnet can reach the port.
    for other in ["127.0.0.1:80", "192.0.2.1:80"] {
        ensure!(Connection::local(other).await.is_err(), "{other} is open");
    }

    withdrawal_is_felt_soon(headscale, &mut open).await
}
