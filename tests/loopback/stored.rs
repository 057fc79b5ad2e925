//! Responses that a provider keeps: asked for by their id, and made in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{Log, Received, STREAM, answer, read_request, server, write};
use tokio::net::TcpListener;

pub(crate) const RESPONSES: &str = "/v1/responses";
pub(crate) const USAGE: &str = r#""usage":{"input_tokens":7,"output_tokens":11,"total_tokens":18}"#;

pub(crate) fn response(id: &str, status: &str, more: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"response","status":"{status}","model":"m","store":true,"output":[]{more}}}"#
    )
}

/// A provider that keeps responses: those of requests in the background end when they are asked for the second
/// time.
fn keeper() -> impl Fn(&Received) -> (&'static str, String) + Send + Sync + 'static {
    let asked = Arc::new(AtomicUsize::new(0));
    move |request: &Received| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let target = request.target();
        let (method, path) = target.split_once(' ').unwrap();
        let reply = match (method, path) {
            ("POST", RESPONSES) if body["background"] == true => {
                asked.store(0, Ordering::Relaxed);
                response("resp_slow", "queued", r#","background":true"#)
            }
            ("POST", RESPONSES) if body["store"] == false => {
                response("resp_lost", "completed", &format!(",{USAGE}"))
                    .replace(r#""store":true"#, r#""store":false"#)
            }
            ("POST", RESPONSES) => response("resp_1", "completed", &format!(",{USAGE}")),
            ("GET", "/v1/responses/resp_slow") => match asked.fetch_add(1, Ordering::Relaxed) {
                0 => response("resp_slow", "in_progress", r#","background":true"#),
                _ => response(
                    "resp_slow",
                    "completed",
                    &format!(r#","background":true,{USAGE}"#),
                ),
            },
            ("POST", "/v1/responses/resp_slow/cancel") => {
                response("resp_slow", "cancelled", r#","background":true"#)
            }
            ("GET", "/v1/responses/resp_1") => {
                response("resp_1", "completed", &format!(",{USAGE}"))
            }
            ("GET", "/v1/responses/resp_1/input_items") => {
                r#"{"object":"list","data":[{"id":"msg_1"}],"has_more":false}"#.to_owned()
            }
            ("DELETE", _) => r#"{"id":"resp_1","object":"response","deleted":true}"#.to_owned(),
            _ => {
                return (
                    "404 Not Found",
                    r#"{"error":{"message":"nothing"}}"#.to_owned(),
                );
            }
        };
        ("200 OK", reply)
    }
}

fn grants(objects: &Value) -> Value {
    json!([
        { "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": objects } },
        { "src": ["ann@x.org", "bob@x.org"], "app": { "tailscale.com/cap/aperture": [
            { "role": "user" }, { "models": "**" },
        ] } },
    ])
}

async fn gateway(mut more: Value) -> (Gateway, Log) {
    let (address, log) = server("127.0.0.1:0", keeper()).await;
    let provider = json!({
        "apikey": "secret", "compatibility": { "openai_responses": true },
        "model_cost_map": [],
    });
    if more["provider"].is_null() {
        more["provider"] = provider;
    }
    if more["grants"].is_null() {
        more["grants"] = grants(&json!([
            { "role": "admin" }, { "models": "**" }, { "may_speak_for": ["*@x.org"] },
        ]));
    }
    more["prices"] = json!({ "p/m": { "input": "1", "output": "2" } });
    (Gateway::start(address, more).await, log)
}

async fn ask(gateway: &Gateway, method: Method, path: &str, who: Option<&str>) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(who) = who {
        request = request.header("x-iris-user", who);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    gateway.send(request).await
}

async fn get(gateway: &Gateway, path: &str) -> Reply {
    ask(gateway, Method::GET, path, None).await
}

pub(crate) async fn create(gateway: &Gateway, body: &Value) -> Reply {
    gateway.send(post(RESPONSES, &body.to_string())).await
}

fn sent_to(log: &Log, target: &str) -> usize {
    let log = log.lock().unwrap();
    log.iter().filter(|one| one.target() == target).count()
}

#[tokio::test]
async fn a_response_is_asked_for_by_its_id_until_it_is_deleted() {
    let (gateway, log) = gateway(json!({})).await;
    let reply = create(&gateway, &json!({ "model": "m", "input": "hi" })).await;
    assert_eq!(reply.json()["id"], "resp_1");
    let path = "/v1/responses/resp_1";
    let reply = get(
        &gateway,
        &format!("{path}?include[]=reasoning.encrypted_content&key=mine"),
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.json()["status"], "completed");
    {
        let log = log.lock().unwrap();
        let sent = log.last().unwrap();
        let line = sent.head.lines().next().unwrap();
        assert_eq!(
            line,
            "GET /v1/responses/resp_1?include[]=reasoning.encrypted_content HTTP/1.1"
        );
        assert_eq!(sent.header("authorization"), Some("Bearer secret"));
    }
    // What it cost was counted when it was made.
    let record = gateway.record_of(path).await;
    assert_eq!(
        (&record["cost"], &record["outcome"]),
        (&json!(0), &json!("complete"))
    );
    assert_eq!(record["usage"]["input_tokens"], Value::Null);
    assert_eq!(record["provider"], "p");
    let items = get(&gateway, "/responses/resp_1/input_items?limit=3").await;
    assert_eq!(items.json()["data"][0]["id"], "msg_1");
    assert_eq!(sent_to(&log, "GET /v1/responses/resp_1/input_items"), 1);
    let reply = ask(&gateway, Method::DELETE, path, None).await;
    assert_eq!(reply.json()["deleted"], true);
    let reply = get(&gateway, path).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.message(), "Response with id 'resp_1' not found.");
    assert_eq!(sent_to(&log, "GET /v1/responses/resp_1"), 1);
}

#[tokio::test]
async fn only_what_a_provider_keeps_is_known_and_only_to_its_owner() {
    let (gateway, log) = gateway(json!({})).await;
    create(
        &gateway,
        &json!({ "model": "m", "input": "hi", "store": false }),
    )
    .await;
    let lost = get(&gateway, "/v1/responses/resp_lost").await;
    assert_eq!(lost.status, StatusCode::NOT_FOUND);
    let mut request = post(RESPONSES, r#"{"model":"m","input":"hi"}"#);
    request
        .headers_mut()
        .insert("x-iris-user", "ann@x.org".parse().unwrap());
    assert_eq!(gateway.send(request).await.status, StatusCode::OK);
    let path = "/v1/responses/resp_1";
    let nothing = get(&gateway, "/v1/responses/resp_0").await.message();
    for (method, path) in [
        (Method::GET, path.to_owned()),
        (Method::DELETE, path.to_owned()),
        (Method::POST, format!("{path}/cancel")),
        (Method::GET, format!("{path}/input_items")),
    ] {
        for who in [None, Some("bob@x.org")] {
            let reply = ask(&gateway, method.clone(), &path, who).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(reply.message().replace("resp_1", "resp_0"), nothing);
        }
    }
    assert_eq!(log.lock().unwrap().len(), 2);
    let reply = ask(&gateway, Method::GET, path, Some("ann@x.org")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

#[tokio::test]
async fn a_request_goes_on_only_with_a_response_of_its_own_caller() {
    let (mut gateway, log) = gateway(json!({})).await;
    let ask = async |gateway: &Gateway, who: &str, previous: Option<&str>| {
        let body = json!({ "model": "m", "input": "hi", "previous_response_id": previous });
        let mut request = post(RESPONSES, &body.to_string());
        request
            .headers_mut()
            .insert("x-iris-user", who.parse().unwrap());
        gateway.send(request).await
    };
    assert_eq!(
        ask(&gateway, "ann@x.org", None).await.status,
        StatusCode::OK
    );
    for _ in 0..2 {
        let before = log.lock().unwrap().len();
        let reply = ask(&gateway, "bob@x.org", Some("resp_1")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
        let error = reply.json()["error"].clone();
        assert_eq!(error["code"], "previous_response_not_found");
        assert_eq!(error["param"], "previous_response_id");
        assert_eq!(log.lock().unwrap().len(), before, "it isn't sent");
        gateway.stop().await;
        gateway = gateway.again().await;
    }
    // What the gateway knows nothing of is the provider's to refuse.
    for (who, id) in [("ann@x.org", "resp_1"), ("bob@x.org", "resp_0")] {
        let reply = ask(&gateway, who, Some(id)).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
}

#[tokio::test]
async fn what_is_known_of_responses_outlives_the_process_and_grants_count_anew() {
    let (mut gateway, log) = gateway(json!({})).await;
    create(&gateway, &json!({ "model": "m", "input": "hi" })).await;
    gateway.stop().await;
    let mut gateway = gateway.again().await;
    let path = "/v1/responses/resp_1";
    assert_eq!(get(&gateway, path).await.status, StatusCode::OK);
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    let mut revoked = written.clone();
    revoked["grants"] = grants(&json!([{ "role": "admin" }, { "models": "p/other" }]));
    let mut removed = written.clone();
    removed["providers"] = json!({ "q": written["providers"]["p"] });
    let before = log.lock().unwrap().len();
    for (config, code) in [
        (revoked, "model_not_found"),
        (removed, "response_not_found"),
    ] {
        gateway.stop().await;
        std::fs::write(gateway.config(), config.to_string()).unwrap();
        gateway = gateway.again().await;
        let reply = get(&gateway, path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        assert_eq!(reply.json()["error"]["code"], code, "{}", reply.text());
    }
    assert_eq!(log.lock().unwrap().len(), before);
}

#[tokio::test]
async fn the_key_that_made_a_response_is_used_again() {
    let provider = json!({
        "apikeys": ["one", "two", "three"], "compatibility": { "openai_responses": true },
    });
    let (gateway, log) = gateway(json!({ "provider": provider })).await;
    for _ in 0..2 {
        create(&gateway, &json!({ "model": "m", "input": "hi" })).await;
    }
    let key = |log: &Log, nth: usize| {
        let log = log.lock().unwrap();
        log[nth].header("authorization").map(str::to_owned)
    };
    let made = key(&log, 1);
    for nth in 2..5 {
        get(&gateway, "/v1/responses/resp_1").await;
        assert_eq!(key(&log, nth), made);
    }
}

/// Waits for the record of the request that began a response in the background.
pub(crate) async fn ended(gateway: &Gateway) -> Value {
    for _ in 0..20 {
        let reply = get(gateway, "/api/requests?limit=20").await.json();
        let rows = reply["requests"].as_array().cloned().unwrap_or_default();
        let mut rows = rows.into_iter().filter(|row| row["path"] == RESPONSES);
        if let Some(row) = rows.next() {
            assert!(rows.next().is_none(), "there is one record");
            return row;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("there is no record");
}

async fn left(gateway: &Gateway, bucket: &str) -> Value {
    let listed = get(gateway, "/api/quotas").await.json();
    let mut buckets = listed["quotas"].as_array().unwrap().iter();
    let one = buckets.find(|one| one["bucket"] == bucket).cloned();
    one.unwrap_or_else(|| panic!("{listed}"))
}

#[tokio::test]
async fn a_background_response_is_followed_and_paid_for_once() {
    let (gateway, log) = gateway(json!({
        "quotas": { "day": { "capacity": "1000 tokens" } },
        "grants": grants(&json!([
            { "role": "admin" }, { "models": "**", "quotas": [{ "bucket": "day" }] },
        ])),
    }))
    .await;
    let body = json!({ "model": "m", "input": "hi", "background": true, "max_output_tokens": 50 });
    let reply = create(&gateway, &body).await;
    assert_eq!(reply.json()["status"], "queued", "{}", reply.text());
    let id = reply.headers["x-iris-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let path = "/v1/responses/resp_slow";
    // It is being made: what it may cost is held, and nothing is recorded.
    let rows = get(&gateway, "/api/requests?limit=20").await.json();
    assert_eq!(rows["requests"], json!([]));
    let reply = ask(&gateway, Method::DELETE, path, None).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert_eq!(get(&gateway, path).await.json()["status"], "in_progress");
    let record = ended(&gateway).await;
    assert_eq!(record["id"], id);
    assert_eq!(record["outcome"], "complete");
    assert_eq!(record["usage"]["input_tokens"], 7);
    assert_eq!(record["usage"]["output_tokens"], 11);
    assert_eq!(record["cost"], 29_000);
    assert_eq!(record["api"], "openai_responses");
    assert!(
        record["duration_ms"].as_f64().unwrap() > 1_000.0,
        "{record}"
    );
    let day = left(&gateway, "day").await;
    assert!(day.to_string().contains("982"), "{day}");
    // What its owner asks for later costs nothing.
    assert_eq!(get(&gateway, path).await.status, StatusCode::OK);
    let asked = gateway.record_of(path).await;
    assert_eq!(asked["cost"], 0);
    assert!(left(&gateway, "day").await.to_string().contains("982"));
    assert_eq!(sent_to(&log, "POST /v1/responses"), 1);
    let reply = ask(&gateway, Method::DELETE, path, None).await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn a_background_response_is_followed_on_after_a_restart() {
    let (mut gateway, _log) = gateway(json!({})).await;
    let body = json!({ "model": "m", "input": "hi", "background": true });
    assert_eq!(create(&gateway, &body).await.json()["status"], "queued");
    gateway.stop().await;
    let gateway = gateway.again().await;
    let record = ended(&gateway).await;
    assert_eq!(record["usage"]["output_tokens"], 11);
    assert_eq!(record["cost"], 29_000);
}

/// A provider whose streams in the background break off behind their first event.
async fn breaking() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut stream).await {
                    if request.target() == "POST /v1/responses" {
                        let begun = response("resp_slow", "queued", r#","background":true"#);
                        let event = format!(
                            "{STREAM}event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{begun}}}\n\n"
                        );
                        write(&mut stream, &event).await;
                        return;
                    }
                    let more = format!(r#","background":true,{USAGE}"#);
                    let ended = response("resp_slow", "completed", &more);
                    answer(&mut stream, "200 OK", "", &ended).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_background_stream_that_breaks_off_is_paid_for_all_the_same() {
    let provider = json!({ "compatibility": { "openai_responses": true } });
    let prices = json!({ "p/m": { "input": "1", "output": "2" } });
    let more = json!({ "provider": provider, "prices": prices });
    let gateway = Gateway::start(breaking().await, more).await;
    let body = json!({ "model": "m", "input": "hi", "background": true, "stream": true });
    let reply = create(&gateway, &body).await;
    assert!(
        reply.text().contains("response.created"),
        "{}",
        reply.text()
    );
    let record = ended(&gateway).await;
    assert_eq!(record["usage"]["output_tokens"], 11);
    assert_eq!(
        (&record["cost"], &record["outcome"]),
        (&json!(29_000), &json!("complete"))
    );
    assert_eq!(record["stream"], true);
}

#[tokio::test]
async fn a_background_request_that_could_not_be_followed_is_refused() {
    let (address, log) = server("127.0.0.1:0", keeper()).await;
    let more = json!({ "provider": { "compatibility": { "anthropic_messages": true, "openai_chat": false } } });
    let gateway = Gateway::start(address, more).await;
    let body = json!({ "model": "m", "input": "hi", "background": true, "max_output_tokens": 5 });
    let reply = create(&gateway, &body).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
    assert!(reply.message().contains("background"), "{}", reply.text());
    assert!(log.lock().unwrap().is_empty());
    // Only as OpenAI writes it.
    let reply = create(
        &gateway,
        &json!({ "model": "m", "input": "hi", "background": 1 }),
    )
    .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let chat = r#"{"model":"m","messages":[],"background":true}"#;
    assert_eq!(gateway.chat(chat).await.status, StatusCode::BAD_REQUEST);
}
