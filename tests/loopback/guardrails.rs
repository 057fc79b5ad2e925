//! What must not slip past a guardrail: other providers, other formats, other spellings, and what
//! hooks themselves write.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::Gateway;
use support::http::post;
use support::provider::{COMPLETION, Received, Script, answer, provider};

const ASK: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"I am pat@example.org"}], "n":1.0}"#;
pub const ALLOWS: Script = |mut stream| {
    async move { answer(&mut stream, "200 OK", "", r#"{"action":"allow"}"#).await }.boxed()
};
const HANGS: Script = |stream| {
    async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(stream);
    }
    .boxed()
};

pub async fn model() -> (SocketAddr, Receiver<Received>) {
    provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await
}

pub fn drain(inbox: &mut Receiver<Received>) -> Vec<Received> {
    std::iter::from_fn(|| inbox.try_recv().ok()).collect()
}

pub fn body(received: &Received) -> String {
    String::from_utf8_lossy(&received.body).into_owned()
}

pub async fn told(inbox: &mut Receiver<Received>) -> Value {
    let received = tokio::time::timeout(Duration::from_secs(20), inbox.recv()).await;
    serde_json::from_slice(&received.expect("the hook is told").unwrap().body).unwrap()
}

/// A gateway with these capability objects beside an admin's, in front of all formats.
pub async fn gateway(model: SocketAddr, objects: Value, more: Value) -> Gateway {
    let mut all = vec![json!({ "role": "admin" })];
    all.extend(objects.as_array().unwrap().iter().cloned());
    let mut document = json!({
        "provider": { "models": ["m", "free"], "preference": 5, "compatibility": {
            "openai_chat": true, "openai_responses": true, "anthropic_messages": true,
            "gemini_generate_content": true, "bedrock_converse": true } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": all } }],
    });
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    Gateway::start(model, document).await
}

pub fn pii(action: &str) -> Value {
    json!({ "guards": { "pii": { "kind": "patterns", "detect": ["email"], "action": action } } })
}

/// A gateway with that guard for all models, and what its provider is asked.
pub async fn guarded(action: &str) -> (Gateway, Receiver<Received>) {
    let (model, asked) = model().await;
    let objects = json!([{ "models": "**", "guards": ["pii"] }]);
    (gateway(model, objects, pii(action)).await, asked)
}

pub fn hook(address: SocketAddr, more: &Value) -> Value {
    let mut hook = json!({ "url": format!("http://{address}/"), "timeout": "2s" });
    for (key, value) in more.as_object().unwrap() {
        hook[key] = value.clone();
    }
    json!({ "hooks": { "h": hook } })
}

pub async fn reasons(gateway: &Gateway) -> String {
    gateway.record_where(|row| row["path"] != "").await["reasons"].to_string()
}

#[tokio::test]
async fn another_provider_helps_out_only_if_its_guards_and_hooks_have_looked() {
    let (broken, _asked) = provider(|mut stream| {
        async move { answer(&mut stream, "503 Busy", "", "{}").await }.boxed()
    })
    .await;
    let (other, mut others) = model().await;
    let (judge, mut judged) = provider(ALLOWS).await;
    for (scope, helped) in [("**", 1), ("q/**", 0)] {
        let guards = json!({ "models": scope, "guards": ["pii"] });
        let hooks =
            json!({ "models": scope, "send_hooks": [{ "name": "h", "events": ["pre_request"] }] });
        for object in [guards, hooks] {
            let mut more = pii("report");
            more["hooks"] = hook(judge, &json!({}))["hooks"].clone();
            more["others"] =
                json!({ "q": { "baseurl": format!("http://{other}"), "models": ["m"] } });
            let objects = json!([{ "models": "**" }, object]);
            let gateway = gateway(broken, objects, more).await;
            gateway.chat(ASK).await;
            assert_eq!(drain(&mut others).len(), helped, "{object}");
            let told = reasons(&gateway).await;
            assert_eq!(told.contains("take over"), helped == 0, "{told}");
        }
    }
    assert_eq!(drain(&mut judged).len(), 1);
}

#[tokio::test]
async fn guards_look_at_what_hooks_write() {
    let (model, mut asked) = model().await;
    let (first, _first) = provider(|mut stream| {
        async move {
            let body = r#"{"action":"modify","request_body":{"model":"m","messages":["for sam@example.org"]}}"#;
            answer(&mut stream, "200 OK", "", body).await;
        }
        .boxed()
    })
    .await;
    let (second, mut seen) = provider(ALLOWS).await;
    let mut more = pii("redact");
    more["hooks"] = json!({
        "a": { "url": format!("http://{first}/") }, "b": { "url": format!("http://{second}/") } });
    let wired = |name| json!({ "name": name, "events": ["pre_request"], "send": ["request_body"] });
    let objects =
        json!([{ "models": "**", "guards": ["pii"], "send_hooks": [wired("a"), wired("b")] }]);
    let gateway = gateway(model, objects, more).await;
    assert_eq!(gateway.chat(ASK).await.status, StatusCode::OK);
    let seen = body(&drain(&mut seen)[0]);
    assert!(seen.contains("for [redacted email]"), "{seen}");
    let sent = body(&drain(&mut asked)[0]);
    assert_eq!(sent, r#"{"model":"m","messages":["for [redacted email]"]}"#);
}

#[tokio::test]
async fn what_is_left_of_a_string_stays_byte_for_byte() {
    let (gateway, mut asked) = guarded("redact").await;
    let ask = r#"{ "model":"m", "messages":["I\u0027m a\u0040b.org,\n\ud83d\ude00 \/","{\"to\":\"c@d.org\"}"]}"#;
    gateway.chat(ask).await;
    assert_eq!(
        body(&drain(&mut asked)[0]),
        r#"{ "model":"m", "messages":["I\u0027m [redacted email],\n\ud83d\ude00 \/","{\"to\":\"[redacted email]\"}"]}"#
    );
}

#[tokio::test]
async fn text_that_begins_like_a_file_is_text() {
    let (gateway, mut asked) = guarded("block").await;
    for text in [
        "data: I am pat@example.org",
        "data:text/plain,pat@example.org",
        "data:x;base64,AAAA pat@example.org",
    ] {
        let ask = ASK.replace("I am pat@example.org", text);
        assert_eq!(
            gateway.chat(&ask).await.status,
            StatusCode::FORBIDDEN,
            "{text}"
        );
    }
    assert_eq!(drain(&mut asked).len(), 0);
    let image = ASK.replace("I am pat@example.org", "data:image/png;base64,QUtJQQ+/==");
    assert_eq!(gateway.chat(&image).await.status, StatusCode::OK);
}

/// Requests that offer `evil`, each in a way in which some provider reads it.
const OFFERS: [(&str, &str); 39] = [
    (
        "/v1/messages",
        r#"{"model":"m","messages":[{"content":[{"type":"text","text":"x","tools":[{"name":"evil"}]}]}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","messages":[{"content":[{"type":"tool_result","content":[{"tools":[{"name":"evil"}]}]}]}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","system":[{"text":"x","tools":[{"name":"evil"}]}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","chat_template_kwargs":{"tools":[{"type":"function","function":{"name":"evil"}}]}}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","chat_template_args":{"tools":[{"name":"evil"}]}}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","chat_template":"evil"}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","chat_template_kwargs":{"tools":[{"name":"evil"}]}}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"m","chat_template_kwargs":{"tools":[{"name":"evil"}]}}"#,
    ),
    (
        "/bedrock/model/m/converse",
        r#"{"additionalModelRequestFields":{"functions":[{"name":"evil"}]}}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","tools":[{"type":"function","function":{"name":"evil"}}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","tools":[{"type":"function","name":"ok","function":{"name":"evil"}}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","tools":[{"functionDeclarations":[{"name":"ok"}]},{"type":"function","function":{"name":"evil"}}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","tools":[{"type":"custom","custom":{"name":"evil"}}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","Tools":[{"type":"function","function":{"name":"evil"}}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","tools":[{"type":"function","function":{"name":"evil","name":"ok"}}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","tools":[{"type":"function","function":{"Name":"evil","name":"ok"}}]}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"m","tools":[{"type":"mcp","server_label":"evil"}]}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"m","tools":[{"type":"function","name":"evil","function":{"name":"ok"}}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","mcp_servers":[{"type":"url","name":"evil","url":"https://x"}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","tools":[{"type":"mcp_toolset","mcp_server_name":"evil"}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","tools":[{"name":"evil","function":{"name":"ok"}}]}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        r#"{"tools":[{"functionDeclarations":[{"name":"ok"}]},{"googleSearch":{}}]}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        r#"{"tools":[{"functionDeclarations":[{"name":"ok"}],"googleSearch":{}}]}"#,
    ),
    (
        "/bedrock/model/m/converse",
        r#"{"toolConfig":{"tools":[{"systemTool":{"name":"evil"}}]}}"#,
    ),
    (
        "/bedrock/model/m/converse",
        r#"{"additionalModelRequestFields":{"tools":[{"type":"bash","name":"evil"}]}}"#,
    ),
    (
        "/bedrock/model/m/converse",
        r#"{"additionalModelRequestFields":{"container":{"skills":[{"skill_id":"evil"}]}}}"#,
    ),
    (
        "/bedrock/model/m/converse",
        r#"{"additionalModelRequestFields":{"x_tools":[{"name":"evil"}]}}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","web_search_options":{}}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","plugins":[{"id":"evil"}]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","search_parameters":{"mode":"on"}}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","enable_search":true}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","messages":[{"role":"system","tools":[{"name":"evil"}]}]}"#,
    ),
    ("/v1/chat/completions", r#"{"model":"m","x_tools":[1]}"#),
    ("/v1/responses", r#"{"model":"m","prompt":{"id":"evil"}}"#),
    (
        "/v1/responses",
        r#"{"model":"m","input":[{"type":"tool_search_output","tools":[{"type":"function","name":"evil"}]}]}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"m","input":[{"type":"additional_tools","tools":[{"type":"custom","name":"evil"}]}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","container":{"skills":[{"type":"anthropic","skill_id":"evil"}]}}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        r#"{"contents":[],"cachedContent":"cachedContents/evil"}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        r#"{"contents":[],"cached_content":"cachedContents/evil"}"#,
    ),
];

#[tokio::test]
async fn no_spelling_of_a_tool_gets_past_the_list() {
    let (model, mut asked) = model().await;
    let more = json!({ "guards": { "t": { "kind": "tools", "allow": ["ok*", "function", "custom"], "action": "block" } } });
    let gateway = gateway(model, json!([{ "models": "**", "guards": ["t"] }]), more).await;
    for (path, ask) in OFFERS {
        let reply = gateway.send(post(path, ask)).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path} {ask}");
        assert_eq!(drain(&mut asked).len(), 0, "{path} {ask}");
    }
    for (path, ask) in [
        (
            "/v1/chat/completions",
            r#"{"model":"m","tools":[{"type":"function","function":{"name":"ok1"}}],"tool_choice":"auto"}"#,
        ),
        (
            "/v1/responses",
            r#"{"model":"m","tools":[{"type":"function","name":"ok1"}]}"#,
        ),
        (
            "/v1/messages",
            r#"{"model":"m","tools":[{"name":"ok1","input_schema":{"Name":1,"name":2}}]}"#,
        ),
        (
            "/bedrock/model/m/converse",
            r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"ok1"}},{"cachePoint":{"type":"default"}}]}}"#,
        ),
        (
            "/v1beta/models/m:generateContent",
            r#"{"tools":[{"functionDeclarations":[{"name":"ok1"}]}]}"#,
        ),
        ("/v1/embeddings", r#"{"model":"m","input":"x"}"#),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"enable_search":false,"plugins":[],"min_p":0.1,"chat_template_kwargs":{"enable_thinking":false},"search_parameters":{"mode":"off"},"safety_model":null,"lora_path":null,"session_id":"s"}"#,
        ),
        (
            "/v1/responses",
            r#"{"model":"m","prompt":null,"input":"x","client_metadata":{},"include":["reasoning.encrypted_content"]}"#,
        ),
    ] {
        let reply = gateway.send(post(path, ask)).await;
        assert_eq!(
            reply.status,
            StatusCode::OK,
            "{path} {ask}: {}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn a_hook_without_a_place_fails_like_any_other() {
    let (model, mut asked) = model().await;
    for url in ["", "ftp://h/", "http://u:p@h/"] {
        let more = json!({ "hooks": { "h": { "url": url, "fail_policy": "fail_closed" } } });
        let objects =
            json!([{ "models": "**", "send_hooks": [{ "name": "h", "events": ["pre_request"] }] }]);
        let gateway = gateway(model, objects, more).await;
        assert_eq!(
            gateway.chat(ASK).await.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{url:?}"
        );
    }
    assert_eq!(drain(&mut asked).len(), 0);
}

#[tokio::test]
async fn no_hook_holds_a_request_longer_than_the_whole_may_take() {
    let (model, mut asked) = model().await;
    let (slow, _slow) = provider(HANGS).await;
    let mut more = hook(
        slow,
        &json!({ "timeout": "0", "fail_policy": "fail_closed" }),
    );
    more["timeouts"] = json!({ "total": "500ms" });
    let objects =
        json!([{ "models": "**", "send_hooks": [{ "name": "h", "events": ["pre_request"] }] }]);
    let gateway = gateway(model, objects, more).await;
    let reply = tokio::time::timeout(Duration::from_secs(5), gateway.chat(ASK)).await;
    assert_eq!(
        reply.expect("an answer").status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(drain(&mut asked).len(), 0);
}

#[tokio::test]
async fn an_answer_that_is_no_object_is_none() {
    let (model, mut asked) = model().await;
    let (odd, _odd) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", r#"["allow"]"#).await }.boxed()
    })
    .await;
    let objects =
        json!([{ "models": "**", "send_hooks": [{ "name": "h", "events": ["pre_request"] }] }]);
    let gateway = gateway(
        model,
        objects,
        hook(odd, &json!({ "fail_policy": "fail_closed" })),
    )
    .await;
    assert_eq!(
        gateway.chat(ASK).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(drain(&mut asked).len(), 0);
}

#[tokio::test]
async fn a_block_is_a_refusal_whatever_its_status_and_names_its_provider() {
    let (model, _asked) = model().await;
    let (judge, _judged) = provider(|mut stream| {
        async move {
            answer(
                &mut stream,
                "200 OK",
                "",
                r#"{"action":"block","status_code":502}"#,
            )
            .await;
        }
        .boxed()
    })
    .await;
    let objects =
        json!([{ "models": "**", "send_hooks": [{ "name": "h", "events": ["pre_request"] }] }]);
    let gateway = gateway(model, objects, hook(judge, &json!({}))).await;
    assert_eq!(gateway.chat(ASK).await.status, StatusCode::BAD_GATEWAY);
    let record = gateway.record_where(|row| row["path"] != "").await;
    assert_eq!(
        (
            &record["outcome"],
            &record["provider"],
            &record["model"],
            &record["cost"]
        ),
        (&json!("refused"), &json!("p"), &json!("m"), &json!(0)),
    );
}

#[tokio::test]
async fn a_hook_that_is_down_is_left_alone() {
    let (model, _asked) = model().await;
    // It refuses at once, so that only pauses limit how often it is asked.
    let (down, mut asked) =
        provider(|mut stream| async move { answer(&mut stream, "503 Down", "", "").await }.boxed())
            .await;
    let objects =
        json!([{ "models": "**", "send_hooks": [{ "name": "h", "events": ["entire_request"] }] }]);
    let gateway = gateway(model, objects, hook(down, &json!({}))).await;
    for _ in 0..40 {
        gateway.chat(ASK).await;
    }
    // It is tried again in the meantime, with pauses.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let calls = drain(&mut asked).len();
    assert!((1..=12).contains(&calls), "it was told {calls} times");
}
