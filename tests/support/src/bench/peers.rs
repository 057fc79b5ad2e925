//! The gateways that are measured, and how each is started in front of the provider. Each logs what it logs by
//! itself, into nothing: what a log costs is part of what a gateway costs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{Running, free_port};

/// One peer.
pub struct Peer {
    pub name: &'static str,
    /// It is part of the quick form.
    pub quick: bool,
    pub is_there: fn() -> bool,
    pub start: fn(u16, &Path) -> Result<Started, String>,
    /// Its installed files: one program, or a folder.
    pub files: fn() -> Option<PathBuf>,
}

/// Where a peer takes requests, and in which words.
#[derive(Clone)]
pub struct Target {
    pub port: u16,
    pub path: &'static str,
    /// Before the name of each model.
    pub model_prefix: &'static str,
    /// Headers besides those that every request has.
    extra: Vec<(&'static str, String)>,
}

impl Target {
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.extra
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }
}

/// A peer that runs.
pub struct Started {
    pub running: Running,
    pub target: Target,
}

impl From<Running> for Started {
    fn from(running: Running) -> Self {
        let target = Target {
            port: running.port,
            path: "/v1/chat/completions",
            model_prefix: "",
            extra: Vec::new(),
        };
        Self { running, target }
    }
}

pub const ALL: &[Peer] = &[
    Peer {
        name: "iris",
        quick: true,
        is_there: || true,
        start: |upstream, dir| iris(upstream, dir, "openai_chat").map(Started::from),
        files: || Some(crate::iris()),
    },
    // Callers speak OpenAI's chat, as with all peers, and the provider is asked in Anthropic's messages.
    Peer {
        name: "iris translating",
        quick: true,
        is_there: || true,
        start: |upstream, dir| iris(upstream, dir, "anthropic_messages").map(Started::from),
        files: || None,
    },
    Peer {
        name: "direct",
        quick: true,
        is_there: || true,
        start: |upstream, _| Running::none(upstream).map(Started::from),
        files: || None,
    },
    Peer {
        name: "hyper",
        quick: true,
        is_there: || true,
        start: |upstream, dir| own("bare", upstream, dir).map(Started::from),
        files: || None,
    },
    Peer {
        name: "hyper+records",
        quick: true,
        is_there: || true,
        start: |upstream, dir| own("plain", upstream, dir).map(Started::from),
        files: || None,
    },
    Peer {
        name: "nginx",
        quick: true,
        is_there: || has("nginx"),
        start: |upstream, dir| nginx(upstream, dir).map(Started::from),
        files: || on_path("nginx"),
    },
    Peer {
        name: "haproxy",
        quick: false,
        is_there: || has("haproxy"),
        start: |upstream, dir| haproxy(upstream, dir).map(Started::from),
        files: || on_path("haproxy"),
    },
    Peer {
        name: "vllm-router",
        quick: false,
        is_there: || python("vllm-router").exists(),
        start: |upstream, _| router(upstream, &mut Command::new(python("vllm-router"))),
        files: || package("vllm_router_rs.abi3.so"),
    },
    Peer {
        name: "sglang-router",
        quick: false,
        is_there: || package("sglang_router").is_some(),
        start: |upstream, _| {
            let mut command = Command::new(python("sglang-router"));
            router(upstream, command.arg("launch"))
        },
        files: || package("sglang_router"),
    },
    Peer {
        name: "smg",
        quick: false,
        is_there: || package("smg").is_some(),
        start: |upstream, _| {
            // Not by its script, which has the name of another program.
            let mut command = Command::new(python("python"));
            let launch = ["-m", "smg", "launch", "--backend", "openai"];
            router(upstream, command.args(launch))
        },
        files: || package("smg"),
    },
    Peer {
        name: "liter-llm",
        quick: false,
        is_there: || installed("rust/bin/liter-llm").exists(),
        start: |upstream, dir| liter_llm(upstream, dir).map(Started::from),
        files: || Some(installed("rust/bin/liter-llm")),
    },
    Peer {
        name: "tensorzero",
        quick: false,
        is_there: || package("tensorzero").is_some(),
        start: tensorzero,
        files: || package("tensorzero"),
    },
    Peer {
        name: "portkey",
        quick: false,
        is_there: || portkey_script().exists(),
        start: portkey,
        files: || Some(installed("node/node_modules")),
    },
    Peer {
        name: "litellm",
        quick: false,
        is_there: || python("litellm").exists(),
        start: |upstream, dir| {
            let base = format!("http://127.0.0.1:{upstream}/v1");
            litellm("openai", &base, dir).map(Started::from)
        },
        files: || package("litellm"),
    },
    Peer {
        name: "litellm translating",
        quick: false,
        is_there: || python("litellm").exists(),
        start: |upstream, dir| {
            let base = format!("http://127.0.0.1:{upstream}");
            litellm("anthropic", &base, dir).map(Started::from)
        },
        files: || None,
    },
];

/// A file that `benches/peers/install.sh` has installed.
fn installed(path: &str) -> PathBuf {
    let target = crate::root().join("target/peers");
    target.join(path)
}

fn python(program: &str) -> PathBuf {
    installed("python/bin").join(program)
}

/// The folder of an installed Python package.
fn package(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(installed("python/lib")).ok()?;
    versions
        .flatten()
        .map(|version| version.path().join("site-packages").join(name))
        .find(|path| path.exists())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| path.exists())?;
    program.canonicalize().ok()
}

/// Whether a program is on the `PATH`.
fn has(program: &str) -> bool {
    on_path(program).is_some()
}

fn written(dir: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    Ok(path)
}

/// With everything on: identity, grants, budgets, prices, meters, durable records and captures. The provider is asked in
/// the format of this flag.
fn iris(upstream: u16, dir: &Path, flag: &str) -> Result<Running, String> {
    let port = free_port();
    let text = format!(
        r#"{{
  "tailnet": {{ "mode": "off" }},
  "listen": {{ "loopback": "127.0.0.1:{port}" }},
  "providers": {{ "fast": {{ "baseurl": "http://127.0.0.1:{upstream}", "models": ["small", "large", "slow"], "compatibility": {{ "{flag}": true }} }} }},
  "prices": {{ "small": {{ "input": "0.1", "output": "0.4" }}, "large": {{ "input": "0.1", "output": "0.4" }} }},
  "quotas": {{ "daily:<user>": {{ "capacity": "$1000000.00", "rate": "$1000000.00/day" }} }},
  "grants": [{{ "src": ["(loopback)"], "app": {{ "tailscale.com/cap/aperture": [
    {{ "role": "admin" }}, {{ "models": "**", "quotas": [{{ "bucket": "daily:<user>" }}] }}] }} }}],
}}"#
    );
    let config = written(dir, "iris.hujson", &text)?;
    let state = dir.join(format!("state-{port}"));
    Running::start(
        Command::new(crate::iris())
            .arg("serve")
            .arg("--config")
            .arg(config)
            .arg("--state-dir")
            .arg(state),
        port,
        Duration::from_secs(10),
    )
}

/// The least that a proxy over hyper costs, by itself or with records (`bare` and `plain` of the bench).
fn own(what: &str, upstream: u16, dir: &Path) -> Result<Running, String> {
    let port = free_port();
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Running::start(
        Command::new(program)
            .args([what, &port.to_string(), &upstream.to_string()])
            .arg(dir),
        port,
        Duration::from_secs(10),
    )
}

/// A plain proxy: what the least work costs.
fn nginx(upstream: u16, dir: &Path) -> Result<Running, String> {
    let port = free_port();
    let dir = dir.display();
    let text = format!(
        "daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log /dev/null;
events {{ worker_connections 20000; }}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off; keepalive_requests 1000000; }}
  }}
}}"
    );
    let config = written(Path::new(&dir.to_string()), "nginx.conf", &text)?;
    Running::start(
        Command::new("nginx").arg("-c").arg(config),
        port,
        Duration::from_secs(10),
    )
}

/// Another plain proxy.
fn haproxy(upstream: u16, dir: &Path) -> Result<Running, String> {
    let port = free_port();
    let text = format!(
        "global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  option http-keep-alive\n  option http-no-delay\nfrontend in\n  bind 127.0.0.1:{port}\n  default_backend out\nbackend out\n  http-reuse always\n  server provider 127.0.0.1:{upstream}\n"
    );
    let config = written(dir, "haproxy.cfg", &text)?;
    Running::start(
        Command::new("haproxy").arg("-db").arg("-f").arg(config),
        port,
        Duration::from_secs(10),
    )
}

/// One of the routers for model servers, which have a common ancestor and its options.
fn router(upstream: u16, command: &mut Command) -> Result<Started, String> {
    let port = free_port();
    let running = Running::start(
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--prometheus-port", &free_port().to_string()])
            .args(["--worker-urls", &format!("http://127.0.0.1:{upstream}")])
            .args(["--policy", "round_robin"]),
        port,
        Duration::from_mins(1),
    )?;
    Ok(Started::from(running))
}

/// With its own prices, a key, and a budget in memory.
fn liter_llm(upstream: u16, dir: &Path) -> Result<Running, String> {
    let port = free_port();
    let mut text = "[general]\nmaster_key = \"sk-bench\"\nenable_cost_tracking = true\n\
         [budget]\nglobal_limit = 1000000.0\n\
         [security]\noutbound_policy = \"off\"\n"
        .to_owned();
    for name in ["small", "large", "slow"] {
        let _ = write!(
            text,
            "[[models]]\nname = \"{name}\"\nprovider_model = \"openai/{name}\"\napi_key = \"sk-bench\"\n\
             base_url = \"http://127.0.0.1:{upstream}/v1\"\n"
        );
    }
    let config = written(dir, "liter-llm.toml", &text)?;
    Running::start(
        Command::new(installed("rust/bin/liter-llm"))
            .arg("api")
            .arg("--config")
            .arg(config)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()]),
        port,
        Duration::from_mins(1),
    )
}

/// `vendor` is whose API it asks the provider in.
fn litellm(vendor: &str, base: &str, dir: &Path) -> Result<Running, String> {
    let port = free_port();
    let model = |name: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params:\n      model: {vendor}/{name}\n      api_base: {base}\n      api_key: sk-bench\n"
        )
    };
    let models: String = ["small", "large", "slow"].into_iter().map(model).collect();
    let text = format!("model_list:\n{models}general_settings:\n  master_key: sk-bench\n");
    let config = written(dir, "litellm.yaml", &text)?;
    Running::start(
        Command::new(python("litellm"))
            .arg("--config")
            .arg(config)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        port,
        Duration::from_mins(2),
    )
}

/// Without its observability, which would need a database.
fn tensorzero(upstream: u16, dir: &Path) -> Result<Started, String> {
    let mut text = "[gateway]\nobservability.enabled = false\n".to_owned();
    for name in ["small", "large", "slow"] {
        let _ = write!(
            text,
            "[models.{name}]\nrouting = [\"p\"]\n[models.{name}.providers.p]\ntype = \"openai\"\n\
             model_name = \"{name}\"\napi_base = \"http://127.0.0.1:{upstream}/v1/\"\n\
             api_key_location = \"none\"\n"
        );
    }
    let config = written(dir, "tensorzero.toml", &text)?;
    let port = dir.join(format!("tensorzero-port-{}", free_port()));
    let running = Running::announced(
        Command::new(python("python"))
            .arg(crate::root().join("benches/peers/serve_tensorzero.py"))
            .arg(config)
            .arg(&port),
        &port,
        Duration::from_mins(1),
    )?;
    let mut started = Started::from(running);
    started.target.path = "/openai/v1/chat/completions";
    started.target.model_prefix = "tensorzero::model_name::";
    Ok(started)
}

fn portkey_script() -> PathBuf {
    installed("node/node_modules/@portkey-ai/gateway/build/start-server.js")
}

fn portkey(upstream: u16, _: &Path) -> Result<Started, String> {
    let port = free_port();
    let running = Running::start(
        Command::new("node")
            .arg(portkey_script())
            .args(["--headless", &format!("--port={port}")])
            // It forwards to addresses of this machine only if it is configured to trust them.
            .env("TRUSTED_CUSTOM_HOSTS", "127.0.0.1,localhost"),
        port,
        Duration::from_mins(1),
    )?;
    let mut started = Started::from(running);
    let host = format!("http://127.0.0.1:{upstream}/v1");
    started.target.extra = vec![
        ("x-portkey-provider", "openai".to_owned()),
        ("x-portkey-custom-host", host),
    ];
    Ok(started)
}
