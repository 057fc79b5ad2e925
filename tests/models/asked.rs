//! A request in each format, streamed and whole, and its record against what the server counted.

use std::net::SocketAddr;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{Server, get};
use support::http::{post, send_to};

/// Asks a gateway in all formats that the server speaks.
pub async fn all(gateway: SocketAddr, server: &Server, provider: &str) {
    let says = |what: &str| server.formats.contains(&what);
    let messages = json!([{ "role": "user", "content": "the model of the system" }]);
    // A name without its tag, and with the provider in front.
    for model in ["tiny".to_owned(), format!("{provider}/tiny")] {
        for stream in [false, true] {
            if says("chat") {
                let body = json!({ "model": model, "max_tokens": 16, "messages": messages, "stream": stream });
                let usage = ["prompt_tokens", "completion_tokens"];
                one(
                    gateway,
                    server,
                    provider,
                    "/v1/chat/completions",
                    &body,
                    usage,
                )
                .await;
            }
            if says("responses") {
                let body = json!({ "model": model, "max_output_tokens": 16, "input": messages, "stream": stream });
                let usage = ["input_tokens", "output_tokens"];
                one(gateway, server, provider, "/v1/responses", &body, usage).await;
            }
            if says("messages") {
                let body = json!({ "model": model, "max_tokens": 16, "messages": messages, "stream": stream });
                let usage = ["input_tokens", "output_tokens"];
                one(gateway, server, provider, "/v1/messages", &body, usage).await;
            }
        }
        // Relayed to Ollama, and translated for the others.
        let options = json!({ "num_predict": 16 });
        let usage = ["prompt_eval_count", "eval_count"];
        for stream in [false, true] {
            let body = json!({ "model": model, "messages": messages, "options": options, "stream": stream });
            one(gateway, server, provider, "/api/chat", &body, usage).await;
            let body = json!({ "model": model, "prompt": "the model of the system", "options": options, "stream": stream });
            one(gateway, server, provider, "/api/generate", &body, usage).await;
        }
        if says("embeddings") {
            let body = json!({ "model": model, "input": "the system and the model" });
            one(gateway, server, provider, "/api/embed", &body, usage).await;
        }
        if says("embeddings") {
            let body = json!({ "model": model, "input": "the system and the model" });
            let usage = ["prompt_tokens", "completion_tokens"];
            one(gateway, server, provider, "/v1/embeddings", &body, usage).await;
        }
        if says("count_tokens") {
            let body = json!({ "model": model, "messages": messages }).to_string();
            let reply = send_to(gateway, post("/v1/messages/count_tokens", &body))
                .await
                .unwrap();
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
            assert!(
                reply.json()["input_tokens"].as_u64().unwrap() > 3,
                "{}",
                reply.text()
            );
        }
    }
}

/// Asks once, and looks at the record.
async fn one(
    gateway: SocketAddr,
    server: &Server,
    provider: &str,
    path: &str,
    body: &Value,
    usage: [&str; 2],
) {
    let reply = send_to(gateway, post(path, &body.to_string()))
        .await
        .unwrap();
    let id = reply.headers["x-iris-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let what = format!("{} {path} {body}: {}", server.id, reply.text());
    assert_eq!(reply.status, StatusCode::OK, "{what}");
    assert!(!reply.broken, "{what}");
    let record = record(gateway, &id).await;
    let what = format!("{what}\n{record}");
    assert_eq!(record["outcome"], "complete", "{what}");
    assert_eq!(record["model"], server.listed, "{what}");
    assert_eq!(record["provider"], provider, "{what}");
    assert_eq!(record["path"], path, "{what}");
    assert_eq!(record["cost"], 0, "{what}");
    let counted = |field: &str| record["usage"][field].as_u64();
    // The caller didn't ask for a streamed chat's usage, so only the gateway sees it.
    let is_streamed_chat = body["stream"] == true && path.ends_with("completions");
    assert_eq!(record["usage"]["estimated"], false, "{what}");
    assert!(counted("input_tokens").unwrap() > 3, "{what}");
    if !is_streamed_chat {
        let [input, output] = usage;
        let told = told(&reply.text());
        // Anthropic's format tells apart what a cache served.
        let cached = ["cache_read_input_tokens", "cache_creation_input_tokens"]
            .map(|field| told[field].as_u64().unwrap_or(0));
        let input = told[input].as_u64().unwrap() + cached.iter().sum::<u64>();
        assert_eq!(counted("input_tokens"), Some(input), "{what}");
        let output = told[output].as_u64().unwrap_or(0);
        assert_eq!(counted("output_tokens").unwrap_or(0), output, "{what}");
    }
    if !path.contains("/embed") {
        assert!(counted("output_tokens").unwrap() > 0, "{what}");
    }
}

/// The final usage in a response, streamed or whole, with the counts of earlier events.
fn told(text: &str) -> Value {
    let mut told = json!({});
    let whole: Option<Value> = serde_json::from_str(text).ok();
    let events = text
        .lines()
        .map(|line| line.strip_prefix("data: ").unwrap_or(line))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok());
    for event in whole.into_iter().chain(events) {
        for key in ["prompt_eval_count", "eval_count"] {
            if event[key].is_number() {
                told[key] = event[key].clone();
            }
        }
        for place in ["/usage", "/response/usage", "/message/usage"] {
            let usage = event.pointer(place).and_then(Value::as_object);
            for (key, value) in usage.into_iter().flatten() {
                told[key] = value.clone();
            }
        }
    }
    told
}

/// A record, once it is there.
async fn record(gateway: SocketAddr, id: &str) -> Value {
    for _ in 0..500 {
        if let Some(record) = get(gateway, &format!("/api/requests/{id}")).await {
            return record;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("there is no record {id}");
}
