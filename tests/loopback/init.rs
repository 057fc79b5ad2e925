//! The first minute on a terminal: a configuration, and a gateway that shows how to try it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use futures_util::FutureExt;
use serde_json::json;

use crate::commands::{iris, name, out};
use support::provider::{COMPLETION, Received, answer, provider, server};
use support::terminal::Terminal;

fn checked(path: &str) {
    let output = iris(&["check", "--strict", path]);
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{text}", out(&output));
}

fn explained(path: &str, who: &str, model: &str) -> Option<i32> {
    iris(&["explain", "--config", path, "--as", who, model])
        .status
        .code()
}

fn loaded(path: &Path) -> iris::config::File {
    let text = std::fs::read_to_string(path).unwrap();
    let lookup = |_: &str| Some("value".to_owned());
    iris::config::parse(&text, &lookup).unwrap().file
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn options_answer_everything_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let file = name(&file);
    let headscale = [
        "init",
        "--output",
        file,
        "--control",
        "https://headscale.example.com",
        "--hostname",
        "llm",
        "--provider",
        "http://gpu.invalid:8080,qwen,llama",
        "--admin",
        "root@example.com",
    ];
    let output = iris(&headscale);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert!(out(&output).contains(&format!("iris serve --config {file}")));
    checked(file);
    let text = std::fs::read_to_string(file).unwrap();
    let loaded = iris::config::parse(&text, &|_| None).unwrap().file;
    assert_eq!(loaded.tailnet.hostname, "llm");
    assert_eq!(loaded.tailnet.control_url, "https://headscale.example.com");
    assert_eq!(
        loaded.tailnet.capabilities,
        ["headscale.example.com/cap/ai"]
    );
    assert_eq!(loaded.providers["gpu"].models, ["qwen", "llama"]);
    assert_eq!(explained(file, "somebody@example.com", "qwen"), Some(0));

    let again = iris(&headscale);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        complaint(&again).contains("stays as it is"),
        "{}",
        complaint(&again)
    );
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[test]
fn without_a_terminal_each_missing_answer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let says = |more: &[&str]| {
        let output = iris(&[&["init", "--output", name(&file)], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        complaint(&output)
    };
    let all = says(&[]);
    assert!(
        all.contains("not a terminal; pass --control, --provider, --hostname, --admin"),
        "{all}"
    );
    let one = says(&["--control", "loopback"]);
    assert!(one.contains("not a terminal; pass --provider\n"), "{one}");
    let useless = says(&["--control", "loopback", "--admin", "a@b"]);
    assert!(
        useless.contains("--admin can't be combined with loopback"),
        "{useless}"
    );
    says(&["--control", "ftp://example.com"]);
    let name = says(&["--hostname", "Ai_Box"]);
    assert!(
        name.contains(r#""Ai_Box" can't be a node's name"#) && name.contains(r#"such as "ai-box""#),
        "{name}"
    );
    says(&["--budget", "five"]);
    says(&["--provider", "openai,key=sk-1234"]);
    says(&["--admin", "*"]);
    assert!(!file.exists());
}

/// Answers as a server that speaks everything, without a key.
fn local(request: &Received) -> (&'static str, String) {
    match request.target().as_str() {
        "GET /v1/models" => {
            let list = json!({ "data": [{ "id": "tiny" }, { "id": "\u{1b}[2Jlarge" }] });
            ("200 OK", list.to_string())
        }
        "POST /v1/chat/completions"
        | "POST /v1/responses"
        | "POST /v1/messages"
        | "POST /v1/embeddings" => ("400 Bad Request", "{}".to_owned()),
        _ => ("404 Not Found", "{}".to_owned()),
    }
}

/// A server that is here, and one that can't be asked.
fn two_providers(terminal: &mut Terminal, address: std::net::SocketAddr) {
    terminal.wait_for("Providers of models:");
    for kind in [
        "Ollama",
        "llama.cpp",
        "vLLM",
        "LM Studio",
        "OpenAI",
        "Anthropic",
        "Gemini",
    ] {
        terminal.wait_for(kind);
    }
    for kind in [
        "OpenRouter",
        "Amazon Bedrock",
        "Google Vertex AI",
        "Another server",
    ] {
        terminal.wait_for(kind);
    }
    terminal.wait_for("Which?");
    terminal.type_in("done\n");
    terminal.wait_for("needs at least one provider");
    terminal.type_in("99\n");
    terminal.wait_for("is not a number from 1 to");
    // No server is at this address, but one is at another.
    terminal.type_in("other,url=http://127.0.0.1:1\n");
    terminal.wait_for("cannot be asked");
    terminal.wait_for("4  Leave it out");
    terminal.type_in("2\n");
    terminal.wait_for("At which address?");
    terminal.type_in(&format!("{address}\n"));
    terminal.wait_for("It speaks chat, responses, messages, embeddings.");
    terminal.wait_for("It has 1 model: tiny");
    terminal.wait_for("Added private with 1 model.");
    // One that can't be asked from here, with its models and formats as options.
    terminal.wait_for("[done]: ");
    terminal.type_in("http://gpu.invalid:8080\n");
    terminal.wait_for("cannot be asked");
    terminal.wait_for("[1]: ");
    terminal.type_in("3\n");
    terminal.wait_for("Which models does it have?");
    terminal.type_in("big bigger\n");
    terminal.wait_for("[chat]: ");
    terminal.type_in("chat, messages\n");
    terminal.wait_for("Added gpu with 2 models.");
    terminal.wait_for("[done]: ");
    terminal.type_in("\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_asked_until_they_are_answered() {
    let (address, _log) = server("127.0.0.1:0", local).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let nobody = dir.path().join("no.sock");
    let mut terminal =
        Terminal::start(&["init", "--output", name(&file), "--socket", name(&nobody)]);
    terminal.wait_for("[tailscale]: ");
    terminal.type_in("nowhere\n");
    terminal.wait_for("is neither");
    terminal.wait_for("[tailscale]: ");
    terminal.type_in("\n");
    terminal.wait_for("[ai]: ");
    terminal.type_in("Ai_Box\n");
    terminal.wait_for("can't be a node's name");
    terminal.wait_for("[ai]: ");
    terminal.type_in("\n");
    two_providers(&mut terminal, address);
    terminal.wait_for("Who is the admin?");
    terminal.type_in("*\n");
    terminal.wait_for("everybody an admin");
    terminal.type_in("me\n");
    terminal.wait_for("is tailscaled running");
    terminal.type_in("me@example.com\n");
    terminal.wait_for("[no limit]: ");
    terminal.type_in("lots\n");
    terminal.wait_for("is not a budget");
    terminal.type_in("$7.50\n");
    let (code, said) = terminal.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("iris check --strict"), "{said}");
    assert!(said.contains("iris connect claude-code"), "{said}");
    assert!(!said.contains("\u{1b}[2J"), "{said}");
    checked(name(&file));
    let loaded = loaded(&file);
    assert_eq!(loaded.providers["private"].models, ["tiny"]);
    assert_eq!(
        loaded.providers["private"].compatibility.flags(),
        ["openai_chat", "openai_responses", "anthropic_messages"]
    );
    assert_eq!(loaded.providers["gpu"].models, ["big", "bigger"]);
    assert_eq!(
        loaded.providers["gpu"].compatibility.flags(),
        ["openai_chat", "anthropic_messages"]
    );
    assert_eq!(loaded.grants[0].src, ["me@example.com"]);
    assert!(loaded.quotas["budget:<user>"].is_ok());
}

#[test]
fn an_end_of_input_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let nobody = dir.path().join("no.sock");
    let mut terminal =
        Terminal::start(&["init", "--output", name(&file), "--socket", name(&nobody)]);
    terminal.wait_for("[tailscale]: ");
    terminal.type_in("\u{4}");
    let (code, said) = terminal.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing was written"), "{said}");
    assert!(!file.exists());
}

#[test]
fn a_gateway_for_this_machine_serves_what_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let arguments = ["init", "--output", name(&file), "--control", "loopback"];
    let output = iris(&[&arguments[..], &["--provider", "http://127.0.0.1:9,m"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    checked(name(&file));
    assert_eq!(explained(name(&file), "(loopback)", "m"), Some(0));
    assert_eq!(explained(name(&file), "me@example.com", "m"), Some(1));
}

/// A folder with a configuration for one provider.
fn for_this_machine(baseurl: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let configuration = json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": "127.0.0.1:0" },
        "providers": { "near": { "baseurl": baseurl, "models": ["it's"] } },
        "grants": [{
            "src": ["(loopback)"],
            "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
        }],
    });
    std::fs::write(&file, configuration.to_string()).unwrap();
    (dir, file)
}

/// A gateway without a terminal, the URL of its loopback door, and the rest of its log.
fn served(
    dir: &Path,
    file: &Path,
) -> (
    std::process::Child,
    String,
    impl Iterator<Item = std::io::Result<String>>,
) {
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["serve", "--config", name(file), "--state-dir", name(dir)])
        .env_remove("IRIS_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains("serving local callers"));
    let line = line.expect("it says where it serves").unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let message = line["message"].as_str().unwrap();
    let url = message.rsplit(' ').next().unwrap().to_owned();
    (gateway, url, lines)
}

/// On the gateway's machine, with the file as `iris init` writes it: only the tailnet is left out.
#[test]
fn the_state_of_a_fresh_gateway_is_shown_on_its_machine() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let output = iris(&[
        "init",
        "--output",
        name(&file),
        "--control",
        "tailscale",
        "--hostname",
        "ai",
        "--admin",
        "me@example.com",
        "--no-test",
        "--provider",
        "http://127.0.0.1:9,m",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert_eq!(
        loaded(&file).listen.loopback.unwrap().to_string(),
        "127.0.0.1:8088"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("127.0.0.1:8088", "127.0.0.1:0");
    let text = text.replace("\"mode\": \"embedded\"", "\"mode\": \"off\"");
    std::fs::write(&file, text).unwrap();
    let (mut gateway, url, lines) = served(dir.path(), &file);
    let status = iris(&["status", "--url", &url]);
    let said = out(&status);
    assert_eq!(status.status.code(), Some(0), "{}", complaint(&status));
    assert!(said.contains("state    ready\n"), "{said}");
    assert!(
        said.contains("no role granted; to see more, grant"),
        "{said}"
    );
    let json = iris(&["status", "--json", "--url", &url]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["ready"], true);
    // Nothing else is open to the users of the machine.
    for command in [&["models"][..], &["status", "--requests"]] {
        let refused = iris(&[command, &["--url", &url]].concat());
        assert_eq!(refused.status.code(), Some(1), "{command:?}");
        assert!(
            complaint(&refused).contains("403"),
            "{}",
            complaint(&refused)
        );
    }
    gateway.kill().unwrap();
    lines.for_each(drop);
    gateway.wait().unwrap();
}

#[test]
fn without_a_terminal_a_gateway_only_logs() {
    let (dir, file) = for_this_machine("http://127.0.0.1:9");
    let (gateway, url, lines) = served(dir.path(), &file);
    let healthz = format!("{url}/healthz");
    let curl = Command::new("curl")
        .args(["--silent", "--fail", &healthz])
        .output();
    assert!(curl.unwrap().status.success(), "{url}");
    let stopped = Command::new("kill").arg(gateway.id().to_string()).status();
    assert!(stopped.unwrap().success());
    // A full pipe must not keep it from ending.
    lines.for_each(drop);
    let output = gateway.wait_with_output().unwrap();
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_on_a_terminal_tells_a_line_that_works() {
    let (address, _received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let (dir, file) = for_this_machine(&format!("http://{address}"));
    let arguments = [
        "serve",
        "--config",
        name(&file),
        "--state-dir",
        name(dir.path()),
    ];
    let mut terminal = Terminal::start(&arguments);
    terminal.wait_for("Ctrl-C stops the gateway.");
    let said = terminal.said().replace('\r', "");
    assert!(said.contains("  near  it's\n"), "{said}");
    let from = said.find("  curl ").unwrap();
    let line = &said[from..from + said[from..].find("\n\n").unwrap()];
    let curl = Command::new("bash")
        .args(["-c", &format!("{line} --silent --fail")])
        .output()
        .unwrap();
    assert_eq!(out(&curl), COMPLETION, "{line}");
    // As Ctrl-C does.
    terminal.type_in("\u{3}");
    let (code, said) = terminal.end();
    assert_eq!(code, Some(0), "{said}");
}
