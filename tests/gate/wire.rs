//! A caller on the wire: any bytes, and the responses to them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a caller waits for an answer, or for the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// In this time there would have come more, if there were any.
const MORE: Duration = Duration::from_millis(15);

/// What came back.
#[derive(Debug, Default)]
pub struct Answers {
    pub statuses: Vec<u16>,
    /// The server has closed the connection.
    pub closed: bool,
    pub bytes: Vec<u8>,
}

/// Sends `bytes` on a connection of its own. Reads `wanted` answers, and then to the end if there
/// should be one.
pub async fn exchange(
    to: SocketAddr,
    (bytes, ends): (Vec<u8>, bool),
    (wanted, closes, is_head): (usize, bool, bool),
) -> Answers {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut from, mut into) = stream.into_split();
    // Beside the reading, because who refuses does not read on.
    let writer = tokio::spawn(async move {
        let _ = into.write_all(&bytes).await;
        if ends {
            let _ = into.shutdown().await;
        }
        into
    });
    let mut answers = Answers::default();
    loop {
        answers.statuses = statuses(&answers.bytes, is_head);
        let patience = if answers.statuses.len() >= wanted && !closes {
            MORE
        } else {
            PATIENCE
        };
        match timeout(patience, from.read_buf(&mut answers.bytes)).await {
            Ok(Ok(0) | Err(_)) => {
                answers.closed = true;
                break;
            }
            Ok(Ok(_)) => {}
            Err(_) => break,
        }
    }
    answers.statuses = statuses(&answers.bytes, is_head);
    drop(writer.await);
    answers
}

fn statuses(bytes: &[u8], is_head: bool) -> Vec<u16> {
    let answers = answers(bytes, is_head).into_iter();
    answers.map(|(status, _)| status).collect()
}

/// The statuses and the heads, in lower case, of all answers that are whole. What is no answer has
/// the status 0.
pub fn answers(mut bytes: &[u8], is_head: bool) -> Vec<(u16, String)> {
    let mut found = Vec::new();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        bytes = &bytes[end + 4..];
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status: u16 = status
            .filter(|_| head.starts_with("http/1."))
            .unwrap_or_default();
        let value = |name: &str| {
            let line = head.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim())
        };
        let has_body = status >= 200 && status != 204 && !is_head;
        if has_body && value("transfer-encoding") == Some("chunked") {
            let Some(end) = bytes.windows(5).position(|five| five == b"0\r\n\r\n") else {
                return found;
            };
            bytes = &bytes[end + 5..];
        } else if has_body {
            // Without a length it ends with the connection.
            let length = value("content-length").and_then(|length| length.parse().ok());
            let length = length.unwrap_or(bytes.len());
            if bytes.len() < length {
                return found;
            }
            bytes = &bytes[length..];
        }
        found.push((status, head));
    }
    if !bytes.is_empty() && !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]) {
        found.push((0, String::new()));
    }
    found
}
