//! How a gateway joins, stops, and comes back.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use iris::net::tailnet::State;
use serde_json::Value;

use crate::http::Connection;
use crate::parts::until;
use crate::world::{Gateway, World, node};
use support::process::{Process, free_address};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    the_gateway_stops_and_comes_back_as_the_same_node,
    a_restart_is_short_and_keeps_the_node,
    a_gateway_without_a_key_asks_to_be_signed_in,
    a_person_at_a_terminal_is_led_to_the_first_answer,
    an_ephemeral_node_leaves_nothing_behind,
];

/// A folder, a configuration and a loopback address for one more gateway, so that the others keep
/// theirs.
fn another(world: &World, hostname: &str) -> anyhow::Result<(PathBuf, String, String)> {
    let dir = world.dir.path().join(hostname);
    std::fs::create_dir(&dir)?;
    let local = format!("127.0.0.1:{}", free_address().port());
    let text = std::fs::read_to_string(&world.gateway.config)?
        .replace(
            "\"hostname\": \"ai\"",
            &format!("\"hostname\": \"{hostname}\""),
        )
        .replace(&world.gateway.local, &local);
    Ok((dir, text, local))
}

async fn status(local: &str) -> anyhow::Result<Value> {
    Connection::local(local)
        .await?
        .get("/api/status")
        .await?
        .json()
}

async fn the_gateway_stops_and_comes_back_as_the_same_node(world: &World) -> anyhow::Result<()> {
    let (dir, text, local) = another(world, "ai-two")?;
    let key = world.headscale.tag_key("tag:ai")?;
    let mut addresses = Vec::new();
    // The key can be used once: the second start must do without.
    for _ in 0..2 {
        let mut gateway = Gateway::start(&dir, &text, local.clone(), &key).await?;
        let addressed = until("the second gateway", 60, || async {
            let reply = Connection::from(&world.alice, "ai-two")
                .await?
                .get("/healthz")
                .await?;
            ensure!(reply.status == 200);
            let report = status(&local).await?;
            ensure!(report["node"]["state"] == "Running", "{report}");
            Ok(report["node"]["addresses"].clone())
        });
        addresses.push(addressed.await.with_context(|| gateway.process.log())?);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&dir.join("state").metadata()?.permissions());
        ensure!(
            mode & 0o777 == 0o700,
            "the state directory has mode {mode:o}"
        );
        let status = gateway.process.stop().await?;
        ensure!(status.success(), "{status}: {}", gateway.process.log());
    }
    ensure!(addresses[0] == addresses[1], "{addresses:?}");
    Ok(())
}

/// How long nobody on the tailnet is answered while one process follows another.
async fn a_restart_is_short_and_keeps_the_node(world: &World) -> anyhow::Result<()> {
    let (dir, text, local) = another(world, "ai-five")?;
    let key = world.headscale.tag_key("tag:ai")?;
    let mut gateway = Gateway::start(&dir, &text, local.clone(), &key).await?;
    let answered = || async {
        let mut ai = Connection::from(&world.alice, "ai-five").await?;
        ensure!(ai.get("/healthz").await?.status == 200);
        let node = status(&local).await?["node"].clone();
        Ok((node["addresses"].clone(), node["dns_name"].clone()))
    };
    let first = until("the fifth gateway", 60, &answered).await?;
    let port = || std::fs::read_to_string(dir.join("state/tailnet/udp-port"));
    let first_port = port()?;
    let mut silences = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let ended = gateway.process.stop().await?;
        ensure!(ended.success(), "{ended}: {}", gateway.process.log());
        let stopped = began.elapsed();
        // The key is used up.
        gateway = Gateway::start(&dir, &text, local.clone(), "").await?;
        let here = began.elapsed();
        let again = until("the next process", 60, &answered).await;
        let again = again.with_context(|| gateway.process.log())?;
        ensure!(first == again, "{first:?} has become {again:?}");
        // At another, devices would look for it for some ten seconds.
        ensure!(port()? == first_port, "the node has another UDP port");
        silences.push(format!(
            "{:.1?} (ended after {stopped:.1?}, on loopback after {here:.1?})",
            began.elapsed()
        ));
    }
    println!(
        "  without an answer on the tailnet: {}",
        silences.join(", ")
    );
    gateway.process.stop().await?;
    Ok(())
}

/// Without a key the gateway says where to sign in, and joins once that is done.
async fn a_gateway_without_a_key_asks_to_be_signed_in(world: &World) -> anyhow::Result<()> {
    let (dir, text, local) = another(world, "ai-three")?;
    let mut gateway = Gateway::start(&dir, &text, local.clone(), "").await?;
    let url = until("the address to sign in at", 60, || async {
        let report = status(&local).await?;
        Ok(report["node"]["auth_url"]
            .as_str()
            .context("no address yet")?
            .to_owned())
    })
    .await?;
    until("the address in the log", 10, || async {
        ensure!(gateway.process.log().contains(&url));
        Ok(())
    })
    .await?;
    let ready = Connection::local(&local).await?.get("/readyz").await?;
    ensure!(ready.status == 503, "{ready:?}");
    world
        .headscale
        .approve(url.rsplit('/').next().unwrap_or_default(), "bob")?;
    until("the third gateway", 60, || async {
        let report = status(&local).await?;
        ensure!(report["node"]["state"] == "Running", "{report}");
        Ok(())
    })
    .await
    .with_context(|| gateway.process.log())?;
    let status = gateway.process.stop().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// The first minute: a configuration by `iris init`, a gateway on a terminal, the link that it
/// shows, and the line that it tells to try.
async fn a_person_at_a_terminal_is_led_to_the_first_answer(world: &World) -> anyhow::Result<()> {
    let dir = world.dir.path().join("first-minute");
    std::fs::create_dir(&dir)?;
    let config = dir.join("iris.hujson");
    let written = Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["init", "--hostname", "ai-four", "--admin", "bob"])
        .args(["--control", &world.headscale.url])
        .args(["--provider", &format!("{},tiny", world.provider)])
        .arg("--output")
        .arg(&config)
        .output()?;
    ensure!(written.status.success(), "{written:?}");
    // Another gateway may be on this machine.
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text.replace("127.0.0.1:8088", "127.0.0.1:0"))?;
    let serve = format!(
        // A shell between would outlive neither and end neither.
        "exec '{}' serve --config '{}' --state-dir '{}'",
        env!("CARGO_BIN_EXE_iris"),
        config.display(),
        dir.join("state").display()
    );
    let mut terminal = Process::start(
        Command::new("script")
            .args(["--quiet", "--return", "--command", &serve, "/dev/null"])
            .env_remove("IRIS_LOG")
            .env("TERM", "xterm"),
        &dir.join("screen"),
    )?;
    let led = led(world, &terminal).await;
    // `script` ends the gateway when it is told to end.
    let stopped = terminal.stop().await;
    led.with_context(|| terminal.log())?;
    stopped?;
    Ok(())
}

async fn led(world: &World, terminal: &Process) -> anyhow::Result<()> {
    let screen = || terminal.log().replace('\r', "");
    let url = until("the link on the screen", 60, || async {
        let screen = screen();
        ensure!(screen.contains("\x1b[0m\n\n"), "no code for a phone yet");
        let mut lines = screen.lines().map(str::trim);
        let link = lines.find(|line| line.starts_with("http://"));
        Ok(link.context("no link yet")?.to_owned())
    })
    .await?;
    world
        .headscale
        .approve(url.rsplit('/').next().unwrap_or_default(), "bob")?;
    let body = until("the line to try", 60, || async {
        let screen = screen();
        ensure!(screen.contains("- on the tailnet as ai-four.tail.test"));
        ensure!(screen.contains("  private  tiny\n"), "no models yet");
        let (_, line) = screen
            .split_once("curl http://ai-four/v1/chat/completions")
            .context("no line yet")?;
        let body = line.split_once("-d '").context("no body")?.1;
        Ok(body.split_once("'\n").context("no end")?.0.to_owned())
    })
    .await?;
    let reply = until("the first answer", 60, || async {
        Connection::from(&world.alice, "ai-four")
            .await?
            .post("/v1/chat/completions", body.clone())
            .await
    })
    .await?;
    ensure!(reply.status == 200, "{}", reply.text());
    let screen = screen();
    ensure!(
        screen.matches(&url).count() == 1,
        "the link is not shown once, but also logged or drawn again"
    );
    Ok(())
}

/// An ephemeral node is gone from the tailnet when it has stopped.
async fn an_ephemeral_node_leaves_nothing_behind(world: &World) -> anyhow::Result<()> {
    let key = world.headscale.guest_key()?;
    let node = node(&world.headscale.url, world.dir.path(), "guest", key).await?;
    ensure!(node.status().state == State::Running);
    ensure!(world.headscale.knows("guest")?);
    node.close().await?;
    ensure!(node.dial("ai", 80).await.is_err(), "a closed node can dial");
    until("the guest's leaving", 30, || async {
        ensure!(!world.headscale.knows("guest")?);
        Ok(())
    })
    .await
}
