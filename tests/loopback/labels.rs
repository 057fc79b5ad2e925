//! Labels: what a caller says that a request is for.

use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::Gateway;
use crate::lab::MESSAGES;
use support::http::{CHAT, Reply, post};
use support::provider::{COMPLETION, Received, answer, provider};

const ASK: &str = r#"{"model":"m","messages":[]}"#;

async fn gateway(object: Value, quotas: Value) -> (Gateway, mpsc::Receiver<Received>) {
    let (address, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let config = json!({
        "quotas": quotas,
        "provider": { "pass_headers": ["x-other"], "compatibility": {
            "openai_chat": true, "anthropic_messages": true } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, object,
        ] } }],
    });
    (Gateway::start(address, config).await, received)
}

async fn asked(gateway: &Gateway, labels: &[&str]) -> Reply {
    let mut request = post(CHAT, ASK);
    for labels in labels {
        let labels = labels.parse().unwrap();
        request.headers_mut().append("x-iris-labels", labels);
    }
    gateway.send(request).await
}

async fn got(gateway: &Gateway, path: &str) -> Reply {
    let request = Request::get(path).header("host", gateway.address.to_string());
    gateway.send(request.body(Full::default()).unwrap()).await
}

/// A gateway that was asked five times, with labels of each kind, and the records of it.
async fn with_five_requests() -> (Gateway, Value) {
    let (gateway, mut received) = gateway(json!({ "models": "**" }), json!({})).await;
    for labels in [
        &["project=web,run=1"][..],
        &["project=web", "run=2"],
        &["project=api"],
        &[],
        &[""],
    ] {
        let reply = asked(&gateway, labels).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let sent = received.recv().await.unwrap();
        assert_eq!(sent.header("x-iris-labels"), None, "{}", sent.head);
    }
    loop {
        let all = got(&gateway, "/api/requests").await.json();
        if all["requests"].as_array().unwrap().len() == 5 {
            return (gateway, all);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn records_have_labels_and_are_found_by_them() {
    let (gateway, all) = with_five_requests().await;
    // Records of one millisecond have no order.
    let labels = |reply: &Value| -> Vec<String> {
        let rows = reply["requests"].as_array().unwrap();
        let mut labels: Vec<_> = rows.iter().map(|row| row["labels"].to_string()).collect();
        labels.sort();
        labels
    };
    let (none, api) = ("{}", r#"{"project":"api"}"#);
    let [one, two] = [1, 2].map(|run| format!(r#"{{"project":"web","run":"{run}"}}"#));
    let [one, two] = [one.as_str(), two.as_str()];
    assert_eq!(labels(&all), [api, one, two, none, none]);
    for (filter, expected) in [
        ("label=project", vec![api, one, two]),
        ("label=project%3Dweb", vec![one, two]),
        ("label=run%3D1", vec![one]),
        ("label=run%3D1&model=m", vec![one]),
        ("label=project%3Dnone", vec![]),
        ("label=team", vec![]),
    ] {
        let found = got(&gateway, &format!("/api/requests?{filter}")).await;
        assert_eq!(labels(&found.json()), expected, "{filter}");
    }
    let odd = got(&gateway, "/api/requests?label=a%20b").await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
    // Labels aren't headers: no grant opens them as such, and none is needed for them.
    let mut rows = all["requests"].as_array().unwrap().iter();
    let first = rows.find(|row| row["labels"]["run"] == "1").unwrap();
    let id = first["id"].as_str().unwrap();
    let one = got(&gateway, &format!("/api/requests/{id}")).await.json();
    assert_eq!(
        (&one["labels"]["run"], &one["headers"]),
        (&json!("1"), &json!([]))
    );
    let page = got(&gateway, &format!("/ui/requests/{id}")).await.text();
    assert!(page.contains("project=web"), "{page}");
    let csv = got(&gateway, "/api/requests?format=csv&label=run%3D1")
        .await
        .text();
    assert!(csv.lines().next().unwrap().contains(",labels"), "{csv}");
    assert!(csv.contains("\"project=web,run=1\""), "{csv}");
}

#[tokio::test]
async fn reports_sum_up_labels() {
    let (gateway, _) = with_five_requests().await;
    let usage = got(&gateway, "/api/usage?by=label&label=project")
        .await
        .json();
    let rows: Vec<(&str, u64)> = usage["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["label"].as_str().unwrap(),
                row["requests"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows, [("api", 1), ("web", 2)]);
    let csv = got(
        &gateway,
        "/api/usage?by=label&label=project%3Dweb&format=csv",
    )
    .await;
    assert!(csv.text().contains("\nweb,2,"), "{}", csv.text());
    for bad in ["by=label", "by=header&label=project", "label=a&via=b"] {
        let reply = got(&gateway, &format!("/api/usage?{bad}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let sessions = got(&gateway, "/api/sessions?label=run%3D2").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_label_that_is_wrong_is_named_in_the_callers_format() {
    let (gateway, mut received) = gateway(json!({ "models": "**" }), json!({})).await;
    for (labels, says) in [
        (
            "project",
            "the label \"project\" of x-iris-labels has no value",
        ),
        (
            "project=a b",
            "the label \"project=a b\" of x-iris-labels has an invalid value",
        ),
        ("a=1,a=2", "the label \"a\" stands in x-iris-labels twice"),
        (
            "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1",
            "has at most 10 labels",
        ),
    ] {
        let reply = asked(&gateway, &[labels]).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{labels}");
        assert_eq!(reply.headers["x-iris-error"], "invalid_label");
        let message = reply.json()["error"]["message"].clone();
        assert!(message.as_str().unwrap().contains(says), "{message}");
    }
    let body = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#;
    let mut request = post(MESSAGES, body);
    let labels = "Project=x".parse().unwrap();
    request.headers_mut().insert("x-iris-labels", labels);
    let reply = gateway.send(request).await.json();
    assert_eq!(reply["type"], "error");
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(message.contains("the label \"Project=x\""), "{message}");
    assert!(received.try_recv().is_err());
    // A refusal has a record as any other has.
    let record = gateway
        .record_where(|record| record["path"] == MESSAGES)
        .await;
    assert_eq!(record["outcome"], "refused");
}

#[tokio::test]
async fn a_bucket_for_each_label_pays_and_none_is_evaded() {
    let quotas = json!({ "project:<label.project>": { "capacity": "1 requests" } });
    let paid = json!({ "models": "**", "quotas": [{ "bucket": "project:<label.project>" }] });
    let (gateway, _received) = gateway(paid, quotas).await;
    for labels in [&["project=web"][..], &["project=api,run=1"], &[]] {
        assert_eq!(
            asked(&gateway, labels).await.status,
            StatusCode::OK,
            "{labels:?}"
        );
    }
    // Without the label, all requests share one bucket.
    for labels in [
        &["project=web,run=2"][..],
        &["project=api"],
        &[],
        &["run=3"],
    ] {
        let reply = asked(&gateway, labels).await;
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{labels:?}");
    }
    let listed = got(&gateway, "/api/quotas").await.text();
    for bucket in ["project:web", "project:api", "project:(none)"] {
        assert!(listed.contains(&format!("\"{bucket}\"")), "{listed}");
    }
}

#[tokio::test]
async fn a_grant_can_require_labels() {
    let quotas = json!({ "project:<label.project>": { "capacity": "5 requests" } });
    let required = json!({
        "models": "**",
        "quotas": [{ "bucket": "project:<label.project>" }],
        "require_labels": ["project=web-*", "project=api"],
    });
    let (gateway, mut received) = gateway(required, quotas).await;
    for (labels, says) in [
        (&[][..], "this request needs the label \"project\""),
        (&["run=1"], "this request needs the label \"project\""),
        (
            &["project=apis"],
            "the label \"project\" is \"apis\": expected \"web-*\" or \"api\"",
        ),
    ] {
        let reply = asked(&gateway, labels).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{labels:?}");
        assert_eq!(reply.headers["x-iris-error"], "label_required");
        let message = reply.json()["error"]["message"].clone();
        assert!(message.as_str().unwrap().contains(says), "{message}");
    }
    assert!(received.try_recv().is_err());
    for labels in ["project=api", "run=1,project=web-1"] {
        assert_eq!(asked(&gateway, &[labels]).await.status, StatusCode::OK);
    }
    for (labels, allowed) in [("", false), ("&labels=project%3Dapi", true)] {
        let path = format!("/api/explain?login=(loopback)&model=m{labels}");
        let verdict = got(&gateway, &path).await.json();
        assert_eq!(verdict["allowed"], allowed, "{verdict}");
        assert_eq!(
            verdict.to_string().contains("project:api"),
            allowed,
            "{verdict}"
        );
    }
}
