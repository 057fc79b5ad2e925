//! `iris demo`: its tour, its pages, and its end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Runs a command line that the tour has printed.
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
