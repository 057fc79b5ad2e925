//! Real model servers on this machine: `iris serve` without a configuration offers all formats that they
//! speak, `iris init` writes a file that does the same, and each request has a correct record.
//!
//! `cargo test --test models` asks llama-server, which the tests build anyway. The others are large and
//! run only when they are named: `cargo test --test models -- llama ollama vllm`.
//!
//! Each server listens at its usual port, where it is looked for, so each has a network namespace.
#![expect(clippy::print_stdout, reason = "a harness tells how tests went")]
#![expect(
    unreachable_pub,
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a program of its own, whose helpers are shared and fail as its tests do"
)]

mod asked;
#[path = "../loopback/support.rs"]
mod support;
#[path = "../tally/mod.rs"]
mod tally;
#[path = "../loopback/terminal.rs"]
mod terminal;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use serde_json::Value;

use tally::Tally;
use terminal::Terminal;

/// The argument with which the test starts itself inside a namespace.
const INSIDE: &str = "--inside";
/// Where a gateway without a configuration serves, and one of `iris init` for this machine.
const GATEWAY: &str = "127.0.0.1:8088";

/// A server, and what it speaks.
pub struct Server {
    word: &'static str,
    /// Its id as a provider.
    pub id: &'static str,
    port: u16,
    /// The model as it lists it.
    pub listed: &'static str,
    pub formats: &'static [&'static str],
}

const SERVERS: [Server; 3] = [
    Server {
        word: "llama",
        id: "llamacpp",
        port: 8080,
        listed: "tiny",
        formats: &[
            "chat",
            "responses",
            "messages",
            "count_tokens",
            "embeddings",
        ],
    },
    Server {
        word: "ollama",
        id: "ollama",
        port: 11434,
        listed: "tiny:latest",
        formats: &["chat", "responses", "messages", "embeddings"],
    },
    Server {
        word: "vllm",
        id: "vllm",
        port: 8000,
        listed: "tiny",
        formats: &["chat", "responses", "messages", "count_tokens"],
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [inside, word] = arguments.as_slice()
        && inside == INSIDE
    {
        let server = SERVERS.iter().find(|server| server.word == word).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(judged(server));
        return ExitCode::SUCCESS;
    }
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let mut tally = Tally::default();
    for server in SERVERS {
        let is_wanted =
            words.contains(&server.word) || (words.is_empty() && server.word == "llama");
        if !is_wanted {
            println!("{} runs when it is named: just models", server.word);
            continue;
        }
        let began = Instant::now();
        let outcome = if in_namespace(&server) {
            Ok(())
        } else {
            Err("what is above says how".to_owned())
        };
        tally.end(server.word, began.elapsed(), outcome);
    }
    tally.close()
}

/// Builds what a server needs, and starts this program once more where it can have its port.
fn in_namespace(server: &Server) -> bool {
    // The model of llama-server is Ollama's too.
    let mut parts = prepared("prepare.sh", &[]);
    if server.word != "llama" {
        parts.extend(prepared("models.sh", &[server.word]));
    }
    let user = Command::new("id").arg("-u").output().unwrap();
    let mut command = Command::new("unshare");
    if user.stdout.trim_ascii() != b"0" {
        command.arg("--map-root-user");
    }
    command
        // With a namespace of processes all children of a server end with it: vLLM has several.
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args([INSIDE, server.word])
        .envs(
            parts
                .iter()
                .map(|(name, path)| (format!("PART_{name}"), path)),
        );
    command.status().is_ok_and(|status| status.success())
}

fn prepared(script: &str, arguments: &[&str]) -> HashMap<String, PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/servers")
        .join(script);
    let output = Command::new(path)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output();
    let output = output.unwrap_or_else(|error| panic!("{script}: {error}"));
    assert!(output.status.success(), "the message of {script} is above");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .map(|(name, path)| (name.to_owned(), path.into()))
        .collect()
}

fn part(name: &str) -> String {
    std::env::var(format!("PART_{name}")).unwrap_or_else(|_| panic!("{name} was not prepared"))
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn stop(mut self) {
        let id = self.0.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "it ended with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What happens inside.
async fn judged(server: &Server) {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.unwrap().success(), "loopback is up");
    let dir = tempfile::tempdir().unwrap();
    let _server = started(server, dir.path()).await;

    let state = dir.path().join("found");
    let log = dir.path().join("found.log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
    // There is no configuration where it looks for one.
    command
        .current_dir(dir.path())
        .env_remove("IRIS_CONFIG")
        .args(["serve", "--state-dir", name(&state)]);
    let gateway = Process::start(&mut command, &log);
    offered(server, &log).await;
    asked::all(gateway_address(), server, server.id).await;
    gateway.stop();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains(server.formats[0]), "{text}");

    let file = dir.path().join("iris.hujson");
    configured(server, &file);
    let text = std::fs::read_to_string(&file).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["check", "--strict", name(&file)])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}{text}");
    let state = dir.path().join("configured");
    let log = dir.path().join("configured.log");
    let gateway = Process::start(
        Command::new(env!("CARGO_BIN_EXE_iris")).args([
            "serve",
            "--config",
            name(&file),
            "--state-dir",
            name(&state),
        ]),
        &log,
    );
    offered(server, &log).await;
    asked::all(gateway_address(), server, server.id).await;
    gateway.stop();
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn gateway_address() -> SocketAddr {
    GATEWAY.parse().unwrap()
}

/// The server, once it lists its model.
async fn started(server: &Server, dir: &Path) -> Process {
    let log = dir.join("server.log");
    let mut command = match server.word {
        "llama" => {
            let mut command = Command::new(part("llama_server"));
            command
                .args(["-m", &part("model"), "--alias", "tiny", "--jinja"])
                .args(["--port", "8080", "-c", "16384", "-np", "2", "-t", "2"])
                .args(["--embeddings", "--pooling", "mean"]);
            command
        }
        "ollama" => {
            let mut command = Command::new(part("ollama"));
            command
                .arg("serve")
                .env("HOME", dir)
                .env("OLLAMA_HOST", "127.0.0.1:11434")
                .env("OLLAMA_MODELS", dir.join("models"));
            command
        }
        _ => {
            let mut command = Command::new(part("vllm"));
            command
                .args(["serve", &part("vllm_model"), "--served-model-name", "tiny"])
                .args([
                    "--host",
                    "127.0.0.1",
                    "--port",
                    "8000",
                    "--max-model-len",
                    "1024",
                ])
                .args(["--enforce-eager", "--dtype", "bfloat16"])
                .env("HOME", dir)
                .env("HF_HUB_OFFLINE", "1")
                .env("VLLM_CPU_KVCACHE_SPACE", "1")
                .env("VLLM_NO_USAGE_STATS", "1")
                .env("DO_NOT_TRACK", "1");
            command
        }
    };
    let process = Process::start(&mut command, &log);
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    if server.word == "ollama" {
        until("ollama", &log, || async {
            get(address, "/v1/models").await.is_some()
        })
        .await;
        created(dir);
    }
    until(server.word, &log, || async {
        get(address, "/v1/models")
            .await
            .is_some_and(|list| lists(&list, server.listed))
    })
    .await;
    process
}

/// Makes Ollama's model of the file that llama-server has.
fn created(dir: &Path) {
    let template = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n\
                    {{ end }}<|im_start|>assistant\n";
    let text = format!(
        "FROM {}\nPARAMETER num_ctx 2048\nPARAMETER num_predict 64\nTEMPLATE \"\"\"{template}\"\"\"\n",
        part("model")
    );
    let file = dir.join("Modelfile");
    std::fs::write(&file, text).unwrap();
    let made = Command::new(part("ollama"))
        .args(["create", "tiny", "-f", name(&file)])
        .env("HOME", dir)
        .env("OLLAMA_HOST", "127.0.0.1:11434")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// Waits until the gateway offers the model.
async fn offered(server: &Server, log: &Path) {
    until("iris", log, || async {
        let list = get(gateway_address(), "/v1/models").await;
        list.is_some_and(|list| lists(&list, server.listed))
    })
    .await;
}

fn lists(list: &Value, model: &str) -> bool {
    let rows = list["data"].as_array();
    rows.is_some_and(|rows| rows.iter().any(|row| row["id"] == model))
}

async fn until<F: Future<Output = bool>>(what: &str, log: &Path, is_so: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_mins(4);
    while !is_so().await {
        let text = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < end, "{what} is not ready: {}", text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Option<Value> {
    let request = Request::get(path).body(Full::default()).unwrap();
    let reply = support::send_to(address, request).await.ok()?;
    let json = serde_json::from_slice(&reply.body).ok();
    json.filter(|_| reply.status.is_success())
}

/// Writes a configuration as a person does who takes every default.
fn configured(server: &Server, file: &Path) {
    let mut terminal = Terminal::start(&["init", "--control", "loopback", "--output", name(file)]);
    terminal.wait_for("Providers of models:");
    terminal.wait_for(&format!("on this machine: {}", server.listed));
    terminal.wait_for(&format!("({})", server.formats.join(", ")));
    terminal.wait_for("[1]: ");
    terminal.type_in("\n");
    terminal.wait_for(&format!("Added {} with 1 model.", server.id));
    terminal.wait_for("[done]: ");
    terminal.type_in("\n");
    terminal.wait_for("[no limit]: ");
    terminal.type_in("\n");
    let (code, said) = terminal.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("iris connect claude-code") && said.contains("iris connect codex"),
        "{said}"
    );
}
