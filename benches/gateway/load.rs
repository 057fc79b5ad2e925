//! The load: `wrk` for requests, a client of our own for streams, which it does not know.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::provider::EVENTS;

/// What a run of requests has shown.
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    /// Milliseconds.
    pub(crate) p99: f64,
}

fn body(model: &str, stream: bool) -> String {
    format!(
        r#"{{"model":"{model}","stream":{stream},"max_tokens":64,"messages":[{{"role":"system","content":"You are terse."}},{{"role":"user","content":"Say something about the weather in a few words."}}]}}"#
    )
}

/// Requests over so many connections, as fast as they are answered.
pub(crate) fn wrk(
    port: u16,
    model: &str,
    connections: usize,
    length: Duration,
) -> Result<Run, String> {
    let script = tempfile::NamedTempFile::with_suffix(".lua").map_err(|error| error.to_string())?;
    let body = body(model, false);
    let text = format!(
        "wrk.method = 'POST'\nwrk.headers['content-type'] = 'application/json'\n\
         wrk.headers['authorization'] = 'Bearer sk-bench'\nwrk.body = '{body}'\n"
    );
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
        .arg(format!("http://127.0.0.1:{port}/v1/chat/completions"))
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

async fn ask(port: u16, model: &str) -> Result<TcpStream, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    send(&mut stream, port, model).await?;
    Ok(stream)
}

async fn send(stream: &mut TcpStream, port: u16, model: &str) -> Result<(), String> {
    let body = body(model, true);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\nauthorization: Bearer sk-bench\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let sent = stream.write_all(request.as_bytes()).await;
    sent.map_err(|error| error.to_string())
}

/// Streams one after the other over so many connections: how many events came.
pub(crate) async fn streams(
    port: u16,
    connections: usize,
    length: Duration,
) -> Result<u64, String> {
    let until = tokio::time::Instant::now() + length;
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            tokio::spawn(async move {
                let mut events = 0_u64;
                let mut stream = ask(port, "small").await?;
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
                    send(&mut stream, port, "small").await?;
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

/// Holds so many streams open, each with an event a second, and looks at the memory meanwhile.
pub(crate) async fn hold(
    port: u16,
    count: usize,
    resident: impl Fn() -> u64,
) -> Result<u64, String> {
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = ask(port, "slow").await?;
        let mut head = [0; 4096];
        let read = stream
            .read(&mut head)
            .await
            .map_err(|error| error.to_string())?;
        if !head[..read].starts_with(b"HTTP/1.1 200") {
            return Err("a stream was refused".to_owned());
        }
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(resident())
}
