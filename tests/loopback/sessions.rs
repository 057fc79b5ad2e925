//! One conversation is one session, however its client writes it.

use serde_json::{Value, json};

use crate::Gateway;
use support::http::post;
use support::provider::{Received, server};

const RESPONSES: &str = "/v1/responses";

/// A provider of all formats. Its responses have the ids `resp_1`, `resp_2` and so on.
async fn gateway() -> Gateway {
    let made = std::sync::atomic::AtomicUsize::new(0);
    let answers = move |request: &Received| {
        let id = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let text = json!([{ "type": "output_text", "text": "hi", "annotations": [] }]);
        let response = json!({
            "id": format!("resp_{id}"), "object": "response", "status": "completed",
            "output": [{ "type": "message", "role": "assistant", "content": text }],
            "usage": { "input_tokens": 1, "output_tokens": 1, "total_tokens": 2 },
        });
        let is_response = request.target().ends_with("/responses");
        let body = if is_response { response } else { json!({}) };
        ("200 OK", body.to_string())
    };
    let (address, _log) = server("127.0.0.1:0", answers).await;
    let flags = [
        "openai_chat",
        "openai_responses",
        "anthropic_messages",
        "gemini_generate_content",
        "bedrock_converse",
        "bedrock_model_invoke",
    ];
    let flags: serde_json::Map<String, Value> = flags
        .into_iter()
        .map(|flag| (flag.to_owned(), true.into()))
        .collect();
    let provider = json!({ "compatibility": flags, "auth_mode": "passthrough" });
    Gateway::start(address, json!({ "provider": provider })).await
}

/// The session of a request, which has to be answered.
async fn session(gateway: &Gateway, path: &str, body: &Value, headers: &[(&str, &[u8])]) -> String {
    let mut request = post(path, &body.to_string());
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request
            .headers_mut()
            .insert(name, http::HeaderValue::from_bytes(value).unwrap());
    }
    let reply = gateway.send(request).await;
    assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text());
    let id = reply.headers["x-iris-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let record = gateway.record_where(|row| row["id"] == id.as_str()).await;
    record["session"].as_str().unwrap().to_owned()
}

/// Two turns of one conversation, as clients write them.
const TURNS: [(&str, &str, &str); 11] = [
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q1"}]}"#,
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"q1"}]},
            {"role":"assistant","content":"a"},{"role":"user","content":"r"}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"q2","cache_control":{"type":"ephemeral"}}]}]}"#,
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"q2"}]},
            {"role":"assistant","content":"a"},{"role":"user","content":[{"type":"text","text":"r","cache_control":{"type":"ephemeral"}}]}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s","cache_control":{}}],"messages":[{"role":"user","content":"q3"}]}"#,
        r#"{"model":"m","max_tokens":9,"system":"s","messages":[{"role":"user","content":"q3"},{"role":"assistant","content":"a"}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","messages":[{"role":"user","content":"q4"}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"q4"}]},{"role":"assistant","content":"a"}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","messages":[{"role":"system","content":"it is 10:22"},{"role":"user","content":"q5"}]}"#,
        r#"{"model":"m","messages":[{"role":"developer","content":[{"type":"text","text":"it is 10:23"}]},{"role":"user","content":"q5"}]}"#,
    ),
    (
        RESPONSES,
        r#"{"model":"m","input":"q6","instructions":"i"}"#,
        r#"{"model":"m","instructions":"i","input":[{"role":"user","content":"q6"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}"#,
    ),
    (
        RESPONSES,
        r#"{"model":"m","input":"q7"}"#,
        r#"{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"q7"}]}]}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        r#"{"contents":[{"parts":[{"text":"q8"}]}]}"#,
        r#"{"contents":[{"role":"user","parts":[{"text":"q8"}]},{"role":"model","parts":[{"text":"a"}]}]}"#,
    ),
    (
        "/bedrock/model/m/converse",
        r#"{"messages":[{"role":"user","content":[{"text":"q9"},{"cachePoint":{"type":"default"}}]}]}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"q9"}]},{"role":"assistant","content":[{"text":"a"}]}]}"#,
    ),
    (
        "/bedrock/model/m/invoke",
        r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"q10"}]}"#,
        r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"q10"}]}]}"#,
    ),
    (
        "/v1/completions",
        r#"{"model":"m","prompt":"q11"}"#,
        r#"{"model":"m","prompt":["q11"]}"#,
    ),
];

#[tokio::test]
async fn the_turns_of_a_conversation_are_one_session_in_every_format() {
    let gateway = gateway().await;
    let mut seen = std::collections::BTreeSet::new();
    for (path, first, second) in TURNS {
        let [first, second] = [first, second].map(|body| serde_json::from_str(body).unwrap());
        let one = session(&gateway, path, &first, &[]).await;
        let other = session(&gateway, path, &second, &[]).await;
        assert_eq!(one, other, "{path}: {first}");
        assert!(one.starts_with("chat_"), "{path}: {one}");
        // A conversation other than all before.
        assert!(seen.insert(one), "{path}: {first}");
    }
}

#[tokio::test]
async fn what_names_an_earlier_response_or_a_conversation_goes_on_with_it() {
    let gateway = gateway().await;
    let ask = async |body: Value, headers: &[(&str, &[u8])]| {
        session(&gateway, RESPONSES, &body, headers).await
    };
    let first = ask(
        json!({ "model": "m", "input": "one", "instructions": "i" }),
        &[],
    )
    .await;
    // It has neither instructions nor earlier messages.
    let second = ask(
        json!({ "model": "m", "input": "two", "previous_response_id": "resp_1" }),
        &[],
    )
    .await;
    let third = ask(
        json!({ "model": "m", "previous_response_id": "resp_2",
        "input": [{ "type": "function_call_output", "call_id": "c", "output": "1" }] }),
        &[],
    )
    .await;
    assert_eq!((&second, &third), (&first, &first));
    // What the request itself names wins, and is what continues.
    let named = ask(
        json!({ "model": "m", "input": "x", "previous_response_id": "resp_1" }),
        &[("x-session-id", b"mine")],
    )
    .await;
    assert_eq!(named, "mine");
    let after = ask(
        json!({ "model": "m", "input": "y", "previous_response_id": "resp_4" }),
        &[],
    )
    .await;
    assert_eq!(after, "mine");
    let unknown = ask(
        json!({ "model": "m", "input": "z", "previous_response_id": "resp_none" }),
        &[],
    )
    .await;
    assert_ne!(unknown, first);

    // The provider's own, for callers with an account there.
    let own: &[(&str, &[u8])] = &[("authorization", b"Bearer sk-own")];
    let text = ask(
        json!({ "model": "m", "input": "a", "conversation": "conv_1" }),
        own,
    )
    .await;
    let object = ask(
        json!({ "model": "m", "input": "b", "conversation": { "id": "conv_1" } }),
        own,
    )
    .await;
    let other = ask(
        json!({ "model": "m", "input": "a", "conversation": "conv_2" }),
        own,
    )
    .await;
    assert_eq!((text.as_str(), &text), ("conv_1", &object));
    assert_eq!(other, "conv_2");
}

#[tokio::test]
async fn names_of_sessions_that_are_not_ascii_count() {
    let gateway = gateway().await;
    let body = json!({ "model": "m", "input": "q" });
    let utf8 = "bücher-日本".as_bytes();
    let one = session(&gateway, RESPONSES, &body, &[("x-session-id", utf8)]).await;
    assert_eq!(one, "bücher-日本");
    let latin = session(&gateway, RESPONSES, &body, &[("session_id", &[b'b', 0xfc])]).await;
    assert_eq!(latin, "bü");
}
