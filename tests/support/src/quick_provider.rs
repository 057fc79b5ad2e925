//! The provider for measurements, in OpenAI's chat and Anthropic's messages. It answers at once; the name of the model
//! chooses the response.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

/// Events of a stream, before its end.
pub const EVENTS: usize = 200;

const MODELS: &str = r#"{"object":"list","data":[{"id":"small","object":"model"},{"id":"large","object":"model"},{"id":"slow","object":"model"}]}"#;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until the process ends.
pub fn run(port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a port");
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                let _ = served.await;
            });
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path();
    // Some gateways ask for the models before they serve.
    if path == "/v1/models" {
        return Ok(json(MODELS.to_owned()));
    }
    let api = if path == "/v1/messages" {
        Api::Messages
    } else {
        Api::Chat
    };
    let body = request.into_body().collect().await?.to_bytes();
    let has = |word: &[u8]| memchr::memmem::find(&body, word).is_some();
    let is_stream = has(b"\"stream\":true") || has(b"\"stream\": true");
    Ok(if has(b"\"slow\"") {
        events(api, Pace::Each(Duration::from_secs(1)))
    } else if has(b"\"paced\"") {
        events(api, Pace::Eights(Duration::from_millis(20)))
    } else if is_stream {
        events(api, Pace::AtOnce)
    } else if has(b"\"large\"") {
        json(api.whole(64 << 10))
    } else {
        json(api.whole(200))
    })
}

/// What it is asked in.
#[derive(Clone, Copy)]
enum Api {
    /// OpenAI's chat completions.
    Chat,
    /// Anthropic's messages.
    Messages,
}

impl Api {
    fn whole(self, length: usize) -> String {
        let text = "word ".repeat(length / 5);
        match self {
            Self::Chat => format!(
                r#"{{"id":"c","object":"chat.completion","created":1,"model":"small","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":40,"total_tokens":49}}}}"#
            ),
            Self::Messages => format!(
                r#"{{"id":"c","type":"message","role":"assistant","model":"small","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":9,"output_tokens":40}}}}"#
            ),
        }
    }

    /// What a stream has before its first piece of text.
    fn begin(self) -> &'static str {
        match self {
            Self::Chat => "",
            Self::Messages => {
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"c\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"small\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
            }
        }
    }

    /// An event with a piece of text.
    fn chunk(self, content: &str) -> String {
        match self {
            Self::Chat => format!(
                "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"small\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]}}\n\n"
            ),
            Self::Messages => format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{content}\"}}}}\n\n"
            ),
        }
    }

    /// The usage, and the end.
    fn end(self) -> [&'static str; 2] {
        match self {
            Self::Chat => [
                "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"small\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":200,\"total_tokens\":209}}\n\n",
                "data: [DONE]\n\n",
            ],
            Self::Messages => [
                "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":200}}\n\n",
                "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            ],
        }
    }
}

fn json(body: String) -> Response<Body> {
    let mut response = Response::new(Full::from(body).boxed_unsync());
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// When the next event is sent.
#[derive(Clone, Copy)]
enum Pace {
    AtOnce,
    /// After so long.
    Each(Duration),
    /// Eight at a time, so long after the last eight.
    Eights(Duration),
}

impl Pace {
    async fn wait(self, nth: usize) {
        match self {
            Self::Each(pause) if nth > 0 => tokio::time::sleep(pause).await,
            Self::Eights(pause) if nth > 0 && nth.is_multiple_of(8) => {
                tokio::time::sleep(pause).await;
            }
            // Each event is written on its own, as model servers do.
            _ => tokio::task::yield_now().await,
        }
    }
}

fn events(api: Api, pace: Pace) -> Response<Body> {
    let body = stream::unfold(0, move |nth| async move {
        pace.wait(nth).await;
        let piece = if nth < EVENTS {
            let begin = if nth == 0 { api.begin() } else { "" };
            // The receiver sees how long it took.
            let chunk = match pace {
                Pace::Each(_) => api.chunk(&format!("sent {} ", micros())),
                _ => api.chunk("word "),
            };
            Some(Bytes::from(format!("{begin}{chunk}")))
        } else {
            let piece = api.end().get(nth - EVENTS).copied();
            piece.map(|text| Bytes::from_static(text.as_bytes()))
        };
        piece.map(|piece| (Ok(Frame::data(piece)), nth + 1))
    });
    let mut response = Response::new(StreamBody::new(body).boxed_unsync());
    let kind = header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Microseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "what another process does is seen by the clock that both have"
)]
pub fn micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}
