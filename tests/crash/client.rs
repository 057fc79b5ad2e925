//! A plain HTTP client that keeps its connection, and can drop it in the middle of a response.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;

pub const CHAT: &str = "/v1/chat/completions";

/// Longer than any answer in these tests.
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Client {
    address: SocketAddr,
    source: Option<SocketAddr>,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// The task that moves the connection's bytes.
    moving: Option<AbortHandle>,
}

/// A whole answer.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| self.text())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            source: None,
            sender: None,
            moving: None,
        }
    }

    /// A client that calls from `source`.
    pub fn from(source: SocketAddr, address: SocketAddr) -> Self {
        Self {
            source: Some(source),
            address,
            sender: None,
            moving: None,
        }
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Reply> {
        let request = Request::get(path).body(Full::default())?;
        self.send(request).await
    }

    /// An answer of the API that must be there.
    pub async fn api(&mut self, path: &str) -> anyhow::Result<Value> {
        let reply = self.get(path).await?;
        anyhow::ensure!(reply.status == 200, "{path}: {}", reply.text());
        reply.json()
    }

    /// Sends a request and reads its answer to the end.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Reply> {
        let whole = async {
            let response = self.begin(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            anyhow::Ok(Reply {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        };
        let done = tokio::time::timeout(PATIENCE, whole).await;
        let done = done.context("no whole answer within a minute").flatten();
        if done.is_err() {
            self.leave();
        }
        done
    }

    /// Sends a request and gives its answer as it begins.
    pub async fn begin(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> anyhow::Result<http::Response<Incoming>> {
        let host = self.address.to_string().parse()?;
        request.headers_mut().insert("host", host);
        let ready = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !ready {
            let stream = self.connect().await?;
            let (sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            self.leave();
            self.moving = Some(tokio::spawn(connection).abort_handle());
            self.sender = Some(sender);
        }
        let sender = self.sender.as_mut().context("a connection")?;
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let Some(source) = self.source else {
            return Ok(TcpStream::connect(self.address).await?);
        };
        let socket = TcpSocket::new_v4()?;
        socket.bind(source)?;
        Ok(socket.connect(self.address).await?)
    }

    /// Drops the connection, with whatever comes on it.
    pub fn leave(&mut self) {
        self.sender = None;
        if let Some(moving) = self.moving.take() {
            moving.abort();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A chat with the mark by which provider and record know it.
pub fn chat(model: &str, mark: &str, stream: bool) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = serde_json::json!({
        "model": model, "stream": stream, "user": mark, "max_tokens": 64,
        "messages": [{ "role": "user", "content": "hello" }],
    });
    let request = Request::post(CHAT)
        .header("content-type", "application/json")
        .header("x-session-id", mark)
        .body(Full::new(Bytes::from(body.to_string())))?;
    Ok(request)
}
