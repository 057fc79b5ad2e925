//! One conversation is one session, however its client writes it down.

use serde_json::{Value, json};

use crate::support::{Gateway, Received, post, server};

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
    Gateway::start(address, json!({ "provider": { "compatibility": flags } })).await
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

fn text(text: &str) -> Value {
    json!([{ "type": "text", "text": text }])
}

#[tokio::test]
async fn the_turns_of_a_conversation_are_one_session_in_every_format() {
    let gateway = gateway().await;
    let mark = json!([{ "type": "text", "text": "q", "cache_control": { "type": "ephemeral" } }]);
    let more = json!([{ "role": "assistant", "content": "a" }, { "role": "user", "content": "r" }]);
    let with = |first: Value| {
        let mut all = vec![first];
        all.extend(more.as_array().unwrap().clone());
        json!(all)
    };
    let user = |content: Value| json!({ "role": "user", "content": content });
    let of = |messages: Value| json!({ "model": "m", "max_tokens": 9, "messages": messages });
    let marked_system = json!([{ "type": "text", "text": "s", "cache_control": {} }]);
    let converse = |parts: Value, more: Value| {
        let mut messages = vec![json!({ "role": "user", "content": parts })];
        messages.extend(more.as_array().unwrap().clone());
        json!({ "messages": messages })
    };
    let answered = json!([{ "role": "assistant", "content": [{ "text": "a" }] }, { "role": "user", "content": [{ "text": "r" }] }]);
    let gemini = |contents: Value| json!({ "contents": contents });
    for (what, path, first, second) in [
        (
            "text and block",
            "/v1/messages",
            of(json!([user("q1".into())])),
            of(with(user(text("q1")))),
        ),
        (
            "a moving mark",
            "/v1/messages",
            of(json!([user(mark)])),
            of(with(user(text("q")))),
        ),
        (
            "marked instructions",
            "/v1/messages",
            json!({ "model": "m", "max_tokens": 9, "system": marked_system, "messages": [user("q2".into())] }),
            json!({ "model": "m", "max_tokens": 9, "system": "s", "messages": with(user("q2".into())) }),
        ),
        (
            "text and part",
            "/v1/chat/completions",
            of(json!([user("q3".into())])),
            of(with(user(text("q3")))),
        ),
        (
            "system and developer",
            "/v1/chat/completions",
            of(json!([{ "role": "system", "content": "it is 10:22" }, user("q4".into())])),
            of(json!([{ "role": "developer", "content": text("it is 10:23") }, user("q4".into())])),
        ),
        (
            "input as text and list",
            RESPONSES,
            json!({ "model": "m", "input": "q5", "instructions": "i" }),
            json!({ "model": "m", "instructions": "i", "input": [user("q5".into()), { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" }] }),
        ),
        (
            "input of parts",
            RESPONSES,
            json!({ "model": "m", "input": "q6" }),
            json!({ "model": "m", "input": [{ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "q6" }] }] }),
        ),
        (
            "one part, one role",
            "/v1beta/models/m:generateContent",
            gemini(json!([{ "parts": [{ "text": "q7" }] }])),
            gemini(
                json!([{ "role": "user", "parts": [{ "text": "q7" }] }, { "role": "model", "parts": [] }]),
            ),
        ),
        (
            "cache points",
            "/bedrock/model/m/converse",
            converse(
                json!([{ "text": "q8" }, { "cachePoint": { "type": "default" } }]),
                json!([]),
            ),
            converse(json!([{ "text": "q8" }]), answered),
        ),
        (
            "Claude in Bedrock",
            "/bedrock/model/m/invoke",
            json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [user("q9".into())] }),
            json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": with(user(text("q9"))) }),
        ),
        (
            "a prompt",
            "/v1/completions",
            json!({ "model": "m", "prompt": "q10" }),
            json!({ "model": "m", "prompt": ["q10"] }),
        ),
    ] {
        let one = session(&gateway, path, &first, &[]).await;
        let other = session(&gateway, path, &second, &[]).await;
        assert_eq!(one, other, "{what}");
        assert!(one.starts_with("chat_"), "{what}: {one}");
    }
    let other = session(
        &gateway,
        "/v1/messages",
        &of(json!([user("q1 ".into())])),
        &[],
    )
    .await;
    assert_ne!(
        other,
        session(
            &gateway,
            "/v1/messages",
            &of(json!([user("q1".into())])),
            &[]
        )
        .await
    );
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
    // Neither instructions nor anything that was said before is in it.
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
    // What the request itself names counts more, and is what goes on.
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

    let text = ask(
        json!({ "model": "m", "input": "a", "conversation": "conv_1" }),
        &[],
    )
    .await;
    let object = ask(
        json!({ "model": "m", "input": "b", "conversation": { "id": "conv_1" } }),
        &[],
    )
    .await;
    let other = ask(
        json!({ "model": "m", "input": "a", "conversation": "conv_2" }),
        &[],
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
