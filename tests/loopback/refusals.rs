//! Refusals that SDKs can read, and that say what is available.

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::sdk_routes::{ANTHROPIC, gateway, get, ollama};
use support::http::{Reply, post};
use support::provider::server;

#[tokio::test]
async fn a_request_without_a_model_is_told_which_there_are() {
    let (gateway, log) = gateway(ollama).await;
    let names = "m, org/model-8B, tiny:latest";
    for path in [
        "/v1/images/generations",
        "/v1/moderations",
        "/v1/audio/speech",
        "/v1/embeddings",
        "/v1/chat/completions",
    ] {
        let reply = gateway
            .send(post(path, r#"{"input":"x","prompt":"x"}"#))
            .await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path}");
        let error = &reply.json()["error"];
        assert_eq!(
            (&error["param"], &error["code"]),
            (&json!("model"), &json!("model_required"))
        );
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("`model`") && message.contains(names),
            "{path}: {message}"
        );
    }
    let form = "--X\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nx\r\n--X--\r\n";
    let mut request = post("/v1/images/edits", form);
    let kind = "multipart/form-data; boundary=X".parse().unwrap();
    request.headers_mut().insert("content-type", kind);
    let reply = gateway.send(request).await;
    assert!(reply.message().contains(names), "{}", reply.text());
    assert!(log.lock().unwrap().is_empty());
}

/// Whether a body is an error as the SDKs of an API read it.
pub fn is_error_of(api: &str, reply: &Reply) -> bool {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let message = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let error = &body["error"];
    match api {
        "openai" => {
            message(&error["message"]) && message(&error["type"]) && error["code"].is_string()
        }
        "anthropic" => {
            body["type"] == "error" && message(&error["type"]) && message(&error["message"])
        }
        "google" => {
            message(&error["message"])
                && message(&error["status"])
                && error["code"] == reply.status.as_u16()
        }
        "bedrock" => message(&body["message"]) && reply.headers.contains_key("x-amzn-errortype"),
        // Ollama's, and the gateway's own.
        _ => message(error),
    }
}

const REFUSED: [(&str, &str, &str); 25] = [
    ("GET", "/v1/uploads", "openai"),
    ("POST", "/v1/vector_stores", "openai"),
    ("GET", "/v1/conversations/x", "openai"),
    ("GET", "/v1/realtime", "openai"),
    ("GET", "/v1/chat/completions", "openai"),
    ("DELETE", "/v1/models/m", "openai"),
    ("GET", "/v1/responses/resp_1", "openai"),
    ("POST", "/openai/deployments/m/responses", "openai"),
    ("POST", "/v2/nothing", "openai"),
    ("POST", "/v1/messages/nothing", "anthropic"),
    ("GET", "/v1/messages", "anthropic"),
    ("POST", "/v1/complete", "anthropic"),
    ("GET", "/v1beta/corpora", "google"),
    ("POST", "/v1beta/cachedContents", "google"),
    ("POST", "/v1beta/models/m:nothing", "google"),
    ("GET", "/v1beta/models/m:generateContent", "google"),
    ("GET", "/v1beta/models/m:batchGenerateContent", "google"),
    ("POST", "/v1beta/batches", "google"),
    (
        "POST",
        "/v1/projects/p/locations/l/endpoints/e:predict",
        "google",
    ),
    ("POST", "/bedrock/guardrail/g/version/1/apply", "bedrock"),
    ("GET", "/bedrock/model/m/converse", "bedrock"),
    ("POST", "/model/m/nothing", "bedrock"),
    ("GET", "/api/chat", "ollama"),
    ("POST", "/api/pull", "ollama"),
    ("GET", "/api/nothing", "ours"),
];

pub async fn ask(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-type", "application/json");
    let body = if method == "POST" { "{}" } else { "" };
    gateway.send(request.body(Full::from(body)).unwrap()).await
}

#[tokio::test]
async fn every_refusal_has_the_shape_of_the_api_that_its_path_belongs_to() {
    let (gateway, _log) = gateway(ollama).await;
    for (method, path, api) in REFUSED {
        let reply = ask(&gateway, method, path, &[]).await;
        assert!(
            matches!(reply.status.as_u16(), 404 | 405),
            "{method} {path}: {}",
            reply.status
        );
        assert!(
            is_error_of(api, &reply),
            "{method} {path}: {}",
            reply.text()
        );
        if reply.status == 405 {
            assert!(reply.headers.contains_key("allow"), "{path}");
        }
    }
    let named = ask(&gateway, "GET", "/v1/uploads", &[ANTHROPIC]).await;
    assert!(is_error_of("anthropic", &named), "{}", named.text());
    // Refused before anything is known of the caller: another site's page, another host.
    for (header, value) in [("sec-fetch-site", "cross-site"), ("host", "elsewhere.test")] {
        for (path, api) in [
            ("/v1/files", "openai"),
            ("/v1/models", "openai"),
            ("/v1/chat/completions", "openai"),
            ("/v1/messages/batches", "anthropic"),
            ("/v1beta/files", "google"),
            ("/v1beta/models/m:batchGenerateContent", "google"),
            ("/v1beta/batches/b:cancel", "google"),
            ("/bedrock/guardrail/g", "bedrock"),
            ("/api/whoami", "ours"),
        ] {
            let reply = ask(&gateway, "POST", path, &[(header, value)]).await;
            assert!(
                matches!(reply.status.as_u16(), 403 | 421),
                "{path}: {}",
                reply.status
            );
            assert!(is_error_of(api, &reply), "{path}: {}", reply.text());
        }
    }
    // A request for a WebSocket on a path without one.
    let socket = [("connection", "upgrade"), ("upgrade", "websocket")];
    let reply = get(&gateway, "/v1/nothing", &socket).await;
    assert!(
        reply.status == 404 && is_error_of("openai", &reply),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn a_caller_without_a_role_can_read_why() {
    let (address, _log) = server("127.0.0.1:0", ollama).await;
    let gateway = Gateway::start(address, json!({ "grants": [] })).await;
    for (method, path, api) in [
        ("GET", "/v1/models", "openai"),
        ("GET", "/v1/models/m", "openai"),
        ("GET", "/v1/files", "openai"),
        ("POST", "/v1/chat/completions", "openai"),
        ("POST", "/v1/messages", "anthropic"),
        ("POST", "/v1/messages/batches", "anthropic"),
        ("POST", "/v1beta/models/m:batchGenerateContent", "google"),
        ("GET", "/v1beta/batches", "google"),
        ("GET", "/v1beta/models", "google"),
        ("GET", "/v1beta/models/m", "google"),
        ("POST", "/bedrock/model/m/converse", "bedrock"),
        ("GET", "/api/providers", "ours"),
    ] {
        let reply = ask(&gateway, method, path, &[]).await;
        assert!(
            matches!(reply.status.as_u16(), 403 | 404),
            "{path}: {}",
            reply.status
        );
        assert!(
            is_error_of(api, &reply),
            "{method} {path}: {}",
            reply.text()
        );
    }
}
