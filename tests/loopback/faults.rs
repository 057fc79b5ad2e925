//! Providers that fail, each in its own way.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::Gateway;
use support::provider::{COMPLETION, STREAM, answer, provider, write};

const ASK: &str = r#"{"model":"m","messages":[]}"#;
const ASK_STREAM: &str = r#"{"model":"m","messages":[],"stream":true}"#;
const WORD: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"}}]}\n\n";

#[tokio::test]
async fn nobody_there_is_502_with_the_providers_name() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let gateway = Gateway::start(address, json!({ "provider": { "apikey": "sk-secret" } })).await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    assert!(
        reply.message().contains("provider \"p\" cannot be reached"),
        "{reply:?}"
    );
    assert!(!reply.text().contains("sk-secret"));
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["status"]),
        (&json!("failed"), &json!(502))
    );
}

#[tokio::test]
async fn silence_is_504() {
    let (address, _received) = provider(|stream| {
        async move {
            tokio::time::sleep(Duration::from_mins(1)).await;
            drop(stream);
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({ "timeouts": { "first_byte": "200ms" } })).await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(
        reply
            .message()
            .contains("\"p\" gave no answer within 200ms"),
        "{reply:?}"
    );
    assert_eq!(gateway.record().await["outcome"], "timed_out");
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_502() {
    let (address, _received) =
        provider(|mut stream| async move { write(&mut stream, "what?\r\n\r\n").await }.boxed())
            .await;
    let gateway = Gateway::start(address, json!({})).await;
    assert_eq!(gateway.chat(ASK).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_providers_own_error_arrives_as_it_is() {
    let (address, _received) = provider(|mut stream| {
        async move {
            let body = r#"{"error":{"message":"too long","type":"exceed_context_size_error"}}"#;
            answer(
                &mut stream,
                "400 Bad Request",
                "x-request-id: 1\r\nretry-after: 7\r\n",
                body,
            )
            .await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.message(), "too long");
    assert_eq!(
        (
            &reply.headers["x-request-id"],
            &reply.headers["retry-after"]
        ),
        (&"1".parse().unwrap(), &"7".parse().unwrap())
    );
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["status"]),
        (&json!("upstream_error"), &json!(400))
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_target_not_told() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            answer(
                &mut stream,
                "307 Moved",
                "location: http://127.0.0.1:1/\r\n",
                "{}",
            )
            .await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(reply.status, StatusCode::TEMPORARY_REDIRECT);
    assert!(!reply.headers.contains_key("location"));
    assert!(received.recv().await.is_some() && received.try_recv().is_err());
}

#[tokio::test]
async fn a_stream_that_breaks_off_tells_the_caller_and_is_counted() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, &WORD.repeat(3)).await;
            // Half an event, and then the connection closes.
            write(&mut stream, "data: {\"choi").await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let reply = gateway.chat(ASK_STREAM).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.broken, "the answer looked whole");
    assert_eq!(reply.text().matches("word ").count(), 3);
    assert!(
        reply.text().contains("provider_broke_off"),
        "{}",
        reply.text()
    );
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "upstream_error");
    assert_eq!(record["usage"]["estimated"], true);
    assert!(
        record["usage"]["output_tokens"].as_u64().unwrap() > 0,
        "{record}"
    );
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, WORD).await;
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({ "timeouts": { "idle": "300ms" } })).await;
    let reply = gateway.chat(ASK_STREAM).await;
    assert!(
        reply.broken && reply.text().contains("provider_timeout"),
        "{reply:?}"
    );
    assert_eq!(gateway.record().await["outcome"], "timed_out");
}

#[tokio::test]
async fn an_answer_shorter_than_declared_is_not_taken_for_whole() {
    let (address, _received) = provider(|mut stream| {
        async move {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n";
            write(&mut stream, &format!("{head}{{\"id\":")).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let reply = gateway.chat(ASK).await;
    assert!(reply.broken, "{reply:?}");
    assert_eq!(gateway.record().await["outcome"], "upstream_error");
}

#[tokio::test]
async fn each_event_arrives_when_it_is_sent() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            for _ in 0..3 {
                write(&mut stream, WORD).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            write(&mut stream, "data: [DONE]\n\n").await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let mut stream = gateway.raw_chat(ASK_STREAM).await;
    let started = Instant::now();
    let (mut seen, mut arrivals) = (Vec::new(), Vec::new());
    while arrivals.len() < 3 {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        let words = String::from_utf8_lossy(&seen).matches("word ").count();
        while arrivals.len() < words {
            arrivals.push(started.elapsed());
        }
    }
    // The pauses between them are the provider's, not gathered at the end.
    assert!(
        arrivals[2] >= arrivals[0] + Duration::from_millis(400),
        "{arrivals:?}"
    );
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_the_provider() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            // Until the gateway hangs up.
            loop {
                write(&mut stream, WORD).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                let mut probe = [0; 1];
                if let Ok(Ok(0) | Err(_)) =
                    tokio::time::timeout(Duration::from_millis(1), stream.read(&mut probe)).await
                {
                    break;
                }
            }
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let mut stream = gateway.raw_chat(ASK_STREAM).await;
    let mut buffer = vec![0; 4096];
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
    assert!(received.recv().await.is_some());
    drop(stream);
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "client_closed");
    assert_eq!(record["usage"]["estimated"], true);
}

#[tokio::test]
async fn a_caller_who_leaves_with_the_last_event_has_had_the_whole_answer() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, WORD).await;
            let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n\
                data: [DONE]\n\n";
            write(&mut stream, end).await;
            // The connection stays open, as if its end were still on the way.
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let mut stream = gateway.raw_chat(ASK_STREAM).await;
    let (mut said, mut buffer) = (String::new(), vec![0; 4096]);
    while !said.contains("[DONE]") {
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    drop(stream);
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "complete", "{record}");
    assert_eq!(record["usage"]["output_tokens"], 1);
    assert_ne!(record["usage"]["estimated"], true);
}

#[tokio::test]
async fn stopping_waits_for_what_runs_and_writes_every_record() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            answer(&mut stream, "200 OK", "", COMPLETION).await;
        }
        .boxed()
    })
    .await;
    let mut gateway = Gateway::start(address, json!({})).await;
    let target = gateway.address;
    let asked = tokio::spawn(async move {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{ASK}",
            ASK.len()
        );
        support::http::raw(target, &head).await
    });
    received.recv().await.expect("the provider is asked");
    gateway.stop().await;
    let answer = asked.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"hi\""),
        "{answer}"
    );
}

#[tokio::test]
async fn a_caller_who_does_not_wait_for_the_first_byte_cancels_too() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            // Nothing comes until the gateway hangs up.
            let mut probe = [0; 1];
            let _ = stream.read(&mut probe).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let stream = gateway.raw_chat(ASK).await;
    assert!(received.recv().await.is_some());
    drop(stream);
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["status"]),
        (&json!("client_closed"), &json!(0))
    );
}

#[tokio::test]
async fn a_stream_is_whole_once_the_model_has_said_why_it_stopped() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, WORD).await;
            // This server sends no `[DONE]`.
            let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
            write(&mut stream, &format!("data: {end}\n\n")).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let reply = gateway.chat(ASK_STREAM).await;
    assert!(
        !reply.broken && !reply.text().contains("error"),
        "{reply:?}"
    );
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["finish_reason"]),
        (&json!("complete"), &json!("stop"))
    );
}

#[tokio::test]
async fn a_slow_refusal_arrives_whole() {
    let (address, _received) = provider(|mut stream| {
        async move {
            let body = r#"{"error":{"message":"the beginning and the end"}}"#;
            let length = body.len();
            let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {length}\r\n\r\n");
            write(&mut stream, &(head + &body[..30])).await;
            tokio::time::sleep(Duration::from_millis(600)).await;
            write(&mut stream, &body[30..]).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({ "timeouts": { "first_byte": "200ms" } })).await;
    let reply = gateway.chat(ASK_STREAM).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.message(), "the beginning and the end");
}

/// A model server that reads a long request only after those before it: everything is acknowledged, and
/// its buffers stay full for longer than a dead connection lives.
#[tokio::test]
async fn a_provider_that_has_no_room_yet_is_not_taken_for_dead() {
    let (address, _received) = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::time::sleep(Duration::from_secs(8)).await;
            support::provider::read_request(&mut stream).await.unwrap();
            answer(&mut stream, "200 OK", "", COMPLETION).await;
        });
        (address, task)
    };
    let timeouts = json!({ "connect": "1s", "first_byte": "1m" });
    let gateway = Gateway::start(address, json!({ "timeouts": timeouts })).await;
    let long = "x".repeat(16 << 20);
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": long }] });
    let reply = gateway.chat(&body.to_string()).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

#[tokio::test]
async fn response_headers_pass_up_to_the_bound_and_the_error_names_it() {
    for (fields, length, passes) in [
        (200, 10, true),
        (20, 10 << 10, true),
        (300, 10, false),
        (30, 10 << 10, false),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                support::provider::read_request(&mut stream).await;
                let value = "v".repeat(length);
                let more: Vec<String> = (0..fields)
                    .map(|nth| format!("x-{nth}: {value}\r\n"))
                    .collect();
                answer(&mut stream, "200 OK", &more.concat(), COMPLETION).await;
            }
        });
        let gateway = Gateway::start(address, json!({})).await;
        let reply = gateway.chat(ASK).await;
        if passes {
            assert_eq!(
                reply.status,
                StatusCode::OK,
                "{fields} {length}: {}",
                reply.text()
            );
        } else {
            assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{fields} {length}");
            assert!(
                reply.message().contains("256 KiB or 256 fields"),
                "{}",
                reply.message()
            );
        }
    }
}
