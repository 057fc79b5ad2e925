//! Alerts are shown everywhere that an admin looks, for as long as their cause lasts.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::commands::{iris, out};
use support::http::Reply;
use support::provider::{COMPLETION, answer, provider};

async fn get(gateway: &Gateway, path: &str) -> Reply {
    let request = Request::get(path).body(Full::default()).unwrap();
    gateway.send(request).await
}

/// The kinds and subjects of all warnings but those of this machine's disk.
async fn kinds(gateway: &Gateway) -> Vec<(String, String)> {
    let status = get(gateway, "/api/status").await.json();
    let all = status["warnings"].as_array().unwrap().iter();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    all.map(|one| (text(one, "kind"), text(one, "subject")))
        .filter(|(kind, _)| kind != "disk_full")
        .collect()
}

async fn until(gateway: &Gateway, wanted: &[(&str, &str)]) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let kinds = kinds(gateway).await;
        let is_it = kinds.iter().map(|(kind, of)| (kind.as_str(), of.as_str()));
        if is_it.eq(wanted.iter().copied()) {
            return;
        }
        assert!(Instant::now() < end, "{kinds:?} are not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An address where nothing listens.
fn nobody() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_provider_that_is_down_a_refused_file_and_a_stuck_exporter_are_told_of() {
    let (address, _received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let down = format!("http://{}", nobody());
    let more = json!({
        "others": { "gpu": { "baseurl": down, "models": ["n"] } },
        "exporters": { "otlp": { "endpoint": down, "metrics": false, "every": "1s" } },
    });
    let gateway = Gateway::start(address, more).await;
    assert_eq!(kinds(&gateway).await, []);
    assert_eq!(
        gateway.chat(r#"{"model":"m","messages":[]}"#).await.status,
        200
    );
    assert_eq!(
        gateway.chat(r#"{"model":"n","messages":[]}"#).await.status,
        502
    );
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("\"models\"", "\"models")).unwrap();
    let all = [
        ("configuration_refused", ""),
        ("exporter_stuck", "otlp"),
        ("provider_down", "gpu"),
    ];
    until(&gateway, &all).await;

    let message = "the provider gpu has answered nothing since the start";
    let overview = get(&gateway, "/ui/overview").await.text();
    assert!(overview.contains(message), "{overview}");
    let connection = get(&gateway, "/ui/connection").await.text();
    assert!(connection.contains(message) && connection.contains("Iris tries it again by itself"));
    let url = format!("http://{}", gateway.address);
    let status = tokio::task::spawn_blocking(move || out(&iris(&["status", "--url", &url])));
    let status = status.await.unwrap();
    assert!(status.contains(&format!("WARNING  {message}")), "{status}");
    let user = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [{ "role": "user" }] } }]);

    std::fs::write(gateway.config(), &text).unwrap();
    until(&gateway, &all[1..]).await;
    let mut changed: Value = serde_json::from_str(&text).unwrap();
    changed["grants"] = user;
    std::fs::write(gateway.config(), changed.to_string()).unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while get(&gateway, "/api/status").await.json()["warnings"].is_array() {
        assert!(Instant::now() < end, "a user is told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
