//! The program as a person uses it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::Gateway;
use support::provider::{COMPLETION, answer, provider, server};

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
            1,
            "speaks anthropic_messages, not openai_chat",
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

/// Runs a line that was printed for people to run.
fn curl(line: &str) -> Value {
    let curl = Command::new("bash")
        .args(["-c", &format!("{line} --silent")])
        .output()
        .unwrap();
    serde_json::from_slice(&curl.stdout).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// After the tour, each page that it names shows what was done.
fn pages_have_something(url: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    let records = || curl(&format!("curl {url}/api/requests"))["requests"].clone();
    while records().as_array().unwrap().len() < 4 {
        assert!(Instant::now() < until, "{}", records());
    }
    let page = |path: &str| {
        let page = Command::new("curl")
            .args(["--silent", &format!("{url}{path}")])
            .output()
            .unwrap();
        String::from_utf8(page.stdout).unwrap()
    };
    let blocked = records();
    let blocked = blocked
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["status"] == 403);
    let story = format!("/ui/requests/{}", blocked.unwrap()["id"].as_str().unwrap());
    for (path, shown) in [
        ("/ui/", "demo-large"),
        ("/ui/", "daily:(loopback)"),
        ("/ui/chat", "Demo (expensive)"),
        ("/ui/models", "200k"),
        ("/ui/models", "daily:&lt;user&gt;"),
        ("/ui/guardrails", "aws_access_key"),
        ("/ui/overview?by=status", "403"),
        ("/ui/users", "(loopback)"),
        ("/ui/agents", "curl"),
        ("/ui/providers", "healthy"),
        ("/ui/sessions", "tour"),
        ("/ui/requests", "demo-tools"),
        (&story, "aws_access_key"),
        ("/ui/tools", "weather"),
        (
            "/ui/sessions/one?login=(loopback)&session=tour",
            "weather: <b>1</b>",
        ),
        ("/ui/grants?login=(loopback)&model=good", "demo-large"),
        ("/ui/budgets", "per-minute:(loopback)"),
        ("/ui/config", "Dollars for a million tokens"),
        ("/ui/config/history", "found in the file"),
        ("/ui/connection", "loopback only"),
    ] {
        let text = page(path);
        assert!(text.contains(shown), "{path} has no {shown:?}: {text}");
    }
}

#[test]
fn the_demos_tour_fills_its_pages_and_nothing_stays() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["demo", "--plain", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("removes its data") {
        said.push_str(&lines.next().expect("more to come").unwrap());
        said.push('\n');
    }
    let lines: Vec<&str> = said
        .split("\n\n")
        .filter(|part| part.starts_with("  curl "))
        .collect();
    let answers: Vec<Value> = lines.iter().map(|line| curl(line)).collect();
    let choice = |nth: usize| &answers[nth]["choices"][0];
    let text = |nth| choice(nth)["message"]["content"].as_str().unwrap();
    assert_eq!(answers.len(), 4, "{said}");
    assert!(
        text(0).contains("demo provider, not a language model"),
        "{answers:?}"
    );
    let call = &choice(1)["message"]["tool_calls"][0]["function"];
    assert_eq!(
        *call,
        json!({ "name": "weather", "arguments": r#"{"city":"Zurich"}"# })
    );
    assert!(text(2).ends_with("You said: Write to [redacted email]."));
    let refused = answers[3]["error"]["message"].as_str().unwrap();
    assert!(refused.contains("keys"), "{refused}");
    let url = said
        .split_whitespace()
        .find(|word| word.starts_with("http://"));
    pages_have_something(url.unwrap().trim_end_matches(','));
    let config = said
        .split_whitespace()
        .find(|word| word.contains("iris.hujson"))
        .unwrap();
    let folder = Path::new(config.trim_end_matches(';'))
        .parent()
        .unwrap()
        .to_owned();
    assert!(folder.exists());
    let stopped = Command::new("kill")
        .args(["-s", "INT", &demo.id().to_string()])
        .status()
        .unwrap();
    assert!(stopped.success());
    let until = Instant::now() + Duration::from_secs(10);
    while demo.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the demo does not stop");
    }
    assert!(!folder.exists(), "{} stays", folder.display());
}

#[test]
fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["demo", "--plain", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("removes its data") {
        said.push_str(&lines.next().expect("more to come").unwrap());
        said.push('\n');
    }
    let line = said.split("\n\n").find(|part| part.starts_with("  curl "));
    // Each request is a line of the log.
    for gone in [false, true, true] {
        if gone {
            drop(demo.stderr.take());
        }
        let answer = curl(line.unwrap());
        assert!(answer["choices"].is_array(), "{answer}");
    }
    let stopped = Command::new("kill")
        .args(["-s", "INT", &demo.id().to_string()])
        .status()
        .unwrap();
    assert!(stopped.success());
    assert!(demo.wait().unwrap().success());
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
    let until = Instant::now() + Duration::from_secs(1);
    while gateway.chat(ask).await.status != 200 {
        assert!(
            Instant::now() < until,
            "the change is not felt within a second"
        );
    }
    std::fs::write(gateway.config(), "{").unwrap();
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
    // Each of these is another configuration, long before a second is over.
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

/// Names that a gateway made up reach neither a terminal nor the environment of an agent as more than
/// names, and it can't send its askers elsewhere.
#[tokio::test]
async fn a_gateway_that_means_no_good_steers_nothing() {
    let (elsewhere, followed) =
        server("127.0.0.1:0", |_| ("200 OK", r#"{"data":[]}"#.into())).await;
    let odd = "m\u{1b}]0;t\u{7}\u{9b}2J\u{202e}x\nX=1";
    let endpoints = json!(["/v1/chat/completions"]);
    let list = json!({ "data": [
        { "id": odd, "owned_by": odd, "supported_endpoints": endpoints },
        { "id": "$(id)'", "owned_by": "p", "supported_endpoints": endpoints },
        { "id": "fine", "owned_by": "p", "supported_endpoints": [odd, "/v1/chat/completions"] },
    ]});
    let list = list.to_string();
    let (hostile, _) = server("127.0.0.1:0", move |_| ("200 OK", list.clone())).await;
    let ask = |arguments: &[&str], at: std::net::SocketAddr| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
        command
            .args(arguments)
            .arg("--url")
            .arg(format!("http://{at}"));
        command.stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().expect("the program runs"))
    };
    let steers =
        |char: char| char != '\n' && (char.is_control() || matches!(char, '\u{202a}'..='\u{202e}'));
    for arguments in [
        &["models"][..],
        &["models", "--json"],
        &["connect", "opencode", "--print"],
        &["connect", "aider", "--print"],
        &["connect", "qwen-code", "--print"],
        &["connect", "opencode", "--print", "--model", "none"],
    ] {
        let output = ask(arguments, hostile).await.unwrap();
        let said = out(&output) + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.chars().any(steers), "{arguments:?}: {said:?}");
        assert!(
            !said.lines().any(|line| line.starts_with("X=1")),
            "{said:?}"
        );
        assert!(said.contains("fine"), "{arguments:?}: {said:?}");
        if arguments[0] == "connect" {
            assert!(!said.contains("$(id)"), "{said:?}");
        }
    }
    let shown = out(&ask(&["models", "--json"], hostile).await.unwrap());
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["data"][0]["id"], odd, "JSON says the same");
    let head = format!("302 Found\r\nlocation: http://{elsewhere}/v1/models").leak();
    let (leading, _) = server("127.0.0.1:0", |_| (head, String::new())).await;
    let output = ask(&["models"], leading).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is not followed"), "{said}");
    assert!(followed.lock().unwrap().is_empty());
}

/// What a person types goes to the gateway, and not through a proxy that happens to be set.
#[tokio::test]
async fn an_agent_reaches_the_gateway_past_a_proxy() {
    use std::os::unix::fs::PermissionsExt;
    let (upstream, _received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let gateway = Gateway::start(upstream, json!({})).await;
    let url = format!("http://{}", gateway.address);
    let home = tempfile::tempdir().unwrap();
    let agent = home.path().join("opencode");
    std::fs::write(&agent, "#!/bin/sh\necho \"past <$NO_PROXY> <$no_proxy>\"\n").unwrap();
    std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o755)).unwrap();
    for (variables, past) in [
        (&[][..], "past <> <>"),
        (
            &[("HTTP_PROXY", "http://proxy.test:1")],
            "past <127.0.0.1> <127.0.0.1>",
        ),
        (
            &[("all_proxy", "http://proxy.test:1"), ("no_proxy", "x.test")],
            "past <x.test,127.0.0.1> <x.test,127.0.0.1>",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
        command.args(["connect", "opencode", "--url", &url]);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command
                .env_remove(name)
                .env_remove(name.to_ascii_lowercase());
        }
        command.env("HOME", home.path()).stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", home.path().display()));
        command.envs(variables.iter().copied());
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = ran.await.unwrap();
        assert_eq!(out(&output).trim(), past, "{output:?}");
    }
}

#[tokio::test]
async fn an_agent_is_told_or_given_its_settings() {
    let (upstream, _received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let gateway = Gateway::start(upstream, json!({})).await;
    let url = format!("http://{}", gateway.address);
    let home = tempfile::tempdir().unwrap();
    let connect = |arguments: Vec<&'static str>| {
        let (url, home) = (url.clone(), home.path().to_owned());
        tokio::task::spawn_blocking(move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
            command.arg("connect").args(["--url", &url]).args(arguments);
            command.env("HOME", home).stdin(Stdio::null());
            command.output().expect("the program runs")
        })
    };
    let printed = connect(vec!["opencode", "--print"]).await.unwrap();
    let text = out(&printed);
    assert!(text.contains(&format!("{url}/v1")), "{text}");
    assert!(text.contains("iris/m"), "{text}");
    // Its format, and the model, are looked at first.
    for (arguments, why) in [
        (vec!["claude-code", "--print"], "speaks Anthropic messages"),
        (
            vec!["opencode", "--model", "none"],
            "you have no access to a model none",
        ),
        (vec!["emacs"], "unknown agent \"emacs\""),
        (vec!["opencode", "--write"], "say --yes"),
    ] {
        let output = connect(arguments).await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(why), "{said}");
    }
    let file = home.path().join(".config/opencode/opencode.json");
    assert!(!file.exists(), "nothing is written unasked");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{\n  // mine\n  \"theme\": \"dark\"\n}\n").unwrap();
    let wrote = connect(vec!["opencode", "--write", "--yes"]).await.unwrap();
    assert!(wrote.status.success());
    assert!(
        out(&wrote).contains("+  \"model\": \"iris/m\""),
        "{}",
        out(&wrote)
    );
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("// mine\n  \"theme\": \"dark\""), "{kept}");
    assert!(kept.contains(&format!("{url}/v1")), "{kept}");
    let again = connect(vec!["opencode", "--write"]).await.unwrap();
    assert!(out(&again).contains("Nothing to change"), "{}", out(&again));
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
