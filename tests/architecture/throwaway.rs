//! A format with a flag of its own, added to a copy of the sources, takes its folder and one line: the
//! program that is built from them routes, meters and records a request in it, and its schema and
//! reference have the flag.
//!
//! It builds the program once more, so `just formats` runs it. The copy and what is built of it stay in
//! `target/tmp/formats`, where the next run goes on from them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use http::Request;
use serde_json::{Value, json};
use support::http::{post, send_to};
use support::process::{free_address, serve};
use support::provider::{answer, provider};

use super::root;

const FORMAT: &str = include_str!("throwaway/format.rs");
/// The line, and the list that it goes into.
const LINE: &str = "    throwaway: FORMAT;\n";
const LIST: &str = "formats! {\n";

/// What the program is built from.
const SOURCES: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "core",
    "benches",
    "src",
    "config",
    "tests/support",
];

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    let who = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
    command.arg("-C").arg(folder).args(who).args(arguments);
    output(&mut command)
}

/// The sources as they are in this checkout, committed in a repository of their own.
fn copied() -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("formats/sources");
    if copy.exists() {
        std::fs::remove_dir_all(&copy).unwrap();
    }
    let listed = [
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
    ];
    for file in git(&root(), &[&listed[..], &SOURCES].concat()).lines() {
        let (from, to) = (root().join(file), copy.join(file));
        // One that was deleted is still in the index.
        if from.exists() {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        }
    }
    git(&copy, &["init", "--quiet"]);
    git(&copy, &["add", "--all", "--force"]);
    git(&copy, &["commit", "--quiet", "--message", "before"]);
    copy
}

fn built(copy: &Path) -> PathBuf {
    let target = copy.with_file_name("target");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--bin", "iris"]);
    build.args(["--no-default-features", "--features", "server"]);
    build.env("CARGO_TARGET_DIR", &target).current_dir(copy);
    output(&mut build);
    target.join("debug/iris")
}

/// The record of the only request, once it is written.
async fn record(gateway: SocketAddr) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let request = Request::get("/api/requests?limit=1").body(http_body_util::Full::default());
        let reply = send_to(gateway, request.unwrap()).await.unwrap().json();
        if reply["requests"][0].is_object() {
            return reply["requests"][0].clone();
        }
        assert!(Instant::now() < until, "no record: {reply}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A provider with the new flag, at `upstream`.
fn document(upstream: SocketAddr, address: SocketAddr) -> Value {
    json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": address.to_string() },
        "providers": {
            "lines": {
                "baseurl": format!("http://{upstream}"),
                "models": ["m"],
                "compatibility": { "openai_chat": false, "throwaway_lines": true },
            },
        },
        "grants": [{
            "src": ["(loopback)"],
            "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
        }],
    })
}

#[tokio::test]
#[ignore = "builds the program once more: `just formats`"]
async fn a_format_is_a_folder_and_a_line() {
    let copy = copied();
    let (list, folder) = (
        copy.join("src/formats/mod.rs"),
        copy.join("src/formats/throwaway"),
    );
    let text = std::fs::read_to_string(&list).unwrap();
    assert_eq!(text.matches(LIST).count(), 1, "the list of formats");
    std::fs::write(&list, text.replace(LIST, &format!("{LIST}{LINE}"))).unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("mod.rs"), FORMAT).unwrap();
    let iris = built(&copy);

    git(&copy, &["add", "--all"]);
    let lines = FORMAT.lines().count();
    assert_eq!(
        git(&copy, &["diff", "--cached", "--numstat"]),
        format!("1\t0\tsrc/formats/mod.rs\n{lines}\t0\tsrc/formats/throwaway/mod.rs\n")
    );

    let schema: Value = serde_json::from_str(&output(Command::new(&iris).arg("schema"))).unwrap();
    assert!(
        schema.to_string().contains("\"throwaway_lines\""),
        "{schema}"
    );
    let reference = output(Command::new(&iris).args(["schema", "--markdown"]));
    let row = reference
        .lines()
        .find(|line| line.contains("throwaway_lines"));
    assert!(
        row.is_some_and(|row| row.contains("Lines that come back.")),
        "{row:?}"
    );

    let (upstream, mut received) = provider(|mut stream| {
        Box::pin(async move {
            let body = r#"{"said":["hi"],"lines":{"taken":3,"given":5}}"#;
            answer(&mut stream, "200 OK", "", body).await;
        })
    })
    .await;
    let address = free_address();
    let state = tempfile::tempdir().unwrap();
    let config = state.path().join("iris.hujson");
    std::fs::write(&config, document(upstream, address).to_string()).unwrap();
    let mut command = Command::new(&iris);
    command.args(["serve", "--config"]).arg(&config);
    command.arg("--state-dir").arg(state.path());
    let _gateway = serve(&mut command, address);

    let reply = send_to(
        address,
        post("/throwaway", r#"{"model":"lines/m","say":"hi"}"#),
    );
    let reply = reply.await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = received.recv().await.unwrap();
    assert!(
        sent.head.starts_with("POST /v1/throwaway "),
        "{}",
        sent.head
    );
    assert_eq!(sent.body, br#"{"model":"m","say":"hi"}"#);
    let record = record(address).await;
    let told = ["api", "provider", "model", "outcome"].map(|key| &record[key]);
    assert_eq!(
        json!(told),
        json!(["throwaway", "lines", "m", "complete"]),
        "{record}"
    );
    let usage = ["input_tokens", "output_tokens"].map(|key| &record["usage"][key]);
    assert_eq!(json!(usage), json!([3, 5]), "{record}");
}
