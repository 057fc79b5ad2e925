//! `iris doctor`, and the files that `iris connect` changes, as a colleague runs them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::Gateway;
use crate::commands::out;
use support::provider::{COMPLETION, answer, provider, server};

/// Variables that would change what a test sees.
const VARIABLES: [&str; 12] = [
    "ANTHROPIC_BASE_URL",
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE",
    "OPENAI_HOST",
    "GOOGLE_GEMINI_BASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "IRIS_URL",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
];

async fn run(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
    for name in VARIABLES {
        command
            .env_remove(name)
            .env_remove(name.to_ascii_lowercase());
    }
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output().expect("the program runs"));
    ran.await.unwrap()
}

async fn gateway(
    more: Value,
) -> (
    Gateway,
    tokio::sync::mpsc::Receiver<support::provider::Received>,
) {
    let (upstream, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    (Gateway::start(upstream, more).await, received)
}

/// The result of each check by its name.
fn results(output: &Output) -> Vec<(String, String, String)> {
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let checks = report["checks"].as_array().unwrap();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let all = checks
        .iter()
        .map(|one| (text(one, "check"), text(one, "result"), text(one, "what")));
    all.collect()
}

#[tokio::test]
async fn a_doctor_finds_a_gateway_well_and_asks_a_model_only_if_told() {
    let models = json!({ "models": ["dear", "m", "text-embedding-3-small"] });
    let prices =
        json!({ "dear": { "input": "9", "output": "9" }, "m": { "input": "1", "output": "2" } });
    let (gateway, mut received) = gateway(json!({ "provider": models, "prices": prices })).await;
    let url = format!("http://{}", gateway.address);
    let home = tempfile::tempdir().unwrap();
    let well = run(home.path(), &["doctor", "--url", &url], &[]).await;
    let said = out(&well);
    assert_eq!(well.status.code(), Some(0), "{said}");
    for part in [
        "takes you for (loopback)",
        "dear, m\n",
        "--ask asks m",
        "no variable leads elsewhere",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(received.try_recv().is_err(), "nothing was asked");
    let asked = run(
        home.path(),
        &["doctor", "--ask", "--json", "--url", &url],
        &[],
    )
    .await;
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    let results = results(&asked);
    let answer = results
        .iter()
        .find(|(check, ..)| check == "answer")
        .unwrap();
    assert_eq!(answer.1, "ok", "{answer:?}");
    let body: Value = serde_json::from_slice(&received.recv().await.unwrap().body).unwrap();
    assert_eq!(
        (&body["model"], &body["max_completion_tokens"]),
        (&json!("m"), &json!(16))
    );
}

#[tokio::test]
async fn a_doctor_asks_a_server_that_knows_only_the_older_limit() {
    let (upstream, asked) = server("127.0.0.1:0", |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        if body.get("max_completion_tokens").is_some() {
            let why = r#"{"error":{"message":"unknown field max_completion_tokens"}}"#;
            ("400 Bad Request", why.to_owned())
        } else {
            ("200 OK", COMPLETION.to_owned())
        }
    })
    .await;
    let gateway = Gateway::start(upstream, json!({})).await;
    let url = format!("http://{}", gateway.address);
    let home = tempfile::tempdir().unwrap();
    let arguments = ["doctor", "--ask", "--json", "--url", &url];
    let output = run(home.path(), &arguments, &[]).await;
    let results = results(&output);
    let answer = results.iter().find(|(check, ..)| check == "answer");
    assert_eq!(answer.unwrap().1, "ok", "{answer:?}");
    let asked = asked.lock().unwrap();
    let body: Value = serde_json::from_slice(&asked.last().unwrap().body).unwrap();
    assert_eq!((asked.len(), &body["max_tokens"]), (2, &json!(16)));
}

#[tokio::test]
async fn a_doctor_says_what_is_wrong_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let grants = json!([{ "src": ["someone@example.com"], "app": { "tailscale.com/cap/aperture": [{ "role": "user" }] } }]);
    let (gateway, _received) = gateway(json!({ "grants": grants })).await;
    let url = format!("http://{}", gateway.address);
    let wrong = |output: &Output| {
        let found = results(output).into_iter();
        let wrong = found.filter(|(_, result, _)| result == "wrong");
        wrong.map(|(check, ..)| check).collect::<Vec<_>>()
    };
    // Nobody is known.
    let output = run(home.path(), &["doctor", "--json", "--url", &url], &[]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(wrong(&output), ["you"]);
    // A proxy would get everything.
    let proxy = [("HTTP_PROXY", "http://proxy.test:1")];
    let output = run(home.path(), &["doctor", "--json", "--url", &url], &proxy).await;
    assert_eq!(wrong(&output), ["you", "environment"]);
    // Nothing answers.
    let output = run(
        home.path(),
        &["doctor", "--json", "--url", "http://127.0.0.1:9"],
        &[],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(wrong(&output), ["gateway"]);
    // Something else answers.
    let (other, _) = server("127.0.0.1:0", |_| ("200 OK", "hello".into())).await;
    let output = run(
        home.path(),
        &["doctor", "--url", &format!("http://{other}")],
        &[],
    )
    .await;
    assert!(
        out(&output).contains("is not an Iris gateway"),
        "{output:?}"
    );
    assert!(out(&output).contains("→ "), "{output:?}");
}

#[tokio::test]
async fn a_doctor_asks_tailscale_why_a_gateway_is_not_found() {
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("tailscale");
    let path = format!(
        "{}:{}",
        home.path().display(),
        std::env::var("PATH").unwrap()
    );
    for (script, said) in [
        (
            r#"echo '{"BackendState":"NeedsLogin","CurrentTailnet":{"MagicDNSEnabled":false}}'"#,
            "Tailscale is signed out",
        ),
        ("exit 1", "doesn't run"),
        // More than a pipe holds, and no JSON.
        ("head -c 300000 /dev/zero; exit 1", "doesn't run"),
        ("exec sleep 60", "no answer within 5s"),
    ] {
        // By another process: a file that this one writes can't be run while a test beside it forks.
        let write = Command::new("sh")
            .args([
                "-c",
                "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"",
            ])
            .args([program.as_os_str(), script.as_ref()])
            .status();
        assert!(write.unwrap().success());
        let doctor = ["doctor", "--json", "--url", "http://no-gateway.invalid"];
        let output = run(home.path(), &doctor, &[("PATH", &path)]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let results = results(&output);
        let (_, result, what) = results
            .iter()
            .find(|(check, ..)| check == "tailnet")
            .unwrap();
        assert_eq!(result, "wrong", "{script}");
        assert!(what.contains(said), "{script}: {what}");
        let name = results.iter().find(|(check, ..)| check == "name").unwrap();
        let is_off = name.2.contains("MagicDNS is off");
        assert_eq!(is_off, script.contains("MagicDNS"), "{name:?}");
    }
}

#[tokio::test]
async fn a_change_of_an_agents_file_can_be_undone() {
    let (gateway, _received) = gateway(json!({})).await;
    let url = format!("http://{}", gateway.address);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".config/crush/crush.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mine = "{\n  // mine\n  \"options\": { \"debug\": true }\n}\n";
    std::fs::write(&file, mine).unwrap();
    for agent in ["crush", "pi"] {
        let write = ["connect", agent, "--write", "--yes", "--url", &url];
        let wrote = run(home.path(), &write, &[]).await;
        assert!(wrote.status.success(), "{wrote:?}");
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(
        written.contains("// mine") && written.contains(&url),
        "{written}"
    );
    let models = home.path().join(".pi/agent/models.json");
    assert!(models.exists());
    for agent in ["crush", "pi"] {
        let undo = ["connect", agent, "--undo", "--yes", "--url", &url];
        let undone = run(home.path(), &undo, &[]).await;
        assert!(undone.status.success(), "{undone:?}");
        let again = run(home.path(), &undo, &[]).await;
        assert!(out(&again).contains("Nothing to undo"), "{again:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), mine);
    assert!(!models.exists(), "a file that wasn't there goes");
    // One that its user has removed meanwhile doesn't keep the others.
    let write = ["connect", "pi", "--write", "--yes", "--url", &url];
    assert!(run(home.path(), &write, &[]).await.status.success());
    std::fs::remove_file(&models).unwrap();
    let undo = ["connect", "pi", "--undo", "--yes", "--url", &url];
    let undone = run(home.path(), &undo, &[]).await;
    assert!(undone.status.success(), "{undone:?}");
    let left = std::fs::read_dir(models.parent().unwrap()).unwrap();
    assert_eq!(left.count(), 0, "the copies go");
}

#[tokio::test]
async fn settings_for_a_team_are_printed_and_nothing_is_written() {
    let (gateway, _received) = gateway(json!({})).await;
    let url = format!("http://{}", gateway.address);
    let home = tempfile::tempdir().unwrap();
    let team = ["connect", "claude-code", "--team", "--url", &url];
    let output = run(home.path(), &team, &[]).await;
    let settings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(settings["env"]["ANTHROPIC_BASE_URL"], url);
    assert_eq!(settings["env"]["ANTHROPIC_MODEL"], "m");
    assert!(String::from_utf8_lossy(&output.stderr).contains("managed-settings.json"));
    let output = run(
        home.path(),
        &["connect", "opencode", "--team", "--url", &url],
        &[],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    // An editor takes no settings for one run.
    let output = run(home.path(), &["connect", "zed", "--url", &url], &[]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--write puts them there"), "{said}");
}

#[tokio::test]
async fn an_agent_stays_signed_in_where_the_provider_takes_its_login() {
    let own = json!({ "auth_mode": "passthrough", "compatibility": {
        "anthropic_messages": true, "openai_responses": true } });
    let (gateway, _received) = gateway(json!({ "provider": own })).await;
    let url = format!("http://{}", gateway.address);
    let home = tempfile::tempdir().unwrap();
    for (agent, absent) in [
        ("claude-code", "ANTHROPIC_AUTH_TOKEN"),
        ("codex", "env_key"),
    ] {
        let output = run(
            home.path(),
            &["connect", agent, "--print", "--url", &url],
            &[],
        )
        .await;
        let text = out(&output);
        assert!(text.contains(&url) && !text.contains(absent), "{text}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("stays signed in"), "{said}");
        assert!(!said.contains("apiKeyHelper"), "{said}");
    }
    // What a keyed model left in a file would replace the login.
    let file = home.path().join(".claude/settings.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, r#"{ "apiKeyHelper": "echo '-'" }"#).unwrap();
    let print = ["connect", "claude-code", "--print", "--url", &url];
    let output = run(home.path(), &print, &[]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("still has the apiKeyHelper"), "{said}");
    let page =
        http::Request::get("/ui/setup?for=claude-code").body(http_body_util::Full::default());
    let page = gateway.send(page.unwrap()).await.text();
    assert!(
        page.contains("stays signed in") && !page.contains("ANTHROPIC_AUTH_TOKEN"),
        "{page}"
    );
}
