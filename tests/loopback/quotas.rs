//! Budgets and limits as callers see them.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::Gateway;
use support::http::{CHAT, Reply, post};
use support::provider::{COMPLETION, Received, STREAM, answer, provider, write};

/// Costs a cent: 3 tokens read and 5 written at these prices.
const ASK: &str = r#"{"model":"m","max_tokens":5,"messages":[]}"#;
const CENT: i64 = 10_000_000;

fn prices() -> Value {
    // 8 tokens at 1,250 dollars a million are a cent; a request is estimated at 11 + 5 tokens.
    json!({ "m": { "input": "1250", "output": "1250" } })
}

async fn serving() -> (SocketAddr, tokio::sync::mpsc::Receiver<Received>) {
    provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await
}

async fn gateway(quotas: Value, references: Value, provider: SocketAddr) -> Gateway {
    Gateway::start(provider, document(&quotas, &references)).await
}

fn document(quotas: &Value, references: &Value) -> Value {
    json!({
        "prices": prices(),
        "quotas": quotas,
        "provider": { "compatibility": {
            "openai_chat": true, "openai_responses": true, "anthropic_messages": true,
            "gemini_generate_content": true, "bedrock_converse": true } },
        "grants": [
            { "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
                { "role": "admin" }, { "models": "**", "quotas": references }] } },
        ],
    })
}

fn retry_after(reply: &Reply) -> u64 {
    reply.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn an_empty_bucket_refuses_in_each_format() {
    let (address, mut received) = serving().await;
    let gateway = gateway(
        json!({ "none": { "capacity": "$0.00", "rate": "$0.00/day", "on_exceed": "reject" } }),
        json!([{ "bucket": "none" }]),
        address,
    )
    .await;
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let body = format!(r#"{{"model":"m","max_tokens":5,{messages}}}"#);
    let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]}]}"#;
    let bedrock = r#"{"messages":[{"role":"user","content":[{"text":"x"}]}]}"#;
    for (path, body) in [
        (CHAT, body.as_str()),
        ("/v1/responses", r#"{"model":"m","input":"x"}"#),
        ("/v1/messages", body.as_str()),
        ("/v1beta/models/m:generateContent", gemini),
        ("/model/m/converse", bedrock),
    ] {
        let reply = gateway.send(post(path, body)).await;
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert!(retry_after(&reply) > 0);
        let told = reply.json();
        let message = match path {
            "/v1/messages" => {
                assert_eq!(
                    (&told["type"], &told["error"]["type"]),
                    (&json!("error"), &json!("rate_limit_error"))
                );
                &told["error"]["message"]
            }
            "/v1beta/models/m:generateContent" => {
                assert_eq!(told["error"]["code"], 429);
                assert_eq!(told["error"]["status"], "RESOURCE_EXHAUSTED");
                &told["error"]["message"]
            }
            "/model/m/converse" => {
                assert_eq!(reply.headers["x-amzn-errortype"], "ThrottlingException");
                &told["message"]
            }
            _ => {
                assert_eq!(told["error"]["type"], "insufficient_quota", "{path}");
                assert_eq!(told["error"]["code"], "insufficient_quota", "{path}");
                &told["error"]["message"]
            }
        };
        let message = message.as_str().unwrap();
        assert!(
            message.contains("quota exceeded: none has $0.00"),
            "{message}"
        );
    }
    assert!(received.try_recv().is_err(), "a provider was asked");
}

#[tokio::test]
async fn parallel_requests_spend_what_there_is() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer(&mut stream, "200 OK", "", COMPLETION).await;
        }
        .boxed()
    })
    .await;
    let gateway = gateway(
        json!({ "all": { "capacity": "$0.50", "rate": "$0.00/day" } }),
        json!([{ "bucket": "all" }]),
        address,
    )
    .await;
    let counting = tokio::spawn(async move {
        let mut count = 0;
        while received.recv().await.is_some() {
            count += 1;
        }
        count
    });
    let asked = futures_util::future::join_all((0..200).map(|_| gateway.chat(ASK))).await;
    let passed = asked.iter().filter(|reply| reply.status == 200).count();
    let refused = asked.iter().filter(|reply| reply.status == 429).count();
    assert_eq!(passed + refused, 200);
    assert!((20..=50).contains(&passed), "{passed}");
    // One after the other, they spend the rest, to the cent.
    let mut more = 0;
    while gateway.chat(ASK).await.status == 200 {
        more += 1;
    }
    assert_eq!(passed + more, 50);
    drop(gateway);
    let _ = tokio::time::timeout(Duration::from_secs(1), counting).await;
}

#[tokio::test]
async fn every_bucket_pays_and_is_told_of() {
    let (address, _received) = serving().await;
    let gateway = gateway(
        json!({
            "daily:<user>": { "capacity": "$1.00", "rate": "$1.00/day" },
            "node:<node>": { "capacity": "$2.00", "warn_below": "99%" },
            "tokens": { "capacity": "1000 tokens", "rate": "1000 tokens/min" },
        }),
        json!([{ "bucket": "daily:<user>" }, { "bucket": "node:<node>" }, { "bucket": "tokens" }]),
        address,
    )
    .await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.headers.contains_key("x-iris-quota-warning"));
    let reply = gateway.chat(ASK).await;
    let warning = reply.headers["x-iris-quota-warning"].to_str().unwrap();
    assert!(warning.starts_with("node:"), "{warning}");
    assert!(warning.ends_with("left of $2.00"), "{warning}");
    let second = "bucket tokens has 992 tokens; 16 tokens held";
    let row = gateway
        .record_where(|row| row["reasons"].to_string().contains(second))
        .await;
    let reasons = row["reasons"].to_string();
    let first = "bucket daily:(loopback) has $";
    assert!(reasons.contains(first), "{reasons}");
    assert_eq!(row["cost"], CENT);
}

#[tokio::test]
async fn requests_and_what_runs_at_once_are_limited() {
    let (address, _received) = provider(|mut stream| {
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            answer(&mut stream, "200 OK", "", COMPLETION).await;
        }
        .boxed()
    })
    .await;
    let gateway = gateway(
        json!({
            "rpm:<user>": { "capacity": "4 requests", "rate": "4 requests/min" },
            "open:<user>": { "capacity": "2 parallel" },
        }),
        json!([{ "bucket": "rpm:<user>" }, { "bucket": "open:<user>" }]),
        address,
    )
    .await;
    let asked = futures_util::future::join_all((0..3).map(|_| gateway.chat(ASK))).await;
    let refused: Vec<_> = asked.iter().filter(|reply| reply.status == 429).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(retry_after(refused[0]), 1);
    assert!(refused[0].message().contains(
        "too many requests at once: open:(loopback) has 2 parallel, of which 2 parallel is held"
    ));
    for status in [200, 200, 429] {
        let reply = gateway.chat(ASK).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    let reply = gateway.chat(ASK).await;
    assert!(
        reply.message().contains(
            "rate limit exceeded: rpm:(loopback) has 0 requests; it is refilled by 4 requests/min"
        ),
        "{}",
        reply.message()
    );
    assert!((1..=15).contains(&retry_after(&reply)));
}

#[tokio::test]
async fn a_mistake_turns_no_budget_off() {
    for (quotas, part) in [
        (
            json!({ "b": { "capacity": "$5", "rate": "$5/fortnight" } }),
            "rate \"$5/fortnight\"",
        ),
        (json!({}), "it is not defined"),
    ] {
        let (address, mut received) = serving().await;
        let gateway = gateway(quotas, json!([{ "bucket": "b" }]), address).await;
        let reply = gateway.chat(ASK).await;
        assert_eq!(reply.status, 429);
        assert!(reply.message().contains(part), "{}", reply.message());
        assert!(received.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_broken_object_grants_nothing_and_its_buckets_pay() {
    for (quotas, part) in [
        (json!([{ "bucket": "empty" }]), "quota exceeded"),
        (json!("empty"), "it is not defined"),
        (json!([{ "bucket": 5 }]), "it is not defined"),
        (
            json!([{ "bucket": "empty", "overdarft": [] }]),
            "it is not defined",
        ),
    ] {
        let (address, mut received) = serving().await;
        let document = json!({
            "quotas": { "empty": { "capacity": "$0.00" } },
            "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
                { "role": "user" },
                { "models": "**" },
                // It can't be read for its last key.
                { "models": "p/*", "quotas": quotas, "read_pricing": "yes" },
            ] } }],
        });
        let gateway = Gateway::start(address, document).await;
        let reply = gateway.chat(ASK).await;
        assert_eq!(reply.status, 429, "{quotas}: {}", reply.text());
        assert!(reply.message().contains(part), "{}", reply.message());
        assert!(received.try_recv().is_err());
    }
}

#[tokio::test]
async fn what_has_no_price_passes_or_not_as_the_budget_says() {
    // A local model is free, which is a price; a list that lacks the model has none.
    for (unpriced, basis, status) in [
        ("allow", "openai", 200),
        ("reject", "openai", 429),
        ("reject", "", 200),
    ] {
        let (address, _received) = serving().await;
        let quotas = json!({ "b": { "capacity": "$5.00", "unpriced": unpriced } });
        let mut document = document(&quotas, &json!([{ "bucket": "b" }]));
        document["prices"] = json!({});
        document["provider"]["cost_basis"] = json!(basis);
        let gateway = Gateway::start(address, document).await;
        assert_eq!(gateway.chat(ASK).await.status, status);
    }
}

#[tokio::test]
async fn a_lower_capacity_clips_at_once() {
    let (address, _received) = serving().await;
    let gateway = gateway(
        json!({ "b": { "capacity": "$5.00" } }),
        json!([{ "bucket": "b" }]),
        address,
    )
    .await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("$5.00", "$0.00")).unwrap();
    for _ in 0..200 {
        if gateway.chat(ASK).await.status == 429 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the old capacity is still in force");
}

#[tokio::test]
async fn a_bucket_that_counts_something_else_begins_full() {
    let (address, _received) = serving().await;
    let gateway = gateway(
        json!({ "b": { "capacity": "$5.00" } }),
        json!([{ "bucket": "b" }]),
        address,
    )
    .await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    let listed = async || {
        let reply = gateway.send(http::Request::get("/api/quotas").body("".into()).unwrap());
        let listed = reply.await.json()["quotas"].clone();
        let rows = listed.as_array().cloned().unwrap_or_default();
        assert_eq!(rows.len(), 1, "{rows:?}");
        (
            rows[0]["unit"].clone(),
            rows[0]["current"].as_i64().unwrap(),
        )
    };
    let mut before = "$5.00";
    for (capacity, unit, most, taken) in [
        ("60 requests", "requests", 60, 1),
        ("1000 tokens", "tokens", 1_000, 8),
    ] {
        let text = std::fs::read_to_string(gateway.config()).unwrap();
        std::fs::write(gateway.config(), text.replace(before, capacity)).unwrap();
        let mut now = listed().await;
        for _ in 0..200 {
            if now.0 == unit {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            now = listed().await;
        }
        assert_eq!(now, (json!(unit), most));
        assert_eq!(gateway.chat(ASK).await.status, 200);
        assert_eq!(listed().await, (json!(unit), most - taken));
        before = capacity;
    }
}

#[tokio::test]
async fn a_stream_that_is_left_is_paid_for() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            for _ in 0..400 {
                write(
                    &mut stream,
                    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n",
                )
                .await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        .boxed()
    })
    .await;
    let gateway = gateway(
        json!({ "tokens": { "capacity": "1000 tokens" } }),
        json!([{ "bucket": "tokens" }]),
        address,
    )
    .await;
    let mut stream = gateway
        .raw_chat(r#"{"model":"m","stream":true,"max_tokens":100,"messages":[]}"#)
        .await;
    let mut some = vec![0; 2048];
    stream.read_exact(&mut some).await.unwrap();
    drop(stream);
    let row = gateway
        .record_where(|row| row["outcome"] == "client_closed")
        .await;
    let usage = &row["usage"];
    assert_eq!(usage["estimated"], true);
    let taken = usage["input_tokens"].as_i64().unwrap() + usage["output_tokens"].as_i64().unwrap();
    assert!(taken > 20, "{usage}");
    let reply = gateway.chat(ASK).await;
    let reasons = gateway.record_where(|row| row["stream"] == false).await["reasons"].to_string();
    let left = format!("bucket tokens has {} tokens", 1000 - taken);
    assert!(reasons.contains(&left), "{reasons} {}", reply.text());
}

#[tokio::test]
async fn a_provider_that_was_not_reached_costs_nothing() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let gateway = gateway(
        json!({ "rpm": { "capacity": "1 requests" } }),
        json!([{ "bucket": "rpm" }]),
        address,
    )
    .await;
    for _ in 0..3 {
        assert_eq!(gateway.chat(ASK).await.status, 502);
    }
}

#[tokio::test]
async fn buckets_are_listed_and_a_refusal_tells_its_story() {
    let (address, _received) = serving().await;
    let gateway = gateway(
        json!({ "all": { "capacity": "1 requests" }, "unused": { "capacity": "$3.00", "rate": "$1.00/week" } }),
        json!([{ "bucket": "all", }, { "bucket": "unused" }]),
        address,
    )
    .await;
    let get = async |path: &str| {
        let request = http::Request::get(path).body(http_body_util::Full::default());
        gateway.send(request.unwrap()).await.json()
    };
    let listed = get("/api/quotas").await;
    assert_eq!(listed["quotas"][0]["current"], 1);
    assert_eq!(listed["quotas"][1]["rate"], "$1.00/week");
    assert_eq!(gateway.chat(ASK).await.status, 200);
    let refused = gateway.chat(ASK).await;
    let id = refused.headers["x-iris-request-id"].to_str().unwrap();
    gateway.record_where(|row| row["id"] == id).await;
    let story = get(&format!("/api/requests/{id}/explain")).await;
    let answer = story["answer"].as_str().unwrap();
    assert_eq!(
        answer,
        "it was refused with 429: rate limit exceeded: all has 0 requests; it is not refilled"
    );
    let decisions = story["decisions"].to_string();
    for part in [
        "role admin by grants[0]",
        "grants that match this caller: grants[0]",
        "models pattern",
        "provider p is the only one",
    ] {
        assert!(decisions.contains(part), "{decisions}");
    }
    let url = format!("http://{}", gateway.address);
    let named = id.to_owned();
    let told = tokio::task::spawn_blocking(move || {
        crate::commands::iris(&["explain", "--request", &named, "--url", &url])
    })
    .await
    .unwrap();
    assert!(crate::commands::out(&told).starts_with(answer), "{told:?}");
    assert_eq!(get("/api/quotas").await["quotas"][0]["current"], 0);
}
