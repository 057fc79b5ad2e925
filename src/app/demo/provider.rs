//! The built-in demo provider. It isn't a language model and says so in every answer: it shows that
//! a request passes, is granted, metered and recorded.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use super::{response, until_dropped};
use crate::base::clock;
use crate::net::tailnet;
use crate::wire::{Body, body};

/// Models that repeat the last message.
pub const MODELS: [&str; 2] = ["demo", "demo-large"];
/// One that calls the first tool that it is offered.
pub const TOOLS_MODEL: &str = "demo-tools";

/// Between two words of a stream, so that one can see it stream.
const PACE: Duration = Duration::from_millis(30);
const MAX_REQUEST: usize = 1 << 20;

/// A running demo provider on loopback; it stops when this is dropped.
pub struct Provider {
    address: SocketAddr,
    _stop: DropGuard,
}

/// The demo provider on a node of a tailnet, for as long as the node is open.
pub(super) async fn on_tailnet(mut listener: tailnet::Listener) {
    while let Ok(accepted) = listener.accept().await {
        tokio::spawn(serve(accepted.stream));
    }
}

impl Provider {
    /// Starts one on a free port of the loopback interface.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self {
            address: listener.local_addr()?,
            _stop: until_dropped(accept(listener)),
        })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let answer = service_fn(|request| async move { Ok::<_, Infallible>(answer(request).await) });
    // Its only client is this process, which needs no account of a lost connection.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

#[derive(Deserialize)]
struct Chat {
    model: String,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    #[serde(default)]
    tools: Vec<Tool>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Value,
}

#[derive(Deserialize)]
struct Tool {
    #[serde(default)]
    function: Function,
}

#[derive(Default, Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Value,
}

impl Function {
    /// Arguments in which every required text is `said`.
    fn arguments(&self, said: &str) -> Value {
        let required = self.parameters["required"].as_array().into_iter().flatten();
        let is_text = |name: &&str| self.parameters["properties"][*name]["type"] == "string";
        required
            .filter_map(Value::as_str)
            .filter(is_text)
            .map(|name| (name.to_owned(), Value::from(said)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

async fn answer(request: Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/models") => {
            let row = |id| json!({ "id": id, "object": "model", "owned_by": "iris-demo" });
            let rows: Vec<Value> = MODELS.into_iter().chain([TOOLS_MODEL]).map(row).collect();
            json_response(StatusCode::OK, &json!({ "object": "list", "data": rows }))
        }
        (&Method::POST, "/v1/chat/completions") => {
            match body::read(request.into_body(), MAX_REQUEST, Duration::ZERO).await {
                Ok(bytes) => chat(&bytes),
                Err(error) => failure(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        _ => failure(StatusCode::NOT_FOUND, "the demo provider has no such route"),
    }
}

fn chat(bytes: &[u8]) -> Response<Body> {
    let chat: Chat = match serde_json::from_slice(bytes) {
        Ok(chat) => chat,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let last = chat.messages.last();
    let said = last
        .map(|message| words(&message.content))
        .unwrap_or_default();
    let is_result = last.is_some_and(|message| message.role == "tool");
    let calls = chat.model == TOOLS_MODEL && !is_result;
    let tool = chat.tools.first().filter(|_| calls);
    let call = tool.map(|tool| {
        json!([{
            "index": 0,
            "id": format!("call_demo_{}", clock::unix_ms()),
            "type": "function",
            "function": {
                "name": tool.function.name,
                "arguments": tool.function.arguments(&said).to_string(),
            },
        }])
    });
    let text = match call {
        Some(_) => String::new(),
        None => {
            format!("This is Iris's built-in demo provider, not a language model. You said: {said}")
        }
    };
    let messages = chat.messages.iter();
    let prompt: usize = messages
        .map(|message| count(&words(&message.content)))
        .sum();
    let answered = match &call {
        Some(call) => count(&call.to_string()),
        None => count(&text),
    };
    let usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": answered,
        "total_tokens": prompt + answered,
    });
    let head = json!({
        "id": format!("chatcmpl-demo-{}", clock::unix_ms()),
        "created": clock::unix_ms() / 1000,
        "model": chat.model,
    });
    if chat.stream {
        let usage = chat.stream_options.include_usage.then_some(&usage);
        return streamed(&head, &text, call.as_ref(), usage);
    }
    let reason = reason(call.as_ref());
    let mut message = json!({ "role": "assistant", "content": text });
    if let Some(call) = call {
        message["content"] = Value::Null;
        message["tool_calls"] = call;
    }
    let mut whole = head;
    whole["object"] = "chat.completion".into();
    whole["choices"] = json!([{ "index": 0, "message": message, "finish_reason": reason }]);
    whole["usage"] = usage;
    json_response(StatusCode::OK, &whole)
}

/// Why an answer ends.
fn reason(call: Option<&Value>) -> &'static str {
    if call.is_some() { "tool_calls" } else { "stop" }
}

/// The text of a message, whose content is a string or a list of parts.
fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// The demo counts words as tokens.
fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

fn streamed(
    head: &Value,
    text: &str,
    call: Option<&Value>,
    usage: Option<&Value>,
) -> Response<Body> {
    let event = |choices: Value, usage: Option<&Value>| {
        let mut chunk = head.clone();
        chunk["object"] = "chat.completion.chunk".into();
        chunk["choices"] = choices;
        if let Some(usage) = usage {
            chunk["usage"] = usage.clone();
        }
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let delta = |delta: Value, reason: Option<&str>| json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
    let start = delta(json!({ "role": "assistant", "content": "" }), None);
    let mut events = vec![event(start, None)];
    for word in text.split_inclusive(' ') {
        events.push(event(delta(json!({ "content": word }), None), None));
    }
    if let Some(call) = call {
        events.push(event(delta(json!({ "tool_calls": call }), None), None));
    }
    events.push(event(delta(json!({}), Some(reason(call))), None));
    if let Some(usage) = usage {
        events.push(event(json!([]), Some(usage)));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    let paced = stream::unfold(events.into_iter(), |mut events| async move {
        let event = events.next()?;
        tokio::time::sleep(PACE).await;
        Some((Ok(Frame::data(event)), events))
    });
    let mut response = Response::new(StreamBody::new(paced).boxed_unsync());
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn failure(status: StatusCode, message: &str) -> Response<Body> {
    json_response(
        status,
        &json!({ "error": { "message": message, "type": "demo_error" } }),
    )
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    response(status, "application/json", value.to_string())
}
