//! Exports to a real S3 server and a real OpenTelemetry collector, which are stopped and started again
//! during the run: what has arrived is compared with the records one by one.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use support::parts::Parts;
use support::process::{Process, free_address, listens};
use support::provider::{COMPLETION, answer, provider};

support::library_gateway!();

/// What `exports.sh` has built.
fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> =
        LazyLock::new(|| Parts::prepare("exports.sh", &[]).expect("the servers are built"));
    &PARTS
}

fn part(name: &str) -> PathBuf {
    parts().get(name).unwrap()
}

/// Starts a server and waits until it listens; it ends as in a crash when it is dropped.
fn started(command: &mut Command, at: SocketAddr, log: &Path) -> Process {
    let server = Process::start(command, log).unwrap();
    listens(at, || server.log());
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_what_the_records_are() {
    objects("cbor").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_what_the_records_are() {
    objects("jsonl").await;
}

async fn gateway(exporters: Value) -> Gateway {
    // Nobody looks at what it gets.
    let (address, _) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let more = json!({
        "exporters": exporters,
        "prices": { "m": { "input": "1", "output": "1" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**" }, { "read_metrics": true }] } }],
    });
    Gateway::start(address, more).await
}

async fn ask(gateway: &Gateway, count: usize) {
    for nth in 0..count {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"say {nth}"}}]}}"#);
        assert_eq!(gateway.chat(&body).await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    let request = Request::get(path).body(Full::default());
    gateway.send(request.unwrap()).await.json()
}

/// All records by id.
async fn records(gateway: &Gateway) -> BTreeMap<String, Value> {
    let page = get(gateway, "/api/requests?limit=1000").await;
    let rows = page["requests"].as_array().unwrap().iter();
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone()))
        .collect()
}

/// Waits until nothing waits for the exporter.
async fn exported(gateway: &Gateway) -> Value {
    for _ in 0..600 {
        let status = get(gateway, "/api/exporters").await["exporters"][0].clone();
        if status["waiting"] == 0 && status["failures"] == 0 {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{}", get(gateway, "/api/exporters").await);
}

async fn objects(format: &str) {
    let (dir, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(dir.path().join("records")).unwrap();
    let at = free_address();
    let start = || {
        started(
            Command::new(part("S3"))
                .env("ROOT_ACCESS_KEY", "key")
                .env("ROOT_SECRET_KEY", "secret")
                .args(["--port", &at.to_string(), "posix"])
                .arg(dir.path()),
            at,
            &logs.path().join("s3"),
        )
    };
    let s3 = start();
    let mut gateway = gateway(json!({ "s3": {
        "endpoint": format!("http://{at}"), "bucket_name": "records", "prefix": "ai/ours",
        "access_key_id": "key", "access_secret": "secret", "every": 1, "limit": 20, "format": format,
    } }))
    .await;
    ask(&gateway, 60).await;
    drop(s3);
    ask(&gateway, 60).await;
    // It fails, says so, and nothing is lost by an end in the middle of that.
    let mut status = Value::Null;
    for _ in 0..100 {
        status = get(&gateway, "/api/exporters").await["exporters"][0].clone();
        if status["last_error"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        status["waiting"].as_i64().unwrap() > 0 && status["last_error"].is_string(),
        "{status}"
    );
    gateway.stop().await;
    let _s3 = start();
    let gateway = gateway.again().await;
    ask(&gateway, 30).await;
    exported(&gateway).await;
    compare(&gateway, dir.path()).await;
}

/// What is in the bucket, read by another client, against the records.
async fn compare(gateway: &Gateway, dir: &Path) {
    let script = support::root().join("tests/exports/read.py");
    let output = Command::new(part("PYTHON"))
        .arg(script)
        .arg(dir.join("records"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let records = records(gateway).await;
    assert_eq!(records.len(), 150);
    let mut seen = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let one: Value = serde_json::from_str(line).unwrap();
        let id = one["request_id"].as_str().unwrap().to_owned();
        let record = &records[&id];
        for (theirs, ours) in [
            ("session_id", "session"),
            ("status_code", "status"),
            ("model", "model"),
            ("path", "path"),
            ("usage", "usage"),
            ("duration_ms", "duration_ms"),
            ("provider", "provider"),
        ] {
            assert_eq!(one[theirs], record[ours], "{theirs}");
        }
        assert_eq!(
            (&one["ver"], &one["api_type"]),
            (&json!(2), &json!("oai_chat"))
        );
        assert_eq!(one["estimated_cost"]["nanodollars"], record["cost"]);
        assert_eq!(one["identity"]["login"], "(loopback)");
        assert_eq!(one["capture"]["request_body"]["model"], "m");
        assert_eq!(one["capture"]["response_body"]["id"], "c");
        let object = one["object"].as_str().unwrap().to_owned();
        assert!(object.starts_with("ts-aperture-export-"), "{object}");
        let number = one["id"].as_i64().unwrap();
        assert!(seen.insert(id, number).is_none(), "exported twice");
    }
    assert_eq!(seen.len(), 150, "not all were exported");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_what_the_records_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = free_address();
    let config = dir.path().join("otel.yaml");
    let text = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"{at}\"}}}}}}}}\n\
         exporters: {{debug: {{verbosity: detailed}}}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
         traces: {{receivers: [otlp], exporters: [debug]}}\n    \
         metrics: {{receivers: [otlp], exporters: [debug]}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let log = dir.path().join("log");
    let start = || {
        started(
            Command::new(part("OTELCOL")).arg("--config").arg(&config),
            at,
            &log,
        )
    };
    let collector = start();
    let gateway =
        gateway(json!({ "otlp": { "endpoint": format!("http://{at}"), "every": "1s" } })).await;
    ask(&gateway, 40).await;
    exported(&gateway).await;
    drop(collector);
    ask(&gateway, 40).await;
    gateway.chat(r#"{"model":"unknown","messages":[]}"#).await;
    let _collector = start();
    exported(&gateway).await;
    let named = |id: &String| format!("iris.request.id: Str({id})");
    let records = records(&gateway).await;
    // The collector writes what it has taken a moment later.
    let mut told = String::new();
    for _ in 0..300 {
        told = std::fs::read_to_string(&log).unwrap();
        if records.keys().all(|id| told.contains(&named(id))) && told.contains("operation.duration")
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for id in records.keys() {
        assert_eq!(told.matches(&named(id)).count(), 1, "{id}");
    }
    for part in [
        "Name           : chat m",
        "gen_ai.provider.name: Str(p)",
        "gen_ai.usage.input_tokens: Int(3)",
        "gen_ai.usage.output_tokens: Int(5)",
        "error.type: Str(404)",
        "Name: gen_ai.client.token.usage",
        "Name: gen_ai.client.operation.duration",
    ] {
        assert!(told.contains(part), "{part}");
    }
    let said = ["say 1", "\"hi\""];
    assert!(
        !said.iter().any(|part| told.contains(part)),
        "what was said is in it"
    );
}
