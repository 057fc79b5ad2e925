//! Doors into the demo tailnet: a request through one acts as its person, so each refuses requests that
//! aren't meant for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::running::{Demo, run};

const CLOSE: &str = "Connection: close\r\n\r\n";

/// Sends a raw request and gives the status of the answer.
fn status(door: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(door).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Sends a raw request and gives all that comes back.
fn whole(door: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(door).unwrap();
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn other_hosts_and_other_sites_are_refused() {
    let demo = Demo::start(&[]);
    let alice = demo.door("alice");
    let get = |host: &str| {
        let request = format!("GET /api/whoami HTTP/1.1\r\nHost: {host}\r\n{CLOSE}");
        status(&alice, &request)
    };
    // What is rebound to this address is another host.
    let longer = format!("{alice}.evil.example");
    for host in ["evil.example", "127.0.0.1", "localhost", "ai", &longer] {
        assert_eq!(get(host), "421", "{host}");
    }
    let port = alice.rsplit(':').next().unwrap();
    for host in [alice.clone(), format!("localhost:{port}")] {
        assert_eq!(get(&host), "200", "{host}");
    }
    let post = |origins: &[&str]| {
        let mut lines = String::new();
        for origin in origins {
            lines.push_str("Origin: ");
            lines.push_str(origin);
            lines.push_str("\r\n");
        }
        let body = r#"{"model":"demo","messages": []}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {alice}\r\n{lines}\
             Content-Type: application/json\r\nContent-Length: {}\r\n{CLOSE}{body}",
            body.len()
        );
        status(&alice, &request)
    };
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        "http://ai",
        "http://ai.evil.example",
    ] {
        assert_eq!(post(&[origin]), "403", "{origin}");
    }
    let own = format!("http://{alice}");
    assert_eq!(post(&[&own, "http://evil.example"]), "403");
    assert_eq!(post(&[&own]), "200");
}

#[test]
fn a_door_leads_to_the_nodes_of_the_demo_alone() {
    let demo = Demo::start(&[]);
    let alice = demo.door("alice");
    let proxied = |url: &str, host: &str| {
        let request = format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n{CLOSE}");
        status(&alice, &request)
    };
    for host in [
        "example.com",
        "router",
        "2130706433",
        "100.100.100.100",
        "localhost",
        "127.0.0.1",
        "10.0.0.1",
        "evil.demo.internal.example",
    ] {
        assert_eq!(proxied(&format!("http://{host}/"), host), "403", "{host}");
        let request = format!("CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n");
        assert_eq!(status(&alice, &request), "403", "CONNECT {host}");
    }
    for host in [
        "ai",
        "AI",
        "ai.demo.internal",
        "Ai.Demo.Internal",
        "100.64.0.1",
    ] {
        let url = format!("http://{host}/healthz");
        assert_eq!(proxied(&url, host), "200", "{host}");
    }
    // It isn't sent in the clear.
    assert_eq!(proxied("https://ai/", "ai"), "400");
    // Reaching the model server directly would bypass the gateway's grants.
    let direct = run(&format!(
        "curl -s -m 3 -x http://{alice} http://gpu:8080/v1/models; echo $?"
    ));
    assert!(!direct.contains("demo-large"), "{direct}");
}

#[test]
fn tunnels_and_upgrades_pass() {
    let demo = Demo::start(&[]);
    let alice = demo.door("alice");
    let tunnelled = whole(
        &alice,
        &format!(
            "CONNECT ai:80 HTTP/1.1\r\nHost: ai:80\r\n\r\nGET /healthz HTTP/1.1\r\nHost: ai\r\n{CLOSE}"
        ),
    );
    assert_eq!(tunnelled.matches("HTTP/1.1 200").count(), 2, "{tunnelled}");
    // The gateway answers the wish for a WebSocket itself.
    let upgraded = status(
        &alice,
        &format!(
            "GET /v1/responses HTTP/1.1\r\nHost: {alice}\r\nConnection: upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
    );
    assert_eq!(upgraded, "426", "no provider of the demo takes one");
}
