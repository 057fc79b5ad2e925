//! `iris init` and the providers that it asks: keys that are good and bad, models and formats, and
//! what is written. Each provider is a server that answers as the real one does.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use iris::config::File;
use serde_json::{Value, json};

use crate::commands::{name, out};
use support::provider::{Received, server};
use support::terminal::Terminal;

/// `iris init` for this machine alone, with variables of its own.
pub fn init(file: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
    for name in [
        "IRIS_CONFIG",
        "OPENAI_API_KEY",
        "AWS_REGION",
        "AWS_SESSION_TOKEN",
    ] {
        command.env_remove(name);
    }
    command
        .args(["init", "--control", "loopback", "--output", name(file)])
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs")
}

pub fn said(output: &Output) -> String {
    format!("{}{}", out(output), String::from_utf8_lossy(&output.stderr))
}

/// The file that was written, as it is read where these variables are set.
pub fn written(file: &Path, variables: &[(&str, &str)]) -> File {
    let text = std::fs::read_to_string(file).unwrap();
    let lookup = |name: &str| {
        let value = variables.iter().find(|(known, _)| *known == name);
        let of_file = || std::fs::read_to_string(name.strip_prefix("file:")?).ok();
        value.map(|(_, value)| (*value).to_owned()).or_else(of_file)
    };
    let strict = Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["check", "--strict", name(file)])
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs");
    assert!(strict.status.success(), "{}{text}", out(&strict));
    iris::config::parse(&text, &lookup).unwrap().file
}

/// Answers as OpenAI does, to one key.
fn openai(request: &Received) -> (&'static str, String) {
    let key = request.header("authorization").unwrap_or_default();
    if key != "Bearer sk-good" {
        let message = format!("Incorrect API key provided: {}", key.replace("Bearer ", ""));
        let body = json!({ "error": { "message": message } });
        return ("401 Unauthorized", body.to_string());
    }
    let ids = ["gpt-5", "gpt-5-mini", "tts-1", "text-embedding-3-small"];
    let rows: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "id": id, "owned_by": "system" }))
        .collect();
    ("200 OK", json!({ "data": rows }).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_tested_and_never_written_down() {
    let (address, log) = server("127.0.0.1:0", openai).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let good = [("MY_KEY", "sk-good")];

    let spec = format!("openai,url=http://{address},key=env:MY_KEY,gpt-5*");
    let refused = init(
        &file,
        &["--provider", &spec],
        &[("MY_KEY", "sk-wrong-0123456789")],
    );
    assert_eq!(refused.status.code(), Some(1));
    let message = said(&refused);
    assert!(
        message.contains("refuses the key: it answered 401"),
        "{message}"
    );
    assert!(message.contains("Incorrect API key provided"), "{message}");
    assert!(!message.contains("sk-wrong"), "{message}");
    assert!(!file.exists());

    let unset = init(&file, &["--provider", &spec], &[]);
    assert!(
        said(&unset).contains("MY_KEY is not set"),
        "{}",
        said(&unset)
    );
    let nothing = init(
        &file,
        &["--provider", &spec.replace("gpt-5*", "claude*")],
        &good,
    );
    assert!(
        said(&nothing).contains("there are 4 models"),
        "{}",
        said(&nothing)
    );

    let output = init(
        &file,
        &["--provider", &spec, "--budget", "$50/month"],
        &good,
    );
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("export MY_KEY"), "it is set");
    let loaded = written(&file, &good);
    let provider = &loaded.providers["openai"];
    assert_eq!(provider.models, ["gpt-5", "gpt-5-mini"]);
    assert_eq!(
        provider.compatibility.flags(),
        ["openai_chat", "openai_responses"]
    );
    assert!(loaded.quotas["budget:<user>"].is_ok());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("${MY_KEY}") && !text.contains("sk-good"),
        "{text}"
    );
    // A service whose formats are known isn't asked for them.
    let log = log.lock().unwrap();
    assert!(log.iter().all(|one| one.target() == "GET /v1/models"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_file_is_named_by_its_whole_path() {
    let (address, _log) = server("127.0.0.1:0", openai).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    std::fs::write(dir.path().join("openai.key"), "sk-good\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_iris"))
        .current_dir(dir.path())
        .args(["init", "--control", "loopback", "--output", name(&file)])
        .arg("--provider")
        .arg(format!("openai,url=http://{address},key=file:openai.key"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(written(&file, &[]).providers["openai"].models.len(), 4);
    let text = std::fs::read_to_string(&file).unwrap();
    let path = dir.path().join("openai.key");
    assert!(
        text.contains(&format!("${{file:{}}}", path.display())),
        "{text}"
    );
    let missing = format!("openai,url=http://{address},key=file:/nonexistent/key");
    let missing = init(&dir.path().join("other"), &["--provider", &missing], &[]);
    let message = said(&missing);
    assert!(
        message.contains("key file /nonexistent/key cannot be read"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_key_is_not_shown_and_goes_into_a_file_of_its_own() {
    let (address, _log) = server("127.0.0.1:0", openai).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let state = dir.path().join("state");
    let mut terminal = Terminal::start(&[
        "init",
        "--control",
        "loopback",
        "--output",
        name(&file),
        "--state-dir",
        name(&state),
    ]);
    terminal.wait_for("Which?");
    terminal.type_in(&format!("openai,url=http://{address}\n"));
    terminal.wait_for("never written into the configuration");
    terminal.wait_for("1  I type it now");
    terminal.wait_for("[1]: ");
    terminal.type_in("1\n");
    terminal.wait_for("(it is not shown): ");
    terminal.type_in("sk-mistyped\u{15}sk-wrong-0123456789\n");
    terminal.wait_for("Where should it be kept?");
    terminal.wait_for("[1]: ");
    terminal.type_in("2\n");
    terminal.wait_for("OpenAI refuses: it answered 401 Unauthorized: Incorrect API key provided");
    terminal.wait_for("2  Give another key");
    terminal.wait_for("[1]: ");
    terminal.type_in("2\n");
    terminal.wait_for("[1]: ");
    terminal.type_in("1\n");
    terminal.wait_for("(it is not shown): ");
    terminal.type_in("sk-good\n");
    terminal.wait_for("state/keys/openai.key, which only you can read");
    terminal.wait_for("[1]: ");
    terminal.type_in("\n");
    terminal.wait_for("It has 4 models: gpt-5, gpt-5-mini, tts-1, text-embedding-3-small");
    terminal.wait_for("[all]: ");
    terminal.type_in("nothing-like*\n");
    terminal.wait_for("no model is called");
    terminal.type_in("gpt*\n");
    terminal.wait_for("Added openai with 2 models.");
    // The echo is back.
    terminal.wait_for("[done]: ");
    terminal.type_in("done\n");
    terminal.wait_for("done");
    terminal.wait_for("[no limit]: ");
    terminal.type_in("\n");
    let (code, said) = terminal.end();
    assert_eq!(code, Some(0), "{said}");
    for key in ["sk-good", "sk-wrong", "sk-mistyped"] {
        assert!(!said.contains(key), "{said}");
    }
    let key = state.join("keys/openai.key");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), "sk-good\n");
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let loaded = written(&file, &[]);
    assert_eq!(loaded.providers["openai"].models, ["gpt-5", "gpt-5-mini"]);
    assert!(loaded.quotas.is_empty());
}

/// A choice in the menu means the same as on the command line.
#[tokio::test(flavor = "multi_thread")]
async fn formats_that_are_typed_win_over_those_that_are_found() {
    let (address, log) = server("127.0.0.1:0", |request: &Received| {
        match request.target().as_str() {
            "GET /v1/models" => {
                let list = json!({ "data": [{ "id": "tiny" }, { "id": "large" }] });
                ("200 OK", list.to_string())
            }
            "POST /v1/chat/completions" | "POST /v1/responses" => {
                ("400 Bad Request", "{}".to_owned())
            }
            _ => ("404 Not Found", "{}".to_owned()),
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let given = dir.path().join("given.hujson");
    let line = format!("http://{address},formats=messages,t*");
    let output = init(&given, &["--provider", &line], &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(log.lock().unwrap().len() > 1, "it was asked");
    let typed = dir.path().join("typed.hujson");
    let arguments = ["init", "--control", "loopback", "--budget", "5"];
    let mut terminal = Terminal::start(&[&arguments[..], &["--output", name(&typed)]].concat());
    terminal.wait_for("Which?");
    terminal.type_in(&format!("{line}\n"));
    terminal.wait_for("Added private with 1 model.");
    terminal.wait_for("[done]: ");
    // The same again, and with a pattern that matches nothing.
    terminal.type_in(&format!("{line}\n"));
    terminal.wait_for("is there already.");
    terminal.wait_for("[done]: ");
    terminal.type_in(&format!("http://{address},key=env:HOME,nothing*\n"));
    terminal.wait_for("no model is called");
    terminal.wait_for("[all]: ");
    terminal.type_in("large\n");
    terminal.wait_for("Added private-2 with 1 model.");
    terminal.wait_for("[done]: ");
    terminal.type_in("\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    let home = [("HOME", "/")];
    let (given, typed) = (written(&given, &[]), written(&typed, &home));
    for one in [&given, &typed] {
        let provider = &one.providers["private"];
        assert_eq!(provider.models, ["tiny"]);
        assert_eq!(provider.compatibility.flags(), ["anthropic_messages"]);
    }
    assert_eq!(typed.providers["private-2"].models, ["large"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_can_not_be_saved_leaves_no_configuration() {
    let (address, _log) = server("127.0.0.1:0", openai).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    // No folder can be created there.
    let state = dir.path().join("state");
    std::fs::write(&state, "").unwrap();
    let mut terminal = Terminal::start(&[
        "init",
        "--control",
        "loopback",
        "--budget",
        "5",
        "--output",
        name(&file),
        "--state-dir",
        name(&state),
    ]);
    terminal.wait_for("Which?");
    terminal.type_in(&format!("openai,url=http://{address},gpt-5\n"));
    terminal.wait_for("[1]: ");
    terminal.type_in("1\n");
    terminal.wait_for("(it is not shown): ");
    terminal.type_in("sk-good\n");
    terminal.wait_for("which only you can read");
    terminal.wait_for("[1]: ");
    terminal.type_in("1\n");
    terminal.wait_for("[done]: ");
    terminal.type_in("done\n");
    let (code, said) = terminal.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("error: nothing was written: cannot write the key to "),
        "{said}"
    );
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_a_key_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let state = dir.path().join("state");
    let mut terminal = Terminal::start(&[
        "init",
        "--control",
        "loopback",
        "--output",
        name(&file),
        "--state-dir",
        name(&state),
    ]);
    terminal.wait_for("Which?");
    terminal.type_in("openai,url=http://127.0.0.1:1\n");
    terminal.wait_for("[1]: ");
    terminal.type_in("1\n");
    terminal.wait_for("(it is not shown): ");
    terminal.type_in("sk-1\u{3}");
    let (code, said) = terminal.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("interrupted; nothing was written"), "{said}");
    assert!(!file.exists() && !state.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ones_own_may_want_a_key_too() {
    let (address, _log) = server("127.0.0.1:0", openai).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let url = format!("http://{address}");
    let without = init(&file, &["--provider", &url], &[]);
    assert!(said(&without).contains("wants a key"), "{}", said(&without));
    // With models that are named, the key may come later.
    let named = init(&file, &["--provider", &format!("{url},gpt-5")], &[]);
    assert!(named.status.success(), "{}", said(&named));
    assert!(
        said(&named).contains("export PRIVATE_API_KEY=…"),
        "{}",
        said(&named)
    );
    written(&file, &[("PRIVATE_API_KEY", "sk-good")]);
    let file = dir.path().join("untested.hujson");
    let untested = init(
        &file,
        &["--no-test", "--provider", &format!("{url},gpt-5")],
        &[],
    );
    assert!(untested.status.success(), "{}", said(&untested));
    assert!(written(&file, &[]).providers["private"].apikey.is_empty());
}

/// A stand-in for `tailscaled` that is signed in as a person, on a tailnet of Headscale's.
fn tailscaled(path: &Path, tags: Value) {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tags = tags.clone();
            let service = hyper::service::service_fn(
                move |request: http::Request<hyper::body::Incoming>| {
                    let body = match request.uri().path() {
                        "/localapi/v0/status" => json!({
                            "BackendState": "Running", "TailscaleIPs": ["100.64.0.7"],
                        }),
                        "/localapi/v0/whois" => json!({
                            "Node": {
                                "StableID": "n", "Name": "laptop.example.", "Tags": tags,
                                "MachineAuthorized": true, "Addresses": ["100.64.0.7/32"],
                            },
                            "UserProfile": { "ID": 1, "LoginName": "ada@example.com", "DisplayName": "Ada" },
                        }),
                        "/localapi/v0/prefs" => {
                            json!({ "ControlURL": "https://headscale.example.com" })
                        }
                        _ => Value::Null,
                    };
                    let body = http_body_util::Full::new(bytes::Bytes::from(body.to_string()));
                    async move { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
                },
            );
            tokio::spawn(async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .await;
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_is_who_this_machine_is_signed_in_as() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("tailscaled.sock");
    tailscaled(&socket, Value::Null);
    let file = dir.path().join("asked.hujson");
    let mut terminal = Terminal::start(&[
        "init",
        "--output",
        name(&file),
        "--socket",
        name(&socket),
        "--budget",
        "5",
        "--provider",
        "http://gpu.invalid:8080,m",
    ]);
    terminal.wait_for("[https://headscale.example.com]: ");
    terminal.type_in("\n");
    terminal.wait_for("[ai]: ");
    terminal.type_in("\n");
    terminal.wait_for("Who is the admin?");
    terminal.wait_for("[ada@example.com]: ");
    terminal.type_in("\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    let loaded = written(&file, &[]);
    assert_eq!(loaded.tailnet.control_url, "https://headscale.example.com");
    assert_eq!(loaded.grants[0].src, ["ada@example.com"]);

    // Without a terminal, with the option; and no login on a machine with a tag.
    let by_word = |socket: &Path, file: &str| {
        let file = dir.path().join(file);
        let output = Command::new(env!("CARGO_BIN_EXE_iris"))
            .args([
                "init",
                "--control",
                "https://headscale.example.com",
                "--hostname",
                "ai",
            ])
            .args([
                "--admin",
                "me",
                "--provider",
                "http://gpu.invalid:8080,m",
                "--no-test",
            ])
            .args(["--output", name(&file), "--socket", name(socket)])
            .output()
            .unwrap();
        (output, file)
    };
    let (output, file) = by_word(&socket, "word.hujson");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(written(&file, &[]).grants[0].src, ["ada@example.com"]);
    let tagged = dir.path().join("tagged.sock");
    tailscaled(&tagged, json!(["tag:server"]));
    let (output, file) = by_word(&tagged, "tagged.hujson");
    assert!(
        said(&output).contains("signed in as a tag"),
        "{}",
        said(&output)
    );
    assert!(!file.exists());
    let (output, _) = by_word(&dir.path().join("none.sock"), "none.hujson");
    assert!(
        said(&output).contains("is tailscaled running"),
        "{}",
        said(&output)
    );
}
