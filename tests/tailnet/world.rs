//! A whole tailnet on this machine: a Headscale control server, an inference server on the loopback
//! interface of a node that offers it at its tailnet address, the gateway under test, and nodes of callers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use iris::net::tailnet::{Node, Options, State};

use crate::headscale::Headscale;
use crate::http::Connection;
use crate::parts::{Parts, until};
use support::process::{Process, free_address};

/// Headscale keeps names below tailscale.com for itself.
pub const CAPABILITY: &str = "example.com/cap/ai";

/// A node of our own making on the tailnet.
pub async fn node(url: &str, dir: &Path, name: &str, key: String) -> anyhow::Result<Node> {
    let node = Node::embedded(Options {
        hostname: name.to_owned(),
        state_dir: dir.join(name),
        auth_key: Some(key),
        control_url: Some(url.to_owned()),
        ephemeral: true,
        ..Options::default()
    })
    .await?;
    let mut status = node.watch();
    tokio::time::timeout(
        Duration::from_mins(1),
        status.wait_for(|status| status.state == State::Running && !status.addresses.is_empty()),
    )
    .await
    .with_context(|| format!("{name} does not join the tailnet: {:?}", node.status()))??;
    Ok(node)
}

/// An inference server with the tiny model, on loopback.
pub struct Llama {
    process: Process,
    pub port: u16,
}

impl Llama {
    pub async fn start(parts: &Parts, dir: &Path) -> anyhow::Result<Self> {
        let port = free_address().port();
        let process = Process::start(
            Command::new(&parts.llama_server)
                .arg("-m")
                .arg(&parts.model)
                .args([
                    "--host",
                    "127.0.0.1",
                    "--port",
                    &port.to_string(),
                    "--alias",
                    "tiny",
                ])
                .args([
                    "-c",
                    "16384",
                    "-np",
                    "2",
                    "-t",
                    "1",
                    "--jinja",
                    "--slots",
                    "--threads-http",
                    "32",
                ]),
            &dir.join("llama.log"),
        )?;
        let llama = Self { process, port };
        until("llama-server", 30, || async {
            let health = llama.connection().await?.get("/health").await?;
            ensure!(health.status.is_success(), "{}", llama.process.log());
            Ok(())
        })
        .await?;
        Ok(llama)
    }

    pub async fn connection(&self) -> anyhow::Result<Connection> {
        Connection::local(&format!("127.0.0.1:{}", self.port)).await
    }
}

/// Offers a loopback port at a node's tailnet address, as `tailscale serve` would.
pub async fn offer(node: &Node, port: u16) -> anyhow::Result<String> {
    let mut listener = node.listen(8080).await?;
    tokio::spawn(async move {
        while let Ok(mut accepted) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                server.set_nodelay(true)?;
                tokio::io::copy_bidirectional(&mut accepted.stream, &mut server).await
            });
        }
    });
    let address = node
        .status()
        .addresses
        .iter()
        .find(|address| address.is_ipv4())
        .copied();
    Ok(format!(
        "http://{}:8080/v1",
        address.context("the node has no IPv4 address")?
    ))
}

/// The gateway under test: the program, as its users start it.
pub struct Gateway {
    pub process: Process,
    pub config: PathBuf,
    pub local: String,
}

impl Gateway {
    pub async fn start(dir: &Path, config: &str, local: String, key: &str) -> anyhow::Result<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_iris"));
        Self::start_as(program, dir, config, local, key).await
    }

    /// The same with another program.
    pub async fn start_as(
        program: &Path,
        dir: &Path,
        config: &str,
        local: String,
        key: &str,
    ) -> anyhow::Result<Self> {
        let path = dir.join("iris.hujson");
        std::fs::write(&path, config)?;
        let process = Process::start(
            Command::new(program)
                .args(["serve", "--config"])
                .arg(&path)
                .arg("--state-dir")
                .arg(dir.join("state"))
                .env("TS_AUTHKEY", key)
                .env("IRIS_LOG", "info"),
            &dir.join("iris.log"),
        )?;
        let mut gateway = Self {
            process,
            config: path,
            local,
        };
        until("the gateway", 60, || {
            let ended = gateway.process.ended();
            let local = gateway.local.clone();
            async move {
                ensure!(!ended, "it has ended");
                ensure!(
                    Connection::local(&local)
                        .await?
                        .get("/healthz")
                        .await?
                        .status
                        == 200
                );
                Ok(())
            }
        })
        .await
        .with_context(|| gateway.process.log())?;
        Ok(gateway)
    }

    /// The newest records, as the admin on this machine sees them.
    pub async fn records(&self, query: &str) -> anyhow::Result<Vec<serde_json::Value>> {
        let path = format!("/api/requests?{query}");
        let mut answer = Connection::local(&self.local)
            .await?
            .get(&path)
            .await?
            .json()?;
        match answer["requests"].take() {
            serde_json::Value::Array(rows) => Ok(rows),
            other => anyhow::bail!("{other} is no list"),
        }
    }
}

/// Everything together.
pub struct World {
    pub parts: Parts,
    pub headscale: Headscale,
    pub llama: Llama,
    pub gateway: Gateway,
    pub alice: Node,
    pub bob: Node,
    pub ci: Node,
    pub provider: String,
    /// Where the hook of the configuration is told.
    pub hooks: std::net::TcpListener,
    _gpu: Node,
    pub dir: tempfile::TempDir,
}

impl World {
    pub async fn start(parts: Parts) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (headscale, llama) = tokio::try_join!(
            Headscale::start(&parts, dir.path()),
            Llama::start(&parts, dir.path())
        )?;
        let (alice_key, bob_key) = (headscale.user_key("1")?, headscale.user_key("2")?);
        let (gpu_key, ci_key) = (headscale.tag_key("tag:gpu")?, headscale.tag_key("tag:ci")?);
        let join = |name: &'static str, key| node(&headscale.url, dir.path(), name, key);
        let (gpu, alice, bob, ci) = tokio::try_join!(
            join("gpu", gpu_key),
            join("alice-laptop", alice_key),
            join("bob-laptop", bob_key),
            join("ci-runner", ci_key),
        )?;
        let provider = offer(&gpu, llama.port).await?;
        let local = format!("127.0.0.1:{}", free_address().port());
        let hooks = std::net::TcpListener::bind("127.0.0.1:0")?;
        let config = config(
            &headscale.url,
            &provider,
            (&local, hooks.local_addr()?),
            false,
        );
        let key = headscale.tag_key("tag:ai")?;
        let gateway = Gateway::start(dir.path(), &config, local, &key).await?;
        let world = Self {
            parts,
            headscale,
            llama,
            gateway,
            alice,
            bob,
            ci,
            provider,
            hooks,
            _gpu: gpu,
            dir,
        };
        // The first contact of two fresh nodes takes a while.
        let meet = |node| {
            until("http://ai", 60, move || async move {
                Connection::from(node, "ai").await?.get("/healthz").await
            })
        };
        tokio::try_join!(meet(&world.alice), meet(&world.bob), meet(&world.ci))
            .with_context(|| world.gateway.process.log())?;
        Ok(world)
    }

    /// Rewrites the configuration, with or without a grant for the tagged device.
    pub fn configure(&self, ci: bool) -> anyhow::Result<()> {
        let places = (self.gateway.local.as_str(), self.hooks.local_addr()?);
        let text = config(&self.headscale.url, &self.provider, places, ci);
        let new = self.gateway.config.with_extension("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, &self.gateway.config)?)
    }
}

/// Bob has a role and no models; alice has what the tailnet policy gives her; the tagged
/// device has nothing unless `ci` is set.
fn config(
    control: &str,
    provider: &str,
    (local, hooks): (&str, std::net::SocketAddr),
    ci: bool,
) -> String {
    let ci = if ci {
        format!(
            r#"{{ "src": ["tag:ci"], "app": {{ "{CAPABILITY}": [{{ "role": "user" }}, {{ "models": "private/tiny" }}] }} }},"#
        )
    } else {
        String::new()
    };
    format!(
        r#"// A gateway for a team.
{{
  "tailnet": {{
    "hostname": "ai",
    "auth_key": "${{TS_AUTHKEY}}",
    "control_url": "{control}",
    "capabilities": ["{CAPABILITY}"],
  }},
  "listen": {{ "https": "", "loopback": "{local}" }},
  "providers": {{
    "private": {{
      "baseurl": "{provider}",
      "models": ["tiny"],
    }},
  }},
  // For grants of the tailnet policy.
  "quotas": {{ "policy:<user>": {{ "capacity": "2 requests" }} }},
  "guards": {{ "words": {{ "kind": "patterns", "patterns": ["FORBIDDEN"] }} }},
  "hooks": {{ "told": {{ "url": "http://{hooks}/" }} }},
  "grants": [
    {{ "src": ["(loopback)"], "app": {{ "{CAPABILITY}": [{{ "role": "admin" }}] }} }},
    {{ "src": ["bob"], "app": {{ "{CAPABILITY}": [{{ "role": "user" }}] }} }},
    {ci}
  ],
}}
"#
    )
}
