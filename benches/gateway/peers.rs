//! Who is measured: how each is started in front of the provider.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Running, free_port};

/// One peer.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// It is part of the quick form.
    pub(crate) quick: bool,
    pub(crate) is_there: fn() -> bool,
    pub(crate) start: fn(u16, &Path) -> Result<Running, String>,
}

pub(crate) const ALL: &[Peer] = &[
    Peer {
        name: "iris",
        quick: true,
        is_there: || true,
        start: iris,
    },
    Peer {
        name: "direct",
        quick: true,
        is_there: || true,
        start: |upstream, _| Running::none(upstream),
    },
    Peer {
        name: "nginx",
        quick: true,
        is_there: || has("nginx"),
        start: nginx,
    },
    Peer {
        name: "haproxy",
        quick: false,
        is_there: || has("haproxy"),
        start: haproxy,
    },
    Peer {
        name: "vllm-router",
        quick: false,
        is_there: || has("vllm-router"),
        start: vllm_router,
    },
    Peer {
        name: "litellm",
        quick: false,
        is_there: || has("litellm"),
        start: litellm,
    },
];

/// Whether a program is there, in `IRIS_BENCH_PEERS` or on the `PATH`.
fn has(program: &str) -> bool {
    command(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

fn command(program: &str) -> Command {
    let installed = std::env::var_os("IRIS_BENCH_PEERS")
        .map(|dir| Path::new(&dir).join("bin").join(program))
        .filter(|path| path.exists());
    match installed {
        Some(path) => Command::new(path),
        None => Command::new(program),
    }
}

fn written(dir: &Path, name: &str, text: &str) -> Result<std::path::PathBuf, String> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    Ok(path)
}

/// With everything on: identity, grants, budgets, prices, meters, durable records and captures.
fn iris(upstream: u16, dir: &Path) -> Result<Running, String> {
    let port = free_port();
    let text = format!(
        r#"{{
  "tailnet": {{ "mode": "off" }},
  "listen": {{ "loopback": "127.0.0.1:{port}" }},
  "providers": {{ "fast": {{ "baseurl": "http://127.0.0.1:{upstream}", "models": ["small", "large", "slow"] }} }},
  "prices": {{ "small": {{ "input": "0.1", "output": "0.4" }}, "large": {{ "input": "0.1", "output": "0.4" }} }},
  "quotas": {{ "daily:<user>": {{ "capacity": "$1000000.00", "rate": "$1000000.00/day" }} }},
  "grants": [{{ "src": ["(loopback)"], "app": {{ "tailscale.com/cap/aperture": [
    {{ "role": "admin" }}, {{ "models": "**", "quotas": [{{ "bucket": "daily:<user>" }}] }}] }} }}],
}}"#
    );
    let config = written(dir, "iris.hujson", &text)?;
    let state = dir.join(format!("state-{port}"));
    Running::start(
        Command::new(env!("CARGO_BIN_EXE_iris"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .arg("--state-dir")
            .arg(state)
            .env("IRIS_LOG", "warn"),
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
        command("nginx").arg("-c").arg(config),
        port,
        Duration::from_secs(10),
    )
}

/// Another plain proxy.
fn haproxy(upstream: u16, dir: &Path) -> Result<Running, String> {
    let port = free_port();
    let text = format!(
        "global\n  nbthread 1\n  maxconn 20000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  option http-keep-alive\nfrontend in\n  bind 127.0.0.1:{port}\n  default_backend out\nbackend out\n  http-reuse always\n  server provider 127.0.0.1:{upstream}\n"
    );
    let config = written(dir, "haproxy.cfg", &text)?;
    Running::start(
        command("haproxy").arg("-db").arg("-f").arg(config),
        port,
        Duration::from_secs(10),
    )
}

fn vllm_router(upstream: u16, _: &Path) -> Result<Running, String> {
    let port = free_port();
    Running::start(
        command("vllm-router")
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--worker-urls", &format!("http://127.0.0.1:{upstream}")])
            .args(["--policy", "round_robin", "--log-level", "error"]),
        port,
        Duration::from_mins(1),
    )
}

fn litellm(upstream: u16, dir: &Path) -> Result<Running, String> {
    let port = free_port();
    let model = |name: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: sk-bench\n"
        )
    };
    let models: String = ["small", "large", "slow"].into_iter().map(model).collect();
    let text = format!("model_list:\n{models}general_settings:\n  master_key: sk-bench\n");
    let config = written(dir, "litellm.yaml", &text)?;
    Running::start(
        command("litellm")
            .arg("--config")
            .arg(config)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .env("LITELLM_LOG", "ERROR")
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        port,
        Duration::from_mins(2),
    )
}
