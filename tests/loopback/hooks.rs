//! Hooks and guardrails as callers and hook servers see them.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::Gateway;
use support::http::{CHAT, post};
use support::provider::{COMPLETION, Received, Script, answer, provider, write};

pub const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"what did I say?"}]}"#;

type Server = (SocketAddr, Receiver<Received>);

pub async fn well() -> Server {
    provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await
}

pub async fn gone() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Hooks by name, with where they are, and wired for one event.
pub fn document(hooks: &[(&str, SocketAddr, Value)], event: &str, send: &Value) -> Value {
    let defined = hooks.iter().map(|(name, address, more)| {
        let mut hook = json!({ "url": format!("http://{address}/hook"), "timeout": "1s" });
        for (key, value) in more.as_object().unwrap() {
            hook[key] = value.clone();
        }
        ((*name).to_owned(), hook)
    });
    let wired: Vec<Value> = hooks
        .iter()
        .map(|(name, _, _)| json!({ "name": name, "events": [event], "send": send }))
        .collect();
    json!({
        "hooks": defined.collect::<serde_json::Map<_, _>>(),
        "provider": { "models": ["m", "other"], "compatibility": {
            "openai_chat": true, "anthropic_messages": true,
            "gemini_generate_content": true, "bedrock_converse": true } },
        "grants": [{ "src": ["(loopback)"], "app": {
            "tailscale.com/cap/aperture": [{ "role": "admin", "read_metrics": true }, { "models": "p/m", "send_hooks": wired }],
            "example.org/cap/policy": [{ "tier": "gold" }],
        } }],
    })
}

pub fn body(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

async fn reasons(gateway: &Gateway) -> String {
    let row = gateway.record_where(|row| row["path"] != "").await;
    row["reasons"].to_string()
}

#[tokio::test]
async fn a_hook_is_told_what_it_is_to_judge() {
    let (hook, mut told) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", r#"{"action":"allow"}"#).await }.boxed()
    })
    .await;
    let (upstream, _kept) = well().await;
    let send = json!([
        "request_body",
        "user_message",
        "grants",
        "quotas",
        "tools",
        "response_body"
    ]);
    let secret = json!({ "apikey": "s3cret", "authorization": "x-api-key" });
    let mut document = document(&[("judge", hook, secret)], "pre_request", &send);
    document["quotas"] = json!({ "all": { "capacity": "$10.00", "rate": "$5.00/day" } });
    document["grants"][0]["app"]["tailscale.com/cap/aperture"][1]["quotas"] =
        json!([{ "bucket": "all" }]);
    let gateway = Gateway::start(upstream, document).await;
    let mut request = post(CHAT, ASK);
    let headers = request.headers_mut();
    headers.insert("user-agent", "my-agent/2".parse().unwrap());
    headers.insert("x-session-id", "talk-7".parse().unwrap());
    let reply = gateway.send(request).await;
    assert_eq!(reply.status, 200);
    let told = told.recv().await.unwrap();
    assert!(told.head.contains("x-api-key: s3cret"), "{}", told.head);
    let expected = json!({
        "metadata": {
            "login_name": "(loopback)", "user_agent": "my-agent/2",
            "url": format!("http://{}{CHAT}", gateway.address), "model": "m",
            "provider": "p", "tailnet_name": "", "stable_node_id": "",
            "request_id": reply.headers["x-iris-request-id"].to_str().unwrap(),
            "session_id": "talk-7",
            "quotas": { "all": { "current": 10_000_000_000_i64, "capacity": 10_000_000_000_i64, "rate": "$5.00/day" } },
            "grants": { "example.org/cap/policy": [{ "tier": "gold" }] },
        },
        "user_message": "what did I say?",
        "request_body": serde_json::from_str::<Value>(ASK).unwrap(),
    });
    let mut told = body(&told);
    told["metadata"]["stable_node_id"] = "".into();
    assert_eq!(told, expected);
    assert!(reasons(&gateway).await.contains("hook judge allows it"));
    let metrics = crate::management::get(&gateway, "/metrics").await.text();
    let counted = r#"iris_hook_calls_total{hook="judge",result="allowed"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn hooks_run_in_order_and_each_sees_what_the_one_before_has_made() {
    let change: Script = |mut stream| {
        async move {
            let said =
                r#"{"action":"modify","request_body":{"model":"m","messages":[],"temperature":1}}"#;
            answer(&mut stream, "200 OK", "", said).await;
        }
        .boxed()
    };
    let allow: Script = |mut stream| {
        async move { answer(&mut stream, "200 OK", "", r#"{"action":"allow"}"#).await }.boxed()
    };
    let (first, mut asked_first) = provider(allow).await;
    let (second, mut asked_second) = provider(change).await;
    let (third, mut asked_third) = provider(allow).await;
    let (upstream, mut received) = well().await;
    let hooks = [
        ("z", first, json!({ "preference": 5 })),
        ("b", third, json!({})),
        ("a", second, json!({})),
    ];
    let document = document(&hooks, "pre_request", &json!(["request_body"]));
    let gateway = Gateway::start(upstream, document).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    let changed = json!({ "model": "m", "messages": [], "temperature": 1 });
    let seen = |received: &Received| body(received)["request_body"].clone();
    assert_eq!(
        seen(&asked_first.recv().await.unwrap())["messages"][0]["role"],
        "user"
    );
    assert_eq!(
        seen(&asked_second.recv().await.unwrap())["messages"][0]["role"],
        "user"
    );
    assert_eq!(seen(&asked_third.recv().await.unwrap()), changed);
    assert_eq!(body(&received.recv().await.unwrap()), changed);
    let reasons = reasons(&gateway).await;
    let order: Vec<_> = ["hook z allows", "hook a changes", "hook b allows"]
        .map(|part| reasons.find(part).unwrap())
        .into();
    assert!(order.is_sorted());
    // The capture has what was sent on.
    let id = gateway.record().await["id"].as_str().unwrap().to_owned();
    let request = http::Request::get(format!("/api/requests/{id}/capture"));
    let capture = gateway
        .send(request.body(http_body_util::Full::default()).unwrap())
        .await;
    assert!(capture.text().contains("temperature"), "{}", capture.text());
}

#[tokio::test]
async fn a_block_is_told_in_each_format_and_asks_nobody() {
    let (hook, _told) = provider(|mut stream| {
        async move {
            let said = r#"{"action":"block","status_code":451,"message":"not this"}"#;
            answer(&mut stream, "200 OK", "", said).await;
        }
        .boxed()
    })
    .await;
    let later = well().await;
    let (upstream, mut received) = well().await;
    let hooks = [("a", hook, json!({})), ("b", later.0, json!({}))];
    let gateway = Gateway::start(upstream, document(&hooks, "pre_request", &json!([]))).await;
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let chat = format!(r#"{{"model":"m","max_tokens":5,{messages}}}"#);
    let gemini = r#"{"contents":[{"parts":[{"text":"x"}]}]}"#;
    let bedrock = r#"{"messages":[{"role":"user","content":[{"text":"x"}]}]}"#;
    for (path, body, expected) in [
        (
            CHAT,
            chat.as_str(),
            json!({ "error": { "message": "not this", "type": "guardrail_blocked" } }),
        ),
        (
            "/v1/messages",
            chat.as_str(),
            json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "not this" } }),
        ),
        (
            "/v1beta/models/m:generateContent",
            gemini,
            json!({ "error": { "code": 451, "message": "not this", "status": "PERMISSION_DENIED" } }),
        ),
        (
            "/model/m/converse",
            bedrock,
            json!({ "message": "not this" }),
        ),
    ] {
        let reply = gateway.send(post(path, body)).await;
        assert_eq!(reply.status.as_u16(), 451, "{path}: {}", reply.text());
        let mut told = reply.json();
        if path == CHAT {
            // Other fields of this API's errors.
            told["error"] =
                json!({ "message": told["error"]["message"], "type": told["error"]["type"] });
        }
        assert_eq!(told, expected, "{path}");
        if path == "/model/m/converse" {
            assert_eq!(reply.headers["x-amzn-errortype"], "AccessDeniedException");
        }
    }
    assert!(received.try_recv().is_err(), "a provider was asked");
    let mut later = later.1;
    assert!(later.try_recv().is_err(), "a later hook was asked");
}

#[tokio::test]
async fn hooks_that_fail_stop_the_request_or_do_not() {
    let scripts: [(&str, Script); 8] = [
        ("500", |mut stream| {
            async move {
                answer(
                    &mut stream,
                    "500 Internal Server Error",
                    "",
                    r#"{"action":"allow"}"#,
                )
                .await;
            }
            .boxed()
        }),
        ("301", |mut stream| {
            async move {
                answer(
                    &mut stream,
                    "301 Moved Permanently",
                    "location: http://127.0.0.1:1/\r\n",
                    "",
                )
                .await;
            }
            .boxed()
        }),
        ("invalid hook response", |mut stream| {
            async move { answer(&mut stream, "200 OK", "", r#"{"action":"#).await }.boxed()
        }),
        ("invalid hook response", |mut stream| {
            async move { answer(&mut stream, "200 OK", "", r#"{"action":"perhaps"}"#).await }
                .boxed()
        }),
        ("no answer within", |stream| {
            async move {
                tokio::time::sleep(Duration::from_secs(20)).await;
                drop(stream);
            }
            .boxed()
        }),
        ("longer than", |mut stream| {
            async move { answer(&mut stream, "200 OK", "", &" ".repeat(2 << 20)).await }.boxed()
        }),
        ("connection", |stream| async move { drop(stream) }.boxed()),
        ("no answer within", |mut stream| {
            async move {
                write(
                    &mut stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"action\"",
                )
                .await;
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            .boxed()
        }),
    ];
    for (part, script) in scripts {
        for (policy, status) in [("fail_open", 200), ("fail_closed", 503)] {
            let (hook, _told) = provider(script).await;
            let (upstream, mut received) = well().await;
            let hooks = [("a", hook, json!({ "fail_policy": policy }))];
            let gateway =
                Gateway::start(upstream, document(&hooks, "pre_request", &json!([]))).await;
            let reply = gateway.chat(ASK).await;
            assert_eq!(reply.status, status, "{part}: {}", reply.text());
            assert_eq!(received.try_recv().is_ok(), status == 200, "{part}");
            let reasons = reasons(&gateway).await;
            assert!(reasons.contains(part), "{part}: {reasons}");
        }
    }
    let (upstream, mut received) = well().await;
    let hooks = [("a", gone().await, json!({ "fail_policy": "fail_closed" }))];
    let gateway = Gateway::start(upstream, document(&hooks, "pre_request", &json!([]))).await;
    assert_eq!(
        gateway.chat(ASK).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn another_model_needs_a_grant_of_its_own() {
    let change: Script = |mut stream| {
        async move {
            let said = r#"{"action":"modify","request_body":{"model":"other","messages":[]}}"#;
            answer(&mut stream, "200 OK", "", said).await;
        }
        .boxed()
    };
    for (granted, status) in [(false, 404), (true, 200)] {
        let (hook, _told) = provider(change).await;
        let (upstream, mut received) = well().await;
        let mut document = document(&[("a", hook, json!({}))], "pre_request", &json!([]));
        if granted {
            let objects = &mut document["grants"][0]["app"]["tailscale.com/cap/aperture"];
            objects
                .as_array_mut()
                .unwrap()
                .push(json!({ "models": "p/other" }));
        }
        let gateway = Gateway::start(upstream, document).await;
        assert_eq!(gateway.chat(ASK).await.status, status);
        match received.try_recv() {
            Ok(received) => assert_eq!(
                (granted, &body(&received)["model"]),
                (true, &json!("other"))
            ),
            Err(_) => assert!(!granted),
        }
    }
    // A result that isn't a valid request is never sent.
    let (hook, _told) = provider(|mut stream| {
        async move {
            answer(
                &mut stream,
                "200 OK",
                "",
                r#"{"action":"modify","request_body":{"messages":1}}"#,
            )
            .await;
        }
        .boxed()
    })
    .await;
    let (upstream, mut received) = well().await;
    let document = document(&[("a", hook, json!({}))], "pre_request", &json!([]));
    let gateway = Gateway::start(upstream, document).await;
    assert_eq!(gateway.chat(ASK).await.status, 503);
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn guards_need_no_server() {
    let (upstream, mut received) = well().await;
    let mut document = document(&[], "pre_request", &json!([]));
    document["guards"] = json!({
        "secrets": { "kind": "patterns", "detect": ["github_token"], "action": "block" },
        "personal": { "kind": "patterns", "detect": ["email"], "action": "redact" },
        "tools": { "kind": "tools", "allow": ["read_*"] },
    });
    let objects = &mut document["grants"][0]["app"]["tailscale.com/cap/aperture"];
    objects[1]["guards"] = json!(["secrets", "personal", "tools"]);
    let gateway = Gateway::start(upstream, document).await;
    let ask = |said: &str| {
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{said}"}}]}}"#)
    };
    let token = format!("ghp_{}", "a1B2".repeat(10));
    let reply = gateway.chat(&ask(&token)).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["error"]["type"], "guardrail_blocked");
    assert!(!reply.text().contains(&token));
    assert!(received.try_recv().is_err());
    let reply = gateway.chat(&ask("write to ann@example.com")).await;
    assert_eq!(reply.status, 200);
    let sent = String::from_utf8(received.recv().await.unwrap().body).unwrap();
    assert_eq!(sent, ask("write to [redacted email]"));
    let offers =
        r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"rm"}}]}"#;
    assert_eq!(gateway.chat(offers).await.status, 403);
}

#[tokio::test]
async fn a_guard_that_is_not_there_lets_nothing_pass() {
    let (upstream, mut received) = well().await;
    let mut document = document(&[], "pre_request", &json!([]));
    let objects = &mut document["grants"][0]["app"]["tailscale.com/cap/aperture"];
    objects[1]["guards"] = json!(["lost"]);
    let gateway = Gateway::start(upstream, document).await;
    assert_eq!(gateway.chat(ASK).await.status, 503);
    assert!(received.try_recv().is_err());
}
