//! The log and the terminal of a gateway whose readers hang, leave or never existed: requests, reloads
//! and the shutdown go on without them.

use std::io::{PipeReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Iris, PATIENCE, command, signal};
use support::provider::{COMPLETION, server};

async fn upstream() -> SocketAddr {
    server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned()))
        .await
        .0
}

/// All that is in a pipe until the program writes a line with `text`.
fn read_until(pipe: &mut PipeReader, text: &str) -> String {
    let (mut read, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let length = pipe.read(&mut buffer).unwrap();
        assert!(length > 0, "the log ends without {text:?}");
        read.extend_from_slice(&buffer[..length]);
        if read.windows(text.len()).any(|part| part == text.as_bytes()) {
            return String::from_utf8_lossy(&read).into_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_nothing_and_works_again_when_it_is_read() {
    let upstream = upstream().await;
    tokio::task::spawn_blocking(move || {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let iris = Iris::start(upstream, |words| {
            command(words).stderr(writer).spawn().unwrap()
        });
        iris.talk_until_lines_are_lost("m");
        iris.is_well();
        iris.reload(upstream, "m");
        iris.until("the alert", |iris| {
            iris.alerts().contains(&"log_blocked".to_owned())
        });
        let lost = "of the log were lost, because standard error could not be written to";
        let text = read_until(&mut reader, lost);
        for line in text.lines().take(1_000) {
            assert!(
                serde_json::from_str::<Value>(line).is_ok(),
                "no whole line: {line}"
            );
        }
        // This must be read as well, or the pipe blocks again.
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            for _ in 0..200_000 {
                if reader.read(&mut buffer).unwrap() == 0 {
                    break;
                }
            }
            reader
        });
        iris.until("the end of the alert", |iris| iris.alerts().is_empty());
        assert!(iris.terminate().success());
        reading.join().unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_gateway_whose_log_nobody_reads() {
    let upstream = upstream().await;
    tokio::task::spawn_blocking(move || {
        let (reader, writer) = std::io::pipe().unwrap();
        let iris = Iris::start(upstream, |words| {
            command(words).stderr(writer).spawn().unwrap()
        });
        iris.talk_until_lines_are_lost("m");
        assert!(iris.terminate().success());
        drop(reader);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_reader_has_left_is_an_alert_and_nothing_else() {
    let upstream = upstream().await;
    tokio::task::spawn_blocking(move || {
        let (reader, writer) = std::io::pipe().unwrap();
        let iris = Iris::start(upstream, |words| {
            command(words).stderr(writer).spawn().unwrap()
        });
        drop(reader);
        iris.reload(upstream, "n");
        std::fs::write(iris.config(), "{ broken").unwrap();
        iris.until("the alerts", |iris| {
            let alerts = iris.alerts();
            let has = |kind: &str| alerts.iter().any(|one| one == kind);
            has("log_blocked") && has("configuration_refused")
        });
        iris.reload(upstream, "o");
        assert!(iris.metric("iris_log_lines_dropped_total") > 0);
        iris.is_well();
        assert!(iris.terminate().success());
    })
    .await
    .unwrap();
}

/// Standard error that was closed before the program began.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_never_there_is_no_trouble() {
    let upstream = upstream().await;
    tokio::task::spawn_blocking(move || {
        let iris = Iris::start(upstream, |words| {
            let mut command = Command::new("sh");
            command
                .args(["-c", "exec \"$0\" \"$@\" >&- 2>&-"])
                .args(words);
            command.env("IRIS_LOG", "info").stdin(Stdio::null());
            command.spawn().unwrap()
        });
        iris.reload(upstream, "n");
        iris.is_well();
        assert!(iris.terminate().success());
    })
    .await
    .unwrap();
}

/// On a terminal, where progress and log are shown: one that hangs (nothing reads from `script`), and
/// one that closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_hangs_or_goes_away_ends_nothing() {
    let upstream = upstream().await;
    tokio::task::spawn_blocking(move || {
        for goes in [false, true] {
            let iris = Iris::start(upstream, |words| {
                let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                let line = format!("echo $$ > \"$IRIS_PID\"; exec {}", words.join(" "));
                let dir = std::path::Path::new(words[3].trim_matches('\''));
                Command::new("script")
                    .args(["--quiet", "--return", "--command", &line, "/dev/null"])
                    .env("IRIS_LOG", "info")
                    .env("IRIS_PID", dir.with_file_name("pid"))
                    .env("TERM", "xterm-256color")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("script of util-linux")
            });
            let id = iris.id;
            iris.talk_until_lines_are_lost("m");
            if goes {
                signal("KILL", iris.child.id());
                iris.reload(upstream, "n");
                iris.talk_until_lines_are_lost("n");
            }
            iris.is_well();
            signal("TERM", id);
            let end = Instant::now() + PATIENCE;
            while std::path::Path::new(&format!("/proc/{id}/fd/0")).exists() {
                assert!(Instant::now() < end, "it does not end");
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
    })
    .await
    .unwrap();
}
