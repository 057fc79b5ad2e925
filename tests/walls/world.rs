//! A gateway as a process, and requests from the addresses of its callers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::daemon::{self, Daemon, GATEWAY, Person};

pub const PORT: u16 = 8080;

/// The program, with what it says.
pub struct Gateway {
    child: Child,
    pub dir: tempfile::TempDir,
    pub daemon: Daemon,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// All of it as one text.
    pub fn whole(&self) -> String {
        let mut whole = String::new();
        for (name, value) in &self.headers {
            whole += name.as_str();
            whole += ": ";
            whole += &String::from_utf8_lossy(value.as_bytes());
            whole += "\n";
        }
        whole + &self.text
    }
}

impl Gateway {
    /// Starts it with `more` in its configuration and `variables` in its environment.
    pub async fn start(more: Value, variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (daemon, socket) = daemon::start(dir.path());
        let mut config = json!({
            "tailnet": { "mode": "host", "socket": socket },
            "listen": { "http": format!(":{PORT}"), "https": "", "loopback": "127.0.0.1:8088" },
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let path = dir.path().join("iris.hujson");
        std::fs::write(&path, config.to_string()).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_iris"))
            .args(["serve", "--config"])
            .arg(&path)
            .arg("--state-dir")
            .arg(dir.path().join("state"))
            // A core would be written here.
            .current_dir(dir.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let gateway = Self { child, dir, daemon };
        let until = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect((GATEWAY, PORT)).await.is_err() {
            assert!(
                Instant::now() < until,
                "it does not start: {}",
                gateway.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        gateway
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&mut self) {
        self.signal("TERM").await;
    }

    /// Ends it as a fault in it would.
    pub async fn abort(&mut self) {
        self.signal("ABRT").await;
    }

    async fn signal(&mut self, name: &str) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-s", name, &id]).status();
        assert!(asked.unwrap().success());
        let until = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "it does not stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Person {
    async fn connect(self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        let own = SocketAddr::new(self.address.parse().unwrap(), 0);
        socket.bind(own).unwrap();
        let to = SocketAddr::new(GATEWAY.parse().unwrap(), PORT);
        socket.connect(to).await.unwrap()
    }

    /// Sends bytes as they are, and reads all that comes.
    pub async fn raw(self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request, and reads what comes within a time.
    pub async fn send(self, mut request: Request<Full<Bytes>>, within: Duration) -> Answer {
        let host = format!("{GATEWAY}:{PORT}").parse().unwrap();
        request.headers_mut().entry("host").or_insert(host);
        let stream = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .preserve_header_case(true)
            .handshake(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        let (head, mut body) = sender.send_request(request).await.unwrap().into_parts();
        let mut bytes = Vec::new();
        let until = tokio::time::Instant::now() + within;
        // A stream of events has no end.
        while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(until, body.frame()).await {
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub async fn ask(
        self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let within = Duration::from_secs(if path.starts_with("/api/events") {
            1
        } else {
            30
        });
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        self.send(request.body(body).unwrap(), within).await
    }

    pub async fn get(self, path: &str) -> Answer {
        self.ask("GET", path, "", &[]).await
    }

    /// A page, as a browser asks for it.
    pub async fn page(self, path: &str) -> Answer {
        self.ask("GET", path, "", &[("accept", "text/html")]).await
    }
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every file below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
