//! The configuration and the audit log, as an admin sees them.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::Reply;
use support::provider::{COMPLETION, answer, provider};

const CONFIG: &str = "/aperture/config";
const SECRET: &str = "sk-canary-0123456789";

async fn gateway() -> Gateway {
    let (address, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    std::mem::forget(received);
    let gateway = Gateway::start(address, json!({ "provider": { "apikey": SECRET } })).await;
    // As a person writes it.
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let text = text.replacen('{', "{ // ours\n", 1);
    let (before, _) = shown(&gateway).await;
    let reply = ask(
        &gateway,
        &Method::PUT,
        "/api/config",
        &json!({ "config": text, "hash": before["hash"] }),
        &[],
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    gateway
}

pub async fn ask(
    gateway: &Gateway,
    method: &Method,
    path: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Reply {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::from(body.to_string()));
    gateway.send(request.body(body).unwrap()).await
}

pub async fn get(gateway: &Gateway, path: &str) -> Reply {
    let request = Request::get(path).body(Full::default()).unwrap();
    gateway.send(request).await
}

/// The older form and the tag.
pub async fn shown(gateway: &Gateway) -> (Value, String) {
    let reply = get(gateway, "/api/config").await;
    let tag = reply.headers["etag"].to_str().unwrap().to_owned();
    (reply.json(), tag)
}

pub async fn put(gateway: &Gateway, text: &str, tag: &str) -> Reply {
    let body = json!({ "config": text });
    ask(gateway, &Method::PUT, CONFIG, &body, &[("if-match", tag)]).await
}

pub async fn audited(gateway: &Gateway, kind: &str) -> Vec<Value> {
    let page = get(gateway, &format!("/api/audit?kind={kind}"))
        .await
        .json();
    page["audit"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_is_shown_comes_back_as_it_was() {
    let gateway = gateway().await;
    let before = std::fs::read_to_string(gateway.config()).unwrap();
    let reply = get(&gateway, CONFIG).await;
    let text = reply.json()["config"].as_str().unwrap().to_owned();
    assert!(
        text.starts_with("{ // ours\n") && text.contains("[redacted]"),
        "{text}"
    );
    assert!(!text.contains(SECRET));
    let tag = reply.headers["etag"].to_str().unwrap().to_owned();
    let reply = put(&gateway, &text, &tag).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(std::fs::read_to_string(gateway.config()).unwrap(), before);
    let changed = text.replace("\"models\":[\"m\"]", "\"models\":[\"m\",\"new\"]");
    let reply = put(&gateway, &changed, &tag).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // It is in force once the response comes, with the secret from before.
    let models = get(&gateway, "/v1/models").await.text();
    assert!(models.contains("\"new\""), "{models}");
    assert!(
        std::fs::read_to_string(gateway.config())
            .unwrap()
            .contains(SECRET)
    );
    let again = put(&gateway, &text, &tag).await;
    assert_eq!(again.status, 412);
    assert_eq!(again.headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn saves_that_are_not_taken() {
    let gateway = gateway().await;
    let before = std::fs::read_to_string(gateway.config()).unwrap();
    let (_, tag) = shown(&gateway).await;
    let reply = ask(
        &gateway,
        &Method::PUT,
        CONFIG,
        &json!({ "config": "{}" }),
        &[],
    )
    .await;
    assert_eq!(reply.status, 428);
    let lockout = before.replace("\"src\":[\"(loopback)\"]", "\"src\":[\"boss@example.com\"]");
    for (text, part) in [
        ("", "config must not be empty"),
        (" \n", "config must not be empty"),
        ("{", "the document ends"),
        ("{\"Grants\":[]}", "unknown config key"),
        (lockout.as_str(), "would take the role admin from you"),
        (
            "{\"providers\":{\"x\":{\"apikey\":\"[redacted]\"}}}",
            "stands for a secret that is not stored here",
        ),
    ] {
        let reply = put(&gateway, text, &tag).await;
        assert_eq!(reply.status, 422, "{part}: {}", reply.text());
        let told = reply.json();
        assert!(told["errors"].to_string().contains(part), "{part}: {told}");
        assert_eq!(
            (&told["status"], &told["instance"]),
            (&json!(422), &json!(CONFIG))
        );
        let reply = ask(
            &gateway,
            &Method::POST,
            "/aperture/config:validate",
            &json!({ "config": text }),
            &[],
        )
        .await;
        // Whether the caller stays an admin doesn't make it invalid: it is reported beside.
        let valid = text == lockout;
        let told = reply.json();
        assert_eq!(told["valid"], valid, "{part}");
        assert!(!valid || told["loses_admin"] == true, "{part}");
        let list = if valid { "warnings" } else { "errors" };
        assert!(told[list].to_string().contains(part), "{told}");
    }
    let fine = ask(
        &gateway,
        &Method::POST,
        "/aperture/config:validate",
        &json!({ "config": before }),
        &[],
    )
    .await;
    let fine = fine.json();
    assert_eq!(fine["valid"], true);
    for (key, nothing) in [
        ("errors", json!([])),
        ("warnings", json!([])),
        ("loses_admin", json!(false)),
        ("restart", json!([])),
    ] {
        assert_eq!(fine[key], nothing, "{key}");
    }
    assert_eq!(std::fs::read_to_string(gateway.config()).unwrap(), before);
}

#[tokio::test]
async fn other_sites_and_other_methods() {
    let gateway = gateway().await;
    let (_, tag) = shown(&gateway).await;
    let body = json!({ "config": "{}" });
    let from = [("if-match", tag.as_str()), ("sec-fetch-site", "same-site")];
    assert_eq!(
        ask(&gateway, &Method::PUT, CONFIG, &body, &from)
            .await
            .status,
        403
    );
    let form = Request::put(CONFIG)
        .header("if-match", &tag)
        .header("content-type", "text/plain")
        .body(Full::new(Bytes::from(body.to_string())));
    assert_eq!(gateway.send(form.unwrap()).await.status, 415);
    let twice = Request::put(CONFIG)
        .header("if-match", &tag)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(r#"{"config":"a","config":"b"}"#)));
    assert_eq!(gateway.send(twice.unwrap()).await.status, 400);
    let reply = ask(&gateway, &Method::DELETE, CONFIG, &body, &[]).await;
    assert_eq!(reply.status, 405);
    assert_eq!(reply.headers["allow"], "GET, PUT");
}

#[tokio::test]
async fn there_is_a_history_and_a_way_back() {
    let gateway = gateway().await;
    let (first, tag) = shown(&gateway).await;
    let text = first["config"].as_str().unwrap();
    let changed = text.replace("\"models\":[\"m\"]", "\"models\":[\"m\",\"new\"]");
    assert_eq!(put(&gateway, &changed, &tag).await.status, 200);
    let versions = get(&gateway, "/api/config/history").await.json();
    let rows = versions["versions"].as_array().unwrap();
    assert_eq!(rows.len(), 3, "{versions}");
    assert_eq!(
        (&rows[0]["how"], &rows[2]["how"]),
        (&json!("saved"), &json!("start"))
    );
    assert_eq!(rows[0]["actor"], "(loopback)");
    assert_eq!(rows[0]["parent"], rows[1]["id"]);
    let newest = rows[0]["id"].as_str().unwrap();
    let one = get(&gateway, &format!("/api/config/history/{newest}"))
        .await
        .json();
    assert!(one["diff"].as_str().unwrap().contains("\n+"), "{one}");
    assert_eq!(one["diff_to_current"], "");
    assert!(!one.to_string().contains(SECRET));
    let (now, _) = shown(&gateway).await;
    let back = json!({ "id": rows[1]["id"], "hash": now["hash"] });
    let reply = ask(&gateway, &Method::POST, "/api/config/rollback", &back, &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["hash"], first["hash"]);
    let models = get(&gateway, "/v1/models").await.text();
    assert!(!models.contains("\"new\""), "{models}");
    assert!(
        std::fs::read_to_string(gateway.config())
            .unwrap()
            .contains(SECRET)
    );
    assert_eq!(audited(&gateway, "config_rolled_back").await.len(), 1);
    let saved = audited(&gateway, "config_saved").await;
    assert_eq!(saved.len(), 2);
    assert_eq!(saved[0]["detail"]["before"], first["hash"]);
    // A change of the file is a version as well.
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("// ours", "// theirs")).unwrap();
    for _ in 0..100 {
        let versions = get(&gateway, "/api/config/history").await.json();
        if versions["versions"][0]["how"] == "file" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the change of the file is not in the history");
}

#[tokio::test]
async fn a_dry_run_tells_who_gains_and_who_loses() {
    let gateway = gateway().await;
    let (now, _) = shown(&gateway).await;
    let mut config: Value =
        serde_json::from_str(&now["config"].as_str().unwrap().replace("// ours\n", "")).unwrap();
    config["grants"].as_array_mut().unwrap().push(json!({
        "src": ["ann@example.com"],
        "app": { "tailscale.com/cap/aperture": [{ "role": "user" }, { "models": "p/*" }] },
    }));
    config["providers"]["p"]["models"] = json!(["new"]);
    config["grants"][0]["app"]["tailscale.com/cap/aperture"][0]["read_pricing"] = json!(true);
    let body = json!({ "config": config.to_string() });
    let told = ask(&gateway, &Method::POST, "/api/config/dry-run", &body, &[])
        .await
        .json();
    assert_eq!(told["valid"], true, "{told}");
    let expected = json!([
        { "caller": "(loopback)", "policy": false, "role_before": "admin", "role_after": "admin",
          "gains": ["p/new"], "loses": ["p/m"], "other_gains": ["read_pricing"], "other_loses": [] },
        { "caller": "ann@example.com", "policy": false, "role_before": null, "role_after": "user",
          "gains": ["p/new"], "loses": [], "other_gains": [], "other_loses": [] },
    ]);
    assert_eq!(told["callers"], expected);
    assert!(told["diff"].as_str().unwrap().contains("+++ after"));
    let models = get(&gateway, "/v1/models").await.text();
    assert!(!models.contains("\"new\""), "nothing was changed");
}

#[tokio::test]
async fn budgets_are_refilled_by_admins_and_that_is_on_record() {
    let gateway = gateway().await;
    let (now, tag) = shown(&gateway).await;
    let text = now["config"].as_str().unwrap();
    let text = text.replacen(
        "// ours\n",
        "\"quotas\": {\"daily:<user>\": {\"capacity\": \"$5.00\"}},\n",
        1,
    );
    assert_eq!(put(&gateway, &text, &tag).await.status, 200);
    let refill = async |bucket: &str, amount: &str| {
        let body = json!({ "bucket": bucket, "amount": amount });
        ask(&gateway, &Method::POST, "/api/quotas/refill", &body, &[]).await
    };
    let reply = refill("daily:ann@example.com", "$2.00").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.json()["current"],
        5_000_000_000_i64,
        "no more than its capacity"
    );
    for (bucket, amount, status) in [
        ("daily:<user>", "$1.00", 404),
        ("weekly:ann", "$1.00", 404),
        ("daily:ann@example.com", "5 requests", 400),
        ("daily:ann@example.com", "-$1.00", 400),
    ] {
        assert_eq!(
            refill(bucket, amount).await.status,
            status,
            "{bucket} {amount}"
        );
    }
    assert_eq!(audited(&gateway, "quota_refilled").await.len(), 1);
}

#[tokio::test]
async fn metrics_need_a_grant_of_their_own() {
    let gateway = gateway().await;
    assert_eq!(get(&gateway, "/metrics").await.status, 403);
    let (now, tag) = shown(&gateway).await;
    let text = now["config"].as_str().unwrap();
    let text = text.replacen(
        "{\"role\":\"admin\"}",
        "{\"role\":\"admin\"},{\"read_metrics\":true}",
        1,
    );
    assert_eq!(put(&gateway, &text, &tag).await.status, 200);
    let ask = support::http::post(support::http::CHAT, r#"{"model":"m","messages":[]}"#);
    assert_eq!(gateway.send(ask).await.status, 200);
    let reply = get(&gateway, "/metrics").await;
    assert!(
        reply.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let line = r#"iris_requests_total{api="openai_chat",provider="p",model="m",outcome="complete",status_class="2xx"} 1"#;
    assert!(
        reply.text().lines().any(|one| one == line),
        "{}",
        reply.text()
    );
    assert!(
        reply
            .text()
            .contains("iris_upstream_attempts_total{provider=\"p\"} 1")
    );
}

#[tokio::test]
async fn the_older_routes_and_the_description_are_there() {
    let gateway = gateway().await;
    let (shown, tag) = shown(&gateway).await;
    assert_eq!(shown["exists"], true);
    assert_eq!(tag, format!("\"{}\"", shown["hash"].as_str().unwrap()));
    let stale = json!({ "config": shown["config"], "hash": "0" });
    assert_eq!(
        ask(&gateway, &Method::PUT, "/api/config", &stale, &[])
            .await
            .status,
        412
    );
    let document = get(&gateway, "/aperture/openapi.json").await.json();
    assert_eq!(
        (&document["openapi"], &document["info"]["title"]),
        (&json!("3.1.0"), &json!("Aperture API"))
    );
    assert_eq!(document["servers"][0]["url"], "/aperture");
    for path in [
        "/config",
        "/config:validate",
        "/pricing",
        "/pricing/{model}",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

/// What a dry run reports about a save, and what waits for the next start.
#[tokio::test]
async fn what_waits_for_a_restart_and_which_way_would_be_lost_is_said() {
    let gateway = gateway().await;
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let moved = text.replace(
        "\"loopback\":\"127.0.0.1:0\"",
        "\"loopback\":\"127.0.0.1:9\",\"names\":[\"gw.corp\"]",
    );
    assert_ne!(text, moved, "{text}");
    let (_, tag) = shown(&gateway).await;
    let propose = async |path: &str, text: &str, host: &[(&str, &str)]| {
        ask(
            &gateway,
            &Method::POST,
            path,
            &json!({ "config": text }),
            host,
        )
        .await
        .json()
    };
    let restart = json!(["listen.loopback"]);
    for path in ["/aperture/config:validate", "/api/config/dry-run"] {
        let told = propose(path, &moved, &[]).await;
        assert_eq!(
            (&told["valid"], &told["restart"]),
            (&json!(true), &restart),
            "{told}"
        );
        assert!(
            told.to_string()
                .contains("local callers are served at 127.0.0.1:9"),
            "{told}"
        );
        assert_eq!(told["loses_admin"], false);
        let same = propose(path, &text, &[]).await;
        assert_eq!(same["restart"], json!([]), "{same}");
    }
    let saved = put(&gateway, &moved, &tag).await.json();
    assert_eq!(saved["restart"], restart, "{saved}");
    let waiting = async || {
        let status = get(&gateway, "/api/status").await.json();
        let all = status["warnings"].as_array().unwrap().clone();
        let found = all.into_iter().find(|one| one["kind"] == "restart_needed");
        found.map(|one| one["message"].to_string())
    };
    assert!(waiting().await.unwrap().contains("listen.loopback"));

    // The name that the caller used must stay allowed; others need not.
    let without = moved.replace(",\"names\":[\"gw.corp\"]", "");
    let (_, tag) = shown(&gateway).await;
    let port = gateway.address.port();
    let by_name = format!("gw.corp:{port}");
    for (host, is_lost) in [(by_name.as_str(), true), ("", false)] {
        let headers = [("host", host)];
        let headers = if host.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let told = propose("/aperture/config:validate", &without, headers).await;
        let warnings = told["warnings"].to_string();
        assert_eq!(warnings.contains("you came here as"), is_lost, "{told}");
    }
    // Once it is reverted, nothing waits.
    let saved = put(&gateway, &text, &tag).await.json();
    assert_eq!(saved["restart"], json!([]), "{saved}");
    assert_eq!(waiting().await, None);
}
