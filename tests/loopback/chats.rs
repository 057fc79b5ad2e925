//! Conversations that the gateway keeps, through its API.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::Reply;

async fn start(more: Value) -> Gateway {
    // No provider is asked.
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
    assert!(page.contains("Kept by this gateway, visible only to you."));
    // The browser stores unsent text under this, and not under a login.
    assert!(
        page.contains("&quot;caller&quot;:&quot;loopback&quot;"),
        "{page}"
    );

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
async fn of_two_tabs_the_second_is_told_of_the_first() {
    let gateway = start(json!({ "chat": { "history": "ledger" } })).await;
    let ask = async |method: Method, headers: &[(&str, &str)], text: &str| {
        let body = json!({ "title": "t", "body": { "text": text } }).to_string();
        let mut request = Request::builder().method(method).uri("/api/chats/one");
        for (name, value) in [("content-type", "application/json")].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body));
        gateway.send(request.body(body).unwrap()).await
    };
    let tag = |reply: &Reply| reply.headers["etag"].to_str().unwrap().to_owned();
    let first = ask(Method::PUT, &[("if-none-match", "*")], "one").await;
    assert_eq!(first.status, StatusCode::OK);
    let again = ask(Method::PUT, &[("if-none-match", "*")], "other").await;
    assert_eq!(again.status, StatusCode::PRECONDITION_FAILED);
    let read = send(&gateway, Method::GET, "/api/chats/one", "").await;
    assert_eq!(tag(&read), tag(&first));
    assert_eq!(
        format!("\"{}\"", read.json()["version"].as_str().unwrap()),
        tag(&read)
    );

    let old = tag(&first);
    let mine = ask(Method::PUT, &[("if-match", &old)], "mine").await;
    assert_eq!(mine.status, StatusCode::OK);
    let theirs = ask(Method::PUT, &[("if-match", &old)], "theirs").await;
    assert_eq!(theirs.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(theirs.json()["code"], "chat_changed", "{}", theirs.text());
    let read = send(&gateway, Method::GET, "/api/chats/one", "")
        .await
        .json();
    assert_eq!(read["body"]["text"], "mine");
    let gone = ask(Method::DELETE, &[("if-match", &old)], "").await;
    assert_eq!(gone.status, StatusCode::PRECONDITION_FAILED);
    let gone = ask(Method::DELETE, &[("if-match", &tag(&mine))], "").await;
    assert_eq!(gone.status, StatusCode::OK);
    let late = ask(Method::PUT, &[("if-match", &tag(&mine))], "late").await;
    assert_eq!(
        late.status,
        StatusCode::PRECONDITION_FAILED,
        "what was deleted stays so"
    );

    for headers in [
        &[("if-match", "unquoted")][..],
        &[("if-match", "\"a\", \"b\"")],
        &[("if-match", "\"a\""), ("if-match", "\"b\"")],
        &[("if-none-match", "\"a\"")],
        &[("if-match", "\"a\""), ("if-none-match", "*")],
    ] {
        let reply = ask(Method::PUT, headers, "x").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{headers:?}");
    }
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
        assert!(page.contains("Kept only in this browser."), "{more}");
    }
}
