//! A provider that keeps its own account of what it has served to each caller, as it counted it.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use support::random::random;

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, io::Error>> + Send>>;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// A whole answer, after a time.
    Whole(Duration),
    /// A status and no answer.
    Refuse(u16),
    /// The connection breaks after so many events, of which each says what was used so far.
    Dies(u64),
    /// So many events, and then silence until the caller has gone.
    Stalls(u64),
    /// An event of some length now and then, without end.
    Ticks { every: Duration, length: usize },
}

/// What is asked of whom: the name is the first part of the path, and the mark is the body's `user`.
pub struct Asked<'a> {
    pub provider: &'a str,
    pub mark: &'a str,
    pub stream: bool,
}

pub type Decide = fn(&Asked<'_>) -> Plan;

/// What a request uses when it is answered whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cached: u64,
}

impl Usage {
    /// The same for the same mark.
    pub fn of(mark: &str) -> Self {
        let seed = mark
            .bytes()
            .fold(7, |seed, byte| random(seed ^ u64::from(byte)));
        Self {
            input: 100 + seed % 900,
            output: 3 + (seed >> 16) % 17,
            cached: (seed >> 32) % 50,
        }
    }

    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.input, "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": { "cached_tokens": self.cached },
        })
    }
}

/// One line of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub mark: String,
    pub provider: String,
    pub model: String,
    pub usage: Usage,
    pub how: String,
}

#[derive(Clone)]
pub struct Provider {
    pub address: SocketAddr,
    secure: bool,
    account: Arc<Account>,
}

struct Account {
    path: PathBuf,
    file: Mutex<io::BufWriter<std::fs::File>>,
}

impl Account {
    fn add(&self, mark: &str, (provider, model): (&str, &str), usage: Usage, how: &str) {
        let Usage {
            input,
            output,
            cached,
        } = usage;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{mark} {provider} {model} {input} {output} {cached} {how}");
        writeln!(file, "{line}").expect("the account is kept");
    }
}

impl Provider {
    /// Starts it in this process; its account is written to `account`.
    pub async fn start(account: &Path, decide: Decide) -> anyhow::Result<Self> {
        Self::serve(account, decide, None).await
    }

    /// The same over TLS, where all answers share one connection.
    pub async fn start_shared(account: &Path, decide: Decide) -> anyhow::Result<Self> {
        let pair = rustls_pair()?;
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![pair.0], pair.1)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        Self::serve(account, decide, Some(acceptor)).await
    }

    async fn serve(
        account: &Path,
        decide: Decide,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> anyhow::Result<Self> {
        let account = Arc::new(Account {
            path: account.to_owned(),
            file: Mutex::new(io::BufWriter::new(std::fs::File::create(account)?)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let provider = Self {
            address: listener.local_addr()?,
            secure: tls.is_some(),
            account: Arc::clone(&account),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (account, tls) = (Arc::clone(&account), tls.clone());
                let _ = stream.set_nodelay(true);
                let service = service_fn(move |request| {
                    let account = Arc::clone(&account);
                    async move { Ok::<_, Infallible>(answer(account, decide, request).await) }
                });
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    if let Some(tls) = tls {
                        if let Ok(stream) = tls.accept(stream).await {
                            let io = TokioIo::new(stream);
                            let _ = builder.serve_connection(io, service).await;
                        }
                    } else {
                        let io = TokioIo::new(stream);
                        let _ = builder.serve_connection(io, service).await;
                    }
                });
            }
        });
        Ok(provider)
    }

    /// Where a gateway finds the provider of a name.
    pub fn url(&self, name: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}/{name}", self.address)
    }

    /// The account, as its file has it.
    pub fn account(&self) -> anyhow::Result<Vec<Served>> {
        let mut file = self
            .account
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        file.flush()?;
        let text = std::fs::read_to_string(&self.account.path)?;
        text.lines().map(read_line).collect()
    }
}

/// The certificate for this machine's own name.
pub fn certificate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ai.tail.test.crt")
}

fn rustls_pair() -> anyhow::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let path = certificate();
    let key = PrivateKeyDer::from_pem_file(path.with_extension("key"))?;
    Ok((CertificateDer::from_pem_file(path)?, key))
}

fn read_line(line: &str) -> anyhow::Result<Served> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [mark, provider, model, input, output, cached, how] = fields[..] else {
        anyhow::bail!("{line}");
    };
    let number = |text: &str| text.parse().with_context(|| line.to_owned());
    Ok(Served {
        mark: mark.to_owned(),
        provider: provider.to_owned(),
        model: model.to_owned(),
        usage: Usage {
            input: number(input)?,
            output: number(output)?,
            cached: number(cached)?,
        },
        how: how.to_owned(),
    })
}

async fn answer(
    account: Arc<Account>,
    decide: Decide,
    request: Request<Incoming>,
) -> Response<StreamBody<Frames>> {
    let path = request.uri().path().to_owned();
    let provider = path.split('/').nth(1).unwrap_or_default().to_owned();
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return response(400, false, whole("{}".to_owned())),
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let (mark, model) = (text("user"), text("model"));
    let stream = body["stream"] == true;
    let plan = decide(&Asked {
        provider: &provider,
        mark: &mark,
        stream,
    });
    let usage = Usage::of(&mark);
    let served = move |usage, how: &str| account.add(&mark, (&provider, &model), usage, how);
    match plan {
        Plan::Refuse(status) => {
            served(Usage::default(), "refused");
            let body = json!({ "error": { "message": "not now", "type": "server_error" } });
            response(status, false, whole(body.to_string()))
        }
        Plan::Whole(after) if !stream => {
            tokio::time::sleep(after).await;
            served(usage, "whole");
            response(200, false, whole(completion(usage).to_string()))
        }
        Plan::Whole(after) => response(200, true, to_the_end(usage, after, served)),
        Plan::Dies(events) => response(200, true, until(usage, events, served, true)),
        Plan::Stalls(events) => response(200, true, until(usage, events, served, false)),
        Plan::Ticks { every, length } => response(200, true, ticking(every, length)),
    }
}

fn response(status: u16, events: bool, frames: Frames) -> Response<StreamBody<Frames>> {
    let kind = if events {
        "text/event-stream"
    } else {
        "application/json"
    };
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(StreamBody::new(frames))
        .expect("an answer")
}

fn whole(text: String) -> Frames {
    Box::pin(stream::iter([Ok(Frame::data(Bytes::from(text)))]))
}

fn completion(usage: Usage) -> Value {
    json!({
        "id": "c", "object": "chat.completion", "model": "m", "usage": usage.json(),
        "choices": [{ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": "hi" } }],
    })
}

fn event(value: &Value) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!("data: {value}\n\n")))
}

fn word(nth: u64) -> Value {
    json!({ "choices": [{ "index": 0, "delta": { "content": format!("word{nth} ") } }] })
}

/// All events, with what was used in the last of them.
fn to_the_end(
    usage: Usage,
    after: Duration,
    served: impl FnOnce(Usage, &str) + Send + 'static,
) -> Frames {
    let words = stream::iter((0..usage.output).map(|nth| Ok(event(&word(nth)))));
    let pause = stream::once(async move {
        tokio::time::sleep(after).await;
        let stop = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
        Ok(event(&stop))
    });
    let end = stream::once(async move {
        let used = json!({ "choices": [], "usage": usage.json() });
        // Before it can be seen to be over.
        served(usage, "whole");
        Ok(Frame::data(Bytes::from(format!(
            "data: {used}\n\ndata: [DONE]\n\n"
        ))))
    });
    Box::pin(words.chain(pause).chain(end))
}

/// So many events, each with what was used until then, and no end: the connection breaks or is
/// silent.
fn until(
    usage: Usage,
    events: u64,
    served: impl FnOnce(Usage, &str) + Send + 'static,
    dies: bool,
) -> Frames {
    let so_far = move |output| Usage { output, ..usage };
    let words = stream::iter((1..=events).map(move |nth| {
        let mut word = word(nth);
        word["usage"] = so_far(nth).json();
        Ok(event(&word))
    }));
    let end = stream::once(async move {
        served(so_far(events), if dies { "died" } else { "left" });
        if dies {
            // What was written before goes out first, however busy the machine is.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Err(io::Error::other("the provider has died"));
        }
        std::future::pending().await
    });
    Box::pin(words.chain(end))
}

fn ticking(every: Duration, length: usize) -> Frames {
    let text = "x".repeat(length);
    if every.is_zero() {
        // As fast as possible: a comment, which takes readers no time.
        let event = Bytes::from(format!(": {text}\n\n"));
        return Box::pin(stream::repeat_with(move || Ok(Frame::data(event.clone()))));
    }
    let event_of = move |nth: u64| json!({ "choices": [{ "index": 0, "delta": { "content": format!("{nth} {text}") } }] });
    Box::pin(stream::unfold(0, move |nth| {
        let next = Ok(event(&event_of(nth)));
        async move {
            if nth > 0 {
                tokio::time::sleep(every).await;
            }
            Some((next, nth + 1))
        }
    }))
}
