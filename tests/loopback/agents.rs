//! `iris connect`: what agents on this machine get from a gateway, a hostile one too.

use std::process::{Command, Stdio};

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::Gateway;
use crate::commands::out;
use support::provider::{COMPLETION, answer, provider, server};

/// Names that a gateway invents reach a terminal and an agent's environment only as names, and the
/// gateway can't redirect its clients.
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

/// What a person types goes to the gateway, and not through a proxy that is set by chance.
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
    let gateway = Gateway::start(upstream, json!({ "provider": { "translate": false } })).await;
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
    let labels = vec!["opencode", "--print", "--labels", "team=ml"];
    let text = out(&connect(labels).await.unwrap());
    assert!(text.contains(r#""x-iris-labels":"team=ml""#), "{text}");
    let text = out(&connect(vec!["opencode", "--print", "--labels", ""])
        .await
        .unwrap());
    assert!(!text.contains("x-iris-labels"), "{text}");
    // The format and the model are checked first.
    for (arguments, why) in [
        (vec!["claude-code", "--print"], "speaks Anthropic messages"),
        (
            vec!["opencode", "--model", "none"],
            "you have no access to a model none",
        ),
        (vec!["emacs"], "unknown agent \"emacs\""),
        (vec!["opencode", "--labels", "team"], "the label \"team\""),
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
