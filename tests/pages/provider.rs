//! A provider at the wire: it streams markup that a page must not run, and fails on demand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What must stay text wherever it is shown.
pub(crate) const PLANTED: &str = "\"'><script>window.planted=1</script><img src=x onerror=window.planted=1><svg onload=window.planted=1></svg></style><style>main{display:none}</style>\u{202e}\u{7}javascript:window.planted=1";

pub(crate) struct Provider {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Provider {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let service =
                        service_fn(
                            |request| async move { Ok::<_, Infallible>(answer(request).await) },
                        );
                    // Its callers tell what went wrong.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self { address, serving })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Between two pieces of what is thought.
const PACE: Duration = Duration::from_millis(60);
const THOUGHTS: usize = 60;

async fn answer(request: Request<Incoming>) -> Response<Body> {
    let is_messages = request.uri().path().ends_with("/messages");
    let body = request.into_body().collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    if asked["model"] == "failing" {
        let error = json!({ "error": { "message": PLANTED, "type": PLANTED } });
        return respond(500, "application/json", error.to_string());
    }
    if asked["model"] == "thinking" {
        return thinking();
    }
    if is_messages {
        return respond(200, "text/event-stream", messages());
    }
    respond(200, "text/event-stream", chat())
}

/// Reasoning, then an answer, slowly enough for a reader to do something meanwhile.
fn thinking() -> Response<Body> {
    let pieces = (0..THOUGHTS).map(|nth| {
        let delta = if nth < THOUGHTS / 2 {
            json!({ "reasoning_content": format!("thought {nth}. ") })
        } else {
            json!({ "content": format!("word{nth} ") })
        };
        json!([{ "index": 0, "delta": delta }])
    });
    let end = json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]);
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 60, "total_tokens": 65 });
    let events = pieces
        .chain([end])
        .map(|choices| json!({ "choices": choices }));
    let events = events.chain([json!({ "choices": [], "usage": usage })]);
    let events: Vec<String> = events
        .map(|event| format!("data: {event}\n\n"))
        .chain(["data: [DONE]\n\n".to_owned()])
        .collect();
    let stream = futures_util::stream::unfold(events.into_iter(), |mut events| async {
        let event = events.next()?;
        tokio::time::sleep(PACE).await;
        Some((Ok(Frame::data(Bytes::from(event))), events))
    });
    let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
    let kind = http::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Markdown and markup, in the format of `OpenAI`'s chat.
fn chat() -> String {
    let pieces = [
        "# A heading\n\nSome *words*, **strong** ones and `code`.\n\n",
        PLANTED,
        "\n\n- one\n- two\n\n[a link](https://example.com/) and [a trap](javascript:window.planted=1)\n\n",
        "```html\n<script>window.planted=1</script>\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    ];
    let mut out = String::new();
    let mut event = |choices: Value, usage: Value| {
        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "model": "qwen3-coder", "choices": choices, "usage": usage });
        for piece in ["data: ", &chunk.to_string(), "\n\n"] {
            out.push_str(piece);
        }
    };
    for piece in pieces {
        event(
            json!([{ "index": 0, "delta": { "content": piece } }]),
            Value::Null,
        );
    }
    event(
        json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]),
        Value::Null,
    );
    event(
        json!([]),
        json!({ "prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46 }),
    );
    out.push_str("data: [DONE]\n\n");
    out
}

/// The same in the format of Anthropic's messages.
fn messages() -> String {
    let events = [
        json!({ "type": "message_start", "message": { "id": "m", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": [], "usage": { "input_tokens": 12, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hello from **Claude**'s stand-in." } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 9 } }),
        json!({ "type": "message_stop" }),
    ];
    let lines = events.iter().map(|event| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap_or_default()
        )
    });
    lines.collect()
}

fn respond(status: u16, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
