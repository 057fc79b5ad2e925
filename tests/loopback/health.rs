//! What the traffic of providers shows: which are paused, which are limited, and which fields that the
//! gateway adds they refuse.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::provider::{
    COMPLETION, Log, Received, STREAM, Script, answer, provider, read_request, server, write,
};

const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const STREAMED: &str = r#"{"model":"m","stream":true,"messages":[]}"#;
const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";

async fn well() -> (SocketAddr, Log) {
    server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await
}

fn count(log: &Log) -> usize {
    log.lock().unwrap().len()
}

fn named(id: &str, address: SocketAddr, more: &Value) -> Value {
    let mut one = json!({ "baseurl": format!("http://{address}"), "models": ["m"] });
    for (key, value) in more.as_object().unwrap() {
        one[key] = value.clone();
    }
    json!({ id: one })
}

/// `p` is preferred to `q`.
async fn two(p: SocketAddr, q: SocketAddr, mut more: Value) -> Gateway {
    more["provider"] = json!({ "preference": 9 });
    more["others"] = named("q", q, &json!({}));
    Gateway::start(p, more).await
}

pub async fn health(gateway: &Gateway, id: &str) -> Value {
    let request = Request::get("/api/providers")
        .body(Full::default())
        .unwrap();
    let reply = gateway.send(request).await.json();
    let rows = reply
        .get("providers")
        .unwrap_or(&reply)
        .as_array()
        .unwrap()
        .clone();
    rows.into_iter().find(|row| row["id"] == id).unwrap()["health"].take()
}

/// Answers each request on one connection with a status and headers.
async fn limited(status: &'static str, more: &'static str) -> (SocketAddr, Log) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Log::default();
    let seen = log.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut stream).await {
                    seen.lock().unwrap().push(request);
                    answer(&mut stream, status, more, r#"{"error":{"message":"slow"}}"#).await;
                }
            });
        }
    });
    (address, log)
}

#[tokio::test]
async fn a_provider_that_cuts_every_stream_is_paused() {
    let cut: Script = |mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, CHUNK).await;
        }
        .boxed()
    };
    let (first, mut asked) = provider(cut).await;
    let (second, log) = well().await;
    let gateway = two(first, second, json!({ "routing": { "eject_after": 3 } })).await;
    for _ in 0..8 {
        assert_eq!(gateway.chat(STREAMED).await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = std::iter::from_fn(|| asked.try_recv().ok()).count();
    assert_eq!((asked, count(&log)), (3, 5));
    let health = health(&gateway, "p").await;
    assert_eq!(
        (&health["ejected"], &health["failures"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(health["last_success"], Value::Null);
}

#[tokio::test]
async fn callers_who_leave_count_neither_way() {
    let slow: Script = |mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, CHUNK).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        .boxed()
    };
    let (first, _asked) = provider(slow).await;
    let gateway = two(
        first,
        well().await.0,
        json!({ "routing": { "eject_after": 2 } }),
    )
    .await;
    for _ in 0..4 {
        let mut stream = gateway.raw_chat(STREAMED).await;
        let mut some = [0; 400];
        tokio::io::AsyncReadExt::read(&mut stream, &mut some)
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let health = health(&gateway, "p").await;
    assert_eq!(
        (&health["ejected"], &health["failures"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(health["last_success"], Value::Null);
}

#[tokio::test]
async fn a_limited_provider_is_left_out_for_as_long_as_it_says() {
    let date = "Fri, 01 Jan 2100 00:00:00 GMT";
    let dated: &'static str = format!("retry-after: {date}\r\n").leak();
    for (status, more) in [
        ("429 Too Many Requests", "retry-after: 60\r\n"),
        ("429 Too Many Requests", dated),
        ("429 Too Many Requests", "retry-after-ms: 60000\r\n"),
        (
            "429 Too Many Requests",
            "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1m0s\r\n",
        ),
        ("503 Service Unavailable", "retry-after: 60\r\n"),
    ] {
        let (first, asked) = limited(status, more).await;
        let (second, log) = well().await;
        // Retries have a budget, which limits don't use up.
        let gateway = two(first, second, json!({})).await;
        for _ in 0..40 {
            assert_eq!(gateway.chat(ASK).await.status, 200, "{more}");
        }
        assert_eq!((count(&asked), count(&log)), (1, 40), "{more}");
        let health = health(&gateway, "p").await;
        let left = health["models"][0]["limited_for"].as_u64().unwrap();
        assert!((50..=3_600).contains(&left), "{health}");
        assert_eq!(health["ejected"], false);
    }
}

#[tokio::test]
async fn a_limit_that_is_over_is_over() {
    let (first, asked) = limited("429 Too Many Requests", "retry-after: 1\r\n").await;
    let (second, _log) = well().await;
    let gateway = two(first, second, json!({})).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    // A little longer than the limit.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(count(&asked), 2);
}

#[tokio::test]
async fn when_all_are_limited_the_caller_is_told_the_shortest_time() {
    let (first, asked) = limited("429 Too Many Requests", "retry-after: 20\r\n").await;
    let (second, also) = limited("429 Too Many Requests", "retry-after: 50\r\n").await;
    let gateway = two(first, second, json!({})).await;
    for _ in 0..3 {
        let reply = gateway.chat(ASK).await;
        assert_eq!(reply.status, 429);
        let after: u64 = reply.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(after <= 20, "{after}");
    }
    // Once both are known to be limited, the one that is free first is asked.
    assert_eq!((count(&asked), count(&also)), (3, 1));
}

#[tokio::test]
async fn more_limited_providers_than_attempts_are_no_reason_to_refuse() {
    let mut others = json!({});
    for nth in 0..4 {
        let (address, _) = limited("429 Too Many Requests", "").await;
        let id = format!("x{nth}");
        others[&id] = named(&id, address, &json!({ "preference": 5 }))[&id].take();
    }
    let (last, log) = well().await;
    let more = json!({ "routing": { "attempts": 2 }, "others": others,
        "provider": { "preference": 0 } });
    let gateway = Gateway::start(last, more).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(count(&log), 1);
}

#[tokio::test]
async fn a_broken_model_leaves_its_providers_other_models() {
    let of = |request: &Received| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        if body["model"] == "bad" {
            ("500 Internal Server Error", "{}".to_owned())
        } else {
            ("200 OK", COMPLETION.to_owned())
        }
    };
    let (first, asked) = server("127.0.0.1:0", of).await;
    let (second, log) = well().await;
    let models = json!({ "models": ["m", "bad"] });
    let more = json!({
        "routing": { "eject_after": 2 },
        "provider": { "models": ["m", "bad"], "preference": 9 },
        "others": named("q", second, &models),
    });
    let gateway = Gateway::start(first, more).await;
    for _ in 0..4 {
        assert_eq!(
            gateway.chat(&ASK.replace("\"m\"", "\"bad\"")).await.status,
            200
        );
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    let bad = |log: &Log| {
        let log = log.lock().unwrap();
        let is_bad = |one: &&Received| String::from_utf8_lossy(&one.body).contains("bad");
        log.iter().filter(is_bad).count()
    };
    assert_eq!((count(&asked), bad(&asked)), (6, 2));
    assert_eq!((count(&log), bad(&log)), (4, 4));
    let health = health(&gateway, "p").await;
    assert_eq!(health["ejected"], false);
    let row = |name: &str| {
        let models = health["models"].as_array().unwrap();
        models.iter().find(|row| row["model"] == name).unwrap()
    };
    assert_eq!(row("bad")["ejected"], true);
    assert_eq!(row("m")["ejected"], false);
}

#[tokio::test]
async fn one_models_failures_use_up_no_other_models_retries() {
    let (broken, _log) = server("127.0.0.1:0", |_| {
        ("500 Internal Server Error", "{}".to_owned())
    })
    .await;
    let (second, _also) = well().await;
    let mut others = named("q", second, &json!({ "models": ["m"] }));
    for id in ["x1", "x2"] {
        others[id] = named(id, broken, &json!({ "models": ["x"] }))[id].take();
    }
    let more = json!({ "routing": { "eject_after": 0 }, "provider": { "preference": 9 }, "others": others });
    let gateway = Gateway::start(broken, more).await;
    for _ in 0..40 {
        assert_eq!(
            gateway.chat(&ASK.replace("\"m\"", "\"x\"")).await.status,
            500
        );
    }
    for _ in 0..5 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
}

#[tokio::test]
async fn a_provider_whose_configuration_changes_is_a_new_one() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    let (second, _log) = well().await;
    let (mended, asked) = well().await;
    let routing = json!({ "routing": { "eject_after": 2, "eject_for": "100s" } });
    let gateway = two(gone, second, routing).await;
    for _ in 0..3 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    assert_eq!(health(&gateway, "p").await["ejected"], true);
    let change = |from: String, to: String| {
        let text = std::fs::read_to_string(gateway.config()).unwrap();
        std::fs::write(gateway.config(), text.replace(&from, &to)).unwrap();
    };
    // A change that doesn't affect how it is reached changes nothing.
    change(
        r#""preference":9"#.to_owned(),
        r#""preference":8"#.to_owned(),
    );
    // It has been read since.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(health(&gateway, "p").await["ejected"], true);
    change(gone.to_string(), mended.to_string());
    for _ in 0..100 {
        if health(&gateway, "p").await.is_null() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(health(&gateway, "p").await, Value::Null);
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(count(&asked), 1);
    assert_eq!(health(&gateway, "p").await["last_error"], Value::Null);
}

pub fn has_options(request: &Received) -> bool {
    String::from_utf8_lossy(&request.body).contains("stream_options")
}

/// Refuses `stream_options`, and answers what comes without them.
async fn without_options(status: &'static str) -> (SocketAddr, Log) {
    server("127.0.0.1:0", move |request| {
        if has_options(request) {
            let text = r#"{"error":{"message":"Unknown parameter: stream_options"}}"#;
            (status, text.to_owned())
        } else {
            ("200 OK", COMPLETION.to_owned())
        }
    })
    .await
}

#[tokio::test]
async fn a_provider_that_refuses_stream_options_gets_none() {
    for status in ["400 Bad Request", "422 Unprocessable Entity"] {
        let (address, log) = without_options(status).await;
        let gateway = Gateway::start(address, json!({})).await;
        for _ in 0..3 {
            assert_eq!(gateway.chat(STREAMED).await.status, 200, "{status}");
        }
        let seen: Vec<bool> = log.lock().unwrap().iter().map(has_options).collect();
        assert_eq!(seen, [true, false, false, false], "{status}");
        // The caller's own pass unchanged, and so does the refusal of them.
        let own =
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
        let reply = gateway.chat(own).await;
        assert_eq!(reply.status.as_str(), &status[..3]);
        assert!(reply.text().contains("Unknown parameter"));
    }
}

#[tokio::test]
async fn a_refusal_that_only_quotes_the_words_teaches_nothing() {
    let refused = r#"{"error":{"message":"no such role: stream_options"}}"#;
    let (address, log) = server("127.0.0.1:0", move |request| {
        if String::from_utf8_lossy(&request.body).contains("nonsense") {
            ("400 Bad Request", refused.to_owned())
        } else {
            ("200 OK", COMPLETION.to_owned())
        }
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let reply = gateway
        .chat(r#"{"model":"m","stream":true,"messages":["nonsense"]}"#)
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.text()),
        (400, refused.to_owned())
    );
    assert_eq!(gateway.chat(STREAMED).await.status, 200);
    let seen: Vec<bool> = log.lock().unwrap().iter().map(has_options).collect();
    assert_eq!(seen, [true, false, true]);
}

#[tokio::test]
async fn stream_options_can_be_set() {
    for (setting, expected) in [(true, vec![true]), (false, vec![false])] {
        let (address, log) = without_options("400 Bad Request").await;
        let more = json!({ "provider": { "stream_options": setting } });
        let gateway = Gateway::start(address, more).await;
        let status = if setting { 400 } else { 200 };
        assert_eq!(gateway.chat(STREAMED).await.status, status);
        let seen: Vec<bool> = log.lock().unwrap().iter().map(has_options).collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_base_url_of_a_known_form_gets_no_second_version() {
    for (base, more, expected) in [
        (
            "/v1beta/openai",
            json!({}),
            "POST /v1beta/openai/chat/completions",
        ),
        ("/v1/openai/", json!({}), "POST /v1/openai/chat/completions"),
        ("/inference", json!({}), "POST /inference/chat/completions"),
        (
            "/serving-endpoints",
            json!({}),
            "POST /serving-endpoints/chat/completions",
        ),
        (
            "/v1/acct/gw/compat",
            json!({}),
            "POST /v1/acct/gw/compat/chat/completions",
        ),
        (
            "/llm",
            json!({ "path_version": "" }),
            "POST /llm/chat/completions",
        ),
        (
            "/llm",
            json!({ "path_version": "v7" }),
            "POST /llm/v7/chat/completions",
        ),
        ("/llm", json!({}), "POST /llm/v1/chat/completions"),
    ] {
        let (address, log) = well().await;
        let mut provider = more;
        provider["baseurl"] = format!("http://{address}{base}").into();
        let gateway = Gateway::start(address, json!({ "provider": provider })).await;
        assert_eq!(gateway.chat(ASK).await.status, 200, "{base}");
        assert_eq!(log.lock().unwrap()[0].target(), expected);
    }
}

#[tokio::test]
async fn an_empty_budget_is_passed_over_where_another_pays() {
    let (first, asked) = well().await;
    let (second, log) = well().await;
    let more = json!({
        "quotas": {
            "first": { "capacity": "1 request", "rate": "1 request/day" },
            "second": { "capacity": "2 requests", "rate": "1 request/day" },
        },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" },
            { "models": "p/**", "quotas": [{ "bucket": "first" }] },
            { "models": "q/**", "quotas": [{ "bucket": "second" }] },
        ] } }],
    });
    let gateway = two(first, second, more).await;
    for _ in 0..3 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    assert_eq!((count(&asked), count(&log)), (1, 2));
    let reply = gateway.chat(ASK).await;
    assert_eq!(reply.status, 429);
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!((count(&asked), count(&log)), (1, 2));
}

#[tokio::test]
async fn a_failure_is_not_hidden_by_another_providers_empty_budget() {
    let (first, _asked) = server("127.0.0.1:0", |_| {
        ("500 Internal Server Error", "{}".to_owned())
    })
    .await;
    let (second, log) = well().await;
    let more = json!({
        "quotas": { "none": { "capacity": "1 request", "rate": "1 request/day" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "p/**" },
            { "models": "q/**", "quotas": [{ "bucket": "none" }] },
        ] } }],
    });
    let gateway = two(first, second, more).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(gateway.chat(ASK).await.status, 500);
    assert_eq!(count(&log), 1);
    let row = gateway.record_where(|row| row["status"] == 500).await;
    assert_eq!(row["provider"], "p");
}
