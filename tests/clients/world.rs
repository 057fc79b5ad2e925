//! The gateway on loopback between the clients and two providers: an inference server with a tiny
//! model, and the provider at the wire.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use iris::app::{Options, Running, start};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::parts::{Parts, Process, end_daemons};
use crate::provider::{self, Provider, Served};
use crate::scripted::Scripted;
use support::process::free_address;

/// The model of the inference server.
pub const TINY: &str = "tiny";
/// One of each format that the inference server and the provider at the wire speak.
pub const SINGLE: [Single; 7] = [
    Single::new("tiny-chat", "openai_chat", Server::Llama),
    Single::new("tiny-messages", "anthropic_messages", Server::Llama),
    Single::new("wire-chat", "openai_chat", Server::Wire),
    Single::new("wire-responses", "openai_responses", Server::Wire),
    Single::new("wire-messages", "anthropic_messages", Server::Wire),
    Single::new("wire-gemini", "gemini_generate_content", Server::Wire),
    Single::new("wire-converse", "bedrock_converse", Server::Wire),
];
/// Those of the large servers, which are started on request.
pub const LARGE: [Single; 2] = [
    Single::new("on-ollama", "ollama", Server::Ollama),
    Single::new("on-vllm", "openai_chat", Server::Vllm),
];
/// A gateway that is left out has no records.
const DIRECT: &str = "direct";

/// A model that a provider has in one format alone. The provider has the model's name.
#[derive(Clone, Copy, Debug)]
pub struct Single {
    pub model: &'static str,
    pub format: &'static str,
    pub server: Server,
}

/// What serves a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The inference server, whose model writes at random.
    Llama,
    /// A real Ollama with a model that reads the note.
    Ollama,
    /// A real vLLM with such a model.
    Vllm,
    /// The provider at the wire.
    Wire,
}

impl Single {
    const fn new(model: &'static str, format: &'static str, server: Server) -> Self {
        Self {
            model,
            format,
            server,
        }
    }

    /// Whether its model writes at random.
    pub fn is_random(&self) -> bool {
        self.server == Server::Llama
    }
}

/// The names of all models.
pub fn models() -> BTreeSet<&'static str> {
    let single = SINGLE.iter().map(|single| single.model);
    single
        .chain([TINY, provider::MODEL, provider::OWN])
        .collect()
}

pub struct World {
    gateways: Vec<Running>,
    /// The models that one provider has in one format.
    pub singles: &'static [Single],
    pub provider: Provider,
    scripted: Scripted,
    llama: String,
    /// Where the clients find the gateway, and one that grants nothing.
    gateway: String,
    closed: String,
    path: String,
    /// Where the clients are kept between runs.
    pub cache: PathBuf,
    folders: AtomicUsize,
    _inference: Process,
    dir: TempDir,
}

impl World {
    pub async fn start(singles: &'static [Single]) -> anyhow::Result<Self> {
        let parts = &Parts::prepare()?;
        let direct = std::env::var_os("IRIS_CLIENTS_DIRECT").is_some();
        let dir = tempfile::tempdir()?;
        let root = dir.path();
        // Found by the scripts above their own folder.
        std::os::unix::fs::symlink(&parts.node_modules, root.join("node_modules"))?;
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/scripts");
        for entry in std::fs::read_dir(scripts)? {
            let entry = entry?;
            std::fs::copy(entry.path(), root.join(entry.file_name()))?;
        }
        let note = root.join("note.txt");
        std::fs::write(&note, format!("{}\n", provider::WORD))?;
        let scripted = Scripted::start(singles, &parts.model_python, root, &note).await?;
        let provider = Provider::start(note).await?;
        let (inference, llama) = inference(parts, root).await?;
        let wire = format!("http://{}", provider.address);
        let (mut gateways, mut urls) = (Vec::new(), [DIRECT.to_owned(), DIRECT.to_owned()]);
        if !direct {
            for (name, url) in ["open", "closed"].into_iter().zip(&mut urls) {
                let mut config = config(&llama, &wire, name == "open");
                for single in singles {
                    config["providers"][single.model] = json!({
                        "baseurl": match single.server {
                            Server::Llama => llama.clone(),
                            Server::Wire => wire.clone(),
                            Server::Ollama | Server::Vllm => scripted.base(single.model)?,
                        },
                        "models": [single.model],
                        "compatibility": { single.format: true },
                    });
                }
                let running = gateway(&root.join(name), &config).await?;
                let address = running.loopback().context("no door on loopback")?;
                *url = format!("http://{address}");
                gateways.push(running);
            }
        }
        let [gateway, closed] = urls;
        let path = format!(
            "{}:{}:{}",
            parts.python.display(),
            root.join("node_modules/.bin").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        Ok(Self {
            gateways,
            singles,
            provider,
            scripted,
            llama,
            gateway,
            closed,
            path,
            cache: parts.node_modules.clone(),
            folders: AtomicUsize::new(0),
            _inference: inference,
            dir,
        })
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        for gateway in std::mem::take(&mut self.gateways) {
            gateway.stop().await?;
        }
        Ok(())
    }

    /// What providers have served since this was last asked.
    pub fn served(&self) -> Vec<Served> {
        let mut served = self.provider.take();
        served.extend(self.scripted.take());
        served
    }

    /// Whether the gateway is left out.
    pub fn direct(&self) -> bool {
        self.gateway == DIRECT
    }

    /// Where a client finds a model.
    pub fn base(&self, model: &str) -> String {
        match model {
            _ if !self.direct() => self.gateway.clone(),
            TINY => self.llama.clone(),
            _ => format!("http://{}", self.provider.address),
        }
    }

    /// Where there is a gateway that grants nothing.
    pub fn closed(&self, model: &str) -> String {
        if self.direct() {
            self.base(model)
        } else {
            self.closed.clone()
        }
    }

    /// A file of the world, such as a client's script.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An empty home and working folder for one client.
    pub fn home(&self) -> anyhow::Result<PathBuf> {
        let nth = self.folders.fetch_add(1, Ordering::Relaxed);
        let home = self.dir.path().join(format!("home-{nth}"));
        std::fs::create_dir_all(&home)?;
        Ok(home)
    }

    /// A client's command, which inherits nothing from the environment of the test.
    pub fn command(&self, program: &str, home: &Path) -> Command {
        // Found here, for `Command` would look along our own path.
        let found = std::env::split_paths(&self.path)
            .map(|dir| dir.join(program))
            .find(|path| path.exists());
        let mut command = Command::new(found.unwrap_or_else(|| program.into()));
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("NO_COLOR", "1")
            .env("DO_NOT_TRACK", "1")
            .current_dir(home);
        command
    }

    /// All records, the newest first; none without a gateway.
    pub async fn records(&self) -> anyhow::Result<Vec<Value>> {
        if self.direct() {
            return Ok(Vec::new());
        }
        let host = self.gateway.trim_start_matches("http://");
        let answer = get(host, "/api/requests?limit=1000").await?;
        let list = answer["requests"].as_array().cloned();
        list.with_context(|| format!("no records in {answer}"))
    }

    /// Every decision on a request, in the words of its record.
    pub async fn decisions(&self, id: &str) -> anyhow::Result<Vec<String>> {
        let host = self.gateway.trim_start_matches("http://");
        let explained = get(host, &format!("/api/requests/{id}/explain")).await?;
        Ok(serde_json::from_value(explained["decisions"].clone())?)
    }

    /// The JSON at a path of the gateway.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        get(self.gateway.trim_start_matches("http://"), path).await
    }

    /// What the clients called themselves, with the names that the gateway gave them.
    pub async fn user_agents(&self) -> BTreeSet<String> {
        let records = self.records().await.unwrap_or_default();
        records
            .iter()
            .map(|row| format!("{} is {}", row["user_agent"], row["agent"]))
            .collect()
    }
}

/// Starts the inference server and waits until it answers.
async fn inference(parts: &Parts, root: &Path) -> anyhow::Result<(Process, String)> {
    let port = free_address().port();
    let dir = root.join("inference");
    std::fs::create_dir(&dir)?;
    let process = Process::start(
        Command::new(&parts.llama_server)
            .arg("-m")
            .arg(&parts.model)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["-c", "16384", "-np", "4", "-t", "2", "--alias", TINY])
            .args(["--jinja", "--embeddings", "--pooling", "mean"]),
        &dir,
    )?;
    let host = format!("127.0.0.1:{port}");
    for _ in 0..400 {
        if get(&host, "/health")
            .await
            .is_ok_and(|health| health["status"] == "ok")
        {
            return Ok((process, format!("http://{host}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("llama-server does not answer; {}", process.log())
}

/// The configuration of a gateway that grants everything to local callers, or nothing.
fn config(llama: &str, wire: &str, open: bool) -> Value {
    let granted = json!([{
        "src": ["(loopback)"],
        "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**" }, { "direct_paths": ["/wire/v1/models"] },
        ] },
    }]);
    json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": "127.0.0.1:0" },
        "grants": if open { granted } else { json!([]) },
        "providers": {
            "llama": {
                "baseurl": llama,
                "models": [TINY],
                "compatibility": {
                    "openai_chat": true,
                    "openai_responses": true,
                    "anthropic_messages": true,
                },
            },
            // The same server, to which each caller brings a login.
            "own": {
                "baseurl": wire,
                "models": [provider::OWN],
                "auth_mode": "passthrough",
                "compatibility": { "openai_responses": true, "anthropic_messages": true },
            },
            "wire": {
                "baseurl": wire,
                "models": [provider::MODEL],
                "compatibility": {
                    "openai_chat": true,
                    "openai_responses": true,
                    "openai_responses_websocket": true,
                    "openai_realtime": true,
                    "gemini_live": true,
                    "anthropic_messages": true,
                    "gemini_generate_content": true,
                    "bedrock_converse": true,
                    "bedrock_model_invoke": true,
                },
            },
        },
    })
}

/// Starts a gateway with a configuration, and a folder of its own.
pub async fn gateway(dir: &Path, config: &Value) -> anyhow::Result<Running> {
    std::fs::create_dir(dir)?;
    let path = dir.join("iris.hujson");
    std::fs::write(&path, config.to_string())?;
    start(&Options {
        config: Some(path),
        state_dir: dir.join("state"),
    })
    .await
}

/// The JSON at a path.
pub async fn get(host: &str, path: &str) -> anyhow::Result<Value> {
    let stream = TcpStream::connect(host).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", host)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status.is_success(), "{path}: {status}");
    Ok(serde_json::from_slice(&body)?)
}

impl Drop for World {
    fn drop(&mut self) {
        end_daemons(self.dir.path());
    }
}
