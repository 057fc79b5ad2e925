//! Two gateways on loopback, one where the browser's caller is an admin and one where they are a
//! user, with records of a month and a provider at the wire.

use std::path::Path;

use anyhow::Context;
use iris::app::demo;
use iris::app::{Options, Running, start};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::provider::{self, Provider};
use crate::{seed, team};
use support::browser::Browser;

pub(crate) struct World {
    /// Addresses such as `http://127.0.0.1:4711`.
    pub(crate) admin: String,
    pub(crate) user: String,
    /// One with the records of a team, for pictures.
    pub(crate) team: String,
    browser: Browser,
    running: Vec<Running>,
    provider: Provider,
    _demo: demo::Provider,
    _dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let browser = tokio::task::block_in_place(Browser::prepare)?;
        let dir = tempfile::tempdir()?;
        let demo = demo::Provider::start().await?;
        let provider = Provider::start().await?;
        let mut running = Vec::new();
        let mut urls = Vec::new();
        for name in ["admin", "user", "team"] {
            let config = match name {
                "team" => team_config(),
                role => config(role, &demo, &provider),
            };
            let gateway = gateway(&dir.path().join(name), &config, name == "team").await?;
            let address = gateway.loopback().context("no door on loopback")?;
            urls.push(format!("http://{address}"));
            running.push(gateway);
        }
        let team = urls.pop().unwrap_or_default();
        let user = urls.pop().unwrap_or_default();
        let admin = urls.pop().unwrap_or_default();
        Ok(Self {
            admin,
            user,
            team,
            browser,
            running,
            provider,
            _demo: demo,
            _dir: dir,
        })
    }

    /// Runs the script of a journey; it tells on its own what went wrong.
    pub(crate) async fn journey(&self, name: &str) -> anyhow::Result<bool> {
        let provider = self.provider.url();
        let given = [
            ("ADMIN", self.admin.as_str()),
            ("USER_GATEWAY", &self.user),
            ("TEAM", &self.team),
            ("PROVIDER", &provider),
            ("PLANTED", provider::PLANTED),
        ];
        self.browser.play(name, &given).await
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for gateway in self.running {
            gateway.stop().await?;
        }
        Ok(())
    }
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
                "models": ["qwen3-coder", "failing", "thinking"],
            },
        },
        "prices": {
            "demo/demo": { "input": "1", "output": "2" },
        },
        "guards": {
            "words": { "kind": "patterns", "patterns": ["forbidden-[a-z]+"], "action": "block" },
        },
        "quotas": {
            "daily:<user>": { "capacity": "$5.00", "rate": "$5.00/day" },
            "monthly": { "capacity": "$400.00", "rate": "$400.00/month" },
        },
        "grants": [
            { "src": ["(loopback)"], "app": { cap: [
                { "role": role },
                { "models": "**", "guards": ["words"], "quotas": [{ "bucket": "daily:<user>" }, { "bucket": "monthly" }] },
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

/// What a team of that kind would have. Nobody asks these providers anything.
fn team_config() -> Value {
    let cap = "tailscale.com/cap/aperture";
    let provider = |name: &str, models: &[&str]| json!({ "name": name, "baseurl": "http://127.0.0.1:9/v1", "models": models });
    json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": "127.0.0.1:0" },
        "discover": { "hosts": [nearby()] },
        "providers": {
            "anthropic": provider(
                "Anthropic",
                &["claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-5-5"],
            ),
            "google": provider("Google", &["gemini-3.8-flash"]),
            "gpu-rack": provider("GPU rack", &["qwen3-coder-30b"]),
            "openai": provider("OpenAI", &["gpt-6.1-sol"]),
        },
        "prices": { "gpu-rack/**": { "input": "0", "output": "0" } },
        "grants": [{ "src": ["(loopback)"], "app": { cap: [{ "role": "admin" }, { "models": "**" }] } }],
    })
}

async fn gateway(dir: &Path, config: &Value, is_team: bool) -> anyhow::Result<Running> {
    let state = dir.join("state");
    std::fs::create_dir_all(&state)?;
    let path = dir.join("iris.hujson");
    std::fs::write(&path, format!("{config:#}"))?;
    let options = Options {
        config: Some(path.clone()),
        state_dir: state.clone(),
    };
    let file = iris::config::load(&path).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    let url = file.file.database.url.expose();
    if is_team {
        team::fill(url, &state).await?;
    } else {
        seed::fill(url, &state).await?;
    }
    start(&options).await
}
