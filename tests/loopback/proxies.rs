//! HTTP proxies between the gateway and its providers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::process::Process;
use support::provider::{COMPLETION, answer, server};

/// `Proxy-Authorization` of the user `me` with the password `pw`.
const CREDENTIAL: &str = "Basic bWU6cHc=";

/// The heads that a proxy got.
type Heads = Arc<Mutex<Vec<String>>>;

/// A proxy that requires a password. Tunnels, and requests that it forwards, all lead to `target`.
async fn proxy(target: SocketAddr) -> (SocketAddr, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, target, Arc::clone(&seen)));
        }
    });
    (address, heads)
}

async fn serve(mut stream: TcpStream, target: SocketAddr, seen: Heads) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let is_known = head.contains(CREDENTIAL);
    let is_tunnel = head.starts_with("CONNECT ");
    seen.lock().unwrap().push(head);
    if !is_known {
        return answer(&mut stream, "407 Proxy Authentication Required", "", "{}").await;
    }
    if !is_tunnel {
        return answer(&mut stream, "200 OK", "", COMPLETION).await;
    }
    let mut to = TcpStream::connect(target).await.unwrap();
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .unwrap();
    let _ = copy_bidirectional(&mut stream, &mut to).await;
}

fn provider(baseurl: &str, proxy: Option<String>) -> Value {
    let mut one = json!({ "baseurl": baseurl, "models": ["m"] });
    if let Some(proxy) = proxy {
        one["proxy"] = json!(proxy);
    }
    json!({ "p": one })
}

async fn model() -> SocketAddr {
    server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned()))
        .await
        .0
}

#[tokio::test]
async fn the_environments_proxies_lead_to_public_providers() {
    let model = model().await;
    let (proxy, heads) = proxy(model).await;
    let url = format!("http://me:pw@{proxy}");
    for (name, baseurl, expected) in [
        (
            "HTTP_PROXY",
            "http://api.example",
            "POST http://api.example/v1/chat/completions HTTP/1.1\r\n",
        ),
        (
            "http_proxy",
            "http://api.example:81",
            "POST http://api.example:81/v1/chat/completions HTTP/1.1\r\n",
        ),
        (
            "ALL_PROXY",
            "http://api.example",
            "POST http://api.example/",
        ),
        // The server there doesn't speak TLS.
        (
            "HTTPS_PROXY",
            "https://api.example",
            "CONNECT api.example:443 HTTP/1.1\r\n",
        ),
    ] {
        let gateway = Process::start(provider(baseurl, None), json!({}), &[(name, &url)]).await;
        let reply = gateway.ask().await;
        let head = heads.lock().unwrap().first().cloned().unwrap_or_default();
        heads.lock().unwrap().clear();
        assert!(
            head.starts_with(expected),
            "{name}: {head}: {}",
            reply.text()
        );
        assert_eq!(
            reply.status == StatusCode::OK,
            !expected.starts_with("CONNECT"),
            "{}",
            reply.text()
        );
        assert!(
            gateway.log().contains(&format!("{proxy}")),
            "{}",
            gateway.log()
        );
        assert!(!gateway.log().contains("me:pw"), "{}", gateway.log());
    }
    // Its own address is private, and others can be excepted.
    let local = format!("http://{model}");
    for (baseurl, except) in [
        (local.as_str(), ""),
        ("http://api.example", "other.test, .example"),
    ] {
        let environment = [("HTTP_PROXY", url.as_str()), ("NO_PROXY", except)];
        let gateway = Process::start(provider(baseurl, None), json!({}), &environment).await;
        let reply = gateway.ask().await;
        assert_eq!(
            reply.status == StatusCode::OK,
            except.is_empty(),
            "{}",
            reply.text()
        );
        assert!(heads.lock().unwrap().is_empty());
    }
    let ignored = [("ALL_PROXY", "socks5://me:pw@127.0.0.1:9")];
    let gateway = Process::start(provider(&local, None), json!({}), &ignored).await;
    gateway.all_succeed(1).await;
    assert!(
        gateway.log().contains("ALL_PROXY is ignored"),
        "{}",
        gateway.log()
    );
    assert!(!gateway.log().contains("me:pw"), "{}", gateway.log());
}

#[tokio::test]
async fn a_provider_names_its_proxy() {
    let model = model().await;
    let (proxy, heads) = proxy(model).await;
    let named = |user: &str| Some(format!("http://{user}{proxy}"));
    let baseurl = format!("http://{model}");
    // Named, it is used for private addresses too.
    let gateway = Process::start(provider(&baseurl, named("me:pw@")), json!({}), &[]).await;
    gateway.all_succeed(2).await;
    assert_eq!(heads.lock().unwrap().len(), 2);
    let (status, shown) = {
        let request = http::Request::get("/api/config").body(Full::default());
        let reply = support::http::send_to(gateway.address, request.unwrap()).await;
        let reply = reply.unwrap();
        (reply.status, reply.text())
    };
    assert_eq!(status, StatusCode::OK);
    assert!(!shown.contains("me:pw"), "{shown}");
    // Or none, whatever the environment says.
    let environment = [("HTTP_PROXY", "http://127.0.0.1:9")];
    let without = provider("http://api.example", Some("none".to_owned()));
    let gateway = Process::start(without, json!({}), &environment).await;
    let reply = gateway.ask().await;
    assert!(!reply.text().contains("127.0.0.1:9"), "{}", reply.text());
    // Without the password, the error says so.
    let secure = format!("https://localhost:{}", model.port());
    let gateway = Process::start(provider(&secure, named("")), json!({}), &[]).await;
    let reply = gateway.ask().await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    assert!(reply.text().contains("(407)"), "{}", reply.text());
    assert!(
        reply.text().contains(&format!("http://{proxy}")),
        "{}",
        reply.text()
    );
    // A proxy that isn't there is named too.
    let gone = Some("http://127.0.0.1:9".to_owned());
    let gateway = Process::start(provider(&secure, gone), json!({}), &[]).await;
    let reply = gateway.ask().await;
    assert!(
        reply
            .text()
            .contains("the proxy http://127.0.0.1:9 cannot be reached"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn a_websocket_takes_a_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(frame)) = socket.next().await {
                if frame.is_text() {
                    let done = r#"{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":1,"output_tokens":1}}}"#;
                    socket.send(Message::text(done)).await.unwrap();
                }
            }
        }
    });
    let (proxy, heads) = proxy(target).await;
    let mut providers = provider(
        &format!("http://{target}"),
        Some(format!("http://me:pw@{proxy}")),
    );
    providers["p"]["compatibility"] =
        json!({ "openai_responses": true, "openai_responses_websocket": true });
    let gateway = Process::start(providers, json!({}), &[]).await;
    let url = format!("ws://{}/v1/responses", gateway.address);
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let ask = r#"{"type":"response.create","model":"m","input":"hi"}"#;
    socket.send(Message::text(ask)).await.unwrap();
    let told = socket.next().await.unwrap().unwrap();
    assert!(
        told.to_text().unwrap().contains("response.completed"),
        "{told:?}"
    );
    let head = heads.lock().unwrap()[0].clone();
    assert!(head.starts_with(&format!("CONNECT {target} ")), "{head}");
}

#[tokio::test]
async fn a_proxy_that_forwards_does_not_betray_its_password() {
    // me:s3cr3t-passw0rd
    const USER: &str = "me:s3cr3t-passw0rd";
    const ENCODED: &str = "bWU6czNjcjN0LXBhc3N3MHJk";
    for (status, expected) in [
        ("403 Forbidden", StatusCode::FORBIDDEN),
        ("407 Proxy Authentication Required", StatusCode::BAD_GATEWAY),
    ] {
        let (proxy, log) = server("127.0.0.1:0", move |request| {
            let line = request
                .head
                .lines()
                .find(|line| line.contains(ENCODED))
                .unwrap_or_default();
            let page = json!({ "error": { "message": format!("denied: {line} = {USER}") } });
            (status, page.to_string())
        })
        .await;
        let named = format!("http://{USER}@{proxy}");
        let by_environment = [("HTTP_PROXY", named.as_str())];
        for (one, environment) in [
            (
                provider("http://api.example", Some(named.clone())),
                &[] as &[_],
            ),
            (provider("http://api.example", None), &by_environment),
        ] {
            let gateway = Process::start(one, json!({}), environment).await;
            let reply = gateway.ask().await;
            let text = format!("{:?} {} {}", reply.status, reply.text(), gateway.log());
            assert_eq!(reply.status, expected, "{text}");
            assert!(
                !text.contains(ENCODED) && !text.contains("s3cr3t-passw0rd"),
                "{text}"
            );
            let is_the_proxys = text.contains(&format!("the proxy http://{proxy} asks for"));
            assert_eq!(is_the_proxys, status.starts_with("407"), "{text}");
        }
        assert!(
            log.lock()
                .unwrap()
                .iter()
                .any(|one| one.head.contains(ENCODED))
        );
    }
}

#[tokio::test]
async fn a_configuration_with_an_invalid_proxy_is_refused_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iris.hujson");
    let providers = provider(
        "https://api.example",
        Some("socks5://me:hunter2@x:1".to_owned()),
    );
    std::fs::write(&path, json!({ "providers": providers }).to_string()).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["check"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("invalid proxy") && text.contains("\"socks5\""),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}
