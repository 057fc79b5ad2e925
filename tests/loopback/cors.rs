//! Pages of other sites: a grant lets those of an origin call models, and nothing else.

use futures_util::FutureExt;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::Gateway;
use support::http::{CHAT, Reply};
use support::provider::{COMPLETION, Received, answer, provider};

const CHAT_APP: &str = "https://chat.example.com";
const BODY: &str = r#"{"model":"m","messages":[]}"#;

async fn gateway(cors: Value) -> (Gateway, mpsc::Receiver<Received>) {
    let (address, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let config = json!({ "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" }, { "models": "**" }, cors,
    ] } }] });
    (Gateway::start(address, config).await, received)
}

fn granted() -> Value {
    json!({
        "set_cors": true,
        "cors_paths": ["/v1/**"],
        "Access-Control-Allow-Origin": [CHAT_APP, "http://localhost:3000"],
        "Access-Control-Allow-Methods": "POST, GET",
        "Access-Control-Allow-Headers": "content-type, x-iris-labels",
    })
}

/// What a browser sends for a page of an origin.
async fn from(gateway: &Gateway, origin: &str, method: Method, path: &str) -> Reply {
    let mut request = Request::builder()
        .method(&method)
        .uri(path)
        .header("host", gateway.address.to_string())
        .header("origin", origin)
        .header("sec-fetch-site", "cross-site");
    let mut body = "";
    match method {
        Method::OPTIONS => request = request.header("access-control-request-method", "POST"),
        Method::POST => {
            request = request.header("content-type", "application/json");
            body = BODY;
        }
        _ => {}
    }
    gateway.send(request.body(Full::from(body)).unwrap()).await
}

fn allowed<'r>(reply: &'r Reply, what: &str) -> Option<&'r str> {
    let name = format!("access-control-allow-{what}");
    reply.headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_granted_origin_calls_models_and_lists_them() {
    let (gateway, mut received) = gateway(granted()).await;
    for origin in [CHAT_APP, "http://localhost:3000"] {
        let asked = from(&gateway, origin, Method::OPTIONS, CHAT).await;
        assert_eq!(asked.status, StatusCode::NO_CONTENT);
        assert_eq!(allowed(&asked, "origin"), Some(origin));
        assert_eq!(allowed(&asked, "methods"), Some("POST, GET"));
        let headers = Some("content-type, x-iris-labels");
        assert_eq!(allowed(&asked, "headers"), headers);
        // The answer is for this origin alone, and for pages without the gateway's cookies.
        assert_eq!(asked.headers["vary"], "Origin");
        assert_eq!(allowed(&asked, "credentials"), None);
        assert!(!asked.headers.contains_key("x-iris-request-id"));
        assert_eq!(asked.text(), "");
        assert!(received.try_recv().is_err(), "a provider was asked");

        let called = from(&gateway, origin, Method::POST, CHAT).await;
        assert_eq!(
            (called.status, &*called.text()),
            (StatusCode::OK, COMPLETION)
        );
        assert_eq!(allowed(&called, "origin"), Some(origin));
        assert_eq!(allowed(&called, "methods"), None);
        assert_eq!(called.headers["vary"], "Origin");
        let sent = received.recv().await.unwrap();
        assert_eq!(sent.header("origin"), None);

        let listed = from(&gateway, origin, Method::GET, "/v1/models").await;
        assert_eq!(listed.status, StatusCode::OK, "{}", listed.text());
        assert_eq!(allowed(&listed, "origin"), Some(origin));
    }
    // A page can read why a model is refused.
    let unknown = r#"{"model":"unknown","messages":[]}"#;
    let request = Request::post(CHAT)
        .header("host", gateway.address.to_string())
        .header("origin", CHAT_APP)
        .header("content-type", "application/json");
    let refused = gateway
        .send(request.body(Full::from(unknown)).unwrap())
        .await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert_eq!(allowed(&refused, "origin"), Some(CHAT_APP));
}

#[tokio::test]
async fn other_origins_paths_and_routes_stay_closed() {
    let (gateway, mut received) = gateway(granted()).await;
    let refused = |reply: &Reply, what: &str| {
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{what}");
        assert_eq!(allowed(reply, "origin"), None, "{what}");
        // Nothing about the caller.
        assert!(
            !reply.text().contains("loopback"),
            "{what}: {}",
            reply.text()
        );
    };
    for method in [Method::OPTIONS, Method::POST] {
        for origin in [
            "https://evil.example",
            "http://chat.example.com",
            "null",
            "*",
        ] {
            let reply = from(&gateway, origin, method.clone(), CHAT).await;
            refused(&reply, &format!("{method} {origin}"));
        }
    }
    // A path outside of `cors_paths`, a page, the configuration, records, and the API of management.
    for path in [
        "/v1beta/models",
        "/ui/",
        "/api/config",
        "/api/requests",
        "/api/usage",
        "/api/whoami",
        "/api/status",
        "/healthz",
    ] {
        for method in [Method::OPTIONS, Method::GET] {
            let reply = from(&gateway, CHAT_APP, method.clone(), path).await;
            refused(&reply, &format!("{method} {path}"));
        }
    }
    assert!(received.try_recv().is_err(), "a provider was asked");
}

#[tokio::test]
async fn a_grant_without_an_origin_a_path_or_the_switch_allows_nothing() {
    for (without, says) in [
        ("set_cors", "has no effect without \"set_cors\": true"),
        (
            "cors_paths",
            "set_cors allows nothing without \"cors_paths\"",
        ),
        (
            "Access-Control-Allow-Origin",
            "set_cors allows nothing without \"Access-Control-Allow-Origin\"",
        ),
    ] {
        let mut cors = granted();
        cors.as_object_mut().unwrap().remove(without);
        let (gateway, _received) = gateway(cors).await;
        let reply = from(&gateway, CHAT_APP, Method::OPTIONS, CHAT).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{without}");
        let text = std::fs::read_to_string(gateway.config()).unwrap();
        let found = iris::config::parse(&text, &|_| None).unwrap().findings;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|one| one.contains(says)), "{found:#?}");
    }
}

/// Findings as they are printed.
fn said(findings: &[iris::config::Finding]) -> String {
    let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
    found.join("\n")
}

#[test]
fn any_origin_is_refused_when_the_configuration_is_loaded() {
    let found = |origin: &str| {
        let mut cors = granted();
        cors["Access-Control-Allow-Origin"] = json!(origin);
        let grants = json!({ "grants": [{ "src": ["*"], "app": { "tailscale.com/cap/aperture": [
            { "role": "user" }, cors,
        ] } }] });
        match iris::config::parse(&grants.to_string(), &|_| None) {
            Ok(loaded) => (true, loaded.findings),
            Err(findings) => (false, findings),
        }
    };
    for any in ["*", "https://*.example.com"] {
        let (is_used, findings) = found(any);
        assert!(!is_used, "{any}");
        let text = said(&findings);
        assert!(
            text.contains("every website that a colleague opens spend their budget"),
            "{text}"
        );
    }
    // A mistake in the writing opens nothing, and is reported.
    for odd in ["null", "chat.example.com", "https://chat.example.com/"] {
        let (is_used, findings) = found(odd);
        assert!(is_used, "{odd}");
        let text = said(&findings);
        assert!(text.contains("this object grants nothing"), "{text}");
    }
}
