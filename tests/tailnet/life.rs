//! A node that can't join, that is removed, or that hears nothing: what the gateway reports, and how it
//! recovers by itself.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use iris::net::tailnet::Node;
use serde_json::{Value, json};

use crate::headscale::Headscale;
use crate::http::Connection;
use crate::parts::until;
use crate::scenarios::{CHAT, chat};
use crate::world::{CAPABILITY, Gateway, World, node};
use support::process::free_address;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    a_refused_key_is_said_with_the_control_servers_words,
    a_control_server_that_can_not_be_talked_to_is_named,
    an_expired_node_is_offered_a_link,
    a_deleted_node_joins_again,
    another_key_of_the_control_server_is_learned,
    a_node_with_another_name_has_an_alert,
    damaged_state_is_named,
    a_provider_on_the_tailnet_is_reached_there_or_not_at_all,
    an_unreadable_capability_is_logged_once,
];

/// Sets keys of the section `tailnet`, where it says the host name.
pub fn with(text: &str, hostname: &str, more: &str) -> String {
    let line = format!("\"hostname\": \"{hostname}\",");
    text.replace(&line, &format!("{line} {more}"))
}

/// One more gateway, in a folder of its own.
pub struct Another {
    dir: std::path::PathBuf,
    pub text: String,
    local: String,
}

impl Another {
    pub fn new(world: &World, hostname: &str) -> anyhow::Result<Self> {
        let dir = world.dir.path().join(format!("life-{hostname}"));
        std::fs::create_dir(&dir)?;
        let local = format!("127.0.0.1:{}", free_address().port());
        let name = |hostname: &str| format!("\"hostname\": \"{hostname}\"");
        let text = std::fs::read_to_string(&world.gateway.config)?
            .replace(&name("ai"), &name(hostname))
            .replace(&world.gateway.local, &local);
        Ok(Self { dir, text, local })
    }

    /// The same on another tailnet.
    pub fn on(mut self, world: &World, headscale: &Headscale) -> Self {
        self.text = self.text.replace(&world.headscale.url, &headscale.url);
        self
    }

    pub async fn start(&self, key: &str) -> anyhow::Result<Gateway> {
        Gateway::start(&self.dir, &self.text, self.local.clone(), key).await
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<crate::http::Reply> {
        Connection::local(&self.local).await?.get(path).await
    }

    async fn status(&self) -> anyhow::Result<Value> {
        self.get("/api/status").await?.json()
    }

    /// Waits until the node is running.
    pub async fn joined(&self) -> anyhow::Result<()> {
        until("joining", 90, || async {
            let status = self.status().await?;
            ensure!(status["node"]["state"] == "Running", "{status}");
            Ok(())
        })
        .await
    }

    /// Waits for an alert, and returns its message.
    pub async fn alert(&self, kind: &str, seconds: u64) -> anyhow::Result<String> {
        until(kind, seconds, || async {
            let status = self.status().await?;
            let all = status["warnings"].as_array().into_iter().flatten();
            let found = all.into_iter().find(|one| one["kind"] == kind);
            let found = found.with_context(|| format!("no {kind} in {status}"))?;
            Ok(found["message"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Waits for a link to sign in at.
    async fn link(&self) -> anyhow::Result<String> {
        until("a link to sign in at", 60, || async {
            let status = self.status().await?;
            let link = status["node"]["auth_url"].as_str();
            Ok(link
                .with_context(|| format!("none in {status}"))?
                .to_owned())
        })
        .await
    }
}

pub async fn answers(node: &Node, host: &str) -> anyhow::Result<()> {
    until(host, 60, || async {
        let reply = Connection::from(node, host).await?.get("/healthz").await?;
        ensure!(reply.status == 200, "{reply:?}");
        Ok(())
    })
    .await
}

/// The control server's own words are in the log, once, and wherever people look.
async fn a_refused_key_is_said_with_the_control_servers_words(world: &World) -> anyhow::Result<()> {
    let used = world.headscale.tag_key("tag:ci")?;
    let first = node(
        &world.headscale.url,
        world.dir.path(),
        "first",
        used.clone(),
    )
    .await?;
    first.close().await?;
    let wrong = format!("hskey-auth-{}-{}", "0".repeat(12), "0".repeat(64));
    for (hostname, key, words) in [
        ("refused-wrong", wrong.as_str(), "invalid pre auth key"),
        ("refused-used", used.as_str(), "authkey already used"),
    ] {
        let one = Another::new(world, hostname)?;
        let gateway = one.start(key).await?;
        let message = one.alert("node_refused", 60).await?;
        ensure!(message.contains(words), "{hostname}: {message}");
        let ready = one.get("/readyz").await?;
        ensure!(
            ready.status == 503 && ready.text().contains(words),
            "{ready:?}"
        );
        let shown = Command::new(env!("CARGO_BIN_EXE_iris"))
            .args(["status", "--url"])
            .arg(format!("http://{}", one.local))
            .output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        ensure!(shown.contains(words), "{shown}");
        let log = until("the log", 60, || async {
            let log = gateway.process.log();
            ensure!(log.contains(words), "{log}");
            Ok(log)
        })
        .await?;
        ensure!(!log.contains(key), "the log holds the key");
        // Tailscale tries again and again.
        tokio::time::sleep(Duration::from_secs(4)).await;
        let log = gateway.process.log();
        ensure!(log.matches(words).count() == 1, "{hostname}: {log}");
    }
    Ok(())
}

/// Something that isn't a control server, and one that is away while the gateway restarts.
async fn a_control_server_that_can_not_be_talked_to_is_named(world: &World) -> anyhow::Result<()> {
    let parts = &world.parts;
    let mut something = Another::new(world, "something-else")?;
    let other = format!("http://127.0.0.1:{}", world.llama.port);
    something.text = something.text.replace(&world.headscale.url, &other);
    let gateway = something.start("").await?;
    let message = something.alert("node_not_joined", 60).await?;
    ensure!(message.contains("fetch control key"), "{message}");
    drop(gateway);

    let dir = world.dir.path().join("away");
    let mut headscale = Headscale::start(parts, &dir).await?;
    let one = Another::new(world, "away-ai")?.on(world, &headscale);
    let mut gateway = one.start(&headscale.tag_key("tag:ai")?).await?;
    one.joined().await?;
    gateway.process.stop().await?;
    headscale.end().await?;
    // With the map on the disk, it serves those whom it knew.
    let mut gateway = one.start("").await?;
    let message = one.alert("tailnet_stale", 60).await?;
    ensure!(message.contains("not heard since the start"), "{message}");
    ensure!(message.contains("fetch control key"), "{message}");
    gateway.process.stop().await?;
    let _ = std::fs::remove_dir_all(one.dir.join("state/tailnet/profile-data"));
    let gateway = one.start("").await?;
    let message = one.alert("node_not_joined", 60).await?;
    ensure!(message.contains("fetch control key"), "{message}");
    headscale.start_again().await?;
    one.joined().await.with_context(|| gateway.process.log())
}

/// A key that is used up doesn't keep the link away, while the gateway runs and after a restart.
async fn an_expired_node_is_offered_a_link(world: &World) -> anyhow::Result<()> {
    let one = Another::new(world, "expiring")?;
    let key = world.headscale.user_key("2")?;
    let mut gateway = one.start(&key).await?;
    one.joined().await?;
    world.headscale.expire(&world.headscale.id("expiring")?)?;
    let link = one.link().await.with_context(|| gateway.process.log())?;
    let message = one.alert("node_signed_out", 60).await?;
    ensure!(message.contains("signed out"), "{message}");
    until("the link in the log", 10, || async {
        ensure!(gateway.process.log().contains(&link));
        Ok(())
    })
    .await?;
    gateway.process.stop().await?;
    let gateway = one.start(&key).await?;
    let link = one.link().await.with_context(|| gateway.process.log())?;
    let id = link.rsplit('/').next().unwrap_or_default();
    world.headscale.approve(id, "bob")?;
    one.joined().await.with_context(|| gateway.process.log())
}

/// A node that was deleted joins again by a key that can be used again, and shows a link where
/// there is none.
async fn a_deleted_node_joins_again(world: &World) -> anyhow::Result<()> {
    let reusable = world.headscale.reusable_key("tag:ai")?;
    let one = Another::new(world, "deleted")?;
    let gateway = one.start(&reusable).await?;
    one.joined().await?;
    let id = world.headscale.id("deleted")?;
    world.headscale.delete(&id)?;
    until("the node's return", 90, || async {
        ensure!(world.headscale.id("deleted")? != id);
        Ok(())
    })
    .await
    .with_context(|| gateway.process.log())?;
    answers(&world.alice, "deleted")
        .await
        .with_context(|| gateway.process.log())?;
    drop(gateway);

    let one = Another::new(world, "deleted-once")?;
    let gateway = one.start(&world.headscale.tag_key("tag:ai")?).await?;
    one.joined().await?;
    world
        .headscale
        .delete(&world.headscale.id("deleted-once")?)?;
    one.link().await.with_context(|| gateway.process.log())?;
    // The node tells its link a moment before its state.
    until("the node's state", 10, || async {
        let ready = one.get("/readyz").await?;
        ensure!(ready.status == 503, "{ready:?}");
        Ok(())
    })
    .await?;
    // It may have asked for another link meanwhile, and waits for that one alone.
    let link = one.link().await.with_context(|| gateway.process.log())?;
    let id = link.rsplit('/').next().unwrap_or_default();
    world.headscale.approve(id, "bob")?;
    one.joined().await.with_context(|| gateway.process.log())
}

/// The control server comes back with another key: the node learns it, and grants that were
/// withdrawn are withdrawn.
async fn another_key_of_the_control_server_is_learned(world: &World) -> anyhow::Result<()> {
    let parts = &world.parts;
    let dir = world.dir.path().join("rekeyed");
    let mut headscale = Headscale::start(parts, &dir).await?;
    let one = Another::new(world, "rekeyed-ai")?.on(world, &headscale);
    let gateway = one.start(&headscale.tag_key("tag:ai")?).await?;
    one.joined().await?;
    let (url, key) = (&headscale.url, headscale.user_key("1")?);
    let alice = node(url, &dir, "alice-rekeyed", key).await?;
    answers(&alice, "rekeyed-ai").await?;
    let asked = || async {
        let mut ai = Connection::from(&alice, "rekeyed-ai").await?;
        let asked = ai.get("/api/whoami").await?;
        anyhow::Ok(asked.status.as_u16())
    };
    until("alice's grant", 30, || async {
        ensure!(asked().await? == 200);
        Ok(())
    })
    .await?;
    headscale.end().await?;
    headscale.lose_key()?;
    headscale.start_again().await?;
    headscale.grant(false)?;
    until("the withdrawal", 120, || async {
        let status = asked().await?;
        ensure!(status == 403, "{status}");
        Ok(())
    })
    .await
    .with_context(|| gateway.process.log())
}

/// A name that another node has, and one that was changed.
async fn a_node_with_another_name_has_an_alert(world: &World) -> anyhow::Result<()> {
    let mut one = Another::new(world, "namesake")?;
    // The gateway under test has it.
    one.text = one
        .text
        .replace("\"hostname\": \"namesake\"", "\"hostname\": \"ai\"");
    let gateway = one.start(&world.headscale.tag_key("tag:ai")?).await?;
    let message = one
        .alert("node_name", 60)
        .await
        .with_context(|| gateway.process.log())?;
    let status = one.status().await?;
    let name = status["node"]["dns_name"].as_str().unwrap_or_default();
    let label = name.split('.').next().unwrap_or_default();
    ensure!(label != "ai" && !label.is_empty(), "{status}");
    for part in [label, "\"ai\""] {
        ensure!(message.contains(part), "{message}");
    }
    let served = until("the tailnet's door", 30, || async {
        let log = gateway.process.log();
        ensure!(log.contains("serving the tailnet at"), "{log}");
        Ok(log)
    })
    .await?;
    ensure!(served.contains(label), "{served}");
    Ok(())
}

/// Damaged state ends the start with the file and what to do, and never makes a new node.
async fn damaged_state_is_named(world: &World) -> anyhow::Result<()> {
    let mut one = Another::new(world, "damaged")?;
    let key = world.headscale.tag_key("tag:ai")?;
    // The key is in the environment alone, as a file gave it.
    one.text = one.text.replace("\"auth_key\": \"${TS_AUTHKEY}\",", "");
    let mut gateway = one.start(&format!(" {key}\n")).await?;
    one.joined().await?;
    gateway.process.stop().await?;
    let state = one.dir.join("state/tailnet");
    let path = state.join("tailscaled.state");
    let whole = std::fs::read(&path)?;
    for (what, text) in [
        ("empty", Vec::new()),
        ("torn", whole[..whole.len() / 2].to_vec()),
        ("zeros", vec![0; whole.len()]),
    ] {
        std::fs::write(&path, text)?;
        let started = Command::new(env!("CARGO_BIN_EXE_iris"))
            .args(["serve", "--config"])
            .arg(one.dir.join("iris.hujson"))
            .arg("--state-dir")
            .arg(one.dir.join("state"))
            .env("TS_AUTHKEY", &key)
            .output()?;
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        ensure!(!started.status.success(), "{what}: {said}");
        for part in ["tailscaled.state", "is damaged", "remove the file"] {
            ensure!(said.contains(part), "{what}: {said}");
        }
    }
    std::fs::write(&path, &whole)?;
    // The other files hold nothing that can't be made again.
    let mut others = Vec::new();
    for entry in std::fs::read_dir(&state)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.path() != path {
            others.push(entry.path());
        }
    }
    ensure!(others.len() > 2, "{others:?}");
    for text in ["", "{\"Coll", "\0\0\0\0\0\0\0\0\0\0\0\0"] {
        for other in &others {
            std::fs::write(other, text)?;
        }
        let mut gateway = one.start("").await.with_context(|| format!("{text:?}"))?;
        one.joined().await.with_context(|| gateway.process.log())?;
        gateway.process.stop().await?;
    }
    Ok(())
}

/// A provider that is configured to be on the tailnet is reached there or not at all.
async fn a_provider_on_the_tailnet_is_reached_there_or_not_at_all(
    world: &World,
) -> anyhow::Result<()> {
    let here = std::net::TcpListener::bind("127.0.0.1:0")?;
    here.set_nonblocking(true)?;
    let port = here.local_addr()?.port();
    let mut one = Another::new(world, "strict")?;
    let places = [
        ("loopback", format!("127.0.0.1:{port}")),
        ("name", format!("localhost:{port}")),
        ("public", "203.0.113.7:9".to_owned()),
        ("vacant", "100.127.255.254:9".to_owned()),
    ];
    let providers: Vec<String> = places
        .iter()
        .map(|(id, place)| {
            format!(
                "\"{id}\": {{ \"baseurl\": \"http://{place}\", \"models\": [\"m\"], \"network\": \"tailnet\" }},"
            )
        })
        .collect();
    let providers = providers.concat();
    let real = one.text.clone();
    one.text = real
        .replace(
            "\"providers\": {",
            &format!("\"providers\": {{ {providers}"),
        )
        .replace(
            "\"models\": [\"tiny\"],",
            "\"models\": [\"tiny\"], \"network\": \"tailnet\",",
        )
        .replace(
            &format!("\"{CAPABILITY}\": [{{ \"role\": \"admin\" }}]"),
            &format!("\"{CAPABILITY}\": [{{ \"role\": \"admin\" }}, {{ \"models\": \"**\" }}]"),
        );
    let gateway = one.start(&world.headscale.tag_key("tag:ai")?).await?;
    one.joined().await?;
    let ask = |model: String| {
        let one = &one;
        async move {
            let body = json!({
                "model": model, "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 1,
            });
            let mut gateway = Connection::local(&one.local).await?;
            gateway.post(CHAT, body.to_string()).await
        }
    };
    for (id, place) in &places {
        let reply = ask(format!("{id}/m")).await?;
        let host = place.split(':').next().unwrap_or_default();
        ensure!(reply.status == 502, "{id}: {reply:?}");
        let said = reply.text();
        ensure!(
            said.contains(host) && said.contains("not an address on the tailnet"),
            "{id}: {said}"
        );
    }
    ensure!(
        here.accept().is_err(),
        "it was dialed over the machine's network"
    );
    // What is on the tailnet is reached.
    until("the provider on the tailnet", 60, || async {
        let reply = ask("private/tiny".to_owned()).await?;
        ensure!(reply.status == 200, "{reply:?}");
        Ok(())
    })
    .await
    .with_context(|| gateway.process.log())
}

/// A capability that can't be read is logged when it appears, and not for each request.
async fn an_unreadable_capability_is_logged_once(world: &World) -> anyhow::Result<()> {
    let count = || {
        let log = world.gateway.process.log();
        log.matches("a capability of the policy grants nothing")
            .count()
    };
    let before = count();
    let broken = |what: &str| json!([{ "role": "user" }, { "models": [what] }]);
    let mut ai = Connection::from(&world.alice, "ai").await?;
    for (nth, what) in ["first", "second"].into_iter().enumerate() {
        world.headscale.give(&broken(what))?;
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while count() < before + nth + 1 {
            ensure!(std::time::Instant::now() < end, "{what} is not logged");
            ai.get("/api/whoami").await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for _ in 0..20 {
            ai.get("/api/whoami").await?;
            ai.post(CHAT, chat(json!({ "max_tokens": 1 }))).await?;
        }
        let found = count() - before;
        ensure!(found == nth + 1, "{found} lines for {} changes", nth + 1);
    }
    world.headscale.grant(true)
}
