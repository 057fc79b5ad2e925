//! The load: `wrk` for requests, and a client of our own for streams, which `wrk` can't read.
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peers::Target;
use super::process::Running;
use crate::quick_provider::{EVENTS, micros};

const HEADERS: [(&str, &str); 2] = [
    ("content-type", "application/json"),
    ("authorization", "Bearer sk-bench"),
];

/// The result of a run of requests.
pub struct Run {
    pub requests: u64,
    pub per_second: f64,
    /// Milliseconds.
    pub p50: f64,
    /// Milliseconds.
    pub p99: f64,
}

fn body(to: &Target, model: &str, stream: bool) -> String {
    let prefix = to.model_prefix;
    format!(
        r#"{{"model":"{prefix}{model}","stream":{stream},"max_tokens":64,"messages":[{{"role":"system","content":"You are terse."}},{{"role":"user","content":"Say something about the weather in a few words."}}]}}"#
    )
}

/// Requests over so many connections, as fast as they are answered.
pub fn wrk(to: &Target, model: &str, connections: usize, length: Duration) -> Result<Run, String> {
    let script = tempfile::NamedTempFile::with_suffix(".lua").map_err(|error| error.to_string())?;
    let body = body(to, model, false);
    let mut text = format!("wrk.method = 'POST'\nwrk.body = '{body}'\n");
    for (name, value) in HEADERS.iter().copied().chain(to.headers()) {
        let _ = writeln!(text, "wrk.headers['{name}'] = '{value}'");
    }
    std::fs::write(script.path(), text).map_err(|error| error.to_string())?;
    let out = Command::new("wrk")
        .args([
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{}s", length.as_secs().max(1)),
        ])
        .arg("--latency")
        .arg("-s")
        .arg(script.path())
        .arg(format!("http://127.0.0.1:{}{}", to.port, to.path))
        .output()
        .map_err(|error| format!("wrk: {error}"))?;
    let out = String::from_utf8_lossy(&out.stdout);
    if let Some(line) = out
        .lines()
        .find(|line| line.contains("Non-2xx") || line.contains("Socket errors"))
    {
        return Err(line.trim().to_owned());
    }
    let after = |word: &str| {
        out.lines()
            .find_map(|line| line.trim().strip_prefix(word))
            .map(str::trim)
            .ok_or_else(|| format!("wrk says no {word}: {out}"))
    };
    let requests = out
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .ok_or("wrk counts no requests")?;
    Ok(Run {
        requests,
        per_second: after("Requests/sec:")?.parse().map_err(|_| "no rate")?,
        p50: milliseconds(after("50%")?)?,
        p99: milliseconds(after("99%")?)?,
    })
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 0.001)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else {
        (text.trim_end_matches('s'), 1_000.0)
    };
    let number: f64 = number.parse().map_err(|_| format!("{text} is no time"))?;
    Ok(number * factor)
}

async fn ask(to: &Target, model: &str) -> Result<TcpStream, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", to.port))
        .await
        .map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    send(&mut stream, to, model).await?;
    Ok(stream)
}

async fn send(stream: &mut TcpStream, to: &Target, model: &str) -> Result<(), String> {
    let sent = stream.write_all(request(to, model, true).as_bytes()).await;
    sent.map_err(|error| error.to_string())
}

/// Waits until a peer answers, which may be a while after it listens.
pub fn wait(to: &Target, patience: Duration) -> Result<(), String> {
    let until = Instant::now() + patience;
    loop {
        let head = first_line(to).unwrap_or_else(|error| error.to_string());
        if head.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("it did not answer within {patience:?}: {head}"));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn first_line(to: &Target) -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", to.port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request(to, "small", false).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

fn request(to: &Target, model: &str, stream: bool) -> String {
    let body = body(to, model, stream);
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-length: {}\r\n",
        to.path,
        to.port,
        body.len()
    );
    for (name, value) in HEADERS.iter().copied().chain(to.headers()) {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    let _ = write!(request, "\r\n{body}");
    request
}

/// What a peer has beyond the length of a load: one that stalls must not stop the run.
const PATIENCE: Duration = Duration::from_mins(1);

async fn patiently<T>(
    length: Duration,
    load: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::time::timeout(length + PATIENCE, load)
        .await
        .unwrap_or_else(|_| Err(format!("it stalled for {PATIENCE:?}")))
}

/// Streams one after the other over so many connections: how many events came.
pub async fn streams(to: &Target, connections: usize, length: Duration) -> Result<u64, String> {
    patiently(length, stream_for(to, connections, length)).await
}

async fn stream_for(to: &Target, connections: usize, length: Duration) -> Result<u64, String> {
    let until = tokio::time::Instant::now() + length;
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let to = to.clone();
            tokio::spawn(async move {
                let mut events = 0_u64;
                let mut stream = ask(&to, "small").await?;
                let mut piece = vec![0; 64 << 10];
                let mut seen = Vec::new();
                while tokio::time::Instant::now() < until {
                    seen.clear();
                    loop {
                        let read = stream
                            .read(&mut piece)
                            .await
                            .map_err(|error| error.to_string())?;
                        if read == 0 {
                            return Err("the connection broke".to_owned());
                        }
                        seen.extend_from_slice(&piece[..read]);
                        if seen.ends_with(b"\r\n0\r\n\r\n") {
                            break;
                        }
                    }
                    let came = memchr::memmem::find_iter(&seen, b"data: ").count() as u64;
                    if came < EVENTS as u64 {
                        let text = String::from_utf8_lossy(&seen);
                        return Err(format!("{came} events: {}", &text[..text.len().min(300)]));
                    }
                    events += came;
                    send(&mut stream, &to, "small").await?;
                }
                Ok(events)
            })
        })
        .collect();
    let mut all = 0;
    for task in tasks {
        all += task.await.map_err(|error| error.to_string())??;
    }
    Ok(all)
}

/// The result of streams that were held open, each with an event a second.
pub struct Held {
    /// Resident KiB of the peer while all of them were open.
    pub resident: u64,
    /// CPU time of the peer for an event, in microseconds.
    pub cpu: f64,
    /// Streams with fewer events than seconds.
    pub behind: usize,
    /// Milliseconds from the provider to the caller.
    pub p99: f64,
    /// Events that took longer than 50 ms.
    pub late: usize,
}

const OPENING: u8 = 0;
const WATCHING: u8 = 1;
const DONE: u8 = 2;

/// Opens so many streams, and watches them for a time once all are open.
pub async fn hold(
    to: &Target,
    count: usize,
    length: Duration,
    running: &Running,
) -> Result<Held, String> {
    patiently(length, hold_for(to, count, length, running)).await
}

async fn hold_for(
    to: &Target,
    count: usize,
    length: Duration,
    running: &Running,
) -> Result<Held, String> {
    let phase = Arc::new(AtomicU8::new(OPENING));
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = ask(to, "slow").await?;
        let mut head = [0; 4096];
        let read = stream
            .read(&mut head)
            .await
            .map_err(|error| error.to_string())?;
        if !head[..read].starts_with(b"HTTP/1.1 200") {
            return Err("a stream was refused".to_owned());
        }
        let phase = Arc::clone(&phase);
        open.push(tokio::spawn(async move {
            let mut delays = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                let now = micros();
                match phase.load(Ordering::Relaxed) {
                    OPENING => {}
                    WATCHING => {
                        let sent = sent(&piece[..read]);
                        delays.extend(sent.map(|sent| now.saturating_sub(sent)));
                    }
                    _ => break,
                }
            }
            delays
        }));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, began) = (running.cpu(), Instant::now());
    phase.store(WATCHING, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    phase.store(DONE, Ordering::Relaxed);
    let spent = running.cpu().saturating_sub(before);
    let seconds = began.elapsed().as_secs();
    let resident = running.resident();
    let mut behind = 0;
    let mut delays = Vec::new();
    for task in open {
        let own = task.await.map_err(|error| error.to_string())?;
        behind += usize::from((own.len() as u64) + 1 < seconds);
        delays.extend(own);
    }
    delays.sort_unstable();
    let nth = delays.len().saturating_sub(1) * 99 / 100;
    let p99 = delays.get(nth).copied().unwrap_or_default() as f64 / 1_000.0;
    Ok(Held {
        resident,
        cpu: spent.as_secs_f64() * 1e6 / delays.len().max(1) as f64,
        behind,
        p99,
        late: delays.iter().filter(|delay| **delay > 50_000).count(),
    })
}

/// The times at which the events of a piece were sent.
fn sent(piece: &[u8]) -> impl Iterator<Item = u64> + '_ {
    memchr::memmem::find_iter(piece, b"sent ").filter_map(|at| {
        let digits = piece[at + 5..].split(|byte| *byte == b' ').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
}
