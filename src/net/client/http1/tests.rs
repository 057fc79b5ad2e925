//! Responses of servers as they come, whole and damaged, and requests as they are written.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn post(body: &'static str) -> Request<Bytes> {
    let request = Request::post("http://ai:8080/v1/chat?x=1").header("accept", "*/*");
    request.body(Bytes::from_static(body.as_bytes())).unwrap()
}

/// What becomes of a request whose server sends `response` in pieces of `size` bytes, and closes: the body in
/// pieces, and whether the connection is free afterwards.
async fn exchanged(
    response: impl AsRef<[u8]>,
    size: usize,
    closes: bool,
) -> Result<(Vec<Bytes>, bool), Error> {
    let (mut server, client) = tokio::io::duplex(1 << 20);
    let response = response.as_ref().to_vec();
    let serves = tokio::spawn(async move {
        let mut request = [0; 1 << 10];
        let _ = server.read(&mut request).await.unwrap();
        for piece in response.chunks(size) {
            server.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        (!closes).then_some(server)
    });
    let request = post("{}");
    let sent = Connection::new(Box::new(client)).exchange(&request, None);
    let mut body = sent.await.map_err(|broken| broken.error)?.into_body();
    let mut pieces = Vec::new();
    while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
        pieces.push(piece?);
    }
    let _server = serves.await.unwrap();
    Ok((pieces, body.take_free().is_some()))
}

#[tokio::test]
async fn a_response_is_read_however_it_is_cut() {
    for (head, body, closes, is_free) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            "hello",
            false,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
            "hello",
            false,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            false,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\n",
            "hello",
            false,
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n",
            "hello",
            false,
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\n",
            "hello",
            false,
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", "hello", true, false),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            "hello",
            false,
            true,
        ),
        ("HTTP/1.1 200\ncontent-length: 5\n\n", "hello", false, true),
    ] {
        for size in [1, 2, 7, 1000] {
            let (pieces, free) = exchanged(&format!("{head}{body}"), size, closes)
                .await
                .unwrap();
            assert_eq!(pieces.concat(), b"hello", "{head}");
            assert_eq!(free, is_free, "{head}");
        }
    }
    let none = exchanged("HTTP/1.1 204 No Content\r\n\r\n", 1000, false)
        .await
        .unwrap();
    assert_eq!(none, (Vec::new(), true));
}

#[tokio::test]
async fn a_read_is_one_piece() {
    let body = "6\r\ndata: \r\n3\r\n1\n\n\r\n9\r\ndata: 2\n\n\r\n";
    let response =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}{body}0\r\n\r\n");
    let (pieces, _) = exchanged(&response, 10_000, false).await.unwrap();
    assert_eq!(pieces, [Bytes::from("data: 1\n\ndata: 2\n\n".repeat(2))]);
}

#[tokio::test]
async fn what_follows_a_response_keeps_its_connection_from_further_use() {
    let response = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n";
    let (pieces, is_free) = exchanged(response, 1000, false).await.unwrap();
    assert_eq!(
        (pieces.concat().as_slice(), is_free),
        (&b"hello"[..], false)
    );
}

#[tokio::test]
async fn what_came_before_a_broken_chunk_is_passed_on() {
    let (mut server, client) = tokio::io::duplex(1 << 20);
    let serves = tokio::spawn(async move {
        let _ = server.read(&mut [0; 1 << 10]).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let response = format!("{head}5\r\nhello\r\n0\n\n");
        server.write_all(response.as_bytes()).await.unwrap();
    });
    let request = post("{}");
    let sent = Connection::new(Box::new(client)).exchange(&request, None);
    let response = sent.await.map_err(|broken| broken.error).unwrap();
    let mut body = response.into_body();
    let first = poll_fn(|cx| body.poll_piece(cx)).await.unwrap();
    assert_eq!(&*first.unwrap(), b"hello");
    let second = poll_fn(|cx| body.poll_piece(cx)).await.unwrap();
    assert!(matches!(second, Err(Error::Body(_))), "{second:?}");
    serves.await.unwrap();
}

#[tokio::test]
async fn two_framings_at_once_keep_a_connection_from_further_use() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (pieces, is_free) = exchanged(both, both.len(), false).await.unwrap();
    assert_eq!((pieces.concat(), is_free), (b"hello".to_vec(), false));
}

#[tokio::test]
async fn what_is_no_response_is_an_error() {
    for (response, why) in [
        ("", "connection closed before message completed"),
        (
            "HTTP/1.1 200 OK\r\n",
            "connection closed before message completed",
        ),
        ("SSH-2.0-x\r\n\r\n", "invalid HTTP version parsed"),
        ("HTTP/1.1 x OK\r\n\r\n", "invalid HTTP status-code parsed"),
        (
            "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
            "invalid HTTP header parsed",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "invalid content-length parsed",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "invalid content-length parsed",
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "unexpected transfer-encoding parsed",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            "error reading a body from connection",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n",
            "error reading a body from connection",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
            "error reading a body from connection",
        ),
    ] {
        let error = exchanged(response, 1000, true).await.unwrap_err();
        assert_eq!(error.to_string(), why, "{response:?}");
    }
    for long in [
        format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(HEAD_BYTES)),
        format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(HEAD_FIELDS + 1)
        ),
    ] {
        let error = exchanged(long, 100_000, false).await.unwrap_err();
        assert!(matches!(error, Error::HeadTooLarge), "{error}");
    }
}

#[tokio::test]
async fn a_request_is_written_with_its_server_and_its_length() {
    let through = Forward {
        proxy: "http://proxy".to_owned(),
        credential: Some(http::HeaderValue::from_static("Basic x")),
    };
    for (forwarded, start) in [
        (
            None,
            "POST /v1/chat?x=1 HTTP/1.1\r\nhost: ai:8080\r\naccept: */*\r\n",
        ),
        (
            Some(&through),
            "POST http://ai:8080/v1/chat?x=1 HTTP/1.1\r\nhost: ai:8080\r\nproxy-authorization: Basic x\r\naccept: */*\r\n",
        ),
    ] {
        let (head, rest) = head::written(&post("{}"), forwarded);
        assert_eq!(head, format!("{start}content-length: 2\r\n\r\n{{}}"));
        assert!(rest.is_empty());
    }
    let (head, _) = head::written(
        &Request::get("https://ai").body(Bytes::new()).unwrap(),
        None,
    );
    assert_eq!(head, "GET / HTTP/1.1\r\nhost: ai\r\n\r\n");
}

#[tokio::test]
async fn a_server_may_respond_before_it_has_read_the_request() {
    let (mut server, client) = tokio::io::duplex(1 << 10);
    let mut request = post("");
    *request.body_mut() = Bytes::from(vec![b'x'; 1 << 20]);
    let response = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    server.write_all(response).await.unwrap();
    // What has come before the request is sent belongs to no request.
    let dead = Connection::new(Box::new(client))
        .exchange(&request, None)
        .await;
    assert!(dead.is_err_and(|broken| !broken.was_sent));
    let (mut server, client) = tokio::io::duplex(1 << 10);
    let serves = tokio::spawn(async move {
        let _ = server.read(&mut [0; 10]).await.unwrap();
        server.write_all(response).await.unwrap();
    });
    let sent = Connection::new(Box::new(client))
        .exchange(&request, None)
        .await;
    let mut response = sent.map_err(|broken| broken.error).unwrap();
    assert_eq!(response.status(), 413);
    serves.await.unwrap();
    let body = response.body_mut();
    assert_eq!(
        poll_fn(|cx| body.poll_piece(cx)).await.unwrap().unwrap(),
        "no"
    );
    assert!(body.take_free().is_none(), "the request was not sent");
}

#[tokio::test]
async fn a_connection_that_has_ended_gets_no_request() {
    let (server, client) = tokio::io::duplex(64);
    drop(server);
    let broken = Connection::new(Box::new(client))
        .exchange(&post("{}"), None)
        .await;
    assert!(broken.is_err_and(|broken| !broken.was_sent && !broken.has_read));
}

#[tokio::test]
async fn a_damaged_response_ends_the_same_however_it_is_cut() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nb: c\r\n\r\n",
    ] {
        for at in 0..response.len() {
            for byte in *b"\0\r\n :;0f\xff" {
                let mut damaged = response.as_bytes().to_vec();
                damaged[at] = byte;
                let mut ended = Vec::new();
                for size in [1, 7, damaged.len()] {
                    let ended_so = exchanged(&damaged, size, true).await;
                    ended.push(ended_so.map(|(pieces, _)| pieces.concat()).ok());
                }
                // It means the same however it is cut.
                assert!(
                    ended.iter().all(|one| *one == ended[0]),
                    "byte {at} is {byte}: {ended:?}"
                );
            }
        }
    }
}
