//! Damaged requests, sent to the gateway and to other servers unchanged: each server counts as many
//! requests in them as the gateway, or one of the two refuses them. `IRIS_GATE_MUTANTS` runs more of them,
//! and `IRIS_GATE_SEED` others.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::corpus::gateway;
use crate::process::{go, has, say, setting, source};
use crate::wire::answers;
use support::malformed::cases::all;
use support::malformed::provider::Provider;
use support::process::{Running, free_address, serve};
use support::random::Random;

const MUTANTS: u64 = 3_000;
/// So many at once.
const SIDE_BY_SIDE: usize = 24;
/// A server that waits for more of a request sends nothing.
const PATIENCE: Duration = Duration::from_millis(300);
/// Where two disagree, they are asked again and waited for longer.
const SURELY: Duration = Duration::from_secs(3);

/// What parsers stumble over.
const PIECES: [&str; 40] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "\x0b",
    "\u{a0}",
    "#",
    "?",
    "\\",
    "//",
    "0\r\n\r\n",
    "1b",
    "0x",
    "+",
    "-",
    "_",
    "HTTP/1.0",
    "HTTP/1.1",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 27\r\n",
    "Content-Length: 5\r\n",
    "Content_Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    "chunked",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Host: a\r\n",
    "Expect: 100-continue\r\n",
    "X: y\r\n z\r\n",
    "Trailer: X\r\n",
];

/// What came of a mutant.
#[derive(Debug)]
struct Outcome {
    answered: usize,
    refused: bool,
    /// The connection was ended, and not by the request that asks for it.
    cut: bool,
}

async fn send(to: SocketAddr, bytes: &[u8], patience: Duration) -> Outcome {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let (mut held, mut buffer) = (Vec::new(), [0; 4096]);
    let closed = loop {
        match timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(length)) => held.extend_from_slice(&buffer[..length]),
            Err(_) => break false,
        }
    };
    let answers = answers(&held, false);
    let ends = |(status, head): &(u16, String)| {
        (200..300).contains(status) && head.contains("connection: close")
    };
    let mut outcome = Outcome {
        answered: 0,
        refused: false,
        cut: closed && !answers.last().is_some_and(ends),
    };
    for (status, head) in answers {
        match status {
            100 => {}
            // A refusal of what a request asks for is an answer to it.
            400 | 408 | 411 | 413 | 414 | 417 | 431 | 500..=505
                if !head.contains("x-iris-error") || head.contains("connection: close") =>
            {
                outcome.refused = true;
            }
            _ => outcome.answered += 1,
        }
    }
    outcome
}

/// Requests that are sound, and one behind them that ends the connection.
fn stream(random: &mut Random, sound: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(2) {
        bytes.extend_from_slice(&sound[random.below(sound.len())]);
    }
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        let piece = random.one_of(&PIECES).as_bytes();
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => {
                let end = (at + 1 + random.below(12)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            // Where a line begins.
            3 | 4 => {
                let lines = bytes.windows(2).enumerate();
                let ends: Vec<usize> = lines
                    .filter(|(_, two)| two == b"\r\n")
                    .map(|(at, _)| at + 2)
                    .collect();
                let at = ends[random.below(ends.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => drop(bytes.splice(at..at, piece.iter().copied())),
        }
    }
    bytes.extend_from_slice(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    bytes
}

/// How the gateway and another server disagree, if they do.
fn differ(ours: &Outcome, theirs: &Outcome) -> bool {
    if ours.refused {
        return false;
    }
    // A server that closes a connection takes no more requests from it.
    let theirs_end = theirs.refused || theirs.cut;
    !ours.cut
        && (theirs.answered > ours.answered || (ours.answered > theirs.answered && !theirs_end))
}

fn others(dir: &std::path::Path) -> Vec<(&'static str, SocketAddr, Running)> {
    let mut others = Vec::new();
    let mut start = |name, mut command: Command| {
        let at = free_address();
        let log = dir.join(format!("{name}.log"));
        command.arg(at.port().to_string()).arg(log).arg("{}");
        others.push((name, at, serve(&mut command, at)));
    };
    if has("go", "version") {
        start("go", Command::new(go("echo.go", dir)));
    }
    if has("node", "--version") {
        let mut command = Command::new("node");
        command.arg(source("echo.mjs"));
        start("node", command);
    }
    others
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_one_request_here_is_one_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let others = others(dir.path());
    let provider = Provider::start().await;
    let gateway = gateway(provider.address).await;
    let seed = setting("IRIS_GATE_SEED").unwrap_or(1);
    let mut left = setting("IRIS_GATE_MUTANTS").unwrap_or(MUTANTS);
    let sound: Vec<Vec<u8>> = all()
        .iter()
        .filter(|case| case.seen == Some(1) && !case.closed && !case.dropped)
        // Node takes what is behind such a request for no HTTP.
        .filter(|case| !case.name.contains("upgrade"))
        .map(|case| case.bytes(gateway.address).0)
        .filter(|bytes| bytes.len() < 1_000)
        .collect();
    let targets: Arc<[(&str, SocketAddr)]> =
        others.iter().map(|(name, at, _)| (*name, *at)).collect();
    let (mut random, to) = (Random::new(seed), gateway.address);
    let (mut wrong, mut accepted) = (Vec::new(), 0);
    while left > 0 {
        let mut running = Vec::new();
        for _ in 0..SIDE_BY_SIDE {
            let (bytes, targets) = (stream(&mut random, &sound), Arc::clone(&targets));
            running.push(tokio::spawn(async move {
                let ours = send(to, &bytes, PATIENCE).await;
                let mut wrong = Vec::new();
                for (name, at) in targets.iter().filter(|_| !ours.refused) {
                    let theirs = send(*at, &bytes, PATIENCE).await;
                    if !differ(&ours, &theirs) {
                        continue;
                    }
                    let ours = send(to, &bytes, SURELY).await;
                    let theirs = send(*at, &bytes, SURELY).await;
                    if differ(&ours, &theirs) {
                        let text = bytes.escape_ascii();
                        wrong.push(format!("{name}: {theirs:?} and not {ours:?}\n\"{text}\""));
                    }
                }
                (ours.refused, wrong)
            }));
        }
        for one in running {
            let (refused, found) = one.await.unwrap();
            accepted += usize::from(!refused);
            wrong.extend(found);
        }
        left = left.saturating_sub(SIDE_BY_SIDE as u64);
    }
    say(&format!("{accepted} mutants were not refused"));
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n\n"));
}
