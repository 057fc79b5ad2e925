//! A provider that writes down what it gets, whatever that is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::provider::COMPLETION;

/// What may not reach a provider, whatever the caller says.
const NEVER: [&str; 17] = [
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "http2-settings",
    "expect",
    "cookie",
    "forwarded",
    "x-forwarded-for",
    "x-webauth-user",
    "tailscale-user-login",
    "tailscale_user_login",
];

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The gateway names itself in `Via`, without anything that the caller wrote there.
    fn has_own_via(&self) -> bool {
        let all = self.all("via");
        let token = all.concat();
        let token = token.strip_prefix("1.1 iris-").unwrap_or_default();
        all.len() == 1 && token.len() == 16 && token.bytes().all(|digit| digit.is_ascii_hexdigit())
    }

    /// It must be one request, framed once, with the gateway's own credential, at `provider`.
    pub fn sound(&self, provider: SocketAddr) -> Result<(), String> {
        let one = |name: &str, value: &str| self.all(name) == [value];
        let is_sound = self.line.starts_with("POST /")
            && self.line.ends_with(" HTTP/1.1")
            && one("host", &provider.to_string())
            && one("content-length", &self.body.len().to_string())
            && one("authorization", "Bearer sk-provider")
            && one("accept-encoding", "identity")
            && self.has_own_via()
            && one("content-type", self.all("content-type").concat().as_str());
        let has = |name: &&str| !self.all(name).is_empty();
        if let Some(name) = NEVER.iter().copied().find(has) {
            return Err(format!("the provider got `{name}`: {self:?}"));
        }
        if !is_sound || serde_json::from_slice::<Value>(&self.body).is_err() {
            return Err(format!("the provider got {self:?}"));
        }
        Ok(())
    }
}

/// A provider of the format of OpenAI, which answers everything alike.
#[derive(Clone)]
pub struct Provider {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&provider.seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen)));
            }
        });
        provider
    }

    /// What came since the last time.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Any bytes after a request are read as another one, so that nothing can hide.
async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap_or((line, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = fields.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().unwrap_or_default());
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        let body = bytes.drain(..length.min(bytes.len())).collect();
        seen.lock().unwrap().push(Seen { line, fields, body });
        let length = COMPLETION.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        let answer = format!("{head} {length}\r\n\r\n{COMPLETION}");
        stream.write_all(answer.as_bytes()).await?;
    }
}
