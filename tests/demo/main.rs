//! The demo as a person uses it: each line that it prints is run in a shell and its output checked, and
//! both dashboards are opened in Chromium.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a process, on threads of the tests"
)]

mod door;
mod running;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use running::{Demo, run};
use support::browser::Browser;

/// What is shown of each of the tour's lines, in order; empty where a line prints nothing.
const ANSWERS: [&[&str]; 11] = [
    &["You said: hello"],
    &[r#"no route found for model \"demo\" for user \"bob@example.com\""#],
    &[r#""login":"alice@example.com""#, r#""role":"admin""#],
    &[
        r#""login":"bob@example.com""#,
        r#""node_name":"bob-laptop""#,
    ],
    &["yes: demo goes to provider gpu", "the tailnet policy"],
    &["no: 404", "no grant of this caller covers any of gpu/demo"],
    &[],
    &["You said: hello again"],
    &["You said: hello", "quota exceeded: daily:bob@example.com"],
    &["request blocked by guardrail \\\"keys\\\""],
    &[
        "alice@example.com",
        "bob@example.com",
        "refused",
        "quota exceeded",
        "$0.01325",
    ],
];

#[test]
fn each_line_of_the_tour_does_what_it_says() {
    let mut demo = Demo::start(&[]);
    let lines = demo.lines();
    assert_eq!(lines.len(), ANSWERS.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(ANSWERS) {
        let said = if line.contains("hello again") {
            // The policy was edited a moment ago. The tour promises a second.
            let until = Instant::now() + Duration::from_secs(5);
            loop {
                let said = run(line);
                if expected.iter().all(|part| said.contains(part)) || Instant::now() > until {
                    break said;
                }
            }
        } else {
            run(line)
        };
        for part in expected {
            assert!(
                said.contains(part),
                "{line}\nshould show {part:?}, and showed:\n{said}"
            );
        }
    }
    // A node that is starting is not called signed out.
    let logged = demo.logged();
    assert!(!logged.contains("signed out"), "{logged}");
    let folder = demo.folder();
    assert!(folder.exists());
    assert!(demo.stop().success());
    assert!(!folder.exists(), "{} stays", folder.display());
}

#[test]
fn withdrawing_a_grant_counts_at_once() {
    let demo = Demo::start(&[]);
    let policy = demo.policy();
    let text = std::fs::read_to_string(&policy).unwrap();
    let ask = demo.ask("alice", "demo", "hello");
    assert!(run(&ask).contains("You said"));
    let withdrawn = text.replace(
        r#""group:eng": ["alice@example.com"]"#,
        r#""group:eng": []"#,
    );
    assert_ne!(withdrawn, text);
    // A mistake first: it changes nothing, and the log says what is wrong with it.
    std::fs::write(&policy, text.replace("alice@", "alcie@")).unwrap();
    demo.wait_for(r#"unknown user or tag "alcie@example.com""#);
    assert!(run(&ask).contains("You said"));
    std::fs::write(&policy, withdrawn).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while !run(&ask).contains("no route found") {
        assert!(Instant::now() < until, "the grant still holds");
    }
}

#[test]
fn each_way_to_end_the_demo_leaves_nothing() {
    for signal in ["INT", "TERM", "HUP"] {
        let mut demo = Demo::start(&[]);
        let folder = demo.folder();
        // A request that never ends doesn't hold it up.
        let mut open = TcpStream::connect(demo.door("alice")).unwrap();
        open.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 9\r\n")
            .unwrap();
        let began = Instant::now();
        assert!(demo.end(signal).success(), "SIG{signal}");
        assert!(began.elapsed() < Duration::from_secs(20), "SIG{signal}");
        assert!(
            !folder.exists(),
            "{} stays after SIG{signal}",
            folder.display()
        );
    }
}

#[test]
fn a_demo_that_is_ended_while_it_starts_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    for wait in [20, 60, 120, 250] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_iris"))
            .arg("demo")
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let kill = Command::new("kill")
            .args(["-s", "INT", &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        child.wait().unwrap();
        let left = std::fs::read_dir(temporary.path()).unwrap().count();
        assert_eq!(left, 0, "after {wait} ms");
    }
}

#[test]
fn answers_stream_through_a_door() {
    let demo = Demo::start(&[]);
    let alice = demo.door("alice");
    let mut stream = TcpStream::connect(&alice).unwrap();
    let body =
        r#"{"model":"demo","stream":true,"messages":[{"role":"user","content":"one two three"}]}"#;
    let head = format!(
        "POST http://ai/v1/chat/completions HTTP/1.1\r\nHost: ai\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    let mut pieces = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        pieces += 1;
    }
    assert!(seen.contains("data: [DONE]"), "{seen}");
    // The provider pauses between its 16 words.
    assert!(pieces > 4, "the answer came in {pieces} pieces");
}

#[test]
fn two_demos_run_side_by_side() {
    let (one, other) = (Demo::start(&[]), Demo::start(&[]));
    assert_ne!(one.door("alice"), other.door("alice"));
    for demo in [&one, &other] {
        assert!(run(&demo.ask("alice", "demo", "hello")).contains("You said: hello"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_person_has_a_dashboard() {
    let browser = Browser::prepare().unwrap();
    let demo = Demo::start(&[]);
    assert!(run(&demo.ask("alice", "demo", "hello")).contains("You said: hello"));
    assert!(run(&demo.ask("bob", "demo", "hello")).contains("no route found"));
    let (alice, bob) = (
        format!("http://{}", demo.door("alice")),
        format!("http://{}", demo.door("bob")),
    );
    let given = [("ALICE", alice.as_str()), ("BOB", bob.as_str())];
    assert!(
        browser.play("demo", &given).await.unwrap(),
        "what is above says how"
    );
}
