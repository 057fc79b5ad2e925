//! Counts of tokens, the provider's own or the gateway's estimate.

use http::StatusCode;
use serde_json::json;

use crate::sdk_routes::{gateway, ollama};
use support::http::post;

#[tokio::test]
async fn a_count_that_the_provider_does_not_have_is_estimated_and_says_so() {
    let (gateway, log) = gateway(ollama).await;
    let messages = json!([{ "role": "user", "content": "word ".repeat(100) }]);
    let contents = json!([{ "role": "user", "parts": [{ "text": "word ".repeat(100) }] }]);
    let vertex = "/v1/projects/p/locations/l/publishers";
    for (path, body, key) in [
        (
            "/v1/messages/count_tokens".to_owned(),
            json!({ "model": "m", "messages": messages }),
            "input_tokens",
        ),
        (
            "/v1/responses/input_tokens".to_owned(),
            json!({ "model": "m", "input": "word ".repeat(100) }),
            "input_tokens",
        ),
        (
            "/v1beta/models/m:countTokens".to_owned(),
            json!({ "contents": contents }),
            "totalTokens",
        ),
        (
            format!("{vertex}/google/models/m:countTokens"),
            json!({ "contents": contents }),
            "totalTokens",
        ),
        (
            format!("{vertex}/anthropic/models/count-tokens:rawPredict"),
            json!({ "model": "m", "messages": messages }),
            "input_tokens",
        ),
        (
            "/bedrock/model/m/count-tokens".to_owned(),
            json!({ "input": { "converse": { "messages": contents } } }),
            "inputTokens",
        ),
    ] {
        let before = log.lock().unwrap().len();
        for nth in 0..2 {
            let reply = gateway.send(post(&path, &body.to_string())).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
            assert_eq!(reply.headers["x-iris-estimated"], "true", "{path} {nth}");
            let count = reply.json()[key].as_u64().unwrap_or_default();
            assert!((100..200).contains(&count), "{path}: {}", reply.text());
        }
        // The provider is asked once and never again.
        assert_eq!(log.lock().unwrap().len() - before, 1, "{path}");
        let record = gateway.record_of(&path).await;
        assert_eq!(
            (&record["outcome"], &record["cost"]),
            (&json!("complete"), &json!(0)),
            "{record}"
        );
        assert!(
            record["reasons"].to_string().contains("estimate"),
            "{record}"
        );
    }
}

#[tokio::test]
async fn a_count_of_the_providers_own_and_its_refusals_arrive_as_they_are() {
    let (counting, _log) = gateway(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if body.contains("unknown") {
            let why = r#"{"type":"error","error":{"type":"not_found_error","message":"model: m"}}"#;
            return ("404 Not Found", why.to_owned());
        }
        if body.contains("too long") {
            return (
                "400 Bad Request",
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#
                    .to_owned(),
            );
        }
        ("200 OK", r#"{"input_tokens":14}"#.to_owned())
    })
    .await;
    let count = async |text: &str| {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
        counting
            .send(post("/v1/messages/count_tokens", &body.to_string()))
            .await
    };
    for (text, status, part) in [
        ("hi", 200, "14"),
        ("unknown", 404, "model: m"),
        ("too long", 400, "invalid_request_error"),
        ("hi", 200, "14"),
    ] {
        let reply = count(text).await;
        assert_eq!(reply.status, status, "{text}: {}", reply.text());
        assert!(reply.text().contains(part), "{text}: {}", reply.text());
        assert!(!reply.headers.contains_key("x-iris-estimated"), "{text}");
    }
    // LM Studio answers every route with success.
    let (friendly, _log) =
        gateway(|_| ("200 OK", r#"{"error":"Unexpected endpoint"}"#.to_owned())).await;
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let reply = friendly.send(post("/v1/messages/count_tokens", body)).await;
    assert!(reply.json()["input_tokens"].is_u64(), "{}", reply.text());
}
