//! A real `Open WebUI`, whose server asks the gateway for people: over its connection to OpenAI's API, and over that to
//! Ollama's, with models of providers that speak neither.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::parts::Process;
use crate::provider::HELLO;
use crate::records::{self, Mark};
use crate::translated::translation;
use crate::world::{Server, Single, World};
use support::http::{Reply, send_to};
use support::parts::Parts;
use support::process::free_address;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    open_webui,
];

/// It sets up its database when it first starts.
const START: Duration = Duration::from_mins(10);

async fn open_webui(world: &World) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let web = OpenWebUi::start(world).await?;
    chats(world, &web, "openai_chat").await?;
    // Of a model of both connections, it takes Ollama's.
    let update = json!({ "ENABLE_OLLAMA_API": true, "OLLAMA_BASE_URLS": [world.base("")], "OLLAMA_API_CONFIGS": {} });
    web.post("/ollama/config/update", &update).await?;
    chats(world, &web, "ollama").await
}

/// Chats with each model of a provider that doesn't speak the format of the connection.
async fn chats(world: &World, web: &OpenWebUi, api: &str) -> anyhow::Result<()> {
    let listed = web.get("/api/models?refresh=true").await?;
    let listed = listed["data"].as_array().context("no list")?;
    let singles = world.singles.iter();
    for single in singles.filter(|single| single.server == Server::Wire && single.format != api) {
        let is_listed = listed.iter().any(|model| model["id"] == single.model);
        ensure!(is_listed, "{} isn't in {listed:?}", single.model);
        for stream in [false, true] {
            let chat = chat(world, web, api, single, stream).await;
            chat.with_context(|| format!("{api} to {}, stream: {stream}", single.model))?;
        }
    }
    Ok(())
}

async fn chat(
    world: &World,
    web: &OpenWebUi,
    api: &str,
    single: &Single,
    stream: bool,
) -> anyhow::Result<()> {
    let mark = Mark::set(world).await?;
    let mut body = json!({
        "model": single.model,
        "stream": stream,
        "messages": [{ "role": "user", "content": "Say hello." }],
    });
    if stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    let reply = web.post("/api/chat/completions", &body).await?;
    let (text, usage) = said(&reply.text());
    ensure!(text == HELLO, "it said {text:?}: {}", reply.text());
    let served = world.served();
    let [served] = served.as_slice() else {
        anyhow::bail!("the provider was asked otherwise: {served:?}");
    };
    ensure!(served.format == single.format, "{served:?} is another");
    let rows = mark.routed(world, 1).await?;
    records::complete(&rows[0], single.model, single.model, "python")?;
    ensure!(rows[0]["api"] == api, "{} came otherwise", rows[0]);
    records::as_counted(&rows[0], served)?;
    translation(world, &rows[0], single).await?;
    // What its people see of the counts.
    for (key, count) in [
        ("prompt_tokens", served.usage.input),
        ("completion_tokens", served.usage.output),
    ] {
        ensure!(usage[key] == count, "{usage} isn't {:?}", served.usage);
    }
    Ok(())
}

/// The text and the usage of a chat completion, whole or streamed.
fn said(response: &str) -> (String, Value) {
    let (mut text, mut usage) = (String::new(), Value::Null);
    for line in response.lines() {
        let data = line.strip_prefix("data: ").unwrap_or(line);
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        let choice = &event["choices"][0];
        for place in ["message", "delta"] {
            text += choice[place]["content"].as_str().unwrap_or_default();
        }
        if event["usage"].is_object() {
            usage = event["usage"].clone();
        }
    }
    (text, usage)
}

/// The server, and the token of the one person whom it has without logins.
struct OpenWebUi {
    address: SocketAddr,
    token: String,
    process: Process,
}

impl OpenWebUi {
    async fn start(world: &World) -> anyhow::Result<Self> {
        let program = Parts::prepare("open_webui.sh", &[])?.get("open_webui")?;
        let home = world.home()?;
        let address = free_address();
        let mut command = world.command(&program.display().to_string(), &home);
        command
            .env("DATA_DIR", home.join("data"))
            .env("OPENAI_API_BASE_URL", format!("{}/v1", world.base("")))
            .env("OPENAI_API_KEY", "")
            .env("ENABLE_OLLAMA_API", "False")
            .env("WEBUI_AUTH", "False")
            .env("WEBUI_SECRET_KEY", "unused")
            // What it would load by itself.
            .env("OFFLINE_MODE", "true")
            .env("HF_HUB_OFFLINE", "1")
            .env("RAG_EMBEDDING_ENGINE", "openai")
            .args(["serve", "--host", "127.0.0.1"])
            .args(["--port", &address.port().to_string()]);
        let process = Process::start(&mut command, &home)?;
        let mut web = Self {
            address,
            token: String::new(),
            process,
        };
        let end = Instant::now() + START;
        while web.get("/health").await.is_err() {
            ensure!(
                Instant::now() < end,
                "it isn't ready; {}",
                web.process.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let signed = json!({ "email": "", "password": "" });
        let signed = web.post("/api/v1/auths/signin", &signed).await?.json();
        let token = signed["token"].as_str().context("no token")?;
        token.clone_into(&mut web.token);
        Ok(web)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.send(Request::get(path), "").await?.json())
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Reply> {
        self.send(Request::post(path), &body.to_string()).await
    }

    async fn send(&self, request: http::request::Builder, body: &str) -> anyhow::Result<Reply> {
        let request = request
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let reply = send_to(self.address, request).await;
        let reply = reply.map_err(|error| anyhow::anyhow!(error))?;
        ensure!(
            reply.status.is_success(),
            "{} {}",
            reply.status,
            reply.text()
        );
        Ok(reply)
    }
}
