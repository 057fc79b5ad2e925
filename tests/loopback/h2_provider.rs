//! Providers of HTTP/2 that refuse streams, close connections, allow few requests at once, or die.
//! They write their own frames: no library leaves requests unprocessed when asked to.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::process::{Process, localhost};
use support::provider::COMPLETION;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

/// What a provider does with a request.
#[derive(Clone, Copy)]
enum Do {
    Answer,
    /// Answers after so many seconds.
    AnswerLater(u64),
    /// Answers with so many bytes of headers.
    AnswerWithHeaders(usize),
    /// Answers once so many requests are there, over all connections.
    AnswerTogether(usize),
    /// Keeps it, and closes the connection for it and all later ones.
    GoAwayBefore,
    Refuse,
    /// Closes the connection without a message.
    Close,
    /// Reads and writes nothing more, like a machine without power.
    Die,
}

/// By the number of a connection, and of a request on it, both from 1.
type Script = fn(connection: usize, request: usize) -> Do;

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    answered: AtomicUsize,
    waiting: AtomicUsize,
    together: Notify,
}

/// A provider that allows so many requests at once on a connection.
async fn provider(most: Option<u32>, script: Script) -> (u16, Arc<State>) {
    let (certificate, key) = localhost();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let state = Arc::new(State::default());
    let shared = Arc::clone(&state);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = serve(stream, most, script, state).await;
                }
            });
        }
    });
    (port, state)
}

type Writer = Arc<tokio::sync::Mutex<WriteHalf<TlsStream<TcpStream>>>>;

async fn frame(to: &Writer, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    let mut to = to.lock().await;
    to.write_all(&bytes).await?;
    to.flush().await
}

async fn read(from: &mut ReadHalf<TlsStream<TcpStream>>) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await?;
    Ok((head[3], head[4], stream, payload))
}

/// A field without a name in any table (RFC 7541, section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let number = |length: usize| {
        let mut bytes = Vec::new();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes
    };
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.extend(number(text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

async fn answer(to: &Writer, stream: u32, headers: usize) -> io::Result<()> {
    // :status 200
    let mut block = vec![0x88];
    block.extend(literal("content-type", "application/json"));
    for nth in 0..headers / 1_024 {
        block.extend(literal(&format!("x-{nth}"), &"v".repeat(1_024)));
    }
    let pieces: Vec<&[u8]> = block.chunks(16 << 10).collect();
    for (nth, piece) in pieces.iter().enumerate() {
        let last = if nth + 1 == pieces.len() {
            END_HEADERS
        } else {
            0
        };
        // The first frame, and its continuations.
        let kind = if nth == 0 { HEADERS } else { 9 };
        frame(to, kind, last, stream, piece).await?;
    }
    frame(to, DATA, END_STREAM, stream, COMPLETION.as_bytes()).await
}

async fn serve(
    stream: TlsStream<TcpStream>,
    most: Option<u32>,
    script: Script,
    state: Arc<State>,
) -> io::Result<()> {
    let connection = state.connections.fetch_add(1, Ordering::SeqCst) + 1;
    let (mut from, to) = tokio::io::split(stream);
    let to: Writer = Arc::new(tokio::sync::Mutex::new(to));
    let mut settings = Vec::new();
    if let Some(most) = most {
        settings.extend(3_u16.to_be_bytes());
        settings.extend(most.to_be_bytes());
    }
    frame(&to, SETTINGS, 0, 0, &settings).await?;
    let mut preface = [0; 24];
    from.read_exact(&mut preface).await?;
    let running: Arc<Mutex<HashSet<u32>>> = Arc::default();
    let (mut requests, mut last) = (0, 0);
    let mut is_leaving = false;
    loop {
        let (kind, flags, id, payload) = read(&mut from).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => frame(&to, SETTINGS, ACK, 0, &[]).await?,
            PING if flags & ACK == 0 => frame(&to, PING, ACK, 0, &payload).await?,
            HEADERS if is_leaving => {}
            HEADERS => {
                requests += 1;
                if most.is_some_and(|most| running.lock().unwrap().len() >= most as usize) {
                    frame(&to, RST_STREAM, 0, id, &REFUSED_STREAM.to_be_bytes()).await?;
                    continue;
                }
                running.lock().unwrap().insert(id);
                let what = script(connection, requests);
                match what {
                    Do::GoAwayBefore => {
                        is_leaving = true;
                        let mut payload = u32::to_be_bytes(last).to_vec();
                        payload.extend([0; 4]);
                        frame(&to, GOAWAY, 0, 0, &payload).await?;
                    }
                    Do::Refuse => {
                        running.lock().unwrap().remove(&id);
                        frame(&to, RST_STREAM, 0, id, &REFUSED_STREAM.to_be_bytes()).await?;
                    }
                    Do::Close => return Ok(()),
                    Do::Die => std::future::pending().await,
                    _ => last = id,
                }
                let (to, state, running) =
                    (Arc::clone(&to), Arc::clone(&state), Arc::clone(&running));
                tokio::spawn(async move {
                    let headers = match what {
                        Do::Answer => 0,
                        Do::AnswerLater(seconds) => {
                            tokio::time::sleep(Duration::from_secs(seconds)).await;
                            0
                        }
                        Do::AnswerWithHeaders(bytes) => bytes,
                        Do::AnswerTogether(count) => {
                            let together = state.together.notified();
                            if state.waiting.fetch_add(1, Ordering::SeqCst) + 1 >= count {
                                state.together.notify_waiters();
                            } else {
                                together.await;
                            }
                            0
                        }
                        _ => return,
                    };
                    state.answered.fetch_add(1, Ordering::SeqCst);
                    running.lock().unwrap().remove(&id);
                    let _ = answer(&to, id, headers).await;
                });
            }
            _ => {}
        }
    }
}

async fn gateway(port: u16, timeouts: serde_json::Value) -> Process {
    let p = json!({ "baseurl": format!("https://localhost:{port}"), "models": ["m"] });
    Process::start(json!({ "p": p }), json!({ "timeouts": timeouts }), &[]).await
}

#[tokio::test]
async fn what_a_closing_server_leaves_unprocessed_is_sent_again() {
    // Each connection serves two requests, and leaves all later ones.
    let (port, state) = provider(None, |_, request| match request {
        1 | 2 => Do::Answer,
        _ => Do::GoAwayBefore,
    })
    .await;
    let gateway = gateway(port, json!({})).await;
    for _ in 0..4 {
        gateway.all_succeed(8).await;
    }
    assert_eq!(state.answered.load(Ordering::SeqCst), 32);
    assert!(state.connections.load(Ordering::SeqCst) >= 16);
    // A new connection can be closed before it has served any.
    let (port, state) = provider(None, |connection, _| match connection {
        1 | 2 => Do::GoAwayBefore,
        _ => Do::Answer,
    })
    .await;
    let gateway = self::gateway(port, json!({})).await;
    gateway.all_succeed(1).await;
    assert_eq!(state.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn refused_streams_are_sent_again_but_not_for_ever() {
    let (port, state) = provider(None, |_, request| match request {
        1 => Do::Answer,
        _ => Do::Refuse,
    })
    .await;
    let first = gateway(port, json!({})).await;
    for _ in 0..4 {
        first.all_succeed(4).await;
    }
    assert_eq!(state.answered.load(Ordering::SeqCst), 16);

    let (port, state) = provider(None, |_, _| Do::Refuse).await;
    let second = gateway(port, json!({})).await;
    let reply = second.ask().await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{}", reply.text());
    assert!(state.connections.load(Ordering::SeqCst) <= 8);
}

#[tokio::test]
async fn a_full_connection_gets_a_second_one() {
    // None is answered before all are there.
    let (port, state) = provider(Some(2), |_, _| Do::AnswerTogether(9)).await;
    let timeouts = json!({ "first_byte": "1m" });
    let gateway = gateway(port, timeouts.clone()).await;
    gateway.all_succeed(9).await;
    assert!(state.connections.load(Ordering::SeqCst) >= 5);
    assert_eq!(state.answered.load(Ordering::SeqCst), 9);
    // With room for all, they share one.
    let (port, state) = provider(Some(100), |_, _| Do::AnswerTogether(9)).await;
    let gateway = self::gateway(port, timeouts).await;
    gateway.all_succeed(9).await;
    assert_eq!(state.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_kept_connection_that_its_server_closed_costs_no_request() {
    let (port, state) = provider(None, |_, request| match request {
        1 => Do::Answer,
        _ => Do::Close,
    })
    .await;
    let gateway = gateway(port, json!({})).await;
    for _ in 0..4 {
        gateway.all_succeed(1).await;
    }
    assert_eq!(state.answered.load(Ordering::SeqCst), 4);
    assert_eq!(state.connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_dead_connection_is_left_and_a_slow_answer_is_waited_for() {
    // The first dies with its second request; on the next, answers take longer than a death.
    let (port, state) = provider(None, |connection, request| match (connection, request) {
        (1, 1) => Do::Answer,
        (1, _) => Do::Die,
        _ => Do::AnswerLater(5),
    })
    .await;
    let timeouts = json!({ "connect": "2s", "first_byte": "2m" });
    let gateway = gateway(port, timeouts).await;
    gateway.all_succeed(1).await;
    gateway.all_succeed(3).await;
    assert_eq!(state.answered.load(Ordering::SeqCst), 4);
    assert!(state.connections.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn long_response_headers_pass_up_to_the_bound() {
    for (bytes, expected) in [
        (200 << 10, StatusCode::OK),
        (300 << 10, StatusCode::BAD_GATEWAY),
    ] {
        // Other limits are other scripts.
        let script: Script = if expected == StatusCode::OK {
            |_, _| Do::AnswerWithHeaders(200 << 10)
        } else {
            |_, _| Do::AnswerWithHeaders(300 << 10)
        };
        let (port, _state) = provider(None, script).await;
        let gateway = gateway(port, json!({})).await;
        let reply = gateway.ask().await;
        assert_eq!(reply.status, expected, "{bytes}: {}", reply.text());
        if expected != StatusCode::OK {
            assert!(reply.text().contains("256 KiB"), "{}", reply.text());
        }
    }
}

/// A real server that closes each connection after a few requests, allows few at once, or both.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_costs_no_request() {
    let is_there = std::process::Command::new("nginx").arg("-v").output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        eprintln!("nginx is not there");
        return;
    }
    for settings in [
        "keepalive_requests 3;",
        "http2_max_concurrent_streams 1;",
        "keepalive_requests 2; http2_max_concurrent_streams 2;",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (at, home) = (support::process::free_address(), dir.path().display());
        let (certificate, key) = localhost();
        let text = format!(
            "daemon off; master_process off; pid {home}/pid; error_log {home}/error; events {{}}
            http {{
                access_log off;
                client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
                fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi;
                scgi_temp_path {home}/scgi;
                server {{
                    listen {at} ssl http2; {settings}
                    ssl_certificate {certificate}; ssl_certificate_key {key};
                    location / {{ default_type application/json; return 200 '{COMPLETION}'; }}
                }}
            }}"
        );
        let path = dir.path().join("nginx.conf");
        std::fs::write(&path, text).unwrap();
        let mut nginx = std::process::Command::new("nginx")
            .args([
                "-p",
                &home.to_string(),
                "-e",
                &format!("{home}/error"),
                "-c",
            ])
            .arg(&path)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(at).await.is_err() {
            assert!(std::time::Instant::now() < until, "nginx does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let gateway = gateway(at.port(), json!({})).await;
        for _ in 0..12 {
            gateway.all_succeed(8).await;
        }
        let _ = nginx.kill();
        let _ = nginx.wait();
    }
}
