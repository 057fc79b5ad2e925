//! More long bodies at once than memory allows: some wait, some are refused, short ones pass, and the
//! gateway stays within its memory.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::{say, setting};
use crate::server::Server;
use support::provider::COMPLETION;

const MIB: usize = 1 << 20;
/// Bodies at once.
const CROWD: usize = 24;
/// What the program takes besides: its own, buffers of connections, and what the allocator keeps.
const BESIDES: usize = 144 * MIB;
const CHAT: &str = "/v1/chat/completions";

/// A provider that reads bodies, keeps nothing of them, and answers.
fn provider() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    at
}

fn answer(mut stream: TcpStream) -> Option<()> {
    loop {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length = length.split('\r').next()?.parse().ok()?;
        let body = Read::by_ref(&mut stream).take(length);
        std::io::copy(&mut { body }, &mut std::io::sink()).ok()?;
        let length = COMPLETION.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        let answer = format!("{head} {length}\r\n\r\n{COMPLETION}");
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// How a body is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// With its length in front.
    Declared,
    /// In chunks, of an unknown total length.
    Chunked,
    /// Compressed, so that it grows here.
    Packed,
}

const WAYS: [Way; 3] = [Way::Declared, Way::Chunked, Way::Packed];

fn chat(length: usize) -> Vec<u8> {
    let mut text = String::with_capacity(length + 8);
    // It can be packed, and not so well that it looks like a bomb.
    for nth in 0_u64.. {
        if text.len() >= length {
            break;
        }
        let _ = write!(text, "{} ", nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
    }
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
    body.to_string().into_bytes()
}

fn packed(text: &[u8]) -> Vec<u8> {
    let fast = flate2::Compression::fast();
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), fast);
    coder.write_all(text).unwrap();
    coder.finish().unwrap()
}

/// Sends a chat, and gives the head and the body of what comes.
fn send(at: SocketAddr, way: Way, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(3)))
        .unwrap();
    let framing = match way {
        Way::Declared => format!("content-length: {}", body.len()),
        Way::Chunked => "transfer-encoding: chunked".to_owned(),
        Way::Packed => format!("content-encoding: gzip\r\ncontent-length: {}", body.len()),
    };
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: {at}\r\ncontent-type: application/json\r\n\
         connection: close\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Like most clients, it looks for an answer once it has sent all.
    let sent = match way {
        Way::Chunked => body
            .chunks(64 << 10)
            .try_for_each(|chunk| {
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")
            })
            .and_then(|()| stream.write_all(b"0\r\n\r\n")),
        Way::Declared | Way::Packed => stream.write_all(body),
    };
    if let Err(error) = sent {
        return format!("not sent: {error}");
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// How a crowd fared.
#[derive(Default)]
struct Fared {
    answered: usize,
    refused: usize,
    wrong: Vec<String>,
    short: usize,
}

/// Sends long bodies at once, and short ones beside them.
fn crowd(server: &Server, way: Way, length: usize) -> Fared {
    let body = chat(length);
    let body = match way {
        Way::Packed => packed(&body),
        Way::Declared | Way::Chunked => body,
    };
    let (fared, done) = (Mutex::new(Fared::default()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let short = chat(1_000);
            while !done.load(Ordering::Relaxed) {
                let answer = send(server.at, Way::Declared, &short);
                let mut fared = fared.lock().unwrap();
                if answer.starts_with("HTTP/1.1 200 ") {
                    fared.short += 1;
                } else {
                    fared.wrong.push(format!("a short one: {answer}"));
                }
                drop(fared);
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let long: Vec<_> = (0..CROWD)
            .map(|_| scope.spawn(|| send(server.at, way, &body)))
            .collect();
        for one in long {
            let answer = one.join().unwrap();
            let mut fared = fared.lock().unwrap();
            if answer.starts_with("HTTP/1.1 200 ") {
                fared.answered += 1;
            } else if answer.starts_with("HTTP/1.1 503 ")
                && answer.contains("retry-after: ")
                && answer.contains("\"memory_full\"")
            {
                fared.refused += 1;
            } else {
                let answer: String = answer.chars().take(500).collect();
                fared.wrong.push(format!("{way:?}: {answer:?}"));
            }
        }
        done.store(true, Ordering::Relaxed);
        beside.join().unwrap();
    });
    fared.into_inner().unwrap()
}

/// What was held is given back.
fn is_given_back(server: &Server) {
    let end = Instant::now() + Duration::from_secs(30);
    while server.metric("iris_memory_held_bytes") > 0 {
        assert!(Instant::now() < end, "something is still held");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn configuration(more: &serde_json::Value) -> serde_json::Value {
    let compatibility = json!({
        "openai_chat": true, "openai_responses": true, "openai_responses_websocket": true,
    });
    let baseurl = format!("http://{}", provider());
    let mut config = json!({ "providers": { "p": {
        "baseurl": baseurl, "models": ["m"], "compatibility": compatibility,
    } } });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

/// `IRIS_MEMORY_MIB` is the bound; bodies are about a tenth of it.
#[test]
fn a_crowd_of_long_bodies_takes_no_more_memory_than_it_may() {
    let bound = setting("IRIS_MEMORY_MIB").map_or(48, |mib| usize::try_from(mib).unwrap()) * MIB;
    let config = configuration(&json!({ "limits": { "memory": bound } }));
    for way in WAYS {
        // Each for itself: memory that was taken once is not given back at once.
        let mut server = Server::with(&config, None);
        let fared = crowd(&server, way, bound / 10);
        assert!(fared.wrong.is_empty(), "{:#?}", fared.wrong);
        assert!(server.is_alive());
        let peak = usize::try_from(server.peak()).unwrap() << 10;
        say(&format!(
            "{way:?}: {} answered, {} refused, {} short ones beside; {} MiB at most of {}",
            fared.answered,
            fared.refused,
            fared.short,
            peak / MIB,
            bound / MIB,
        ));
        assert!(fared.answered > 0 && fared.short > 0);
        assert!(peak < bound + BESIDES, "{way:?}: {} MiB", peak / MIB);
        is_given_back(&server);
    }
}

/// A control group with a limit of memory, where this machine allows one.
struct Group(PathBuf);

impl Group {
    fn new(bytes: usize) -> Option<Self> {
        let name = format!("iris-test-{}", std::process::id());
        let kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        kinds.into_iter().find_map(|(folder, file)| {
            let group = Self(Path::new(folder).join(&name));
            // In version 2, the folder above has no limits of its own in a namespace.
            std::fs::create_dir(&group.0).ok()?;
            let limit = group.0.join(file);
            (limit.exists() && std::fs::write(limit, bytes.to_string()).is_ok()).then_some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(10);
        while std::fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// In a container, the bound follows from its limit, and the kernel has nothing to end.
#[test]
fn a_container_is_large_enough_for_the_bound_that_it_gets() {
    let limit = setting("IRIS_MEMORY_MIB").map_or(192, |mib| usize::try_from(mib).unwrap()) * MIB;
    let Some(group) = Group::new(limit) else {
        say("SKIPPED: no control group can be made");
        return;
    };
    let mut server = Server::with(&configuration(&json!({})), Some(&group.0));
    assert_eq!(server.metric("iris_memory_bound_bytes"), limit as u64 / 2);
    let fared = crowd(&server, Way::Declared, limit / 20);
    assert!(server.is_alive(), "the kernel has ended it");
    assert!(fared.wrong.is_empty(), "{:#?}", fared.wrong);
    assert!(fared.answered > 0);
    drop(server);
}

/// Messages that never end, over WebSockets.
#[test]
fn half_messages_over_websockets_count_too() {
    let bound = 64 * MIB;
    let config = configuration(&json!({ "limits": { "memory": bound } }));
    let mut server = Server::with(&config, None);
    let at = server.at;
    let length = 8 * MIB;
    let mut open = Vec::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect(at).unwrap();
        let ask = format!(
            "GET /v1/responses HTTP/1.1\r\nhost: {at}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        // A text of this length, masked with zeros.
        let mut frame = vec![0x81, 0xff];
        frame.extend_from_slice(&(length as u64).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.resize(frame.len() + length - 1, b'x');
        stream
            .set_write_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        let _ = stream.write_all(&frame);
        open.push(stream);
    }
    let closed = open.iter_mut().filter_map(|stream| {
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).ok()?;
        // A close frame with 1013, "try again later".
        Some(answer[0] == 0x88 && answer[2..] == 1_013_u16.to_be_bytes())
    });
    let closed: Vec<bool> = closed.collect();
    assert!(
        !closed.is_empty() && closed.iter().all(|is_it| *is_it),
        "{closed:?}"
    );
    assert!(closed.len() < CROWD, "some have room");
    let peak = usize::try_from(server.peak()).unwrap() << 10;
    assert!(peak < bound + BESIDES, "{} MiB", peak / MIB);
    assert!(server.is_alive());
    drop(open);
    is_given_back(&server);
}
