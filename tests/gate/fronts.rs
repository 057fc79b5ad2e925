//! Reverse proxies in front of the gateway, with their defaults and as `docs/REVERSE-PROXY.md` has
//! them: names, streams that pass as they come, long bodies, WebSockets.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::Gateway;
use crate::process::has;
use support::http::send_to;
use support::malformed::provider::Provider;
use support::process::{Running, free_address, serve};
use support::provider::read_request;

/// The longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);
const NAME: &str = "ai.example.com";

/// How a proxy is started: at an address, in front of another, with its files in a folder.
type Start = fn(SocketAddr, SocketAddr, &Path) -> Running;

fn nginx(at: SocketAddr, servers: &str, dir: &Path) -> Running {
    let home = dir.display();
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log {home}/error;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
            {servers}
        }}"
    );
    let config = dir.join("nginx.conf");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(&config);
    command.arg("-e").arg(dir.join("error"));
    serve(&mut command, at)
}

fn plain_nginx(at: SocketAddr, gateway: SocketAddr, dir: &Path) -> Running {
    let server = format!("server {{ listen {at}; location / {{ proxy_pass http://{gateway}; }} }}");
    nginx(at, &server, dir)
}

/// The block of a language on the page.
fn documented(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/REVERSE-PROXY.md");
    let page = std::fs::read_to_string(path).unwrap();
    let start = format!("```{language}\n");
    let (_, rest) = page.split_once(&start).unwrap();
    rest.split_once("\n```").unwrap().0.to_owned()
}

/// As documented, but for the certificate.
fn documented_nginx(at: SocketAddr, gateway: SocketAddr, dir: &Path) -> Running {
    let text = documented("nginx")
        .replace("listen 443 ssl;", &format!("listen {at};"))
        .replace("127.0.0.1:8088", &gateway.to_string());
    let lines = text
        .lines()
        .filter(|line| !line.contains("ssl_certificate"));
    let lines: Vec<&str> = lines.collect();
    nginx(at, &lines.join("\n"), dir)
}

fn caddy(at: SocketAddr, site: &str, dir: &Path) -> Running {
    let config = dir.join("Caddyfile");
    std::fs::write(
        &config,
        format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}\n"),
    )
    .unwrap();
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(&config)
        .env("HOME", dir)
        .env("XDG_DATA_HOME", dir)
        .env("XDG_CONFIG_HOME", dir)
        .stderr(std::process::Stdio::null());
    serve(&mut command, at)
}

/// As documented, but for the certificate.
fn documented_caddy(at: SocketAddr, gateway: SocketAddr, dir: &Path) -> Running {
    let site = documented("caddy")
        .replace(NAME, &format!("http://{NAME}:{}", at.port()))
        .replace("127.0.0.1:8088", &gateway.to_string());
    caddy(at, &site, dir)
}

/// What is sent in two parts, the second of which comes only once the first has arrived.
struct Halves {
    path: &'static str,
    body: &'static str,
    kind: &'static str,
    first: &'static [u8],
    second: &'static [u8],
}

const STREAMS: [Halves; 3] = [
    Halves {
        path: "/v1/chat/completions",
        body: r#"{"model":"m","stream":true,"messages":[]}"#,
        kind: "text/event-stream",
        first: b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"first\"}}]}\n\n",
        second: b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    },
    Halves {
        path: "/v1beta/models/m:streamGenerateContent",
        body: r#"{"contents":[]}"#,
        kind: "application/json",
        first: b"[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"first\"}]}}]}\n",
        second: b",{\"candidates\":[{\"finishReason\":\"STOP\"}]}]",
    },
    Halves {
        path: "/v1/completions",
        body: r#"{"model":"m","stream":true,"prompt":"x"}"#,
        kind: "application/x-ndjson",
        first: b"{\"choices\":[{\"index\":0,\"text\":\"first\"}]}\n",
        second: b"{\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n",
    },
];

/// A provider that sends the second half of each stream on request.
async fn in_halves() -> (SocketAddr, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (go_on, mut told) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(request) = read_request(&mut stream).await else {
                continue;
            };
            let path = request.target();
            let one = STREAMS.iter().find(|one| path.ends_with(one.path)).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\n\r\n",
                one.kind
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(one.first).await.unwrap();
            let _ = told.recv().await;
            let _ = stream.write_all(one.second).await;
        }
    });
    (address, go_on)
}

async fn gateway(provider: SocketAddr, names: &[&str]) -> Gateway {
    let speaks = json!({
        "openai_chat": true, "openai_completions": true, "gemini_generate_content": true,
        "openai_responses": true, "openai_responses_websocket": true,
    });
    let more = json!({
        "listen": { "loopback": "127.0.0.1:0", "names": names },
        "provider": { "compatibility": speaks },
    });
    Gateway::start(provider, more).await
}

/// A proxy in front of a gateway, with a folder for it.
async fn front(start: Start, gateway: &Gateway) -> (SocketAddr, Running, tempfile::TempDir) {
    let (at, back, dir) = (
        free_address(),
        gateway.address,
        tempfile::tempdir().unwrap(),
    );
    let path = dir.path().to_owned();
    let running = tokio::task::spawn_blocking(move || start(at, back, &path));
    (at, running.await.unwrap(), dir)
}

/// Reads a response until it holds `text`.
async fn read_to(stream: &mut TcpStream, seen: &mut Vec<u8>, text: &[u8], what: &str) {
    let read = async {
        while !seen.windows(text.len()).any(|part| part == text) {
            let length = stream.read_buf(seen).await.unwrap();
            assert!(length > 0, "{what}: {}", String::from_utf8_lossy(seen));
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, read).await;
    assert!(
        in_time.is_ok(),
        "{what}: it is kept back: {}",
        String::from_utf8_lossy(seen)
    );
}

async fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Streams of each kind, and the dashboard's, pass as they come.
async fn streams_pass(start: Start) {
    let (provider, go_on) = in_halves().await;
    let gateway = gateway(provider, &["https://ai.example.com"]).await;
    let (at, _running, _dir) = front(start, &gateway).await;
    for one in &STREAMS {
        let mut stream = ask(at, "POST", one.path, one.body).await;
        let mut seen = Vec::new();
        read_to(&mut stream, &mut seen, b"first", one.kind).await;
        assert!(seen.starts_with(b"HTTP/1.1 200"), "{}", one.kind);
        go_on.send(()).await.unwrap();
        read_to(
            &mut stream,
            &mut seen,
            one.second.trim_ascii_end(),
            one.kind,
        )
        .await;
    }
    let mut events = ask(at, "GET", "/api/events", "").await;
    read_to(&mut events, &mut Vec::new(), b"retry: 5000", "events").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_streams_as_they_come() {
    if has("nginx", "-v") {
        streams_pass(plain_nginx).await;
        streams_pass(documented_nginx).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_passes_streams_as_they_come() {
    if has("caddy", "version") {
        streams_pass(documented_caddy).await;
    }
}

/// Pages, what their scripts send, long bodies and WebSockets, under the proxy's name.
async fn works(start: Start) {
    let provider = Provider::start().await;
    let gateway = gateway(provider.address, &["https://ai.example.com"]).await;
    let (at, _running, _dir) = front(start, &gateway).await;
    let request = |method: &str, path: &str, body: String| {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, NAME)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .unwrap()
    };
    let page = send_to(at, request("GET", "/ui/connection", String::new())).await;
    let page = page.unwrap();
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text().contains("https://ai.example.com"),
        "what people type"
    );

    let text = "x".repeat(20 << 20);
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
    let mut asked = request("POST", "/v1/chat/completions", body.to_string());
    let origin = "https://ai.example.com".parse().unwrap();
    asked.headers_mut().insert(header::ORIGIN, origin);
    let reply = send_to(at, asked).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let mut foreign = request("POST", "/v1/chat/completions", "{}".to_owned());
    let origin = "https://elsewhere.example.com".parse().unwrap();
    foreign.headers_mut().insert(header::ORIGIN, origin);
    let reply = send_to(at, foreign).await.unwrap();
    assert_eq!(reply.status, StatusCode::FORBIDDEN);

    let claimed = [
        ("x-forwarded-for", "100.64.0.9"),
        ("tailscale-user-login", "eve@example.com"),
        ("forwarded", "for=100.64.0.9"),
    ];
    let mut asked = request("GET", "/api/me", String::new());
    for (name, value) in claimed {
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    let reply = send_to(at, asked).await.unwrap();
    assert!(!reply.text().contains("eve@"), "{}", reply.text());
    socket_passes(at).await;
}

/// A WebSocket opens, and a frame of it is answered.
async fn socket_passes(at: SocketAddr) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let stream = TcpStream::connect(at).await.unwrap();
    let url = format!("ws://{NAME}/v1/responses").into_client_request();
    let opened = tokio_tungstenite::client_async(url.unwrap(), stream).await;
    let mut socket = opened.expect("a WebSocket").0;
    let frame = json!({ "type": "response.create", "model": "none", "input": "hi" });
    socket.send(Message::text(frame.to_string())).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, socket.next()).await;
    let answer = answer.unwrap().unwrap().unwrap().into_text().unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["type"], "error", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_as_documented_works() {
    if has("nginx", "-v") {
        works(documented_nginx).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_as_documented_works() {
    if has("caddy", "version") {
        works(documented_caddy).await;
    }
}

/// A plain name is the gateway's at its own port: the refusal says what is wrong with another.
#[tokio::test]
async fn a_refusal_names_the_port_where_only_that_is_wrong() {
    let provider = Provider::start().await;
    let gateway = gateway(provider.address, &["plain.example.com"]).await;
    let refused = async |host: &str| {
        let request = Request::get("/v1/models").header(header::HOST, host);
        let reply = send_to(gateway.address, request.body(Full::default()).unwrap()).await;
        let reply = reply.unwrap();
        (reply.status, reply.message())
    };
    let (status, message) = refused("plain.example.com").await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    let port = format!("is called by port {}, and", gateway.address.port());
    assert!(message.contains(&port), "{message}");
    let (status, message) = refused("other.example.com").await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert!(
        message.contains("this gateway is not other.example.com"),
        "{message}"
    );
}
