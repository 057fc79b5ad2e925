//! Callers' own credentials: which provider gets one, who pays, and what is kept of it.

use std::net::SocketAddr;

use futures_util::FutureExt;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::Gateway;
use support::http::{CHAT, Reply, post};
use support::provider::{COMPLETION, Received, Script, answer, provider};

const ASK: &str = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
const OWN: &str = "Bearer sk-ant-oat01-own";
const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":5}}"#;

type Server = (SocketAddr, Receiver<Received>);

async fn well() -> Server {
    let well: Script =
        |mut stream| async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed();
    provider(well).await
}

async fn broken() -> Server {
    let broken: Script = |mut stream| {
        async move { answer(&mut stream, "503 Service Unavailable", "", "{}").await }.boxed()
    };
    provider(broken).await
}

async fn ask(gateway: &Gateway, path: &str, body: &str, given: &[(&str, &str)]) -> Reply {
    let mut request = post(path, body);
    for (name, value) in given {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    gateway.send(request).await
}

async fn get(gateway: &Gateway, path: &str) -> Reply {
    let request = http::Request::get(path).body(Full::default());
    gateway.send(request.unwrap()).await
}

fn passthrough(more: &Value) -> Value {
    let mut provider = json!({ "auth_mode": "passthrough", "apikey": "sk-provider" });
    for (key, value) in more.as_object().unwrap() {
        provider[key] = value.clone();
    }
    provider
}

#[tokio::test]
async fn a_provider_gets_the_credential_of_its_format_and_nothing_in_place_of_one() {
    let messages: Script =
        |mut stream| async move { answer(&mut stream, "200 OK", "", MESSAGE).await }.boxed();
    let (address, mut received) = provider(messages).await;
    let speaks = json!({ "compatibility": { "anthropic_messages": true } });
    let gateway = Gateway::start(address, json!({ "provider": passthrough(&speaks) })).await;
    let beta = ("anthropic-beta", "oauth-2025-04-20");
    for (given, sent, configured) in [
        (vec![("authorization", OWN), beta], Some(OWN), false),
        (vec![("x-api-key", "sk-ant-own")], None, false),
        (vec![("x-goog-api-key", "own")], None, true),
        (vec![("api-key", "own")], None, true),
        (vec![("authorization", "Bearer -")], None, true),
        (vec![("x-api-key", "not-needed")], None, true),
        (vec![("x-api-key", "not-required")], None, true),
        (vec![("authorization", "")], None, true),
        (vec![], None, true),
    ] {
        let given = [given, vec![("chatgpt-account-id", "account")]].concat();
        let reply = ask(&gateway, "/v1/messages", ASK, &given).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let received = received.recv().await.unwrap();
        let head = received.head.to_lowercase();
        let configured = configured.then_some("Bearer sk-provider");
        let authorization = received.header("authorization");
        assert_eq!(authorization, sent.or(configured), "{given:?}: {head}");
        assert_eq!(received.header("x-goog-api-key"), None, "{head}");
        assert_eq!(received.header("api-key"), None, "{head}");
        assert!(!head.contains("account"), "another format's: {head}");
        if given[0] == ("x-api-key", "sk-ant-own") {
            assert_eq!(received.header("x-api-key"), Some("sk-ant-own"), "{head}");
        }
        if given.contains(&beta) {
            assert_eq!(received.header("anthropic-beta"), Some(beta.1), "{head}");
        }
    }
}

#[tokio::test]
async fn codex_keeps_its_account() {
    let (address, mut received) = well().await;
    let speaks = json!({ "apikey": "", "compatibility": { "openai_responses": true } });
    let gateway = Gateway::start(address, json!({ "provider": passthrough(&speaks) })).await;
    let given = [
        ("authorization", "Bearer ey.chatgpt.token"),
        ("chatgpt-account-id", "account-1"),
        ("originator", "codex_cli_rs"),
        ("x-openai-fedramp", "true"),
    ];
    let body = r#"{"model":"m","input":"hi"}"#;
    ask(&gateway, "/v1/responses", body, &given).await;
    let received = received.recv().await.unwrap();
    for (name, value) in given {
        assert_eq!(received.header(name), Some(value), "{}", received.head);
    }
    // Without a credential, an account is a claim.
    ask(&gateway, "/v1/responses", body, &given[1..2]).await;
}

#[tokio::test]
async fn a_credential_goes_to_no_other_server() {
    let other = |address: SocketAddr, provider: Value| {
        let mut provider = provider;
        provider["baseurl"] = format!("http://{address}").into();
        provider["models"] = json!(["m"]);
        provider["preference"] = (-1).into();
        json!({ "q": provider })
    };
    let own = [("authorization", OWN)];

    // A provider that isn't passthrough gets its own key.
    let (first, second) = (broken().await, &mut well().await);
    let more = json!({ "provider": passthrough(&json!({})), "others": other(second.0, json!({ "apikey": "sk-other" })) });
    let gateway = Gateway::start(first.0, more).await;
    assert_eq!(ask(&gateway, CHAT, ASK, &own).await.status, 200);
    let received = second.1.recv().await.unwrap();
    assert_eq!(received.header("authorization"), Some("Bearer sk-other"));
    assert!(!received.head.contains("own"), "{}", received.head);
    let row = gateway.record_where(|row| row["provider"] == "q").await;
    assert_eq!(row["own_credential"], false);

    // The other way round, the configured key stays with its provider.
    let (mut first, second) = (broken().await, &mut well().await);
    let more = json!({ "provider": { "apikey": "sk-first" }, "others": other(second.0, passthrough(&json!({}))) });
    let gateway = Gateway::start(first.0, more).await;
    assert_eq!(ask(&gateway, CHAT, ASK, &own).await.status, 200);
    let received = first.1.recv().await.unwrap();
    assert_eq!(received.header("authorization"), Some("Bearer sk-first"));
    let received = second.1.recv().await.unwrap();
    assert_eq!(received.header("authorization"), Some(OWN));
    let row = gateway.record_where(|row| row["provider"] == "q").await;
    assert_eq!(row["own_credential"], true);

    // It is for one server, though both take callers' own.
    let (first, second) = (broken().await, &mut well().await);
    let more = json!({ "provider": passthrough(&json!({})), "others": other(second.0, passthrough(&json!({}))) });
    let gateway = Gateway::start(first.0, more).await;
    assert_eq!(ask(&gateway, CHAT, ASK, &own).await.status, 503);
    assert!(second.1.try_recv().is_err());
    let row = gateway.record_where(|row| row["provider"] == "p").await;
    let reasons = row["reasons"].to_string();
    assert!(reasons.contains("provider q can't help out"), "{reasons}");
}

/// Its own provider comes first, and needs a credential.
#[tokio::test]
async fn a_provider_that_lacks_a_credential_is_passed_over() {
    let ((own, mut at_own), (other, mut at_other)) = (well().await, well().await);
    let config = json!({
        "provider": { "auth_mode": "passthrough", "apikey": "" },
        "others": { "q": { "baseurl": format!("http://{other}"), "models": ["m"] } },
        "model_aliases": { "models": { "a": { "dst": ["p/m", "q/m"], "strategy": "failover" } } },
    });
    let gateway = Gateway::start(own, config).await;
    let body = ASK.replace("\"m\"", "\"a\"");
    for given in [&[][..], &[("authorization", "Bearer not-needed")]] {
        assert_eq!(ask(&gateway, CHAT, &body, given).await.status, 200);
        at_other.recv().await.unwrap();
    }
    assert!(at_own.try_recv().is_err());
    let record = gateway.record().await;
    let reasons = record["reasons"].to_string();
    assert!(reasons.contains("provider p is passed over"), "{reasons}");
    assert_eq!(
        ask(&gateway, CHAT, &body, &[("authorization", OWN)])
            .await
            .status,
        200
    );
    let sent = at_own.recv().await.unwrap();
    assert_eq!(sent.header("authorization"), Some(OWN));
}

#[tokio::test]
async fn a_credential_goes_with_no_translation() {
    let speaks = json!({ "anthropic_messages": true });
    let own = [("authorization", OWN)];
    let alone = json!({ "apikey": "", "compatibility": speaks });
    let (address, mut received) = well().await;
    let gateway = Gateway::start(address, json!({ "provider": passthrough(&alone) })).await;
    let reply = ask(&gateway, CHAT, ASK, &own).await;
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert!(received.try_recv().is_err());

    let messages: Script =
        |mut stream| async move { answer(&mut stream, "200 OK", "", MESSAGE).await }.boxed();
    let (address, mut received) = provider(messages).await;
    let with_key = json!({ "compatibility": speaks });
    let gateway = Gateway::start(address, json!({ "provider": passthrough(&with_key) })).await;
    let reply = ask(&gateway, CHAT, ASK, &own).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let received = received.recv().await.unwrap();
    assert_eq!(received.header("authorization"), Some("Bearer sk-provider"));
    assert!(!received.head.contains("own"), "{}", received.head);
}

#[tokio::test]
async fn what_the_callers_account_pays_is_shown_and_charged_to_no_budget_of_dollars() {
    // 8 tokens at 1,250 dollars a million are a cent.
    const CENT: i64 = 10_000_000;
    let document = |more: &Value| {
        json!({
            "provider": passthrough(more),
            "prices": { "m": { "input": "1250", "output": "1250" } },
            "quotas": { "none": { "capacity": "$0.00" }, "tokens": { "capacity": "1000 tokens" } },
            "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
                { "role": "admin" },
                { "models": "**", "quotas": [{ "bucket": "none" }, { "bucket": "tokens" }] },
            ] } }],
        })
    };
    let (address, _received) = well().await;
    let gateway = Gateway::start(address, document(&json!({}))).await;
    let own = [
        ("authorization", OWN),
        ("chatgpt-account-id", "account-own"),
    ];
    let reply = ask(&gateway, CHAT, ASK, &own).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let row = gateway.record_of(CHAT).await;
    assert_eq!(
        (&row["own_credential"], &row["cost"]),
        (&json!(true), &json!(CENT))
    );
    let reasons = row["reasons"].to_string();
    assert!(
        reasons.contains("gets the caller's own credential"),
        "{reasons}"
    );
    let usage = get(&gateway, "/api/usage?by=model").await.json();
    assert_eq!(usage["totals"]["own_credential_cost"], CENT);
    assert_eq!(usage["totals"]["cost"], CENT);
    let sessions = get(&gateway, "/api/sessions").await.json();
    assert_eq!(sessions["sessions"][0]["own_credential_cost"], CENT);
    for (path, cell) in [
        ("/api/requests?format=csv", "own_credential"),
        ("/api/usage?by=model&format=csv", "own_credential_cost_usd"),
        ("/api/sessions?format=csv", "own_credential_cost_usd"),
    ] {
        let text = get(&gateway, path).await.text();
        let mut lines = text.lines().map(|line| line.split(','));
        let place = lines.next().unwrap().position(|name| name == cell).unwrap();
        let value = lines.next().unwrap().nth(place).unwrap();
        assert!(
            ["true", "0.01", "0.010000000"].contains(&value),
            "{path}: {value}"
        );
    }
    let quotas = get(&gateway, "/api/quotas").await.text();
    assert!(quotas.contains("992"), "tokens are charged: {quotas}");

    // Nothing of it is kept.
    let id = row["id"].as_str().unwrap();
    let capture = get(&gateway, &format!("/api/requests/{id}/capture")).await;
    assert_eq!(capture.status, 200);
    for text in [row.to_string(), capture.text()] {
        assert!(
            !text.contains("oat01") && !text.contains("account-own"),
            "{text}"
        );
    }

    // The configured key is the gateway's to pay for, and so is what is chosen to be charged.
    let reply = ask(&gateway, CHAT, ASK, &[("authorization", "Bearer -")]).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    let charged = document(&json!({ "charge_passthrough": true }));
    let gateway = Gateway::start(address, charged).await;
    let reply = ask(&gateway, CHAT, ASK, &own).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
}
