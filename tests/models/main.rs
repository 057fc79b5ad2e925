//! Real model servers on this machine: `iris serve` without a configuration offers all formats that they
//! speak, `iris init` writes a file that does the same, and each request has a correct record.
//!
//! The tests build llama-server anyway. The others are large and run only on request:
//! `cargo test --test models -- --include-ignored`, or `--ignored vllm`.
//!
//! Each server listens at its usual port, where Iris searches for it, so each has a network namespace.
#![expect(
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a program of its own, whose helpers fail as its tests do"
)]

mod asked;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use serde_json::Value;

use support::harness;
use support::http::send_to;
use support::model_servers;
use support::parts::Parts;
use support::process::Process;
use support::terminal::Terminal;

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
        formats: &["chat", "responses", "messages", "embeddings", "ollama"],
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
    let tests = SERVERS.iter().map(|server| {
        let test = harness::trial(server.word, move || in_namespace(server));
        test.with_ignored_flag(server.word != "llama")
    });
    harness::run(tests.collect())
}

/// Builds what a server needs, and starts this program once more where it can have its port.
fn in_namespace(server: &Server) -> anyhow::Result<()> {
    // The model of llama-server is Ollama's too.
    let mut all = vec![Parts::prepare("prepare.sh", &[])?];
    if server.word != "llama" {
        all.push(Parts::prepare("models.sh", &[server.word])?);
    }
    let parts = all.iter().flat_map(Parts::iter);
    let status = support::namespace::unshare()
        // With a namespace of processes all children of a server end with it: vLLM has several.
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe()?)
        .args([INSIDE, server.word])
        .envs(parts.map(|(name, path)| (format!("PART_{name}"), path)))
        .status()?;
    anyhow::ensure!(status.success(), "what is above says how");
    Ok(())
}

fn part(name: &str) -> PathBuf {
    let path = std::env::var_os(format!("PART_{name}"));
    path.unwrap_or_else(|| panic!("{name} was not prepared"))
        .into()
}

/// What happens inside.
async fn judged(server: &Server) {
    support::namespace::ip("link set lo up");
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
    let gateway = Process::start(&mut command, &log).unwrap();
    offered(server, &log).await;
    asked::all(gateway_address(), server, server.id).await;
    stopped(gateway).await;
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
    )
    .unwrap();
    offered(server, &log).await;
    asked::all(gateway_address(), server, server.id).await;
    stopped(gateway).await;
}

/// It ends well once it is asked to.
async fn stopped(mut gateway: Process) {
    let status = gateway.stop().await.unwrap();
    assert!(status.success(), "it ended with {status}");
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
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let mut command = match server.word {
        "llama" => {
            let mut command = Command::new(part("llama_server"));
            command
                .arg("-m")
                .arg(part("model"))
                .args(["--alias", "tiny", "--jinja"])
                .args(["--port", "8080", "-c", "16384", "-np", "2", "-t", "2"])
                .args(["--embeddings", "--pooling", "mean"]);
            command
        }
        "ollama" => model_servers::ollama(&part("ollama"), dir, address),
        _ => {
            let (program, model) = (part("vllm"), part("vllm_model"));
            let mut command = model_servers::vllm(&program, dir, server.port, &model, "tiny");
            command.args(["--max-model-len", "1024"]);
            command
        }
    };
    let process = Process::start(&mut command, &log).unwrap();
    if server.word == "ollama" {
        until("ollama", &log, || async {
            get(address, "/v1/models").await.is_some()
        })
        .await;
        created(dir, address);
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
fn created(dir: &Path, address: SocketAddr) {
    let template = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n\
                    {{ end }}<|im_start|>assistant\n";
    let text = format!(
        "FROM {}\nPARAMETER num_ctx 2048\nPARAMETER num_predict 64\nTEMPLATE \"\"\"{template}\"\"\"\n",
        part("model").display()
    );
    model_servers::create(&part("ollama"), dir, address, "tiny", &text).unwrap();
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
    let reply = send_to(address, request).await.ok()?;
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
