//! Applications that speak for people: what both may, paid by both.

use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::Gateway;
use crate::lab::MESSAGES;
use crate::realtime;
use support::http::{CHAT, Reply, post};
use support::provider::{COMPLETION, Received, answer, provider};

const WEBUI: &str = "x-openwebui-user-email";

/// The application is what is on this machine. Alice may use one model, Bob none, and Eve has no role.
async fn gateway(more: Value) -> (Gateway, mpsc::Receiver<Received>) {
    let (address, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let object = |object: Value| json!({ "tailscale.com/cap/aperture": object });
    let config = json!({
        "quotas": {
            "daily:<user>": { "capacity": "3 requests" },
            "team": { "capacity": "9 requests" },
        },
        "groups": { "group:eng": ["alice@example.com"] },
        "provider": { "models": ["m", "n"], "identity_headers": true, "compatibility": {
            "openai_chat": true, "anthropic_messages": true } },
        "grants": [
            { "src": ["(loopback)"], "app": object(json!([
                { "role": "admin" },
                { "models": "p/m", "quotas": [{ "bucket": "daily:<user>" }, { "bucket": "team" }] },
                more,
            ])) },
            { "src": ["group:eng"], "app": object(json!([
                { "role": "user" },
                { "models": "**", "quotas": [{ "bucket": "daily:<user>" }, { "bucket": "team" }],
                  "add_headers": ["X-Team: eng"] },
            ])) },
            { "src": ["bob@example.com"], "app": object(json!([{ "role": "user" }])) },
        ],
    });
    (Gateway::start(address, config).await, received)
}

fn speaks() -> Value {
    json!({ "may_speak_for": ["*@example.com"] })
}

async fn asked(gateway: &Gateway, model: &str, users: &[(&str, &str)]) -> Reply {
    let mut request = post(CHAT, &json!({ "model": model, "messages": [] }).to_string());
    for (name, login) in users {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, login.parse().unwrap());
    }
    gateway.send(request).await
}

async fn got(gateway: &Gateway, path: &str) -> Value {
    let request = Request::get(path).header("host", gateway.address.to_string());
    let request = request.header("x-iris-user", "bob@example.com");
    gateway
        .send(request.body(Full::default()).unwrap())
        .await
        .json()
}

fn why(reply: &Reply) -> (u16, String, String) {
    let code = reply.headers["x-iris-error"].to_str().unwrap().to_owned();
    let message = reply.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    (reply.status.as_u16(), code, message)
}

#[tokio::test]
async fn both_have_to_be_allowed_and_both_pay() {
    let (gateway, mut received) = gateway(speaks()).await;
    let alice = [("x-iris-user", "alice@example.com")];
    let reply = asked(&gateway, "m", &alice).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let sent = received.recv().await.unwrap();
    assert_eq!(sent.header("x-iris-user"), None);
    assert_eq!(
        sent.header("x-team"),
        Some("eng"),
        "the person's grant adds it"
    );
    assert_eq!(
        sent.header("tailscale-user-login"),
        Some("alice@example.com")
    );
    // The application may not use `n`, though Alice may, and Bob may use nothing.
    let reply = asked(&gateway, "n", &alice).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert!(
        reply.message().contains("alice@example.com"),
        "{}",
        reply.message()
    );
    let reply = asked(&gateway, "m", &[("x-iris-user", "bob@example.com")]).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let reply = asked(&gateway, "m", &[("x-iris-user", "eve@example.com")]).await;
    let (status, code, message) = why(&reply);
    assert_eq!((status, &*code), (403, "may_not_speak_for"));
    assert_eq!(message, "access denied: no role granted to eve@example.com");
    assert!(received.try_recv().is_err());

    let last = gateway
        .record_where(|record| record["login"] == "bob@example.com")
        .await;
    assert_eq!(last["via"], "(loopback)");
    let records = got(
        &gateway,
        "/api/requests?login=alice@example.com&via=(loopback)",
    )
    .await;
    assert_eq!(records["requests"].as_array().unwrap().len(), 2);
    let none = got(&gateway, "/api/requests?via=tag:other").await;
    assert_eq!(none["requests"], json!([]));
    let records = records.to_string();
    let says = "it speaks for alice@example.com";
    assert_eq!(records.matches(says).count(), 2, "{records}");
    let usage = got(&gateway, "/api/usage?by=via,login").await;
    let rows = usage["rows"].to_string();
    assert!(rows.contains(r#""login":"alice@example.com""#), "{rows}");

    // One request was answered: each of the two has paid for it, and the team's bucket once.
    let quotas = got(&gateway, "/api/quotas").await;
    let left = |bucket: &str| {
        let mut all = quotas["quotas"].as_array().unwrap().iter();
        all.find(|one| one["bucket"] == bucket)
            .map(|one| one["current"].clone())
    };
    assert_eq!(left("daily:alice@example.com"), Some(json!(2)), "{quotas}");
    assert_eq!(left("daily:(loopback)"), Some(json!(2)), "{quotas}");
    assert_eq!(left("team"), Some(json!(8)), "{quotas}");
    // The application's own requests take the rest of its bucket, and then Alice has to wait as well.
    for _ in 0..2 {
        assert_eq!(asked(&gateway, "m", &[]).await.status, StatusCode::OK);
    }
    let reply = asked(&gateway, "m", &alice).await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn speaking_takes_a_grant_and_a_person() {
    let (gateway, mut received) = gateway(json!({ "may_speak_for": ["*@other.org"] })).await;
    let reply = asked(&gateway, "m", &[("x-iris-user", "alice@example.com")]).await;
    let (status, code, message) = why(&reply);
    assert_eq!((status, &*code), (403, "may_not_speak_for"));
    let says = "no grant lets (loopback) speak for alice@example.com: it takes may_speak_for";
    assert!(message.contains(says), "{message}");
    let body = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#;
    let mut request = post(MESSAGES, body);
    let login = "alice@example.com".parse().unwrap();
    request.headers_mut().insert("x-iris-user", login);
    let reply = gateway.send(request).await;
    assert_eq!(
        reply.json()["error"]["type"],
        "permission_error",
        "{}",
        reply.text()
    );
    for odd in ["", "tag:ci", "(loopback)", "group:eng", "*", "a,b"] {
        let reply = asked(&gateway, "m", &[("x-iris-user", odd)]).await;
        let (status, code, _) = why(&reply);
        assert_eq!((status, &*code), (400, "invalid_user"), "{odd:?}");
    }
    let two = [
        ("x-iris-user", "a@other.org"),
        ("x-iris-user", "b@other.org"),
    ];
    assert_eq!(why(&asked(&gateway, "m", &two).await).0, 400);
    assert!(received.try_recv().is_err());
    // Another application's header means nothing here.
    let reply = asked(&gateway, "m", &[(WEBUI, "alice@example.com")]).await;
    assert_eq!(reply.status, StatusCode::OK);
    let record = gateway
        .record_where(|record| record["outcome"] == "complete")
        .await;
    assert_eq!(
        (&record["login"], &record["via"]),
        (&json!("(loopback)"), &Value::Null)
    );
}

#[tokio::test]
async fn a_provider_of_ones_own_is_told_who_asks_and_never_by_the_caller() {
    let (gateway, mut received) = gateway(speaks()).await;
    let forged = [
        ("tailscale-user-login", "forged@example.com"),
        ("tailscale-user-name", "Forged"),
        ("tailscale-user-profile-pic", "https://forged.example"),
    ];
    // This machine has no login, as with Tailscale Serve.
    assert_eq!(asked(&gateway, "m", &forged).await.status, StatusCode::OK);
    let sent = received.recv().await.unwrap();
    assert!(
        !sent.head.to_lowercase().contains("tailscale-user"),
        "{}",
        sent.head
    );
    let alice = [&forged[..], &[("x-iris-user", "alice@example.com")]].concat();
    assert_eq!(asked(&gateway, "m", &alice).await.status, StatusCode::OK);
    let sent = received.recv().await.unwrap().head.to_lowercase();
    assert_eq!(sent.matches("tailscale-user").count(), 1, "{sent}");
    assert!(
        sent.contains("tailscale-user-login: alice@example.com"),
        "{sent}"
    );
}

#[tokio::test]
async fn a_grant_can_name_another_header() {
    let webui = json!({ "may_speak_for": ["alice@example.com"], "speaks_in": WEBUI });
    let (gateway, _received) = gateway(webui).await;
    let reply = asked(&gateway, "m", &[(WEBUI, "alice@example.com")]).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let record = gateway
        .record_where(|record| record["outcome"] == "complete")
        .await;
    assert_eq!(
        (&record["login"], &record["via"]),
        (&json!("alice@example.com"), &json!("(loopback)"))
    );
    // It opens this header, and no other.
    for (header, login) in [
        (WEBUI, "bob@example.com"),
        ("x-iris-user", "alice@example.com"),
    ] {
        let reply = asked(&gateway, "m", &[(header, login)]).await;
        assert_eq!(why(&reply).1, "may_not_speak_for", "{header} {login}");
    }
}

#[tokio::test]
async fn explain_tells_what_both_would_get() {
    let (gateway, _received) = gateway(speaks()).await;
    for (person, model, allowed, says) in [
        (
            "alice@example.com",
            "m",
            true,
            "it speaks for alice@example.com",
        ),
        ("alice@example.com", "n", false, "no: 404"),
        ("bob@example.com", "m", false, "no: 404"),
        (
            "eve@example.com",
            "m",
            false,
            "no role granted to eve@example.com",
        ),
        (
            "a@other.org",
            "m",
            false,
            "no grant lets (loopback) speak for a@other.org",
        ),
    ] {
        let path = format!("/api/explain?login=(loopback)&model={model}&for={person}");
        let verdict = got(&gateway, &path).await;
        assert_eq!(verdict["allowed"], allowed, "{person} {model}: {verdict}");
        assert!(
            verdict.to_string().contains(says),
            "{person} {model}: {verdict}"
        );
    }
}

/// The handshake says for whom and for what, and that holds for each turn.
#[tokio::test]
async fn turns_have_the_labels_and_the_person_of_their_session() {
    let (address, mut inbox) = realtime::provider(realtime::usual, false).await;
    let object = |object: Value| json!({ "tailscale.com/cap/aperture": object });
    let grants = json!([
        { "src": ["(loopback)"], "app": object(json!([{ "role": "admin" }, { "models": "**" },
            { "may_speak_for": ["*@example.com"] }])) },
        { "src": ["alice@example.com"], "app": object(json!([{ "role": "user" },
            { "models": "p/m", "require_labels": ["project"] }])) },
    ]);
    let gateway = realtime::gateway(address, json!({ "grants": grants })).await;
    let target = "/v1/realtime?model=voice";
    let person = ("x-iris-user", "alice@example.com");
    let (status, body) = realtime::ask(&gateway, target, &[person])
        .await
        .unwrap_err();
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    let labels = ("x-iris-labels", "project=web");
    let opened = realtime::ask(&gateway, target, &[person, labels]).await;
    let (mut socket, _) = opened.expect("a session");
    let head = inbox.recv().await.unwrap();
    let headers = head["headers"].as_object().unwrap();
    assert!(
        headers.keys().all(|name| !name.starts_with("x-iris-")),
        "{head}"
    );
    realtime::send(&mut socket, json!({ "type": "response.create" })).await;
    realtime::until(&mut socket, "response.done").await;
    let record = gateway.record_where(realtime::of_turn).await;
    assert_eq!(record["labels"], json!({ "project": "web" }), "{record}");
    assert_eq!(
        (&record["login"], &record["via"]),
        (&json!("alice@example.com"), &json!("(loopback)"))
    );
}
