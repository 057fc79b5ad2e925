//! Headers that other software takes for a caller's identity: nothing here depends on them, and no
//! provider gets them.

use serde_json::{Value, json};

use crate::daemon::{ADA, BOB, GATEWAY, KIM};
use crate::echo::Heard;
use crate::world::{Gateway, PORT};

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![no_header_makes_somebody_of_a_caller,];

const NAMES: [&str; 32] = [
    "Tailscale-User-Login",
    "Tailscale-User-Name",
    "Tailscale-User-Profile-Pic",
    "Tailscale-App-Capabilities",
    "Tailscale-Funnel-Request",
    "Tailscale-Headers-Info",
    "X-Tailscale-User",
    "X-Webauth-User",
    "X-Webauth-Login",
    "X-Webauth-Email",
    "X-Forwarded-For",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Client-Cert",
    "X-Original-Forwarded-For",
    "Forwarded",
    "Via",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Access-Authenticated-User-Email",
    "Remote-User",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Authenticated-User",
    "X-Goog-Authenticated-User-Email",
    "Proxy-User",
];

/// The ways to write a header.
fn forms(name: &str, value: &str) -> [String; 6] {
    let below = name.replace('-', "_");
    [
        format!("{name}: {value}\r\n"),
        format!("{}: {value}\r\n", name.to_lowercase()),
        format!("{}: {value}\r\n", name.to_uppercase()),
        format!("{below}: {value}\r\n"),
        format!("{name}: {}\r\n{name}: {value}\r\n", BOB.login),
        // As one of the connection's own.
        format!("Connection: {name}\r\n{name}: {value}\r\n"),
    ]
}

/// Sends a request as Bob, and returns the status and the body of its answer.
async fn ask(line: &str, header: &str, body: &str) -> (String, String) {
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {GATEWAY}:{PORT}\r\n{header}Content-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    let answer = BOB.raw(&request).await;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{line}: {answer}"));
    (
        head.lines().next().unwrap_or_default().to_owned(),
        body.to_owned(),
    )
}

async fn whole(header: &str, heard: &Heard) -> Vec<String> {
    let mut seen = Vec::new();
    for line in [
        "GET /api/whoami",
        "GET /v1/models",
        "GET /api/config",
        "GET /api/audit",
    ] {
        let (status, body) = ask(line, header, "").await;
        seen.extend([status, body]);
    }
    for model in ["m", "for-kim"] {
        let body = json!({ "model": model, "messages": [] }).to_string();
        let (status, _) = ask("POST /v1/chat/completions", header, &body).await;
        seen.push(status);
    }
    seen.extend(
        heard
            .take()
            .into_iter()
            .map(|(_, said)| String::from_utf8(said).unwrap()),
    );
    seen
}

async fn no_header_makes_somebody_of_a_caller() {
    let heard = Heard::default();
    let at = heard.listen("provider").await;
    let grant = |src: &str, objects: Value| json!({ "src": [src], "app": { "tailscale.com/cap/aperture": objects } });
    let mut gateway = Gateway::start(
        json!({
            "providers": { "p": { "baseurl": format!("http://{at}"), "models": ["m", "for-kim"] } },
            "grants": [
                grant(KIM.login, json!([{ "role": "admin" }, { "models": "**" }])),
                grant("tag:ci", json!([{ "role": "admin" }, { "models": "**" }])),
                grant(BOB.login, json!([{ "role": "user" }, { "models": "p/m" }])),
            ],
        }),
        &[],
    )
    .await;
    let plain = whole("", &heard).await;
    assert!(
        plain[0].contains("200") && plain[1].contains(BOB.login),
        "{plain:?}"
    );
    assert!(
        plain[4].contains("403") && plain[8].contains("200") && plain[9].contains("404"),
        "{plain:?}"
    );
    let capability = r#"{"tailscale.com/cap/aperture":[{"role":"admin"},{"models":"**"}]}"#;
    let mut tries = 0;
    for name in NAMES {
        for value in [KIM.login, "tag:ci", "127.0.0.1", capability] {
            for header in forms(name, value) {
                assert_eq!(whole(&header, &heard).await, plain, "{header}");
                tries += 1;
            }
        }
    }
    let rows = KIM.get("/api/requests?limit=1000").await.json();
    for row in rows["requests"].as_array().unwrap() {
        assert_eq!(
            (&row["login"], &row["node_name"]),
            (&json!(BOB.login), &json!(BOB.node))
        );
    }
    // There was never another caller.
    assert!(
        !KIM.get("/api/usage?by=login")
            .await
            .text
            .contains(ADA.login)
    );
    gateway.stop().await;
    println!("  {} names, {tries} ways", NAMES.len());
}
