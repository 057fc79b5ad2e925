//! Responses on paths and to methods that the gateway doesn't serve, and redirects of old links.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::Gateway;
use crate::refusals::{ask, is_error_of};
use crate::sdk_routes::{gateway, get, ollama};
use support::provider::server;

/// Paths that don't exist, and the API that each belongs to.
const UNKNOWN: [(&str, &str); 25] = [
    ("/v1", "openai"),
    ("/v1/", "openai"),
    ("/v1/uploads", "openai"),
    ("/v1/conversations/conv_1", "openai"),
    ("/v1/nothing/here", "openai"),
    ("/v2/nothing", "openai"),
    ("/V1/chat/completions", "openai"),
    ("/v1%2Fchat/completions", "openai"),
    ("/%76%31/chat", "openai"),
    ("/openai/nothing", "openai"),
    ("/proxy/v1/uploads", "openai"),
    ("/api/v1/nothing", "openai"),
    ("/V1/Messages", "anthropic"),
    ("/v1/messages/nothing", "anthropic"),
    ("/anthropic/nothing", "anthropic"),
    ("/api/anthropic/nothing", "anthropic"),
    ("/v1beta/nothing", "google"),
    ("/v1beta", "google"),
    ("/gemini/foo", "google"),
    ("/google/foo", "google"),
    ("/vertex/foo", "google"),
    ("/bedrock/foo", "bedrock"),
    ("/bedrock", "bedrock"),
    ("/model/m/nothing", "bedrock"),
    ("/api/nothing", "ours"),
];
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

#[tokio::test]
async fn no_method_on_an_unknown_path_breaks_the_shape_of_errors() {
    let (granted, _log) = gateway(ollama).await;
    let (address, _other) = server("127.0.0.1:0", ollama).await;
    let refused = Gateway::start(address, json!({ "grants": [] })).await;
    for (path, api) in UNKNOWN {
        for method in METHODS {
            for gateway in [&granted, &refused] {
                let reply = ask(gateway, method, path, &[]).await;
                let status = reply.status.as_u16();
                assert!(matches!(status, 403..=405), "{method} {path}: {status}");
                assert!(
                    is_error_of(api, &reply),
                    "{method} {path}: {}",
                    reply.text()
                );
            }
        }
        let head = ask(&granted, "HEAD", path, &[]).await;
        assert!(
            matches!(head.status.as_u16(), 404 | 405),
            "{path}: {}",
            head.status
        );
    }
}

#[tokio::test]
async fn known_paths_say_which_methods_they_take() {
    let (gateway, _log) = gateway(ollama).await;
    for (method, path, allowed, api) in [
        ("DELETE", "/v1/models/m", "GET", "openai"),
        ("PATCH", "/v1/models/none", "GET", "openai"),
        ("POST", "/v1/models/none", "GET", "openai"),
        ("POST", "/v1/models/tiny:latest", "GET", "openai"),
        ("PUT", "/v1beta/models/m", "GET", "google"),
        ("POST", "/v1beta/models/m", "GET", "google"),
        ("GET", "/v1beta/models/m:generateContent", "POST", "google"),
        ("GET", "/v1/chat/completions", "POST", "openai"),
        ("OPTIONS", "/v1/messages", "POST", "anthropic"),
        ("PATCH", "/bedrock/model/m/converse", "POST", "bedrock"),
    ] {
        let reply = ask(&gateway, method, path, &[]).await;
        assert_eq!(
            reply.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method} {path}"
        );
        assert_eq!(reply.headers["allow"], allowed, "{method} {path}");
        let says = format!("takes {allowed}, not {method}");
        assert!(reply.text().contains(&says), "{path}: {}", reply.text());
        assert!(
            is_error_of(api, &reply),
            "{method} {path}: {}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn only_a_wrong_base_url_is_to_be_changed() {
    let (gateway, _log) = gateway(ollama).await;
    for (path, is_right) in [
        ("/v1/uploads", true),
        ("/v1/conversations/conv_1", true),
        ("/v1/messages/nothing", true),
        ("/v1beta/cachedContents", true),
        ("/bedrock/guardrail/g/version/1/apply", true),
        ("/uploads", false),
        ("/v1/v1/uploads", false),
        ("/anthropic/v1/messages/nothing", false),
        ("/v1beta/v1beta/files", false),
        ("/guardrail/g/version/1/apply", false),
    ] {
        let text = ask(&gateway, "GET", path, &[]).await.text();
        let advises = text.contains("base URL") || text.contains("endpoint URL");
        assert_eq!(advises, !is_right, "{path}: {text}");
        assert_eq!(
            text.contains("this gateway does not serve it"),
            is_right,
            "{path}"
        );
    }
}

#[tokio::test]
async fn links_of_aperture_lead_to_the_same_here() {
    let (gateway, _log) = gateway(ollama).await;
    for (from, to) in [
        ("/ui/dashboard", "/ui/"),
        ("/ui/dashboard/", "/ui/"),
        ("/ui/dashboard/ann@example.org", "/ui/users/ann@example.org"),
        (
            "/ui/dashboard/ann%40example.org",
            "/ui/users/ann%40example.org",
        ),
        ("/admin/settings/reporting", "/ui/config"),
    ] {
        let reply = get(&gateway, from, &[("accept", "text/html")]).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{from}");
        assert_eq!(reply.headers["location"], to);
    }
    let reply = get(&gateway, "/ui/dashboard//elsewhere.test", &[]).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_configuration_names_its_providers_beside_its_text() {
    let (gateway, _log) = gateway(ollama).await;
    let reply = get(&gateway, "/aperture/config", &[]).await;
    let tag = reply.headers["etag"].clone();
    let mut shown = reply.json();
    assert!(shown["config"].is_string());
    let provider = &shown["providers"]["p"];
    assert!(
        provider["baseurl"]
            .as_str()
            .is_some_and(|url| url.starts_with("http://"))
    );
    assert_eq!(provider["compatibility"]["openai_chat"], true);
    let keys: Vec<&String> = provider.as_object().unwrap().keys().collect();
    let known = ["name", "description", "baseurl", "compatibility"];
    assert!(
        keys.iter().all(|key| known.contains(&key.as_str())),
        "{keys:?}"
    );
    // A response can be sent back unchanged, with another text.
    let text = shown["config"].as_str().unwrap().to_owned();
    shown["config"] = format!("// by a program\n{text}").into();
    let request = Request::put("/aperture/config")
        .header("content-type", "application/json")
        .header("if-match", tag)
        .body(Full::new(Bytes::from(shown.to_string())))
        .unwrap();
    let saved = gateway.send(request).await;
    assert_eq!(saved.status, StatusCode::OK, "{}", saved.text());
    assert!(
        saved.json()["config"]
            .as_str()
            .unwrap()
            .starts_with("// by a program")
    );
}

/// A field of a form.
fn field(name: &str, value: &str) -> String {
    format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

#[tokio::test]
async fn a_request_without_a_model_gets_the_default_of_its_endpoint() {
    let (address, log) = server("127.0.0.1:0", ollama).await;
    let gateway = Gateway::start(
        address,
        json!({
            "provider": { "models": ["m", "pic"] },
            "model_aliases": { "models": { "ears": { "dst": ["p/m"] } } },
            "default_models": { "images": "p/pic", "moderations": "m", "transcriptions": "ears" },
        }),
    )
    .await;
    let json = "application/json";
    let form = "multipart/form-data; boundary=X";
    let end = "--X--\r\n";
    for (path, kind, body, sent) in [
        (
            "/v1/images/generations",
            json,
            r#"{"prompt":"x"}"#.to_owned(),
            r#"{"model":"pic","prompt":"x"}"#.to_owned(),
        ),
        (
            "/v1/moderations",
            json,
            r#"{ "input":"x","model":null}"#.to_owned(),
            r#"{ "input":"x","model":"m"}"#.to_owned(),
        ),
        (
            "/v1/moderations",
            json,
            "{}".to_owned(),
            r#"{"model":"m"}"#.to_owned(),
        ),
        (
            "/v1/moderations",
            json,
            r#"{"model":"pic"}"#.to_owned(),
            r#"{"model":"pic"}"#.to_owned(),
        ),
        (
            "/v1/moderations",
            json,
            r#"{"model":"","input":"x"}"#.to_owned(),
            r#"{"model":"m","input":"x"}"#.to_owned(),
        ),
        (
            "/v1/images/edits",
            form,
            format!("{}{}{end}", field("prompt", "x"), field("model", "")),
            format!("{}{}{end}", field("prompt", "x"), field("model", "pic")),
        ),
        (
            "/v1/images/edits",
            form,
            format!("{}{end}", field("prompt", "x")),
            format!("{}{}{end}", field("model", "pic"), field("prompt", "x")),
        ),
        (
            "/v1/audio/translations",
            form,
            format!("{}{end}", field("language", "x")),
            format!("{}{}{end}", field("model", "m"), field("language", "x")),
        ),
    ] {
        let request = Request::post(path)
            .header("content-type", kind)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let reply = gateway.send(request).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
        let received = log.lock().unwrap().last().unwrap().body.clone();
        assert_eq!(String::from_utf8_lossy(&received), sent, "{path}");
    }
    let request = Request::post("/v1/audio/speech")
        .header("content-type", json)
        .body(Full::new(Bytes::from(r#"{"input":"x"}"#)))
        .unwrap();
    let reply = gateway.send(request).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let text = reply.text();
    assert!(text.contains("default_models.speech"), "{text}");
}
