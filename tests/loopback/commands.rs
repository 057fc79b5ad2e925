//! The program as a person uses it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::Gateway;
use support::provider::{COMPLETION, answer, provider};

pub fn iris(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(arguments)
        .env_remove("IRIS_CONFIG")
        .env("IRIS_STATE_DIR", "/nonexistent")
        .output()
        .expect("the program runs")
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn written(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, text).expect("to write");
    file
}

pub fn name(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

const EXAMPLE: &str = r#"{
  "providers": {
    "gpu": { "baseurl": "http://100.64.0.1:8080/v1", "models": ["qwen"] },
    "claude": { "baseurl": "http://c", "models": ["opus"], "compatibility": { "anthropic_messages": true } },
  },
  "groups": { "group:eng": ["alice@example.com"] },
  "grants": [
    { "src": ["group:eng"], "app": { "tailscale.com/cap/aperture": [{ "role": "user" }, { "models": "*/**" }] } },
    { "src": ["tag:ci"], "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }] } },
  ],
}"#;

#[test]
fn check_reads_like_a_compiler() {
    let file = written(
        "{\n  \"providers\": {\n    \"p\": { \"basurl\": \"http://p\", \"models\": [\"m\"] },\n  },\n}",
    );
    let output = iris(&["check", name(file.path())]);
    assert_eq!(output.status.code(), Some(0));
    let text = out(&output);
    assert!(
        text.contains(":3:12: warning: unknown config key \"basurl\""),
        "{text}"
    );
    assert!(
        text.contains(":3:10: warning: provider p has no baseurl configured"),
        "{text}"
    );
    let count = text
        .lines()
        .filter(|line| line.contains(": warning: "))
        .count();
    let total = format!(": 0 errors, {count} warnings\n");
    assert!(count > 1 && text.ends_with(&total), "{text}");
    assert_eq!(
        iris(&["check", "--strict", name(file.path())])
            .status
            .code(),
        Some(1)
    );
    let report: Value =
        serde_json::from_slice(&iris(&["check", "--json", name(file.path())]).stdout).unwrap();
    assert_eq!(report["valid"], true);
    assert_eq!(report["findings"][0]["line"], 1);
    let broken = written("{ \"tailnet\": { \"auth_key\": \"${IRIS_TEST_UNSET}\" } }");
    let output = iris(&["check", name(broken.path())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        out(&output).contains("unsubstituted macros: [IRIS_TEST_UNSET]"),
        "{}",
        out(&output)
    );
    assert!(out(&output).contains(": 1 error, "), "{}", out(&output));
    assert_eq!(iris(&["check", "/nonexistent"]).status.code(), Some(1));
    assert_eq!(iris(&["chekc"]).status.code(), Some(2));
}

#[test]
fn help_is_for_people() {
    for command in [
        &["init"][..],
        &["demo"],
        &["check"],
        &["explain"],
        &["prices"],
        &["models"],
        &["connect"],
        &["doctor"],
        &["status"],
        &["service", "install"],
    ] {
        let help = out(&iris(&[command, &["--help"]].concat()));
        assert!(help.contains("Usage:"), "{command:?}: {help}");
        for odd in ["[default: \"\"]", "<http", "(s)"] {
            assert!(!help.contains(odd), "{command:?} has {odd}: {help}");
        }
    }
    let schema: Value = serde_json::from_slice(&iris(&["schema", "--json"]).stdout).unwrap();
    assert!(schema["properties"].is_object());
}

#[tokio::test]
async fn who_has_no_model_is_told_what_to_do() {
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [{ "role": "user" }] } }]);
    let gateway = Gateway::start("127.0.0.1:9".parse().unwrap(), json!({ "grants": grants })).await;
    let url = format!("http://{}", gateway.address);
    let ask = async |arguments: &'static [&'static str]| {
        let url = url.clone();
        let run = move || iris(&[arguments, &["--url", &url]].concat());
        out(&tokio::task::spawn_blocking(run).await.unwrap())
    };
    let models = ask(&["models"]).await;
    assert!(
        models.contains("Ask an admin of this gateway for a grant with \"models\" for (loopback)"),
        "{models}"
    );
    assert_eq!(
        ask(&["status", "--requests"]).await,
        "No requests are on record.\n"
    );
    assert_eq!(
        ask(&["status", "--sessions"]).await,
        "No sessions are on record.\n"
    );
    let json: Value = serde_json::from_str(&ask(&["models", "--json"]).await).unwrap();
    assert_eq!(json["data"], json!([]));
}

#[test]
fn explain_tells_the_reasons() {
    let file = written(EXAMPLE);
    let config = name(file.path());
    for (who, model, code, says) in [
        (
            "alice@example.com",
            "qwen",
            0,
            "goes to provider gpu as \"qwen\"",
        ),
        ("alice@example.com", "gpu/qwen", 0, "grants[0], line 8"),
        (
            "alice@example.com",
            "opus",
            0,
            "translated for provider claude: chat → messages",
        ),
        (
            "alice@example.com",
            "gpt",
            1,
            "no enabled provider lists \"gpt\"",
        ),
        (
            "tag:ci",
            "qwen",
            1,
            "no grant of this caller covers any of gpu/qwen",
        ),
        (
            "bob@example.com",
            "qwen",
            1,
            "403 access denied: no role granted",
        ),
    ] {
        let output = iris(&["explain", "--config", config, "--as", who, model]);
        assert_eq!(output.status.code(), Some(code), "{who} {model}");
        assert!(
            out(&output).contains(says),
            "{who} {model}: {}",
            out(&output)
        );
    }
    let output = iris(&[
        "explain", "--json", "--config", config, "--as", "tag:ci", "qwen",
    ]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["allowed"], false);
}

#[tokio::test]
async fn models_and_status_ask_a_running_gateway() {
    let (address, _received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    gateway.chat(r#"{"model":"m","messages":[]}"#).await;
    let record = gateway.record().await;
    for time in ["duration_ms", "first_byte_ms", "overhead_ms"] {
        let text = record[time].to_string();
        let digits = text.split_once('.').map_or(0, |(_, digits)| digits.len());
        assert!(record[time].is_number() && digits <= 3, "{time}: {text}");
    }
    let url = format!("http://{}", gateway.address);
    let ask = async |arguments: &'static [&'static str]| {
        let url = url.clone();
        let run = move || {
            let mut all = arguments.to_vec();
            all.extend(["--url", &url]);
            iris(&all)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    assert!(out(&ask(&["models"]).await).contains("m      p         /v1/chat/completions"));
    let sessions = out(&ask(&["status", "--sessions"]).await);
    assert!(
        sessions.contains("(loopback)") && sessions.lines().count() == 2,
        "{sessions}"
    );
    assert!(out(&ask(&["status"]).await).contains("(loopback) (admin)"));
    let report: Value =
        serde_json::from_slice(&ask(&["status", "--requests", "--json"]).await.stdout).unwrap();
    assert_eq!(report["requests"][0]["usage"]["output_tokens"], 5);
    let silent = iris(&["models", "--url", "http://127.0.0.1:1"]);
    assert_eq!(silent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&silent.stderr).contains("can't reach a gateway"));
}

#[tokio::test]
async fn a_changed_file_takes_effect_and_a_broken_one_does_not() {
    let (address, _received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let ask = r#"{"model":"other","messages":[]}"#;
    assert_eq!(gateway.chat(ask).await.status, 404);
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("[\"m\"]", "[\"other\"]")).unwrap();
    // A request that is sent a second later gets the new one, however long its response takes.
    let changed = Instant::now();
    loop {
        let sent = changed.elapsed();
        if gateway.chat(ask).await.status == 200 {
            break;
        }
        assert!(sent < Duration::from_secs(1), "not felt within a second");
    }
    std::fs::write(gateway.config(), "{").unwrap();
    // It has been read since.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(gateway.chat(ask).await.status, 200);
}

#[tokio::test]
async fn exports_go_out_however_often_something_else_changes() {
    let respond: support::provider::Script = |mut stream| {
        async move { answer(&mut stream, "200 OK", "connection: close\r\n", "{}").await }.boxed()
    };
    let (address, _asked) = provider(respond).await;
    let (collector, mut exported) = provider(respond).await;
    let otlp =
        json!({ "endpoint": format!("http://{collector}"), "metrics": false, "every": "1s" });
    let gateway = Gateway::start(address, json!({ "exporters": { "otlp": otlp } })).await;
    assert_eq!(
        gateway.chat(r#"{"model":"m","messages":[]}"#).await.status,
        200
    );
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    // Each of these is another configuration, well within a second.
    for nth in 0..40 {
        let changed = text.replace("[\"m\"]", &format!("[\"m\",\"m{nth}\"]"));
        std::fs::write(gateway.config(), changed).unwrap();
        let export = tokio::time::timeout(Duration::from_millis(400), exported.recv()).await;
        if let Ok(Some(export)) = export {
            assert!(
                export.head.starts_with("POST /v1/traces "),
                "{}",
                export.head
            );
            return;
        }
    }
    panic!("nothing is exported while the configuration changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_is_one_gateways() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("iris.hujson");
    let text = json!({ "tailnet": { "mode": "off" }, "listen": { "loopback": "127.0.0.1:0" } });
    std::fs::write(&config, text.to_string()).unwrap();
    let state_dir = dir.path().join("state");
    let options = iris::app::Options {
        config: Some(config.clone()),
        state_dir: state_dir.clone(),
    };
    let running = iris::app::start(&options).await.unwrap();
    let arguments = [
        "serve",
        "--config",
        name(&config),
        "--state-dir",
        name(&state_dir),
    ];
    let output = iris(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("another Iris runs with the state directory"),
        "{said}"
    );
    running.stop().await.unwrap();
    // Once it has ended, the next one takes it.
    let next = iris::app::start(&options).await.unwrap();
    next.stop().await.unwrap();
}
