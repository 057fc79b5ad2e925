//! What SDKs and Aperture's own clients request besides completions: the list of models, counts of
//! tokens, and refusals that they can read.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{COMPLETION, Log, Received, server};

/// A provider that doesn't count tokens, like Ollama, and answers everything else.
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

pub const ANTHROPIC: (&str, &str) = ("anthropic-version", "2023-06-01");
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
    // Another path doesn't grant what isn't granted.
    let reply = gateway
        .send(post(
            "/v1/v1/chat/completions",
            r#"{"model":"hidden","messages":[]}"#,
        ))
        .await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    // If it is ambiguous, the refusal says what to set.
    let base = format!("http://{}", gateway.address);
    for (path, says) in [
        ("/chat/completion", format!("{base}/v1")),
        ("/openai/deployments/m/responses", format!("{base}/v1")),
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
    // Models of the list, by the fields without which the CLI refuses the whole list.
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
