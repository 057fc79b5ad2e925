//! What SDKs and Aperture's own clients ask besides answers of models: the models that there are,
//! counts of tokens, and refusals that they can read.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{COMPLETION, Log, Received, server};

/// A provider that has no count of tokens, as Ollama has none, and answers the rest.
pub fn ollama(request: &Received) -> (&'static str, String) {
    let target = request.target();
    if target.contains("count") || target.ends_with("input_tokens") {
        return ("404 Not Found", "404 page not found".to_owned());
    }
    ("200 OK", COMPLETION.to_owned())
}

/// A gateway whose caller may use all models of `p` but `hidden`, and none of `q`.
pub async fn gateway(answers: fn(&Received) -> (&'static str, String)) -> (Gateway, Log) {
    let (address, log) = server("127.0.0.1:0", answers).await;
    let more = json!({
        "provider": {
            "models": ["m", "org/model-8B", "tiny:latest", "hidden"],
            "compatibility": {
                "openai_chat": true, "openai_responses": true, "anthropic_messages": true,
                "gemini_generate_content": true, "google_generate_content": true,
                "google_raw_predict": true, "bedrock_model_invoke": true, "bedrock_converse": true,
            },
        },
        "others": { "q": { "baseurl": format!("http://{address}"), "models": ["secret"] } },
        "model_aliases": { "models": {
            "fast": { "dst": ["p/m"] },
            "behind": { "dst": ["q/secret"] },
        } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" },
            { "models": "p/m" }, { "models": "p/org/*" }, { "models": "p/tiny:latest" },
        ] } }],
    });
    (Gateway::start(address, more).await, log)
}

pub async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    gateway.send(request).await
}

const ANTHROPIC: (&str, &str) = ("anthropic-version", "2023-06-01");
const GOOGLE: (&str, &str) = ("x-goog-api-key", "k");

#[tokio::test]
async fn a_model_is_described_in_the_form_of_the_sdk_that_asks() {
    let (gateway, _log) = gateway(ollama).await;
    for (path, headers, key, expected) in [
        ("/v1/models/m", &[][..], "id", "m"),
        ("/models/m", &[], "id", "m"),
        ("/v1/models/org/model-8B", &[], "id", "org/model-8B"),
        ("/v1/models/org%2Fmodel-8B", &[], "id", "org/model-8B"),
        ("/v1/models/org%2fmodel-8B", &[], "id", "org/model-8B"),
        ("/v1/models/p/m", &[], "id", "p/m"),
        ("/v1/models/tiny", &[], "id", "tiny"),
        ("/v1/models/tiny%3Alatest", &[], "id", "tiny:latest"),
        ("/v1/models/fast", &[], "id", "fast"),
        ("/v1/models/m", &[ANTHROPIC], "type", "model"),
        ("/v1/models/m", &[("x-api-key", "k")], "type", "model"),
        ("/v1/models/fast", &[ANTHROPIC], "id", "fast"),
        (
            "/v1/models/org%2Fmodel-8B",
            &[ANTHROPIC],
            "display_name",
            "org/model-8B",
        ),
        ("/v1beta/models/m", &[], "name", "models/m"),
        (
            "/v1beta/models/org/model-8B",
            &[],
            "name",
            "models/org/model-8B",
        ),
        ("/v1alpha/models/m", &[GOOGLE], "name", "models/m"),
        ("/v1/models/m", &[GOOGLE], "name", "models/m"),
        (
            "/v1/models/m",
            &[("x-goog-api-client", "genai")],
            "displayName",
            "m",
        ),
    ] {
        let reply = get(&gateway, path, headers).await;
        assert_eq!(
            reply.status,
            StatusCode::OK,
            "{path} {headers:?}: {}",
            reply.text()
        );
        assert_eq!(reply.json()[key], expected, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn a_model_without_a_grant_is_told_as_one_that_does_not_exist() {
    let (gateway, _log) = gateway(ollama).await;
    let told = |reply: &Reply| reply.text().replace("nothing", "NAME");
    for headers in [&[][..], &[ANTHROPIC], &[GOOGLE]] {
        let unknown = get(&gateway, "/v1/models/nothing", headers).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        for name in ["hidden", "secret", "q/secret", "behind"] {
            let reply = get(&gateway, &format!("/v1/models/{name}"), headers).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{name}");
            assert_eq!(told(&reply).replace(name, "NAME"), told(&unknown), "{name}");
        }
    }
    let list = get(&gateway, "/v1/models", &[]).await.json();
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["m", "org/model-8B", "tiny:latest", "fast"]);
    assert!(
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["display_name"] == row["id"])
    );
}

#[tokio::test]
async fn lists_come_in_pages_as_each_sdk_asks_for_them() {
    let (gateway, _log) = gateway(ollama).await;
    let anthropic = async |query: &str| {
        let reply = get(&gateway, &format!("/v1/models{query}"), &[ANTHROPIC]).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.json()
    };
    let all = anthropic("?limit=1000").await;
    assert_eq!(
        (&all["has_more"], all["data"].as_array().unwrap().len()),
        (&json!(false), 4)
    );
    let first = anthropic("?limit=3").await;
    assert_eq!(
        (&first["has_more"], &first["first_id"], &first["last_id"]),
        (&json!(true), &json!("m"), &json!("tiny:latest"))
    );
    let rest = anthropic("?limit=3&after_id=tiny%3Alatest").await;
    assert_eq!(
        (&rest["has_more"], &rest["data"][0]["id"]),
        (&json!(false), &json!("fast"))
    );
    let before = anthropic("?limit=1&before_id=tiny:latest").await;
    assert_eq!(
        (&before["has_more"], &before["data"][0]["id"]),
        (&json!(true), &json!("org/model-8B"))
    );
    let wrong = get(&gateway, "/v1/models?limit=0", &[ANTHROPIC]).await;
    assert_eq!(
        (wrong.status, &wrong.json()["type"]),
        (StatusCode::BAD_REQUEST, &json!("error"))
    );

    // The Python SDK asks at both versions.
    for path in ["/v1/models", "/v1beta/models"] {
        let mut names = Vec::new();
        let mut token = String::new();
        loop {
            let query = format!("{path}?pageSize=3&pageToken={token}");
            let page = get(&gateway, &query, &[GOOGLE]).await.json();
            names.extend(
                page["models"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| row["name"].clone()),
            );
            match page["nextPageToken"].as_str() {
                Some(next) => token = next.replace('/', "%2F"),
                None => break,
            }
        }
        assert_eq!(
            names,
            [
                "models/m",
                "models/org/model-8B",
                "models/tiny:latest",
                "models/fast"
            ]
        );
    }
}

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
        // The provider is asked once and then left in peace.
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

const REFUSED: [(&str, &str, &str); 22] = [
    ("GET", "/v1/files", "openai"),
    ("POST", "/v1/batches", "openai"),
    ("GET", "/v1/conversations/x", "openai"),
    ("GET", "/v1/realtime", "openai"),
    ("GET", "/v1/chat/completions", "openai"),
    ("DELETE", "/v1/models/m", "openai"),
    ("GET", "/v1/responses/resp_1", "openai"),
    ("POST", "/openai/deployments/m/chat/completions", "openai"),
    ("POST", "/v2/nothing", "openai"),
    ("POST", "/v1/messages/batches", "anthropic"),
    ("GET", "/v1/messages", "anthropic"),
    ("POST", "/v1/complete", "anthropic"),
    ("GET", "/v1beta/files", "google"),
    ("POST", "/v1beta/cachedContents", "google"),
    ("POST", "/v1beta/models/m:nothing", "google"),
    ("GET", "/v1beta/models/m:generateContent", "google"),
    (
        "POST",
        "/v1/projects/p/locations/l/endpoints/e:predict",
        "google",
    ),
    ("POST", "/bedrock/guardrail/g/version/1/apply", "bedrock"),
    ("GET", "/bedrock/model/m/converse", "bedrock"),
    ("POST", "/model/m/nothing", "bedrock"),
    ("POST", "/api/chat", "ollama"),
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
    let named = ask(&gateway, "GET", "/v1/files", &[ANTHROPIC]).await;
    assert!(is_error_of("anthropic", &named), "{}", named.text());
    // Refused before anything is known of the caller: another site's page, another host.
    for (header, value) in [("sec-fetch-site", "cross-site"), ("host", "elsewhere.test")] {
        for (path, api) in [
            ("/v1/files", "openai"),
            ("/v1/models", "openai"),
            ("/v1/chat/completions", "openai"),
            ("/v1/messages/batches", "anthropic"),
            ("/v1beta/files", "google"),
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
    // A request for a WebSocket where none is.
    let socket = [("connection", "upgrade"), ("upgrade", "websocket")];
    let reply = get(&gateway, "/v1/realtime", &socket).await;
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

#[tokio::test]
async fn base_urls_as_people_set_them_lead_to_the_model() {
    let (gateway, log) = gateway(ollama).await;
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let contents = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
    for (path, body, asked) in [
        ("/v1/v1/chat/completions", chat, "POST /v1/chat/completions"),
        (
            "/v1/chat/completions/chat/completions",
            chat,
            "POST /v1/chat/completions",
        ),
        (
            "/openai/v1/chat/completions",
            chat,
            "POST /v1/chat/completions",
        ),
        ("//v1/chat/completions", chat, "POST /v1/chat/completions"),
        (
            "/v1beta/openai/chat/completions?x=1",
            chat,
            "POST /v1/chat/completions",
        ),
        ("/v1/v1/messages", chat, "POST /v1/messages"),
        ("/anthropic/v1/messages", chat, "POST /v1/messages"),
        (
            "/models/m:generateContent",
            contents,
            "POST /v1beta/models/m:generateContent",
        ),
        (
            "/v1beta/v1beta/models/m:generateContent",
            contents,
            "POST /v1beta/models/m:generateContent",
        ),
    ] {
        let reply = gateway.send(post(path, body)).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
        let last = log.lock().unwrap().last().map(Received::target);
        assert_eq!(last.as_deref(), Some(asked), "{path}");
    }
    for path in [
        "/v1/v1/models",
        "/v1/models/",
        "/openai/v1/models",
        "/v1/chat/completions/models",
    ] {
        let list = get(&gateway, path, &[]).await.json();
        assert_eq!(list["object"], "list", "{path}");
    }
    // What is not granted is not granted by another path.
    let reply = gateway
        .send(post(
            "/v1/v1/chat/completions",
            r#"{"model":"hidden","messages":[]}"#,
        ))
        .await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    // Where it could mean several things, the refusal says what to set.
    let base = format!("http://{}", gateway.address);
    for (path, says) in [
        ("/chat/completion", format!("{base}/v1")),
        (
            "/openai/deployments/m/chat/completions",
            format!("{base}/v1"),
        ),
        ("/api/chat", format!("{base}/v1")),
        ("/anthropic/v1/messages/batches", base.clone()),
        ("/v1beta/v1beta/cachedContents", base.clone()),
        ("/guardrail/g", format!("{base}/bedrock")),
    ] {
        let reply = gateway.send(post(path, "{}")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert!(reply.text().contains(&says), "{path}: {}", reply.text());
    }
}

#[tokio::test]
async fn the_catalog_is_what_apertures_clients_parse() {
    let (gateway, _log) = gateway(ollama).await;
    let reply = get(&gateway, "/api/providers", &[]).await;
    // The official CLI unmarshals an array of this; the OpenCode plugin checks each field.
    let rows = reply.json();
    let rows = rows.as_array().expect("a bare array");
    assert_eq!(rows.len(), 1);
    for row in rows {
        assert!(
            row["id"].as_str().is_some_and(|id| !id.trim().is_empty()),
            "{row}"
        );
        assert!(
            row["name"].is_string() && row["description"].is_string(),
            "{row}"
        );
        let models = row["models"].as_array().unwrap();
        assert!(
            models
                .iter()
                .all(|model| model.as_str().is_some_and(|model| !model.is_empty()))
        );
        let flags = row["compatibility"].as_object().unwrap();
        assert!(
            !flags.is_empty() && flags.values().all(Value::is_boolean),
            "{row}"
        );
        assert!(row["requires_client_auth"].is_boolean(), "{row}");
    }
    let connectors = get(&gateway, "/api/connectors", &[]).await;
    assert_eq!(connectors.json(), json!({ "connectors": [] }));
    // Models of the list: what the CLI refuses the whole list for.
    let list = get(&gateway, "/v1/models", &[("user-agent", "aperture-cli")])
        .await
        .json();
    assert_eq!(list["object"], "list");
    let mut providers = std::collections::BTreeMap::new();
    for row in list["data"].as_array().unwrap() {
        let provider = &row["metadata"]["provider"];
        for value in [&row["id"], &provider["id"], &provider["upstream"]] {
            assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{row}");
        }
        let known = providers
            .entry(provider["id"].to_string())
            .or_insert(provider.clone());
        assert_eq!(known, provider);
    }
    // A configuration without faults has an empty list of them, which the Terraform provider reads.
    let text = get(&gateway, "/aperture/config", &[]).await.json()["config"].clone();
    let body = json!({ "config": text }).to_string();
    let reply = gateway.send(post("/aperture/config:validate", &body)).await;
    let reply = reply.json();
    assert_eq!(
        (&reply["valid"], &reply["errors"]),
        (&json!(true), &json!([]))
    );
    let reply = gateway
        .send(post("/aperture/config:validate", r#"{"config":"{"}"#))
        .await
        .json();
    assert!(
        reply["valid"] == false && reply["errors"][0].is_string(),
        "{reply}"
    );
    // Its errors are problems.
    let reply = gateway.send(post("/aperture/nothing", "{}")).await;
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    let problem = reply.json();
    assert!(
        problem["title"].is_string() && problem["detail"].is_string() && problem["status"] == 404
    );
}
