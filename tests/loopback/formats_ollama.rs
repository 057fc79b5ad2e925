//! Ollama's own API at the wire: relayed to a provider that speaks it, translated for one that doesn't,
//! and what its clients ask besides.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::refusals::ask;
use crate::sdk_routes::get;
use support::http::post;
use support::provider::{Received, answer, provider, server, write};

const CHAT: &str = "/api/chat";
const GENERATE: &str = "/api/generate";
const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n";
const FIRST: &str = "{\"model\":\"m\",\"created_at\":\"2025-10-17T23:14:07.1Z\",\"message\":{\"role\":\"assistant\",\"content\":\"ahoy\"},\"done\":false}\n";
const LAST: &str = "{\"model\":\"m\",\"created_at\":\"2025-10-17T23:14:07.2Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":10,\"eval_count\":2}\n";

fn speaks(flag: &str) -> Value {
    json!({ "provider": { "compatibility": { flag: true } } })
}

fn chat(more: &Value) -> String {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        body[key] = value;
    }
    body.to_string()
}

fn sent(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

#[tokio::test]
async fn a_stream_of_lines_is_relayed_and_counted() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            // Cut in the middle of a line.
            let (first, second) = LAST.split_at(40);
            for part in [HEAD, FIRST, first, second] {
                write(&mut stream, part).await;
            }
        }
        .boxed()
    })
    .await;
    let mut config = speaks("ollama");
    config["provider"]["baseurl"] = format!("http://{address}/v1").into();
    let gateway = Gateway::start(address, config).await;
    let body = r#"{ "model":"p/m" ,"messages":[{"role":"user","content":"hi"}],"keep_alive":"5m"}"#;
    let reply = gateway.send(post(CHAT, body)).await;
    assert_eq!(reply.headers["content-type"], "application/x-ndjson");
    assert_eq!(reply.text(), format!("{FIRST}{LAST}"));
    let got = received.recv().await.unwrap();
    assert!(got.head.starts_with("POST /api/chat "), "{}", got.head);
    assert_eq!(got.body, body.replace("p/m", "m").as_bytes());
    let row = gateway.record_of(CHAT).await;
    assert_eq!(
        (&row["api"], &row["finish_reason"]),
        (&json!("ollama"), &json!("stop"))
    );
    let usage = &row["usage"];
    assert_eq!(
        (
            &usage["input_tokens"],
            &usage["output_tokens"],
            &usage["estimated"]
        ),
        (&json!(10), &json!(2), &json!(false)),
        "{row}"
    );
}

#[tokio::test]
async fn a_response_in_one_piece_and_vectors_are_relayed() {
    let (address, log) = server("127.0.0.1:0", |request| {
        let body = match request.target().as_str() {
            "POST /api/generate" => r#"{"model":"m","response":"ahoy","done":true,"done_reason":"length","prompt_eval_count":10,"eval_count":2}"#,
            _ => r#"{"model":"m","embeddings":[[0.1,0.2]],"prompt_eval_count":8}"#,
        };
        ("200 OK", body.to_owned())
    })
    .await;
    let gateway = Gateway::start(address, speaks("ollama")).await;
    let reply = gateway
        .send(post(
            GENERATE,
            r#"{"model":"m","prompt":"hi","stream":false}"#,
        ))
        .await;
    assert_eq!(reply.json()["response"], "ahoy");
    let row = gateway.record_of(GENERATE).await;
    assert_eq!(
        (&row["api"], &row["usage"]["output_tokens"]),
        (&json!("ollama_generate"), &json!(2))
    );
    for path in ["/api/embed", "/api/embeddings"] {
        let reply = gateway
            .send(post(path, r#"{"model":"m","input":"hi"}"#))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let row = gateway.record_of(path).await;
        assert_eq!(
            (&row["api"], &row["usage"]["input_tokens"]),
            (&json!("ollama_embed"), &json!(8))
        );
    }
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn an_error_stands_in_a_line_of_its_own() {
    let (address, _received) = provider(|mut stream| {
        async move {
            for part in [HEAD, FIRST, &LAST[..40]] {
                write(&mut stream, part).await;
            }
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, speaks("ollama")).await;
    let reply = gateway.send(post(CHAT, &chat(&json!({})))).await;
    // The connection breaks behind the error, so that nobody takes the response for whole.
    assert!(reply.broken);
    let text = reply.text();
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(format!("{first}\n"), FIRST);
    let error: Value = serde_json::from_str(rest.trim_end()).unwrap();
    let words = "the provider's stream ended before its end";
    assert_eq!(error, json!({ "error": words }));
    assert!(rest.ends_with('\n'));
}

#[tokio::test]
async fn an_error_of_the_provider_ends_a_stream_and_nothing_is_added() {
    const ERROR: &str = "{\"error\":\"model runner has unexpectedly stopped\"}\n";
    let (address, _received) = provider(|mut stream| {
        async move {
            for part in [HEAD, FIRST, ERROR] {
                write(&mut stream, part).await;
            }
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, speaks("ollama")).await;
    let reply = gateway.send(post(CHAT, &chat(&json!({})))).await;
    assert_eq!(reply.text(), format!("{FIRST}{ERROR}"));
    let row = gateway.record_of(CHAT).await;
    assert!(row.to_string().contains("unexpectedly stopped"), "{row}");
}

/// A provider of chat completions that calls a tool, and says so once it has the result.
fn with_tools(request: &Received) -> (&'static str, String) {
    let has_result = String::from_utf8_lossy(&request.body).contains("\"tool\"");
    let message = if has_result {
        json!({ "role": "assistant", "content": "It is noon." })
    } else {
        let call = json!({ "id": "call_x", "type": "function", "function": { "name": "now", "arguments": "{\"zone\":\"UTC\"}" } });
        json!({ "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [call] })
    };
    let reason = if has_result { "stop" } else { "tool_calls" };
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "x",
        "choices": [{ "index": 0, "message": message, "finish_reason": reason }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12 },
    });
    ("200 OK", body.to_string())
}

#[tokio::test]
async fn a_loop_of_tools_goes_through_a_provider_of_another_format() {
    let (address, log) = server("127.0.0.1:0", with_tools).await;
    let gateway = Gateway::start(address, speaks("openai_chat")).await;
    let tools = json!([{ "type": "function", "function": { "name": "now", "parameters": { "type": "object" } } }]);
    let asked = json!({ "stream": false, "tools": tools, "options": { "num_ctx": 2048 } });
    let reply = gateway.send(post(CHAT, &chat(&asked))).await.json();
    assert_eq!(
        (&reply["model"], &reply["done"]),
        (&json!("m"), &json!(true)),
        "{reply}"
    );
    let message = &reply["message"];
    assert_eq!(message["thinking"], "hm");
    let function = &message["tool_calls"][0]["function"];
    assert_eq!(function["arguments"], json!({ "zone": "UTC" }));
    let row = gateway.record_of(CHAT).await;
    assert!(
        row.to_string().contains("left out: options.num_ctx"),
        "{row}"
    );
    let messages = json!([
        { "role": "user", "content": "hi" }, message, { "role": "tool", "tool_name": "now", "content": "noon" },
    ]);
    let again = json!({ "stream": false, "messages": messages, "tools": tools });
    let reply = gateway.send(post(CHAT, &chat(&again))).await.json();
    assert_eq!(reply["message"]["content"], "It is noon.");
    let log = log.lock().unwrap();
    let last = sent(&log[1]);
    assert_eq!(
        last["messages"][2],
        json!({ "role": "tool", "tool_call_id": "call_x", "content": "noon" })
    );
}

#[tokio::test]
async fn vectors_come_from_a_provider_of_another_format() {
    const VECTORS: &str = r#"{"object":"list","data":[{"index":0,"embedding":[0.5,1]},{"index":1,"embedding":[0.25,2]}],"usage":{"prompt_tokens":7,"total_tokens":7}}"#;
    let (address, log) = server("127.0.0.1:0", |_| ("200 OK", VECTORS.to_owned())).await;
    let gateway = Gateway::start(address, speaks("openai_chat")).await;
    let body = r#"{"model":"m","input":["one","two"],"truncate":true}"#;
    let reply = gateway.send(post("/api/embed", body)).await;
    let expected =
        json!({ "model": "m", "embeddings": [[0.5, 1], [0.25, 2]], "prompt_eval_count": 7 });
    assert_eq!((reply.status, reply.json()), (StatusCode::OK, expected));
    let row = gateway.record_of("/api/embed").await;
    assert_eq!(
        (&row["api"], &row["usage"]["input_tokens"]),
        (&json!("ollama_embed"), &json!(7))
    );
    assert!(row.to_string().contains("left out: truncate"), "{row}");
    // Two vectors for one text are no answer.
    let reply = gateway
        .send(post("/api/embeddings", r#"{"model":"m","prompt":"one"}"#))
        .await;
    assert!(
        reply.broken || reply.status.is_server_error(),
        "{}",
        reply.text()
    );
    let log = log.lock().unwrap();
    assert_eq!(log[0].target(), "POST /v1/embeddings");
    assert_eq!(
        sent(&log[0]),
        json!({ "model": "m", "input": ["one", "two"] })
    );
}

#[tokio::test]
async fn nothing_is_loaded_at_a_provider_of_another_format() {
    let (address, log) = server("127.0.0.1:0", with_tools).await;
    let gateway = Gateway::start(address, speaks("openai_chat")).await;
    for (path, body, reason) in [
        (CHAT, r#"{"model":"m"}"#, "load"),
        (GENERATE, r#"{"model":"m","keep_alive":0}"#, "unload"),
    ] {
        let reply = gateway.send(post(path, body)).await;
        let loaded = reply.json();
        assert_eq!(
            (reply.status, &loaded["done_reason"]),
            (StatusCode::OK, &json!(reason))
        );
        assert_eq!(
            (&loaded["model"], &loaded["done"]),
            (&json!("m"), &json!(true))
        );
        let row = gateway.record_of(path).await;
        assert_eq!(
            (&row["usage"]["output_tokens"], &row["usage"]["estimated"]),
            (&Value::Null, &json!(false))
        );
        assert!(row.to_string().contains("no model to load"), "{row}");
    }
    assert!(log.lock().unwrap().is_empty());
    // An error has Ollama's shape.
    let refused = gateway
        .send(post(GENERATE, r#"{"model":"m","prompt":"x","raw":true}"#))
        .await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(
        refused.json()["error"].as_str().unwrap().contains("`raw`"),
        "{}",
        refused.text()
    );
}

/// What a real Ollama says of a model, and of its own disk.
const SHOWN: &str = r#"{"modelfile":"FROM /models/blobs/sha256-1","template":"{{ .Prompt }}","details":{"family":"llama","parameter_size":"3B"},"model_info":{"general.architecture":"llama","llama.context_length":8192},"capabilities":["completion","vision"],"remote_host":"http://inside:1"}"#;

/// A gateway with a provider of Ollama's API, one of another, and one whose model isn't granted.
async fn with_models() -> Gateway {
    let (address, _log) = server("127.0.0.1:0", |request| match request.target().as_str() {
        "POST /api/show" => ("200 OK", SHOWN.to_owned()),
        _ => ("404 Not Found", "404 page not found".to_owned()),
    })
    .await;
    let url = format!("http://{address}");
    let config = json!({
        "provider": { "models": ["tiny:latest", "hidden"], "compatibility": { "ollama": true } },
        "others": {
            "q": { "baseurl": url, "models": ["gpt-5"] },
            "r": { "baseurl": url, "models": ["vertex"], "compatibility": { "google_raw_predict": true } },
            "s": { "baseurl": url, "models": ["secret"] },
        },
        "prices": { "q/gpt-5": { "input": "1", "output": "2", "context_window_tokens": 4000 } },
        "model_aliases": { "models": { "fast": { "dst": ["q/gpt-5"] } } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "user" }, { "models": "p/tiny:*" }, { "models": "q/*" }, { "models": "r/*" },
        ] } }],
    });
    Gateway::start(address, config).await
}

#[tokio::test]
async fn tags_are_the_models_that_can_be_asked() {
    let gateway = with_models().await;
    let reply = get(&gateway, "/api/tags", &[]).await;
    let tags = reply.json();
    let rows = tags["models"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["tiny:latest", "gpt-5", "fast"]);
    for row in rows {
        assert_eq!(row["model"], row["name"]);
        assert_eq!(
            (&row["size"], &row["modified_at"]),
            (&json!(0), &json!("0001-01-01T00:00:00Z"))
        );
        assert_eq!(row["digest"].as_str().unwrap().len(), 64);
        assert!(row["details"]["families"].as_array().unwrap().is_empty());
    }
    assert_eq!(rows[2]["remote_model"], "gpt-5");
    let running = get(&gateway, "/api/ps", &[]).await;
    assert_eq!(running.json(), json!({ "models": [] }));
    let version = get(&gateway, "/api/version", &[]).await.json();
    let parts = version["version"].as_str().unwrap().split('.');
    assert_eq!(parts.filter(|part| part.parse::<u32>().is_ok()).count(), 3);
    let head = Request::head("/").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(gateway.send(head).await.status, StatusCode::OK);
    assert!(
        get(&gateway, "/", &[])
            .await
            .text()
            .contains("Ollama is running\n")
    );
    let page = get(&gateway, "/", &[("accept", "text/html")]).await;
    assert!(
        !page.text().contains("Ollama is running"),
        "a browser gets the dashboard"
    );
}

#[tokio::test]
async fn a_model_is_shown_as_its_provider_shows_it() {
    let gateway = with_models().await;
    let show = async |body: Value| gateway.send(post("/api/show", &body.to_string())).await;
    for body in [
        json!({ "model": "tiny" }),
        json!({ "name": "p/tiny:latest", "verbose": true }),
    ] {
        let shown = show(body).await.json();
        assert_eq!(shown["capabilities"], json!(["completion", "vision"]));
        assert_eq!(shown["model_info"]["llama.context_length"], 8192);
        assert_eq!(shown["remote_model"], "tiny:latest");
        assert!(shown.get("modelfile").is_none() && shown.get("remote_host").is_none());
    }
    for name in ["gpt-5", "gpt-5:latest", "fast"] {
        let shown = show(json!({ "model": name })).await.json();
        assert_eq!(shown["remote_model"], "gpt-5");
        assert_eq!(shown["capabilities"], json!(["completion", "tools"]));
        assert_eq!(shown["model_info"]["unknown.context_length"], 4000);
    }
    assert_eq!(show(json!({})).await.status, StatusCode::BAD_REQUEST);
    // Gateways could be each other's providers: one that asks is told what is known here.
    let mut request = post("/api/show", r#"{"model":"tiny"}"#);
    let via = "1.1 iris-0000000000000001".parse().unwrap();
    request.headers_mut().insert("via", via);
    let shown = gateway.send(request).await.json();
    assert_eq!(shown["capabilities"], json!(["completion", "tools"]));
}

#[tokio::test]
async fn a_model_without_a_grant_looks_like_a_missing_one() {
    let gateway = with_models().await;
    for name in ["hidden", "secret", "vertex", "nowhere"] {
        let body =
            json!({ "model": name, "messages": [{ "role": "user", "content": "hi" }] }).to_string();
        let expected = json!({ "error": format!("model '{name}' not found") });
        let mut paths = vec!["/api/show"];
        // It is granted, though not through this API, and the refusal says so.
        if name != "vertex" {
            paths.extend([CHAT, "/api/embed"]);
        }
        for path in paths {
            let reply = gateway.send(post(path, &body)).await;
            assert_eq!(
                (reply.status, reply.json()),
                (StatusCode::NOT_FOUND, expected.clone()),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn models_are_not_managed_through_the_gateway() {
    let gateway = with_models().await;
    for (method, path) in [
        ("POST", "/api/pull"),
        ("POST", "/api/create"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/copy"),
        ("POST", "/api/push"),
        (
            "POST",
            "/api/blobs/sha256:29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2",
        ),
        ("POST", "/api/me"),
    ] {
        let reply = ask(&gateway, method, path, &[]).await;
        let body = reply.json();
        let error = body["error"].as_str().unwrap();
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert!(
            error.contains("managed at their providers") && error.contains("/api/tags"),
            "{error}"
        );
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn a_caller_of_another_format_is_served_by_a_provider_of_this_one() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            const ERROR: &str = r#"{"error":"\"m\" does not support tools"}"#;
            answer(
                &mut stream,
                "400 Bad Request",
                "connection: close\r\n",
                ERROR,
            )
            .await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, speaks("ollama")).await;
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "reasoning_effort": "none" });
    let reply = gateway
        .send(post("/v1/chat/completions", &body.to_string()))
        .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.message(), "\"m\" does not support tools");
    let got = received.recv().await.unwrap();
    assert!(got.head.starts_with("POST /api/chat "), "{}", got.head);
    assert_eq!(
        (&sent(&got)["think"], &sent(&got)["stream"]),
        (&json!(false), &json!(false))
    );
}
