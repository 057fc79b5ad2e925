//! A provider whose every byte a test decides, and a server that answers each request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A request that a provider got.
#[derive(Debug)]
pub struct Received {
    /// Its head, as it was on the wire.
    pub head: String,
    pub body: Vec<u8>,
}

/// What a provider does once a request has come.
pub type Script = fn(TcpStream) -> futures_util::future::BoxFuture<'static, ()>;

/// A provider on the wire: it reads one request from each connection and runs its script.
pub async fn provider(script: Script) -> (SocketAddr, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, received) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                if let Some(request) = read_request(&mut stream).await {
                    let _ = sender.send(request).await;
                    script(stream).await;
                }
            });
        }
    });
    (address, received)
}

pub async fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let length = name.eq_ignore_ascii_case("content-length");
                length.then(|| value.trim().parse::<usize>().ok())?
            });
            let whole = end + 4 + length.unwrap_or(0);
            while bytes.len() < whole {
                if stream.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
            return Some(Received {
                head,
                body: bytes[end + 4..whole].to_vec(),
            });
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The requests that a server got so far.
pub type Log = Arc<Mutex<Vec<Received>>>;

/// A server at an address that answers each request by its head and body, with a status and JSON.
pub async fn server(
    address: impl tokio::net::ToSocketAddrs,
    answers: impl Fn(&Received) -> (&'static str, String) + Send + Sync + 'static,
) -> (SocketAddr, Log) {
    let listener = TcpListener::bind(address).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let log = Log::default();
    let (answers, seen) = (Arc::new(answers), log.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, seen) = (answers.clone(), seen.clone());
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut stream).await {
                    let (status, body) = answers(&request);
                    seen.lock().expect("no panic").push(request);
                    answer(&mut stream, status, "", &body).await;
                }
            });
        }
    });
    (address, log)
}

impl Received {
    /// Method and path, without the query.
    pub fn target(&self) -> String {
        let line = self.head.lines().next().unwrap_or_default();
        let mut words = line.split([' ', '?']);
        let (method, path) = (words.next(), words.next());
        format!(
            "{} {}",
            method.unwrap_or_default(),
            path.unwrap_or_default()
        )
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Writes, and ignores errors: the gateway may have closed the connection on purpose.
pub async fn write(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
}

/// Answers with a status and a JSON body.
pub async fn answer(stream: &mut TcpStream, status: &str, more: &str, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}");
    write(
        stream,
        &format!("{head}content-length: {length}\r\n\r\n{body}"),
    )
    .await;
}

/// The start of a streamed response.
pub const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

pub const COMPLETION: &str = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;
