//! How requests end: what the record says, what is charged, and what the caller sees.

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Gateway;
use support::provider::{STREAM, Script, answer, provider, read_request, write};

const ASK_STREAM: &str = r#"{"model":"m","stream":true,"max_tokens":100,"messages":[]}"#;
const WORD: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},\"finish_reason\":null}]}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const COUNT: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":20}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A gateway whose one provider has a price, and whose callers have a budget of 10,000 tokens.
async fn priced(script: Script) -> Gateway {
    let (address, _received) = provider(script).await;
    Gateway::start(
        address,
        json!({
            "prices": { "m": { "input": "1", "output": "10" } },
            "quotas": { "tokens": { "capacity": "10000 tokens" } },
            "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
                { "role": "admin" },
                { "models": "**", "quotas": [{ "bucket": "tokens" }] },
            ] } }],
        }),
    )
    .await
}

async fn left(gateway: &Gateway) -> i64 {
    let request = http::Request::get("/api/quotas")
        .body(http_body_util::Full::default())
        .unwrap();
    let quotas = gateway.send(request).await.json();
    quotas["quotas"][0]["current"].as_i64().unwrap()
}

macro_rules! ends {
    ($($text:expr),+) => {
        |mut stream: TcpStream| {
            async move { $(write(&mut stream, $text).await;)+ }.boxed()
        }
    };
}

#[tokio::test]
async fn a_response_without_a_body_is_what_its_status_says_and_costs_nothing() {
    let cases: [(Script, u16, &str, &str); 6] = [
        (
            ends!("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"),
            503,
            "upstream_error",
            "503",
        ),
        (
            ends!("HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n"),
            401,
            "upstream_error",
            "401",
        ),
        (
            ends!("HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n"),
            429,
            "upstream_error",
            "429",
        ),
        (
            ends!("HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n"),
            200,
            "upstream_error",
            "empty",
        ),
        (ends!("HTTP/1.1 204 X\r\n\r\n"), 204, "complete", ""),
        (
            ends!("HTTP/1.1 307 X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
            307,
            "upstream_error",
            "307",
        ),
    ];
    for (script, status, outcome, error) in cases {
        let gateway = priced(script).await;
        let body =
            json!({ "model": "m", "messages": [{ "role": "user", "content": "x".repeat(4_000) }] });
        let reply = gateway.chat(&body.to_string()).await;
        assert_eq!(reply.status, status);
        let record = gateway.record().await;
        assert_eq!(record["outcome"], outcome, "{status}: {record}");
        assert_eq!(record["cost"], 0, "{status}: {record}");
        assert_eq!(
            record["usage"]["input_tokens"],
            Value::Null,
            "{status}: {record}"
        );
        let said = record["error"].as_str().unwrap_or_default();
        assert!(said.contains(error), "{status}: {said}");
        assert_eq!(left(&gateway).await, 10_000, "{status}");
    }
}

#[tokio::test]
async fn an_error_is_recorded_in_the_providers_own_words() {
    let cases: [(Script, &str); 4] = [
        (
            |mut stream| {
                async move {
                    answer(
                        &mut stream,
                        "500 X",
                        "",
                        r#"{"error":{"message":"out of memory"}}"#,
                    )
                    .await;
                }
                .boxed()
            },
            "out of memory",
        ),
        (
            |mut stream| {
                async move {
                    answer(&mut stream, "400 X", "", r#"{"error":"too long"}"#).await;
                }
                .boxed()
            },
            "too long",
        ),
        (
            ends!(
                "HTTP/1.1 502 X\r\ncontent-type: text/plain\r\ncontent-length: 11\r\n\r\nBad gateway"
            ),
            "Bad gateway",
        ),
        (
            ends!(
                "HTTP/1.1 502 X\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>"
            ),
            "the provider answered 502",
        ),
    ];
    for (script, words) in cases {
        let gateway = priced(script).await;
        gateway.chat(r#"{"model":"m","messages":[]}"#).await;
        let record = gateway.record().await;
        assert_eq!(
            (&record["outcome"], &record["error"]),
            (&json!("upstream_error"), &json!(words))
        );
        assert_eq!(record["cost"], 0);
    }
}

#[tokio::test]
async fn an_error_inside_a_success_passes_as_it_came_and_is_no_success() {
    let error = "data: {\"error\":{\"message\":\"engine died\"}}\n\n";
    let cases: [Script; 2] = [
        ends!(
            STREAM,
            "data: {\"error\":{\"message\":\"engine died\"}}\n\n",
            DONE
        ),
        ends!(
            STREAM,
            "data: {\"error\":{\"message\":\"engine died\"}}\n\n"
        ),
    ];
    for script in cases {
        let gateway = priced(script).await;
        let reply = gateway.chat(ASK_STREAM).await;
        assert!(reply.text().starts_with(error), "{}", reply.text());
        assert!(
            !reply.text().contains("provider_broke_off"),
            "{}",
            reply.text()
        );
        let record = gateway.record().await;
        assert_eq!(
            (&record["outcome"], &record["error"], &record["cost"]),
            (&json!("upstream_error"), &json!("engine died"), &json!(0)),
        );
        assert_eq!(left(&gateway).await, 10_000);
    }
}

#[tokio::test]
async fn a_response_without_a_count_is_charged_by_its_bytes() {
    let gateway = priced(|mut stream| {
        async move {
            let text = "y".repeat(4_000);
            let body = json!({ "choices": [{ "index": 0, "message": { "content": text }, "finish_reason": "stop" }] });
            answer(&mut stream, "200 OK", "", &body.to_string()).await;
        }
        .boxed()
    })
    .await;
    gateway.chat(r#"{"model":"m","messages":[]}"#).await;
    let record = gateway.record().await;
    let usage = &record["usage"];
    assert_eq!(usage["estimated"], true, "{record}");
    assert!(usage["output_tokens"].as_u64().unwrap() >= 1_000, "{usage}");
    assert!(record["cost"].as_u64().unwrap() >= 10_000_000, "{record}");
    assert!(left(&gateway).await < 9_000);
}

#[tokio::test]
async fn who_leaves_after_the_finish_reason_pays_what_the_provider_counts() {
    let gateway = priced(|mut stream| {
        async move {
            for part in [STREAM, WORD, STOP] {
                write(&mut stream, part).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            write(&mut stream, COUNT).await;
            write(&mut stream, DONE).await;
        }
        .boxed()
    })
    .await;
    let mut stream = gateway.raw_chat(ASK_STREAM).await;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"stop\"") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
    }
    drop(stream);
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "complete", "{record}");
    assert_eq!(
        (
            &record["usage"]["input_tokens"],
            &record["usage"]["output_tokens"]
        ),
        (&json!(30), &json!(20))
    );
    assert_eq!(record["usage"]["estimated"], false);
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_whole_response_pays_what_the_provider_counts() {
    let gateway = priced(|mut stream| {
        async move {
            let start = r#"{"choices":[{"index":0,"message":{"content":""#;
            let end = r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":20}}"#;
            let length = start.len() + 100_000 + end.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
            write(&mut stream, &head).await;
            write(&mut stream, start).await;
            write(&mut stream, &"z".repeat(50_000)).await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            write(&mut stream, &"z".repeat(50_000)).await;
            write(&mut stream, end).await;
        }
        .boxed()
    })
    .await;
    let mut stream = gateway.raw_chat(r#"{"model":"m","messages":[]}"#).await;
    let mut some = vec![0; 4_096];
    assert!(stream.read(&mut some).await.unwrap() > 0);
    drop(stream);
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "client_closed", "{record}");
    assert_eq!(
        (
            &record["usage"]["input_tokens"],
            &record["usage"]["output_tokens"]
        ),
        (&json!(30), &json!(20))
    );
}

#[tokio::test]
async fn a_stream_is_known_by_what_it_is() {
    for kind in [
        "content-type: Text/Event-Stream; charset=utf-8\r\n",
        "content-type: text/plain\r\n",
        "",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{kind}connection: close\r\n\r\n");
        let (address, _received) = server_of(vec![
            head,
            WORD.to_owned(),
            STOP.to_owned(),
            COUNT.to_owned(),
            DONE.to_owned(),
        ])
        .await;
        let gateway = Gateway::start(address, json!({})).await;
        let reply = gateway.chat(ASK_STREAM).await;
        // The gateway asked for the count, not the caller.
        assert_eq!(reply.text(), [WORD, STOP, DONE].concat(), "{kind:?}");
        let record = gateway.record().await;
        assert_eq!(record["outcome"], "complete", "{kind:?}: {record}");
        assert_eq!(record["usage"]["output_tokens"], 20, "{kind:?}: {record}");
        assert!(record["first_token_ms"].is_number(), "{kind:?}: {record}");
    }
}

/// A provider that answers each request with these pieces.
async fn server_of(
    pieces: Vec<impl AsRef<[u8]> + Send + Sync + 'static>,
) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if read_request(&mut stream).await.is_some() {
                for piece in &pieces {
                    let _ = stream.write_all(piece.as_ref()).await;
                }
            }
        }
    });
    (address, task)
}

#[tokio::test]
async fn who_leaves_on_an_error_is_not_charged_for_it() {
    let cases: [(Script, &str, u16, &str); 2] = [
        (
            |mut stream| {
                async move {
                    write(&mut stream, STREAM).await;
                    let error = "data: {\"error\":{\"message\":\"engine died\"}}\n\n";
                    write(&mut stream, error).await;
                    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                }
                .boxed()
            },
            "engine died",
            200,
            "engine died",
        ),
        (
            |mut stream| {
                async move {
                    let head = "HTTP/1.1 500 X\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
                    write(&mut stream, head).await;
                    write(&mut stream, "{\"error\":").await;
                    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                }
                .boxed()
            },
            "{\"error\":",
            500,
            "the provider answered 500",
        ),
    ];
    for (script, until, status, error) in cases {
        let gateway = priced(script).await;
        let mut stream = gateway.raw_chat(ASK_STREAM).await;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(until) {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
        drop(stream);
        let record = gateway.record().await;
        assert_eq!(
            (&record["outcome"], &record["status"], &record["cost"]),
            (&json!("upstream_error"), &json!(status), &json!(0)),
            "{record}"
        );
        assert_eq!(record["error"], error);
        assert_eq!(left(&gateway).await, 10_000);
    }
}

#[tokio::test]
async fn an_end_that_was_told_stays_the_end_when_the_connection_breaks() {
    let chunk = |data: &str| format!("{:x}\r\n{data}\r\n", data.len());
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let error = "data: {\"error\":{\"message\":\"engine died\"}}\n\n";
    for (last, outcome, why) in [
        ([WORD, STOP, COUNT, DONE].concat(), "complete", Value::Null),
        (error.to_owned(), "upstream_error", json!("engine died")),
    ] {
        // The last chunk, which would end the transfer, never comes.
        let (address, _task) = server_of(vec![head.to_owned(), chunk(&last)]).await;
        let gateway = Gateway::start(address, json!({})).await;
        let reply = gateway.chat(ASK_STREAM).await;
        assert!(!reply.broken, "{}", reply.text());
        assert!(
            !reply.text().contains("provider_broke_off"),
            "{}",
            reply.text()
        );
        let record = gateway.record().await;
        assert_eq!(
            (&record["outcome"], &record["error"]),
            (&json!(outcome), &why)
        );
    }
}

#[tokio::test]
async fn a_key_that_an_error_inside_a_success_quotes_is_hidden() {
    let key = "sk-CANARY-0123456789";
    let quoted = format!("{{\"error\":{{\"message\":\"no account for {key}\"}}}}");
    let json = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{quoted}",
        quoted.len()
    );
    let packed = {
        use std::io::Write;
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(quoted.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let mut gzip = format!(
        "HTTP/1.1 401 X\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    gzip.extend_from_slice(&packed);
    for (ask, answer) in [
        (
            ASK_STREAM,
            format!("{STREAM}data: {quoted}\n\n").into_bytes(),
        ),
        (r#"{"model":"m","messages":[]}"#, json.into_bytes()),
        (r#"{"model":"m","messages":[]}"#, gzip),
    ] {
        let (address, _task) = server_of(vec![answer]).await;
        let more = json!({ "provider": { "apikey": key } });
        let gateway = Gateway::start(address, more).await;
        let reply = gateway.chat(ask).await;
        assert!(
            reply.text().contains("no account for ****"),
            "{}",
            reply.text()
        );
        assert!(!reply.text().contains("CANARY"), "{}", reply.text());
        let record = gateway.record().await.to_string();
        assert!(record.contains("no account for ****"), "{record}");
        assert!(!record.contains("CANARY"), "{record}");
    }
}

#[tokio::test]
async fn a_record_is_kept_of_who_left_just_before_the_end_of_the_gateway() {
    let mut gateway = priced(|mut stream| {
        async move {
            for part in [STREAM, WORD, STOP] {
                write(&mut stream, part).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            write(&mut stream, COUNT).await;
            write(&mut stream, DONE).await;
        }
        .boxed()
    })
    .await;
    let mut stream = gateway.raw_chat(ASK_STREAM).await;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"stop\"") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
    }
    drop(stream);
    // The gateway has noticed it.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    gateway.stop().await;
    let gateway = gateway.again().await;
    let record = gateway.record().await;
    assert_eq!(record["usage"]["output_tokens"], 20, "{record}");
}

#[tokio::test]
async fn a_picture_in_a_request_is_not_counted_as_text() {
    let gateway = priced(|mut stream| {
        async move {
            let body =
                r#"{"choices":[{"index":0,"message":{"content":"a cat"},"finish_reason":"stop"}]}"#;
            answer(&mut stream, "200 OK", "", body).await;
        }
        .boxed()
    })
    .await;
    let url = format!("data:image/png;base64,{}", "A".repeat(400_000));
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": url } }] }] });
    assert_eq!(gateway.chat(&body.to_string()).await.status, 200);
    let tokens = gateway.record().await["usage"]["input_tokens"]
        .as_u64()
        .unwrap();
    assert!((1_600..2_000).contains(&tokens), "{tokens}");
}
