//! A gateway on loopback in front of a provider whose every byte a test decides.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use iris::app::{Options, Running, start};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

pub const CHAT: &str = "/v1/chat/completions";

/// What a provider got.
#[derive(Debug)]
pub struct Received {
    /// Head, as it stood on the wire.
    pub head: String,
    pub body: Vec<u8>,
}

/// What a provider does once a request is there.
pub type Script = fn(TcpStream) -> futures_util::future::BoxFuture<'static, ()>;

/// A provider at the wire: reads one request a connection and runs its script.
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

/// What a server got until now.
pub type Log = std::sync::Arc<std::sync::Mutex<Vec<Received>>>;

/// A server at an address that answers each request by its head and body, with a status and JSON.
pub async fn server(
    address: impl tokio::net::ToSocketAddrs,
    answers: impl Fn(&Received) -> (&'static str, String) + Send + Sync + 'static,
) -> (SocketAddr, Log) {
    let listener = TcpListener::bind(address).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let log = Log::default();
    let (answers, seen) = (std::sync::Arc::new(answers), log.clone());
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

/// Writes and forgets what went wrong: the gateway may have gone away on purpose.
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

/// The start of a streamed answer.
pub const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

pub const COMPLETION: &str = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;

/// A gateway that stops when its test is over.
pub struct Gateway {
    running: Option<Running>,
    pub address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Gateway {
    /// One provider `p` with the model `m`, and an admin on loopback; `more` is put into the
    /// document, its `provider` into the provider, and its `others` beside that.
    pub async fn start(provider: SocketAddr, more: Value) -> Self {
        let mut entry = json!({ "baseurl": format!("http://{provider}"), "models": ["m"] });
        let mut config = json!({
            "tailnet": { "mode": "off" },
            "listen": { "loopback": "127.0.0.1:0" },
            "grants": [{
                "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
            }],
        });
        let mut others = json!({});
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            match key.as_str() {
                "provider" => merge(&mut entry, &value),
                "others" => others = value,
                _ => config[key] = value,
            }
        }
        config["providers"] = json!({ "p": entry });
        merge(&mut config["providers"], &others);
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("iris.hujson");
        std::fs::write(&path, config.to_string()).expect("the configuration");
        let options = Options {
            config: Some(path),
            state_dir: dir.path().join("state"),
        };
        let running = start(&options).await.expect("the gateway starts");
        let address = running.loopback().expect("a loopback door");
        Self {
            running: Some(running),
            address,
            dir,
        }
    }

    /// Stops it, and with it everything that runs.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await.expect("every record is written");
        }
    }

    /// Starts once more what was stopped, with the same configuration and records.
    pub async fn again(mut self) -> Self {
        let options = Options {
            config: Some(self.config()),
            state_dir: self.dir.path().join("state"),
        };
        let running = start(&options).await.expect("the gateway starts");
        self.address = running.loopback().expect("a loopback door");
        self.running = Some(running);
        self
    }

    pub fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("iris.hujson")
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        self.try_send(request).await.expect("an answer")
    }

    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        send_to(self.address, request).await
    }

    pub async fn chat(&self, body: &str) -> Reply {
        self.send(post(CHAT, body)).await
    }

    /// Sends a chat and leaves the rest to the caller.
    pub async fn raw_chat(&self, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        write(
            &mut stream,
            &format!(
                "POST {CHAT} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                self.address,
                body.len()
            ),
        )
        .await;
        stream
    }

    /// The newest record, once it is one of a request to `path`.
    pub async fn record_of(&self, path: &str) -> Value {
        for _ in 0..200 {
            let row = self.record().await;
            if row["path"] == path {
                return row;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("there is no record of {path}");
    }

    /// A record of which `is_it` is true, once it is there. Records of one millisecond are in no
    /// order, so the newest need not be the last.
    pub async fn record_where(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let request = Request::get("/api/requests?limit=20").body(Full::default());
            let reply = self.send(request.expect("a request")).await.json();
            let rows = reply["requests"].as_array().cloned().unwrap_or_default();
            if let Some(row) = rows.into_iter().find(&is_it) {
                return row;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("there is no such record");
    }

    /// The newest record.
    pub async fn record(&self) -> Value {
        for _ in 0..200 {
            let request = Request::get("/api/requests?limit=1").body(Full::default());
            let reply = self.send(request.expect("a request")).await;
            let row = reply.json()["requests"].get(0).cloned().unwrap_or_default();
            if row.is_object() {
                return row;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("there is no record");
    }
}

/// Sends a request to a gateway, on a connection of its own.
pub async fn send_to(
    address: SocketAddr,
    mut request: Request<Full<Bytes>>,
) -> Result<Reply, String> {
    if !request.headers().contains_key("host") {
        let host = address.to_string().parse().expect("a host");
        request.headers_mut().insert("host", host);
    }
    let text = |error: hyper::Error| error.to_string();
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(text)?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(text)?;
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut broken) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(_) => broken = true,
        }
    }
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: bytes,
        broken,
    })
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().cloned().unwrap_or_default() {
        into[key] = value;
    }
}

pub fn post(path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .expect("a request")
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The connection broke before the answer's end.
    pub broken: bool,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The message of a refusal in the format of OpenAI.
    pub fn message(&self) -> String {
        self.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// Bytes sent as they are, and everything that comes back.
pub async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("to write");
    let mut out = Vec::new();
    let _ = tokio::time::timeout(
        std::time::Duration::from_secs(5),
        stream.read_to_end(&mut out),
    )
    .await;
    String::from_utf8_lossy(&out).into_owned()
}
