//! A provider at the wire: it speaks each format, claims exact counts, and remembers what it
//! has claimed.

mod anthropic;
mod bedrock;
mod chat;
mod gemini;
mod realtime;
mod responses;
mod sha1;
mod socket;
mod stored;
mod turn;
mod usage;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use turn::Turn;
pub use turn::{CITY, HELLO, SIGNATURE, THOUGHT, WORD, schema};
pub use usage::Usage;

/// The one model that it has.
pub const MODEL: &str = "wire";
/// What it is called where callers bring logins of their own.
pub const OWN: &str = "own";

type Body = BoxBody<Bytes, Infallible>;

/// One answer, as the provider counts it.
#[derive(Clone)]
pub struct Served {
    /// Its format; of calls beside them, the path.
    pub format: &'static str,
    pub path: String,
    pub model: String,
    pub stream: bool,
    pub usage: Usage,
    /// It was asked to generate nothing.
    pub idle: bool,
    pub headers: HeaderMap,
    pub body: Value,
}

impl std::fmt::Debug for Served {
    /// Without the body, which may be as long as an agent's instructions.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.model, self.path, self.usage)
    }
}

impl Served {
    /// A header that is there, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn show(&self) {
        println!("{} {} {}", self.format, self.model, self.path);
        for (name, value) in &self.headers {
            println!("  {name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
}

/// What a format answers.
enum Answer {
    Json(Value),
    /// A stream, an event at a time.
    Events(Vec<String>),
    /// A stream as Amazon frames it, a message at a time.
    Frames(Vec<Bytes>),
}

/// The provider, which lives as long as the test.
pub struct Provider {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    note: PathBuf,
    served: Mutex<Vec<Served>>,
    stored: Mutex<stored::Stored>,
    count: std::sync::atomic::AtomicU64,
}

impl Provider {
    /// Starts one whose model wants the note at this path to be read.
    pub async fn start(note: PathBuf) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            note,
            served: Mutex::default(),
            stored: Mutex::default(),
            count: std::sync::atomic::AtomicU64::new(1),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = serving.clone();
                let service = service_fn(move |request| {
                    let shared = shared.clone();
                    async move { shared.handle(request).await }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::spawn(connection);
            }
        });
        Ok(Self { address, shared })
    }

    /// What was served since this was last asked. `IRIS_CLIENTS_SHOW=1` shows it.
    pub fn take(&self) -> Vec<Served> {
        let served = std::mem::take(&mut *self.shared.served());
        if std::env::var_os("IRIS_CLIENTS_SHOW").is_some() {
            served.iter().for_each(Served::show);
        }
        served
    }
}

impl Shared {
    fn served(&self) -> std::sync::MutexGuard<'_, Vec<Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no other answer has.
    fn nth(&self) -> u64 {
        self.count
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, hyper::Error> {
        if request.method() == Method::GET && request.headers().contains_key("upgrade") {
            return Ok(socket::upgrade(self, request));
        }
        let (head, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        Ok(match self.answer(&head, &bytes) {
            Some(Answer::Json(value)) => respond("application/json", full(value.to_string())),
            Some(Answer::Events(events)) => respond("text/event-stream", stream(events)),
            Some(Answer::Frames(frames)) => {
                respond("application/vnd.amazon.eventstream", stream(frames))
            }
            None if head.method == Method::HEAD => respond("text/plain", full(String::new())),
            None => {
                let mut response = respond("text/plain", full("no such call".into()));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        })
    }

    /// Answers a call and remembers what it claimed; nothing for a call that it does not know.
    fn answer(&self, head: &http::request::Parts, bytes: &[u8]) -> Option<Answer> {
        let path = head.uri.path();
        let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let named = body["model"].as_str();
        let in_path = || gemini::parse(path).or_else(|| bedrock::parse(path));
        let model = named.or_else(|| Some(in_path()?.0)).unwrap_or_default();
        let model = model.to_owned();
        let turn = Turn::of(&model, &body, &self.note);
        let nth = self.nth();
        let (plain, written) = (Usage::nth(nth), Usage::nth_of_anthropic(nth));
        let embedded = Usage {
            input: plain.input,
            ..Usage::default()
        };
        let kept = || self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if path == "/v1/responses" && body["background"] == true {
            let begun = kept().begin(&body, &format!("resp_{nth}"), &turn, &plain);
            return Some(Answer::Json(begun));
        }
        if let Some(answer) = kept().answer(&head.method, path) {
            return Some(Answer::Json(answer));
        }
        let (format, usage, answer) = match path {
            "/v1/models" => {
                let list =
                    json!({ "object": "list", "data": [{ "id": MODEL, "object": "model" }] });
                return Some(Answer::Json(list));
            }
            "/v1/chat/completions" => ("openai_chat", plain, chat::answer(&body, &turn, &plain)),
            "/v1/completions" => ("completions", plain, chat::completion(&body, &plain)),
            "/v1/embeddings" => ("embeddings", embedded, chat::embeddings(&body, &embedded)),
            "/v1/messages" => (
                "anthropic_messages",
                written,
                anthropic::answer(&body, &turn, &written),
            ),
            "/v1/messages/count_tokens" => ("count_tokens", plain, anthropic::count(&plain)),
            "/v1/responses" => (
                "openai_responses",
                plain,
                responses::answer(&body, &format!("resp_{nth}"), &turn, &plain),
            ),
            _ if bedrock::parse(path).is_some() => {
                let (_, operation) = bedrock::parse(path)?;
                let answer = bedrock::answer(operation, &body, &turn, &written)?;
                (bedrock::format(operation), written, answer)
            }
            _ => {
                let (model, verb) = gemini::parse(path)?;
                let format = match verb {
                    "generateContent" | "streamGenerateContent" => "gemini_generate_content",
                    "countTokens" => "count",
                    _ => "embed",
                };
                (format, plain, gemini::answer(model, verb, &turn, &plain)?)
            }
        };
        self.served().push(Served {
            format,
            path: path.into(),
            model,
            stream: !matches!(answer, Answer::Json(_)),
            usage,
            idle: false,
            headers: head.headers.clone(),
            body,
        });
        Some(answer)
    }
}

fn respond(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert("content-type", kind);
    response
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed()
}

/// A body that yields each event by itself.
fn stream<E>(events: Vec<E>) -> Body
where
    Bytes: From<E>,
    E: Send + Sync + 'static,
{
    let frames = events
        .into_iter()
        .map(|event| Ok(Frame::data(Bytes::from(event))));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}
