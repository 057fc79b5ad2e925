//! A real Ollama and a real vLLM whose model reads the note (`tests/servers/scripted_model.py`), each behind a relay
//! that remembers what it was asked and what it counted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::parts::Process;
use crate::provider::{Served, Usage, WORD};
use crate::world::{Server, Single, get};
use support::model_servers;
use support::parts::Parts;
use support::process::free_address;

/// What the model says when there is no tool to call.
pub const HELLO: &str = "Hello from a script!";
/// The longest that a server may take to list its model.
const START: Duration = Duration::from_mins(10);

/// The servers, which end when this is dropped.
pub struct Scripted {
    exchanges: Exchanges,
    servers: Vec<Process>,
    /// Where the gateway finds each model.
    addresses: Vec<(&'static str, SocketAddr)>,
}

type Exchanges = Arc<Mutex<Vec<Arc<Exchange>>>>;

/// A request to a server, and its response as far as it has come.
struct Exchange {
    format: &'static str,
    path: String,
    headers: HeaderMap,
    body: Value,
    response: Mutex<Vec<u8>>,
}

impl Scripted {
    /// Starts the servers of those models that have one here.
    pub async fn start(
        singles: &[Single],
        python: &Path,
        root: &Path,
        note: &Path,
    ) -> anyhow::Result<Self> {
        let mut scripted = Self {
            exchanges: Exchanges::default(),
            servers: Vec::new(),
            addresses: Vec::new(),
        };
        for single in singles {
            let word = match single.server {
                Server::Ollama => "ollama",
                Server::Vllm => "vllm",
                Server::Llama | Server::Wire => continue,
            };
            let parts = Parts::prepare("models.sh", &[word])?;
            let dir = root.join(single.model);
            std::fs::create_dir(&dir)?;
            let address = free_address();
            let server = if single.server == Server::Ollama {
                ollama(&parts, python, single.model, &dir, note, address).await?
            } else {
                vllm(&parts, single.model, &dir, note, address)?
            };
            listed(address, single.model, &server).await?;
            scripted.servers.push(server);
            let relay = relay(single.format, address, scripted.exchanges.clone()).await?;
            scripted.addresses.push((single.model, relay));
        }
        Ok(scripted)
    }

    /// Where the gateway finds a model.
    pub fn base(&self, model: &str) -> anyhow::Result<String> {
        let mut addresses = self.addresses.iter();
        let found = addresses.find(|(name, _)| *name == model);
        let (_, address) = found.with_context(|| format!("{model} isn't served"))?;
        Ok(format!("http://{address}"))
    }

    /// What was served since this was last asked.
    pub fn take(&self) -> Vec<Served> {
        let mut exchanges = self
            .exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        exchanges.drain(..).map(|one| one.served()).collect()
    }
}

/// Writes the model for a server.
fn write(python: &Path, kind: &str, path: &Path, note: &Path) -> anyhow::Result<()> {
    let written = Command::new(python)
        .arg(support::root().join("tests/servers/scripted_model.py"))
        .arg(kind)
        .args([path, note])
        .arg(WORD)
        .output()
        .context("Python doesn't start")?;
    ensure!(written.status.success(), "no model: {written:?}");
    Ok(())
}

async fn ollama(
    parts: &Parts,
    python: &Path,
    model: &str,
    dir: &Path,
    note: &Path,
    address: SocketAddr,
) -> anyhow::Result<Process> {
    let program = parts.get("ollama")?;
    let file = dir.join("scripted.gguf");
    write(python, "gguf", &file, note)?;
    let process = Process::start(&mut model_servers::ollama(&program, dir, address), dir)?;
    until(&process, || async {
        get(&address.to_string(), "/api/version").await.is_ok()
    })
    .await?;
    let template = std::fs::read_to_string(dir.join("scripted.gguf.template"))?;
    let text = format!(
        "FROM {}\nPARAMETER num_ctx 32768\nPARAMETER num_thread 1\nTEMPLATE \"\"\"{template}\"\"\"\n",
        file.display()
    );
    model_servers::create(&program, dir, address, model, &text)?;
    Ok(process)
}

fn vllm(
    parts: &Parts,
    model: &str,
    dir: &Path,
    note: &Path,
    address: SocketAddr,
) -> anyhow::Result<Process> {
    let program = parts.get("vllm")?;
    let folder = dir.join("scripted");
    write(&program.with_file_name("python"), "hf", &folder, note)?;
    let mut command = model_servers::vllm(&program, dir, address.port(), &folder, model);
    command
        // Agents ask for long responses, which count towards this.
        .args(["--max-model-len", "131072"])
        .args(["--enable-auto-tool-choice", "--tool-call-parser", "hermes"])
        // A model without a will writes blanks where a schema takes them.
        .args([
            "--structured-outputs-config",
            r#"{"backend":"xgrammar","disable_any_whitespace":true}"#,
        ]);
    Process::start(&mut command, dir)
}

/// Waits until the server lists its model.
async fn listed(address: SocketAddr, model: &str, server: &Process) -> anyhow::Result<()> {
    until(server, || async {
        let list = get(&address.to_string(), "/v1/models").await;
        list.is_ok_and(|list| list.to_string().contains(model))
    })
    .await
}

async fn until<F: Future<Output = bool>>(
    server: &Process,
    is_so: impl Fn() -> F,
) -> anyhow::Result<()> {
    let end = Instant::now() + START;
    while !is_so().await {
        ensure!(Instant::now() < end, "it isn't ready; {}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Passes everything on, and remembers requests with a body.
async fn relay(
    format: &'static str,
    to: SocketAddr,
    exchanges: Exchanges,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let exchanges = exchanges.clone();
            let service = service_fn(move |request| pass(format, to, request, exchanges.clone()));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    Ok(address)
}

async fn pass(
    format: &'static str,
    to: SocketAddr,
    request: Request<Incoming>,
    exchanges: Exchanges,
) -> anyhow::Result<Response<BoxBody<Bytes, hyper::Error>>> {
    let (mut head, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let exchange = Arc::new(Exchange {
        format,
        path: head.uri.path().to_owned(),
        headers: head.headers.clone(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        response: Mutex::default(),
    });
    if head.method == Method::POST {
        let mut exchanges = exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.push(exchange.clone());
    }
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    head.headers.remove("transfer-encoding");
    let response = sender
        .send_request(Request::from_parts(head, Full::new(bytes)))
        .await?;
    Ok(response.map(move |body| {
        let tee = body.map_frame(move |frame| {
            if let Some(data) = frame.data_ref() {
                let response = exchange.response.lock();
                let mut response = response.unwrap_or_else(PoisonError::into_inner);
                response.extend_from_slice(data);
            }
            frame
        });
        tee.boxed()
    }))
}

impl Exchange {
    fn served(&self) -> Served {
        let response = self.response.lock();
        let response = response.unwrap_or_else(PoisonError::into_inner);
        Served {
            format: self.format,
            path: self.path.clone(),
            model: self.body["model"].as_str().unwrap_or_default().to_owned(),
            stream: self.body["stream"] == true,
            usage: counted(&String::from_utf8_lossy(&response)),
            idle: false,
            headers: self.headers.clone(),
            body: self.body.clone(),
        }
    }
}

/// The last counts in a response, whole or streamed.
fn counted(response: &str) -> Usage {
    let mut usage = Usage::default();
    for line in response.lines() {
        let data = line.strip_prefix("data: ").unwrap_or(line);
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        let places: [(&mut u64, [&str; 2]); 3] = [
            (
                &mut usage.input,
                ["/usage/prompt_tokens", "/prompt_eval_count"],
            ),
            (
                &mut usage.output,
                ["/usage/completion_tokens", "/eval_count"],
            ),
            (
                &mut usage.cached,
                ["/usage/prompt_tokens_details/cached_tokens", "/none"],
            ),
        ];
        for (count, names) in places {
            let told = names.iter().find_map(|name| event.pointer(name)?.as_u64());
            *count = told.unwrap_or(*count);
        }
    }
    usage
}
