//! Responses in the background whose beginning comes late or is long.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::Gateway;
use crate::stored::{RESPONSES, USAGE, create, ended, response};
use support::provider::{STREAM, answer, read_request, write};

/// A provider that begins a response after a while, with these bytes; when it is asked for, it has ended.
async fn provider(begun: String, after: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let begun = begun.clone();
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut stream).await {
                    if request.target() == "POST /v1/responses" {
                        tokio::time::sleep(after).await;
                        write(&mut stream, &begun).await;
                        return;
                    }
                    let more = format!(r#","background":true,{USAGE}"#);
                    let ended = response("resp_slow", "completed", &more);
                    answer(&mut stream, "200 OK", "", &ended).await;
                }
            });
        }
    });
    address
}

async fn gateway(provider: SocketAddr) -> Gateway {
    let more = json!({
        "provider": { "compatibility": { "openai_responses": true } },
        "prices": { "p/m": { "input": "1", "output": "2" } },
    });
    Gateway::start(provider, more).await
}

fn whole(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_provider_answers_pays_all_the_same() {
    let begun = whole(&response("resp_slow", "queued", r#","background":true"#));
    let gateway = gateway(provider(begun, Duration::from_secs(1)).await).await;
    let body = json!({ "model": "m", "input": "hi", "background": true }).to_string();
    let mut caller = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!(
        "POST {RESPONSES} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        gateway.address,
        body.len()
    );
    write(&mut caller, &request).await;
    // Long enough for the provider to have the request, and not long enough for its answer.
    tokio::time::sleep(Duration::from_millis(400)).await;
    drop(caller);
    let record = ended(&gateway).await;
    assert_eq!(record["outcome"], "complete", "{record}");
    assert_eq!(record["cost"], 29_000);
}

#[tokio::test]
async fn a_response_whose_id_does_not_come_is_charged_as_an_estimate() {
    let begun = format!("{STREAM}: the id comes later\n\n");
    // The connection stays open, and nothing follows.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            write(&mut stream, &begun).await;
            tokio::spawn(async move { while read_request(&mut stream).await.is_some() {} });
        }
    });
    let more = json!({
        "provider": { "compatibility": { "openai_responses": true } },
        "prices": { "p/m": { "input": "1", "output": "2" } },
        "timeouts": { "first_byte": "1s" },
    });
    let gateway = Gateway::start(address, more).await;
    let body = json!({ "model": "m", "input": "hi", "background": true, "stream": true });
    let reply = create(&gateway, &body).await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    let record = ended(&gateway).await;
    assert_eq!(record["usage"]["estimated"], true, "{record}");
    assert!(record["cost"].as_u64() > Some(0), "{record}");
}

#[tokio::test]
async fn a_response_with_a_long_beginning_is_followed() {
    let long = "x".repeat(6 << 20);
    let words = response("resp_slow", "queued", r#","background":true"#);
    let body = words.replacen('{', &format!(r#"{{"instructions":"{long}","#), 1);
    let event = format!(
        "{STREAM}event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{body}}}\n\n"
    );
    for (begun, stream) in [(whole(&body), false), (event, true)] {
        let gateway = gateway(provider(begun, Duration::ZERO).await).await;
        let body = json!({ "model": "m", "input": "hi", "background": true, "stream": stream });
        let reply = create(&gateway, &body).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.len() > long.len(), "{}", reply.body.len());
        let record = ended(&gateway).await;
        assert_eq!(record["outcome"], "complete", "{record}");
        assert_eq!(record["cost"], 29_000);
    }
}
