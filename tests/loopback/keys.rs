//! Providers with several keys: each has its turn, and one that is refused or limited is left out.

use serde_json::{Value, json};

use crate::Gateway;
use crate::websocket::{create, open, until};
use crate::websocket_keys::health;
use support::provider::{COMPLETION, Log, Received, server};

const ASK: &str = r#"{"model":"m","messages":[]}"#;

/// A gateway whose provider answers to each key as `answers` says.
async fn gateway(
    answers: impl Fn(&str) -> &'static str + Send + Sync + 'static,
    provider: Value,
) -> (Gateway, Log) {
    let answers = move |request: &Received| {
        let key = request.header("authorization").unwrap_or_default();
        let status = answers(key.trim_start_matches("Bearer "));
        let body = if status == "200 OK" { COMPLETION } else { "{}" };
        (status, body.to_owned())
    };
    let (address, log) = server("127.0.0.1:0", answers).await;
    let mut settings = json!({ "apikey": "key-one", "apikeys": ["key-two", "key-three"] });
    for (key, value) in provider.as_object().unwrap() {
        settings[key] = value.clone();
    }
    let gateway = Gateway::start(address, json!({ "provider": settings })).await;
    (gateway, log)
}

/// The keys that the provider was sent.
fn keys(log: &Log) -> Vec<String> {
    let seen = log.lock().unwrap();
    let keys = seen.iter().filter_map(|one| one.header("authorization"));
    keys.map(|key| key.trim_start_matches("Bearer ").to_owned())
        .collect()
}

#[tokio::test]
async fn each_has_its_turn_and_a_conversation_keeps_its_own() {
    let (gateway, log) = gateway(|_| "200 OK", json!({})).await;
    for _ in 0..4 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    assert_eq!(keys(&log), ["key-one", "key-two", "key-three", "key-one"]);
    log.lock().unwrap().clear();
    let ask = r#"{"model":"m","messages":[{"role":"user","content":"a long story, please"}]}"#;
    for _ in 0..4 {
        assert_eq!(gateway.chat(ask).await.status, 200);
    }
    let keys = keys(&log);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn one_that_is_limited_or_refused_is_left_out_and_the_caller_notices_nothing() {
    for (status, is_refused) in [
        ("429 Too Many Requests", false),
        ("401 Unauthorized", true),
        ("402 Payment Required", true),
    ] {
        let answers = move |key: &str| if key == "key-one" { status } else { "200 OK" };
        let (gateway, log) = gateway(answers, json!({})).await;
        for _ in 0..5 {
            assert_eq!(gateway.chat(ASK).await.status, 200, "{status}");
        }
        let asked = keys(&log).iter().filter(|key| *key == "key-one").count();
        assert_eq!(asked, 1, "{status}");
        let row = gateway
            .record_where(|row| {
                row["reasons"]
                    .to_string()
                    .contains("asking it again with key")
            })
            .await;
        let said = format!("provider p answered {status} to key 1; asking it again with key 2");
        assert!(row["reasons"].to_string().contains(&said), "{row}");
        assert_eq!(
            (&row["status"], &row["outcome"]),
            (&json!(200), &json!("complete"))
        );
        let health = health(&gateway).await;
        let left_out = &health["keys"][0];
        assert_eq!(
            (&left_out["key"], &left_out["is_refused"]),
            (&json!(1), &json!(is_refused))
        );
        assert_eq!(
            (&health["failed"], &health["ejected"]),
            (&json!(0), &json!(false))
        );
        let request = http::Request::get("/api/status").body(http_body_util::Full::default());
        let status = gateway.send(request.unwrap()).await.json();
        let is_told = status["warnings"].to_string().contains("key_refused");
        assert_eq!(is_told, is_refused, "{status}");
    }
}

#[tokio::test]
async fn if_all_are_refused_the_caller_gets_the_last_response() {
    for (status, code) in [("401 Unauthorized", 401), ("429 Too Many Requests", 429)] {
        let (gateway, log) = gateway(move |_| status, json!({})).await;
        assert_eq!(gateway.chat(ASK).await.status, code);
        assert_eq!(keys(&log), ["key-one", "key-two", "key-three"]);
        // None is left, and still one is asked, once.
        assert_eq!(gateway.chat(ASK).await.status, code);
        assert_eq!(log.lock().unwrap().len(), 4);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_speaks_against_no_key() {
    for (status, code) in [("403 Forbidden", 403), ("400 Bad Request", 400)] {
        let (gateway, log) = gateway(move |_| status, json!({})).await;
        assert_eq!(gateway.chat(ASK).await.status, code);
        assert_eq!(log.lock().unwrap().len(), 1);
        assert_eq!(health(&gateway).await["keys"], json!([]));
    }
}

/// Google says so with status 400, and only in one place.
#[tokio::test]
async fn a_key_that_google_refuses_is_left_out() {
    for (place, refused) in [("reason", 1), ("field", 0)] {
        let detail = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "domain": "googleapis.com", place: "API_KEY_INVALID" });
        let error = json!({ "error": { "code": 400, "message": "API key not valid.",
            "status": "INVALID_ARGUMENT", "details": [detail] } });
        let answers = move |request: &Received| {
            let is_first = request.header("x-goog-api-key") == Some("key-one");
            let status = if is_first {
                "400 Bad Request"
            } else {
                "200 OK"
            };
            (
                status,
                if is_first {
                    error.to_string()
                } else {
                    "{}".to_owned()
                },
            )
        };
        let (address, log) = server("127.0.0.1:0", answers).await;
        let provider = json!({ "apikey": "key-one", "apikeys": ["key-two"],
            "authorization": "x-goog-api-key", "compatibility": { "gemini_generate_content": true } });
        let gateway = Gateway::start(address, json!({ "provider": provider })).await;
        let request = http::Request::post("/v1beta/models/m:generateContent")
            .header("content-type", "application/json")
            .body(r#"{"contents":[]}"#.into());
        let reply = gateway.send(request.unwrap()).await;
        assert_eq!(
            reply.status,
            if refused == 1 { 200 } else { 400 },
            "{place}"
        );
        assert_eq!(log.lock().unwrap().len(), 1 + refused, "{place}");
        let left_out = health(&gateway).await["keys"].as_array().unwrap().len();
        assert_eq!(left_out, refused, "{place}");
    }
}

/// With the caller's own key, the answer is about that one.
#[tokio::test]
async fn a_callers_own_key_speaks_against_no_other() {
    let (gateway, log) = gateway(
        |_| "401 Unauthorized",
        json!({ "auth_mode": "passthrough" }),
    )
    .await;
    let request = http::Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .header("authorization", "Bearer mine-alone")
        .body(ASK.into());
    assert_eq!(gateway.send(request.unwrap()).await.status, 401);
    assert_eq!(keys(&log), ["mine-alone"]);
    assert_eq!(health(&gateway).await["keys"], json!([]));
}

#[tokio::test]
async fn a_websocket_is_opened_with_another_key_too() {
    let flags = json!({ "openai_responses": true, "openai_responses_websocket": true });
    let (gateway, log) = gateway(|_| "401 Unauthorized", json!({ "compatibility": flags })).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    let refused = until(&mut socket, "error").await;
    assert_eq!(refused["status"], 401, "{refused}");
    let mut keys = keys(&log);
    keys.sort_unstable();
    assert_eq!(keys, ["key-one", "key-three", "key-two"]);
}
