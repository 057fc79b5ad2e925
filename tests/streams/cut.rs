//! A provider that dies after any byte of its response, in each format that streams: the recorded exchanges
//! are cut at every offset, in three ways. An incomplete event changes nothing; the caller gets every
//! complete event, and then an error.
//!
//! `IRIS_STREAM_CUTS=all` cuts at every offset in every way; otherwise each offset is cut in one way, and a
//! run covers a seventh of them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::StatusCode;
use iris::wire::{event_stream, sse};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::read_request;

/// Requests that run side by side: each broken answer lingers for a fifth of a second.
const AT_ONCE: usize = 200;
/// Of so many offsets one is tried in a short run.
const STRIDE: usize = 7;

/// Formats by the folder of their exchanges, with the path that asks for a stream.
const FORMATS: [(&str, &str); 6] = [
    ("openai_chat", "/v1/chat/completions"),
    ("openai_completions", "/v1/completions"),
    ("openai_responses", "/v1/responses"),
    ("anthropic_messages", "/v1/messages"),
    (
        "gemini_generate_content",
        "/v1beta/models/m:streamGenerateContent?alt=sse",
    ),
    ("bedrock_converse", "/model/m/converse-stream"),
];

/// How the provider goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Its answer ends with the connection, which it closes.
    Closes,
    /// In the middle of chunks.
    Truncates,
    /// By a reset.
    Resets,
}

const WAYS: [Way; 3] = [Way::Closes, Way::Truncates, Way::Resets];

/// A recorded stream.
struct Exchange {
    name: String,
    path: &'static str,
    /// What is asked, with `mark` to be set.
    request: Value,
    stream: Vec<u8>,
    /// Whether it comes in Amazon's framing.
    amazon: bool,
    /// What is on record of the whole, as the format's own tests have it.
    expected: Value,
}

impl Exchange {
    /// The data of each event in `bytes` that is whole. If the transfer has come to a clean end with them, the last one counts
    /// without its blank line too.
    fn events(&self, bytes: &[u8], has_ended: bool) -> Vec<String> {
        let mut events = Vec::new();
        let mut take = |event: sse::Event<'_>| {
            events.push(String::from_utf8_lossy(event.data).into_owned());
        };
        if self.amazon {
            event_stream::Decoder::default().feed(bytes, &mut take);
        } else {
            let mut decoder = sse::Decoder::default();
            decoder.feed(bytes, &mut take);
            if has_ended {
                decoder.end(take);
            }
        }
        events
    }
}

fn exchanges() -> Vec<Exchange> {
    let mut found = Vec::new();
    for (format, path) in FORMATS {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/formats/{format}/fixtures"));
        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .filter_map(|file| {
                let name = file.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".request.json").map(str::to_owned)
            })
            .collect();
        names.sort();
        for name in names {
            let read =
                |ending: &str| std::fs::read_to_string(folder.join(format!("{name}{ending}")));
            let (stream, amazon) = match read(".stream.txt") {
                Ok(text) => (text.into_bytes(), false),
                Err(_) => (framed(&read(".stream.bin.json").unwrap()), true),
            };
            if stream.is_empty() {
                continue;
            }
            let mut request: Value = serde_json::from_str(&read(".request.json").unwrap()).unwrap();
            if request.get("model").is_some() {
                request["model"] = "m".into();
            }
            found.push(Exchange {
                name: format!("{format}/{name}"),
                path,
                request,
                stream,
                amazon,
                expected: serde_json::from_str(&read(".expected.json").unwrap()).unwrap(),
            });
        }
    }
    found
}

/// Amazon's messages as they cross the wire, from a list of their names and payloads.
fn framed(text: &str) -> Vec<u8> {
    let messages: Vec<(String, Value)> = serde_json::from_str(text).unwrap_or_default();
    let encoded = messages.into_iter().map(|(name, payload)| {
        let (kind, header) = match name.as_str() {
            name if name.ends_with("Exception") => ("exception", ":exception-type"),
            _ => ("event", ":event-type"),
        };
        let headers = [(":message-type", kind), (header, name.as_str())];
        event_stream::encode(&headers, payload.to_string())
    });
    encoded.flatten().collect()
}

/// A provider that sends as much of an exchange as its request says in `mark`.
async fn provider(exchanges: Arc<Vec<Exchange>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let exchanges = Arc::clone(&exchanges);
            tokio::spawn(async move {
                let Some(request) = read_request(&mut stream).await else {
                    return;
                };
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                let mark = body["mark"].as_str().unwrap();
                let [nth, way, upto] = numbers(mark);
                die(stream, &exchanges[nth], WAYS[way], upto).await;
            });
        }
    });
    address
}

/// The mark of a request: which exchange, in which way, up to which byte. All are of one length,
/// as what was asked counts in an estimate.
fn mark([nth, way, upto]: [usize; 3]) -> String {
    format!("{nth:03}-{way}-{upto:05}")
}

fn numbers(mark: &str) -> [usize; 3] {
    let numbers: Vec<usize> = mark.split('-').map(|part| part.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

async fn die(mut stream: TcpStream, exchange: &Exchange, way: Way, upto: usize) {
    let kind = if exchange.amazon {
        "application/vnd.amazon.eventstream"
    } else {
        "text/event-stream"
    };
    let framing = match way {
        Way::Closes => "connection: close",
        Way::Truncates | Way::Resets => "transfer-encoding: chunked",
    };
    let mut out =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{framing}\r\n\r\n").into_bytes();
    let sent = &exchange.stream[..upto];
    let is_whole = upto == exchange.stream.len();
    if way == Way::Closes {
        out.extend_from_slice(sent);
    } else {
        if upto > 0 {
            out.extend_from_slice(format!("{upto:x}\r\n").as_bytes());
            out.extend_from_slice(sent);
            out.extend_from_slice(b"\r\n");
        }
        if is_whole {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
    let _ = stream.write_all(&out).await;
    if way == Way::Resets && !is_whole {
        // A reset may overtake what was sent before it.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let _ = stream.set_zero_linger();
    }
}

/// What the caller and the record have to say alike, however much of the next event had come.
fn told(reply: &Reply, row: &Value) -> Value {
    let mut usage = row["usage"].clone();
    // What it costs follows from the rest, and what it took from the clock.
    usage
        .as_object_mut()
        .unwrap()
        .retain(|key, _| key != "cost");
    json!({
        "broken": reply.broken,
        "outcome": row["outcome"],
        "usage": usage,
        "finish_reason": row["finish_reason"],
    })
}

fn check(exchange: &Exchange, upto: usize, way: Way, reply: &Reply, row: &Value) -> (usize, Value) {
    let at = format!(
        "{} {way:?} at {upto}: {row} {}",
        exchange.name,
        reply.text()
    );
    let has_ended = way == Way::Closes || upto == exchange.stream.len();
    let whole = exchange.events(&exchange.stream[..upto], has_ended);
    if whole.is_empty() && reply.status != StatusCode::OK {
        // Nothing had been said: it is refused instead.
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{at}");
        assert_ne!(row["outcome"], "complete", "{at}");
        return (0, told(reply, row));
    }
    assert_eq!(reply.status, StatusCode::OK, "{at}");
    let seen = exchange.events(&reply.body, has_ended);
    let complete = row["outcome"] == "complete";
    // An error that the provider reports is the end: nothing is added to it.
    let failure = &exchange.expected["failure"];
    let reported = failure.is_string() && row["error"] == *failure;
    assert_eq!(complete || reported, !reply.broken, "{at}");
    if reported {
        assert_eq!(row["outcome"], "upstream_error", "{at}");
    }
    if upto == exchange.stream.len() {
        let expected = exchange.expected["complete"] == true;
        assert_eq!(complete || reported, expected, "{at}");
        // What the provider has not said is an estimate.
        let is_said = row["usage"]["estimated"] == false;
        for (key, value) in exchange.expected["tokens"].as_object().unwrap() {
            let is_flag = value.is_boolean();
            assert!(
                !is_said || is_flag || row["usage"][key] == *value,
                "{key}: {at}"
            );
        }
    }
    // An event that is for the gateway alone is missing; all others are there, in their order.
    let mut rest = seen.iter().peekable();
    let is_missing = |event: &&String| rest.next_if_eq(event).is_none();
    let missing = whole.iter().filter(is_missing).count();
    assert!(missing <= 1, "{missing} events are missing: {at}");
    if complete || reported {
        // The last event may lack the blank line by which the provider's side is counted here.
        let more = (seen.len() + missing).checked_sub(whole.len());
        assert!(more.is_some_and(|more| more <= 1), "{at}");
    } else if !exchange.amazon {
        let last = seen
            .last()
            .unwrap_or_else(|| panic!("nothing is told: {at}"));
        assert!(serde_json::from_str::<Value>(last).is_ok(), "{last}: {at}");
        assert!(last.contains("provider"), "{last}: {at}");
    }
    (whole.len(), told(reply, row))
}

/// What is tried: an exchange, a way, and a number of bytes.
fn cuts(exchanges: &[Exchange]) -> Vec<[usize; 3]> {
    let all = std::env::var("IRIS_STREAM_CUTS").is_ok_and(|value| value == "all");
    let mut cuts = Vec::new();
    for (nth, exchange) in exchanges.iter().enumerate() {
        for upto in 0..=exchange.stream.len() {
            if all {
                cuts.extend((0..WAYS.len()).map(|way| [nth, way, upto]));
            } else if upto % STRIDE == nth % STRIDE || upto == exchange.stream.len() {
                cuts.push([nth, upto % WAYS.len(), upto]);
            }
        }
    }
    cuts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_may_die_after_any_byte() {
    let exchanges = Arc::new(exchanges());
    let formats: BTreeMap<_, _> = FORMATS.map(|(format, _)| (format, true)).into();
    let more = json!({ "provider": { "compatibility": formats } });
    let gateway = Gateway::start(provider(Arc::clone(&exchanges)).await, more).await;
    let cuts = cuts(&exchanges);
    let asked = cuts.len();
    let ask = async |cut: [usize; 3]| {
        let exchange = &exchanges[cut[0]];
        let (mut body, mark) = (exchange.request.clone(), mark(cut));
        body["mark"] = json!(mark);
        let mut request = post(exchange.path, &body.to_string());
        let session = mark.parse().unwrap();
        request.headers_mut().insert("x-session-id", session);
        (mark, gateway.send(request).await)
    };
    let replies = stream::iter(cuts).map(ask).buffer_unordered(AT_ONCE);
    let replies: Vec<(String, Reply)> = replies.collect().await;
    let records = crate::records(&gateway, asked).await;
    assert_eq!(records.len(), asked, "not one record each");
    let mut by_events: HashMap<(usize, usize, usize), Vec<(usize, Value)>> = HashMap::new();
    for (mark, reply) in &replies {
        let ([nth, way, upto], rows) = (numbers(mark), &records[mark]);
        assert_eq!(rows.len(), 1, "{mark} is doubled");
        let exchange = &exchanges[nth];
        let (events, told) = check(exchange, upto, WAYS[way], reply, &rows[0]);
        // The end of the transfer may lie behind that of the last event.
        if upto < exchange.stream.len() {
            let alike = by_events.entry((nth, way, events)).or_default();
            alike.push((upto, told));
        }
    }
    for ((nth, way, events), alike) in by_events {
        let (first, expected) = &alike[0];
        for (upto, told) in &alike {
            let name = &exchanges[nth].name;
            let at = format!("{name} {:?} after {events} events", WAYS[way]);
            assert_eq!(told, expected, "{at}: {upto} and {first} bytes differ");
        }
    }
    println!("{asked} cuts of {} streams", exchanges.len());
}
