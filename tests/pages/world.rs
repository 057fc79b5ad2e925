//! Two gateways on loopback, one where the browser's caller is an admin and one where they are a
//! user, with records of a month and a provider at the wire.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use iris::demo;
use iris::server::{Options, Running, start};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::provider::{self, Provider};
use crate::seed;

/// A journey at most: the one that looks at every page is the longest.
const LIMIT: Duration = Duration::from_mins(8);

pub(crate) struct World {
    /// Addresses such as `http://127.0.0.1:4711`.
    pub(crate) admin: String,
    pub(crate) user: String,
    parts: HashMap<String, PathBuf>,
    running: Vec<Running>,
    provider: Provider,
    _demo: demo::Provider,
    dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let parts = tokio::task::block_in_place(prepare)?;
        let dir = tempfile::tempdir()?;
        let demo = demo::Provider::start().await?;
        let provider = Provider::start().await?;
        let mut running = Vec::new();
        let mut urls = Vec::new();
        for role in ["admin", "user"] {
            let config = config(role, &demo, &provider);
            let gateway = gateway(&dir.path().join(role), &config).await?;
            let address = gateway.loopback().context("no door on loopback")?;
            urls.push(format!("http://{address}"));
            running.push(gateway);
        }
        let user = urls.pop().unwrap_or_default();
        let admin = urls.pop().unwrap_or_default();
        Ok(Self {
            admin,
            user,
            parts,
            running,
            provider,
            _demo: demo,
            dir,
        })
    }

    /// Runs the script of a journey; it tells on its own what went wrong.
    pub(crate) async fn journey(&self, name: &str) -> anyhow::Result<bool> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Modules are looked for above the script's own folder.
        let scripts = self.dir.path().join("scripts");
        if !scripts.exists() {
            std::fs::create_dir(&scripts)?;
            std::os::unix::fs::symlink(self.part("node_modules")?, scripts.join("node_modules"))?;
            for entry in std::fs::read_dir(root.join("tests/pages/journeys"))? {
                let entry = entry?;
                std::fs::copy(entry.path(), scripts.join(entry.file_name()))?;
            }
        }
        let pictures = root.join("target/pages");
        std::fs::create_dir_all(&pictures)?;
        let mut child = tokio::task::block_in_place(|| {
            Command::new(self.part("node")?)
                .arg(scripts.join(format!("{name}.mjs")))
                .env("ADMIN", &self.admin)
                .env("USER_GATEWAY", &self.user)
                .env("PROVIDER", self.provider.url())
                .env("BROWSER", self.part("browser")?)
                .env("PICTURES", &pictures)
                .env("PLANTED", provider::PLANTED)
                .env("FIXTURES", root.join("tests/fixtures"))
                .stdin(Stdio::null())
                .spawn()
                .context("node does not start")
        })?;
        let end = std::time::Instant::now() + LIMIT;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            if std::time::Instant::now() > end {
                child.kill()?;
                child.wait()?;
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn part(&self, name: &str) -> anyhow::Result<&PathBuf> {
        self.parts
            .get(name)
            .with_context(|| format!("{name} was not prepared"))
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for gateway in self.running {
            gateway.stop().await?;
        }
        Ok(())
    }
}

fn prepare() -> anyhow::Result<HashMap<String, PathBuf>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/browser.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output()?;
    ensure!(
        output.status.success(),
        "tests/servers/browser.sh failed; its message is above"
    );
    let text = String::from_utf8(output.stdout)?;
    let parts = text.lines().filter_map(|line| line.split_once('='));
    Ok(parts
        .map(|(name, path)| (name.to_owned(), path.into()))
        .collect())
}

/// An address of this machine where no other run of these tests listens.
fn nearby() -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{low}.9", 64 + high % 64)
}

fn config(role: &str, demo: &demo::Provider, provider: &Provider) -> Value {
    let cap = "tailscale.com/cap/aperture";
    json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": "127.0.0.1:0" },
        "discover": { "hosts": [nearby()] },
        "chat": { "history": if role == "admin" { "ledger" } else { "browser" } },
        "groups": { "group:research": ["ada@example.com", "grace@example.com"] },
        "providers": {
            "demo": {
                "name": "Built-in demo provider",
                "description": "Not a language model: it repeats what it is sent",
                "baseurl": format!("http://{}/v1", demo.address()),
                "models": ["demo"],
            },
            "anthropic": {
                "name": "Anthropic",
                "baseurl": format!("{}/anthropic", provider.url()),
                "models": ["claude-haiku-4-5", "claude-opus-4-5", "claude-sonnet-4-5"],
                "compatibility": { "anthropic_messages": true },
                "apikey": "a-key-that-no-page-may-show",
            },
            "lab": {
                "name": "Lab GPUs",
                "description": "Models of our own",
                "baseurl": format!("{}/v1", provider.url()),
                "models": ["qwen3-coder", "failing"],
            },
        },
        "prices": {
            "demo/demo": { "input": "1", "output": "2" },
        },
        "quotas": {
            "daily:<user>": { "capacity": "$5.00", "rate": "$5.00/day" },
            "monthly": { "capacity": "$400.00", "rate": "$400.00/month" },
        },
        "grants": [
            { "src": ["(loopback)"], "app": { cap: [
                { "role": role },
                { "models": "**", "quotas": [{ "bucket": "daily:<user>" }, { "bucket": "monthly" }] },
                { "filterable_headers": ["x-team"] },
            ] } },
            { "src": ["group:research"], "app": { cap: [
                { "role": "user" }, { "models": "anthropic/**" }, { "models": "lab/qwen*" },
            ] } },
            { "src": ["tag:ci"], "app": { cap: [{ "role": "user" }, { "models": "lab/**" }] } },
        ],
        "database": { "headers": { "filterable": [{ "name": "x-team" }] } },
    })
}

async fn gateway(dir: &Path, config: &Value) -> anyhow::Result<Running> {
    let state = dir.join("state");
    std::fs::create_dir_all(&state)?;
    let path = dir.join("iris.hujson");
    std::fs::write(&path, format!("{config:#}"))?;
    let options = Options {
        config: Some(path.clone()),
        state_dir: state.clone(),
    };
    let file = iris::config::load(&path).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    seed::fill(file.file.database.url.expose(), &state).await?;
    start(&options).await
}
