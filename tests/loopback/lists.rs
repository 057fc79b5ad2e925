//! Which parts of a request pass by the lists of its format, and which are refused by name.

use std::net::SocketAddr;

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::Gateway;
use support::http::{CHAT, post};
use support::provider::{COMPLETION, Received, answer, provider};

async fn model() -> (SocketAddr, Receiver<Received>) {
    provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await
}

/// A gateway whose callers may use `cheap` of the provider `p`, which has `dear` too.
async fn gateway(address: SocketAddr, more: Value) -> Gateway {
    let mut entry = json!({ "models": ["cheap", "dear"], "compatibility": {
        "openai_chat": true, "openai_responses": true, "anthropic_messages": true,
        "gemini_generate_content": true, "bedrock_converse": true, "bedrock_model_invoke": true } });
    for (key, value) in more.as_object().unwrap() {
        entry[key] = value.clone();
    }
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" }, { "models": "p/cheap" } ] } }]);
    Gateway::start(address, json!({ "provider": entry, "grants": grants })).await
}

#[tokio::test]
async fn no_request_chooses_more_than_it_was_judged_by() {
    let (address, mut asked) = model().await;
    let gateway = gateway(address, json!({})).await;
    let gemini = "/v1beta/models/cheap:generateContent";
    for (path, body) in [
        (CHAT, r#"{"model":"cheap","models":["cheap","dear"]}"#),
        (CHAT, r#"{"model":"cheap","fallbacks":["dear"]}"#),
        (CHAT, r#"{"model":"cheap","provider":{"order":["x"]}}"#),
        (CHAT, r#"{"model":"cheap","base_url":"http://x"}"#),
        ("/v1/chat/completions?model=dear", r#"{"model":"cheap"}"#),
        (CHAT, r#"{"model":"cheap","background":true}"#),
        (
            "/v1/responses",
            r#"{"model":"cheap","input":"x","background":"true"}"#,
        ),
        (
            "/v1/messages",
            r#"{"model":"cheap","max_tokens":1,"fallbacks":[{"model":"dear"}]}"#,
        ),
        (
            "/v1/messages?mod%65l=dear",
            r#"{"model":"cheap","max_tokens":1}"#,
        ),
        (&format!("{gemini}?fields=candidates"), r#"{"contents":[]}"#),
        (&format!("{gemini}?alt=proto"), r#"{"contents":[]}"#),
        (
            "/bedrock/model/cheap/converse",
            r#"{"additionalModelRequestFields":{"api_key":"x"}}"#,
        ),
        ("/bedrock/model/cheap/invoke", r#"{"fallbacks":["dear"]}"#),
    ] {
        let reply = gateway.send(post(path, body)).await;
        assert_eq!(
            reply.status,
            StatusCode::BAD_REQUEST,
            "{path} {body}: {}",
            reply.text()
        );
    }
    // In another character set the body would be another request.
    for charset in ["utf-7", "utf-8; charset=utf-16"] {
        let mut request = post(CHAT, r#"{"model":"cheap"}"#);
        let kind = format!("application/json; charset={charset}");
        let headers = request.headers_mut();
        headers.insert("content-type", kind.parse().unwrap());
        let reply = gateway.send(request).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    assert!(asked.try_recv().is_err(), "a provider was asked");
    let record = gateway
        .record_where(|row| row["path"] == "/v1/responses")
        .await;
    assert_eq!(
        (&record["outcome"], &record["cost"]),
        (&json!("refused"), &json!(0))
    );
}

#[tokio::test]
async fn no_batch_or_asynchronous_job_is_relayed() {
    let (address, mut asked) = model().await;
    let gateway = gateway(address, json!({})).await;
    for path in [
        "/v1beta/models/cheap:predictLongRunning",
        "/bedrock/async-invoke",
        "/bedrock/model/cheap/async-invoke",
    ] {
        let reply = gateway.send(post(path, r#"{"model":"cheap"}"#)).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
    }
    // The gateway runs these itself, from a file or from requests.
    for path in [
        "/v1/batches",
        "/v1/messages/batches",
        "/v1beta/models/cheap:batchGenerateContent",
        "/v1beta/models/cheap:asyncBatchEmbedContent",
    ] {
        let reply = gateway.send(post(path, r#"{"model":"cheap"}"#)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert!(asked.try_recv().is_err(), "a provider was asked");
}

#[tokio::test]
async fn a_provider_can_let_more_through() {
    let (address, mut asked) = model().await;
    let more = json!({ "pass_keys": ["provider"], "pass_query": ["region"] });
    let gateway = gateway(address, more).await;
    let body = r#"{"model":"cheap","provider":{"order":["x"]},"anything":1}"#;
    let reply = gateway
        .send(post("/v1/chat/completions?region=eu&other=1", body))
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let received = asked.recv().await.unwrap();
    assert!(
        received
            .head
            .starts_with("POST /v1/chat/completions?region=eu HTTP"),
        "{}",
        received.head
    );
    assert_eq!(received.body, body.as_bytes());
}

/// The headers and keys of Claude Code, Codex, Gemini CLI and a local client, with guardrails of
/// both kinds in place.
#[tokio::test]
async fn agents_work_under_guardrails() {
    let (address, mut asked) = model().await;
    let guards = json!({
        "tools": { "kind": "tools", "allow": ["*"], "action": "block" },
        "secrets": { "kind": "patterns", "detect": ["aws_access_key", "email"], "action": "block" },
    });
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" }, { "models": "**", "guards": ["tools", "secrets"] } ] } }]);
    let entry = json!({ "compatibility": { "openai_chat": true, "openai_responses": true,
        "anthropic_messages": true, "gemini_generate_content": true } });
    let config = json!({ "provider": entry, "grants": grants, "guards": guards });
    let gateway = Gateway::start(address, config).await;
    for (path, body) in [
        (
            "/v1/messages?beta=true",
            json!({ "model": "m", "max_tokens": 32000, "stream": false, "system": [{ "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } }],
            "messages": [{ "role": "user", "content": "x" }], "tools": [{ "name": "Bash", "input_schema": {} }], "tool_choice": { "type": "auto" }, "metadata": { "user_id": "u" },
            "thinking": { "type": "adaptive" }, "context_management": { "edits": [] }, "output_config": { "effort": "high" }, "temperature": 1 }),
        ),
        (
            "/v1/responses",
            json!({ "model": "m", "instructions": "x", "input": [{ "type": "message", "role": "user", "content": [] }],
            "tools": [{ "type": "function", "name": "shell" }, { "type": "web_search" }], "tool_choice": "auto", "parallel_tool_calls": false, "reasoning": { "effort": "high" },
            "store": false, "stream": false, "include": ["reasoning.encrypted_content"], "service_tier": "auto", "prompt_cache_key": "k", "text": { "verbosity": "low" }, "client_metadata": {} }),
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "x" }] }], "systemInstruction": { "parts": [] },
            "tools": [{ "functionDeclarations": [{ "name": "ls" }] }], "toolConfig": {}, "generationConfig": {}, "safetySettings": [], "session_id": "s", "labels": {} }),
        ),
        (
            CHAT,
            json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }], "tools": [{ "type": "function", "function": { "name": "read" } }],
            "max_tokens": 10, "reasoning_effort": "low", "stream_options": { "include_usage": true }, "min_p": 0.1, "top_k": 40, "cache_prompt": true, "grammar": "x",
            "chat_template_kwargs": {}, "guided_json": {}, "repeat_penalty": 1.1, "keep_alive": "5m", "usage": { "include": true }, "transforms": [] }),
        ),
    ] {
        let reply = gateway.send(post(path, &body.to_string())).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
        let received = asked.recv().await.unwrap();
        assert_eq!(received.body, body.to_string().as_bytes(), "{path}");
    }
}
