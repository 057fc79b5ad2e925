//! Direct access: paths of a provider's own API, by grant.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::Reply;
use support::provider::{Log, Received, STREAM, provider, server, write};

/// The files of a provider, and what it got.
async fn files(object: Value) -> (Gateway, Log) {
    let (address, log) = server("127.0.0.1:0", |request: &Received| {
        let target = request.target();
        match target.as_str() {
            "GET /v1/secret" => ("302 Found", "{}".to_owned()),
            "GET /v1/missing" => ("404 Not Found", r#"{"error":"no such file"}"#.to_owned()),
            _ => ("200 OK", format!(r#"{{"asked":"{target}"}}"#)),
        }
    })
    .await;
    let more = json!({
        // Its own path doesn't count: the path of a direct request begins at the root.
        "provider": { "baseurl": format!("http://{address}/v1"), "apikey": "secret-key" },
        "others": { "off": { "baseurl": "http://127.0.0.1:9", "models": ["x"], "disabled": true } },
        "quotas": { "few": { "capacity": "2 requests" }, "other": { "capacity": "$1.00" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "p/m", "quotas": [{ "bucket": "few" }] }, object,
        ] } }],
    });
    (Gateway::start(address, more).await, log)
}

async fn ask(
    gateway: &Gateway,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    gateway.send(request.body(body).unwrap()).await
}

async fn get(gateway: &Gateway, path: &str) -> Reply {
    ask(gateway, Method::GET, path, &[], "").await
}

#[tokio::test]
async fn a_granted_path_goes_to_the_providers_root_with_the_gateways_credential() {
    let (gateway, log) = files(json!({ "direct_paths": ["/p/v1/files/**"] })).await;
    let reply = ask(
        &gateway,
        Method::PUT,
        "/direct/p/v1/files/a%20b?limit=2&key=mine&after=x",
        &[
            ("authorization", "Bearer mine"),
            ("cookie", "a=b"),
            ("content-type", "application/x-thing"),
            ("accept", "application/json"),
            ("anthropic-beta", "files-1"),
            ("tailscale-user-login", "eve@x.org"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-unknown", "y"),
        ],
        "\u{1}any bytes",
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    assert_eq!(
        reply.headers["content-security-policy"],
        "default-src 'none'; sandbox"
    );
    {
        let log = log.lock().unwrap();
        let [sent] = &log[..] else { panic!("{log:?}") };
        assert!(
            sent.head
                .starts_with("PUT /v1/files/a%20b?limit=2&after=x HTTP/1.1"),
            "{}",
            sent.head
        );
        assert_eq!(sent.body, b"\x01any bytes");
        assert_eq!(sent.header("authorization"), Some("Bearer secret-key"));
        assert_eq!(sent.header("content-type"), Some("application/x-thing"));
        assert_eq!(sent.header("anthropic-beta"), Some("files-1"));
        for dropped in [
            "cookie",
            "tailscale-user-login",
            "x-forwarded-for",
            "x-unknown",
        ] {
            assert_eq!(sent.header(dropped), None, "{dropped}");
        }
    }
    let record = gateway.record_of("/direct/p/v1/files/a%20b").await;
    assert_eq!(record["api"], "direct");
    assert_eq!(record["method"], "PUT");
    assert_eq!(record["provider"], "p");
    assert_eq!(record["model"], "");
    assert_eq!(record["outcome"], "complete");
    assert_eq!(record["cost"], Value::Null);
    assert_eq!(record["usage"]["input_tokens"], Value::Null);
    assert_eq!(record["request_bytes"], 10);
    let reasons = record["reasons"].to_string();
    assert!(reasons.contains("direct_paths pattern"), "{reasons}");
}

#[tokio::test]
async fn without_a_grant_every_path_is_refused_alike() {
    let (gateway, log) =
        files(json!({ "direct_paths": ["/p/v1/files/**", "/off/**", "/none/**"] })).await;
    for path in [
        "/direct/p/v1/batches",
        "/direct/q/v1/files/a",
        "/direct/p/v2/files/a",
    ] {
        let reply = get(&gateway, path).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(reply.headers["x-iris-error"], "direct_denied");
        assert!(reply.json()["error"].is_string());
        let record = gateway.record_of(path).await;
        assert_eq!(
            (&record["outcome"], &record["cost"]),
            (&json!("refused"), &json!(0))
        );
    }
    for path in ["/direct/off/v1/files", "/direct/none/v1/files"] {
        assert_eq!(
            get(&gateway, path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for path in [
        "/direct/p/v1/files/../batches",
        "/direct/p/v1/files/%2e%2e/batches",
        "/direct/p/v1/files/%252e%252e/batches",
        "/direct/p/v1/files%2f..%2fbatches",
        "/direct/p/v1/files/..;/batches",
        "/direct/p//v1/files/a",
        "/direct/p//evil.example/v1/files/a",
        "/direct/p",
    ] {
        assert_eq!(
            get(&gateway, path).await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn errors_pass_and_redirects_do_not() {
    let (gateway, _log) = files(json!({ "direct_paths": ["/p/**"] })).await;
    let reply = get(&gateway, "/direct/p/v1/missing").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.json()["error"], "no such file");
    let reply = get(&gateway, "/direct/p/v1/secret").await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{}", reply.text());
    assert_eq!(reply.headers["x-iris-error"], "provider_redirects");
    let record = gateway.record_of("/direct/p/v1/secret").await;
    assert_eq!(record["outcome"], "failed");
}

#[tokio::test]
async fn a_stream_passes_as_it_comes() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, "event: a\ndata: {\"n\":1}\n\n").await;
            write(&mut stream, "data: last\n\n").await;
        }
        .boxed()
    })
    .await;
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" }, { "direct_paths": ["**"] },
    ] } }]);
    let gateway = Gateway::start(address, json!({ "grants": grants })).await;
    let reply = get(
        &gateway,
        "/direct/p/v1/fine_tuning/jobs/1/events?stream=true",
    )
    .await;
    assert_eq!(reply.text(), "event: a\ndata: {\"n\":1}\n\ndata: last\n\n");
    assert!(!reply.broken);
    let record = gateway
        .record_of("/direct/p/v1/fine_tuning/jobs/1/events")
        .await;
    assert_eq!(
        (&record["outcome"], &record["cost"]),
        (&json!("complete"), &Value::Null)
    );
}

#[tokio::test]
async fn budgets_take_part_where_a_grant_says_so() {
    let (gateway, log) = files(json!({ "direct_paths": ["/p/**"] })).await;
    for _ in 0..3 {
        assert_eq!(
            get(&gateway, "/direct/p/v1/files").await.status,
            StatusCode::OK
        );
    }
    assert_eq!(log.lock().unwrap().len(), 3);
    let (gateway, log) = files(json!({ "direct_paths": ["/p/**"], "direct_budgets": true })).await;
    // The bucket stands in another object, and takes two requests.
    for expected in [
        StatusCode::OK,
        StatusCode::OK,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        let reply = get(&gateway, "/direct/p/v1/files").await;
        assert_eq!(reply.status, expected, "{}", reply.text());
    }
    assert_eq!(log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn hooks_judge_method_path_and_body_where_a_grant_says_so() {
    let (hook, judged) = server("127.0.0.1:0", |request: &Received| {
        let payload: Value = serde_json::from_slice(&request.body).unwrap();
        let is_delete = payload["metadata"]["method"] == "DELETE";
        let action = if is_delete { "block" } else { "allow" };
        (
            "200 OK",
            json!({ "action": action, "message": "not that" }).to_string(),
        )
    })
    .await;
    let (address, log) = server("127.0.0.1:0", |_: &Received| ("200 OK", "{}".to_owned())).await;
    let more = json!({
        "hooks": { "h": { "url": format!("http://{hook}/") } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" },
            { "models": "p/**", "send_hooks": [{ "name": "h", "events": ["pre_request"], "send": ["request_body"] }] },
            { "direct_paths": ["/p/v1/**"], "direct_hooks": true },
            { "direct_paths": ["/p/v2/**"] },
        ] } }],
    });
    let gateway = Gateway::start(address, more).await;
    let json = [("content-type", "application/json")];
    let reply = ask(
        &gateway,
        Method::POST,
        "/direct/p/v1/a",
        &json,
        r#"{"x":1}"#,
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let reply = ask(&gateway, Method::DELETE, "/direct/p/v1/a", &[], "").await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (StatusCode::FORBIDDEN, &json!("not that"))
    );
    let reply = ask(&gateway, Method::DELETE, "/direct/p/v2/a", &[], "").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(log.lock().unwrap().len(), 2);
    let judged = judged.lock().unwrap();
    assert_eq!(judged.len(), 2);
    let payload: Value = serde_json::from_slice(&judged[0].body).unwrap();
    assert_eq!(payload["request_body"], json!({ "x": 1 }));
    assert_eq!(payload["metadata"]["path"], "/direct/p/v1/a");
    assert_eq!(payload["metadata"]["provider"], "p");
}

#[tokio::test]
async fn a_head_is_asked_as_one_and_has_no_body() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5000\r\n\r\n";
            write(&mut stream, head).await;
        }
        .boxed()
    })
    .await;
    let more = json!({ "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" }, { "direct_paths": ["/p/v1/files/**"] },
    ] } }] });
    let gateway = Gateway::start(address, more).await;
    let reply = ask(&gateway, Method::HEAD, "/direct/p/v1/files/f", &[], "").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.headers["content-length"], "5000");
    assert!(reply.body.is_empty() && !reply.broken);
    let asked = received.recv().await.unwrap();
    assert_eq!(asked.target(), "HEAD /v1/files/f");
    let record = gateway.record_of("/direct/p/v1/files/f").await;
    assert_eq!(
        (&record["status"], &record["outcome"]),
        (&json!(200), &json!("complete")),
        "{record}"
    );
}
