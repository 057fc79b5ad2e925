//! What providers keep for one account: a response by its id is its caller's alone, and a path of direct access is open
//! only to those whom a grant gives it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::daemon::{ADA, BOB, EVE, KIM, Person};
use crate::world::Gateway;
use support::provider::{Log, Received, server};

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    nobody_reads_anothers_response,
    nobody_asks_directly_for_what_another_may,
];

const RESPONSE: &str = r#"{"id":"resp_ada","object":"response","status":"completed","model":"m","store":true,
    "output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"for ada alone"}]}],
    "usage":{"input_tokens":3,"output_tokens":5,"total_tokens":8}}"#;

async fn gateway() -> (Gateway, Log) {
    let (upstream, log) = server("127.0.0.1:0", |request: &Received| {
        let is_secret = request.target().contains("/v1/files");
        let body = if is_secret {
            r#"{"data":"for ada alone"}"#
        } else {
            RESPONSE
        };
        ("200 OK", body.to_owned())
    })
    .await;
    let grant = |person: Person, role: &str, more: Value| {
        json!({ "src": [person.login], "app": { "tailscale.com/cap/aperture": [
            { "role": role }, { "models": "**" }, more] } })
    };
    let path = |path: &str| json!({ "direct_paths": [path] });
    let config = json!({
        "providers": { "p": {
            "baseurl": format!("http://{upstream}"), "models": ["m"],
            "compatibility": { "openai_responses": true },
        } },
        "grants": [
            grant(ADA, "user", path("/p/v1/files/**")),
            grant(BOB, "user", path("/p/v1/jobs/**")),
            grant(KIM, "admin", json!({ "models": "**" })),
        ],
    });
    (Gateway::start(config, &[]).await, log)
}

fn count(log: &Log) -> usize {
    log.lock().unwrap().len()
}

async fn nobody_reads_anothers_response() {
    let (gateway, log) = gateway().await;
    let body = json!({ "model": "m", "input": "hi" }).to_string();
    let made = ADA.ask("POST", "/v1/responses", &body, &[]).await;
    assert_eq!(made.json()["id"], "resp_ada", "{}", made.text);
    let path = "/v1/responses/resp_ada";
    let own = ADA.get(path).await;
    assert!(own.text.contains("for ada alone"), "{}", own.text);
    let asked = count(&log);
    let after = json!({ "model": "m", "input": "hi", "previous_response_id": "resp_ada" });
    for (method, path, body, status) in [
        ("GET", path.to_owned(), String::new(), 404),
        ("GET", format!("{path}/input_items"), String::new(), 404),
        ("POST", format!("{path}/cancel"), String::new(), 404),
        ("DELETE", path.to_owned(), String::new(), 404),
        ("POST", "/v1/responses".to_owned(), after.to_string(), 400),
    ] {
        for (person, status) in [(BOB, status), (KIM, status), (EVE, 403)] {
            let reply = person.ask(method, &path, &body, &[]).await;
            let said = reply.whole();
            assert_eq!(
                reply.status, status,
                "{} {method} {path}: {said}",
                person.login
            );
            assert!(
                !said.contains("for ada alone") && !said.contains(ADA.login),
                "{said}"
            );
        }
    }
    assert_eq!(count(&log), asked, "the provider isn't asked");
    assert_eq!(ADA.get(path).await.status, StatusCode::OK);
    drop(gateway);
}

async fn nobody_asks_directly_for_what_another_may() {
    let (gateway, log) = gateway().await;
    let own = ADA.get("/direct/p/v1/files/f").await;
    assert!(own.text.contains("for ada alone"), "{}", own.text);
    assert_eq!(BOB.get("/direct/p/v1/jobs/j").await.status, StatusCode::OK);
    let asked = count(&log);
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        for person in [BOB, KIM, EVE] {
            let reply = person.ask(method, "/direct/p/v1/files/f", "", &[]).await;
            assert_eq!(
                reply.status,
                StatusCode::FORBIDDEN,
                "{} {method}",
                person.login
            );
            assert!(!reply.whole().contains("for ada alone"));
        }
    }
    assert_eq!(count(&log), asked, "the provider isn't asked");
    drop(gateway);
}
