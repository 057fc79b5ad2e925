//! Conversations that the gateway keeps, through its API.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Gateway, Reply};

async fn start(more: Value) -> Gateway {
    // Nobody is asked for a model.
    Gateway::start("127.0.0.1:9".parse().unwrap(), more).await
}

async fn send(gateway: &Gateway, method: Method, path: &str, body: &str) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    gateway.send(request.unwrap()).await
}

async fn keep(gateway: &Gateway, id: &str, body: &str) -> StatusCode {
    let path = format!("/api/chats/{id}");
    send(gateway, Method::PUT, &path, body).await.status
}

const CHAT: &str = r#"{"title":"hello","body":{"messages":[{"role":"user","text":"hello"}]}}"#;

#[tokio::test]
async fn conversations_are_kept_read_and_deleted() {
    let gateway = start(json!({ "chat": { "history": "ledger" } })).await;
    assert_eq!(keep(&gateway, "chat-1", CHAT).await, StatusCode::OK);
    let list = send(&gateway, Method::GET, "/api/chats", "").await.json();
    assert_eq!(list["chats"][0]["title"], "hello");
    let chat = send(&gateway, Method::GET, "/api/chats/chat-1", "").await;
    assert_eq!(chat.json()["body"]["messages"][0]["text"], "hello");
    let page = send(&gateway, Method::GET, "/ui/chat", "").await.text();
    assert!(page.contains("Kept by this gateway, for nobody but you."));

    let long = json!({ "title": "t", "body": { "text": "x".repeat(2 << 20) } });
    for (id, body, status) in [
        (
            "chat-2",
            r#"{"title":"t","body":[]}"#,
            StatusCode::BAD_REQUEST,
        ),
        ("chat-2", r#"{"title":"t"}"#, StatusCode::BAD_REQUEST),
        ("chat%2F2", CHAT, StatusCode::BAD_REQUEST),
        ("chat-2", &long.to_string(), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(keep(&gateway, id, body).await, status, "{id}");
    }
    let foreign = Request::delete("/api/chats/chat-1")
        .header("origin", "http://evil.example")
        .body(Full::default());
    let refused = gateway.send(foreign.unwrap()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
        let reply = send(&gateway, Method::DELETE, "/api/chats/chat-1", "").await;
        assert_eq!(reply.status, status);
    }
    let gone = send(&gateway, Method::GET, "/api/chats/chat-1", "").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_is_kept_unless_the_configuration_says_so() {
    let nothing = json!({ "retention": { "duration": "0" } });
    for more in [
        json!({}),
        json!({ "chat": { "history": "browser" } }),
        json!({ "chat": { "history": "ledger" }, "database": nothing }),
    ] {
        let gateway = start(more.clone()).await;
        assert_eq!(
            keep(&gateway, "c", CHAT).await,
            StatusCode::CONFLICT,
            "{more}"
        );
        let page = send(&gateway, Method::GET, "/ui/chat", "").await.text();
        assert!(page.contains("Kept in this browser alone."), "{more}");
    }
}
