//! A client that speaks HTTP over any stream.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use iris::net::tailnet::Node;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

/// One connection, kept open.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Connection {
    /// Opens a connection from a node to `http://host/`, by MagicDNS.
    pub async fn from(node: &Node, host: &str) -> anyhow::Result<Self> {
        Self::to(node, host, 80).await
    }

    /// Opens a connection from a node to any port.
    pub async fn to(node: &Node, host: &str, port: u16) -> anyhow::Result<Self> {
        Self::over(node.dial(host, port).await?, host).await
    }

    /// Opens a connection to a loopback address.
    pub async fn local(address: &str) -> anyhow::Result<Self> {
        Self::over(tokio::net::TcpStream::connect(address).await?, address).await
    }

    async fn over<S>(stream: S, host: &str) -> anyhow::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: host.to_owned(),
        })
    }

    /// Sends a request and returns its answer as it begins.
    pub async fn open(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Response<Incoming>> {
        if !request.headers().contains_key("host") {
            request.headers_mut().insert("host", self.host.parse()?);
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Reply> {
        let response = self.open(request).await?;
        let status = response.status();
        Ok(Reply {
            status,
            body: response.into_body().collect().await?.to_bytes(),
        })
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Reply> {
        self.send(Request::get(path).body(Full::default())?).await
    }

    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Reply> {
        self.send(post(path, body)?).await
    }
}

/// A request with a JSON body.
pub fn post(path: &str, body: impl Into<Bytes>) -> anyhow::Result<Request<Full<Bytes>>> {
    Ok(Request::post(path)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))?)
}

/// The JSON of each event of a stream but the last, `[DONE]`.
pub fn events(stream: &str) -> anyhow::Result<Vec<Value>> {
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]")
        .map(|data| Ok(serde_json::from_str(data)?))
        .collect()
}
