//! Several providers for one model: which is asked, which replaces it, and what callers notice.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::Gateway;
use support::provider::{COMPLETION, Received, STREAM, Script, answer, provider, write};

const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const STREAMED: &str = r#"{"model":"m","stream":true,"messages":[]}"#;
const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";

/// A provider and the requests that it gets.
type Server = (SocketAddr, Receiver<Received>);

async fn well() -> Server {
    provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await
}

/// Nothing listens there.
async fn gone() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A gateway with the providers `p` (the first), `q` and `r`, in falling preference.
async fn gateway(addresses: &[SocketAddr], more: Value) -> Gateway {
    let mut document = json!({ "provider": { "preference": 9 } });
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    let others = ["q", "r"].into_iter().zip(&addresses[1..]);
    document["others"] = others
        .enumerate()
        .map(|(nth, (id, address))| {
            let one = json!({ "baseurl": format!("http://{address}"), "models": ["m", id],
                "preference": 8 - nth });
            (id.to_owned(), one)
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    Gateway::start(addresses[0], document).await
}

async fn reasons(gateway: &Gateway) -> (Value, String) {
    let row = gateway.record_where(|row| row["path"] != "").await;
    let reasons = row["reasons"].to_string();
    (row, reasons)
}

fn count(server: &mut Server) -> usize {
    std::iter::from_fn(|| server.1.try_recv().ok()).count()
}

#[tokio::test]
async fn what_fails_before_its_first_byte_is_asked_of_another() {
    let scripts: [(&str, Script); 6] = [
        ("503 Service Unavailable", |mut stream| {
            async move { answer(&mut stream, "503 Service Unavailable", "", "{}").await }.boxed()
        }),
        ("429 Too Many Requests", |mut stream| {
            async move { answer(&mut stream, "429 Too Many Requests", "", "{}").await }.boxed()
        }),
        ("connection", |stream| async move { drop(stream) }.boxed()),
        ("connection", |mut stream| {
            async move { write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-le").await }.boxed()
        }),
        ("stream ended before it began", |mut stream| {
            async move { write(&mut stream, STREAM).await }.boxed()
        }),
        ("cannot be reached", |mut stream| {
            async move {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                write(&mut stream, head).await;
            }
            .boxed()
        }),
    ];
    for (part, script) in scripts {
        let (first, _kept) = provider(script).await;
        let (second, _also) = provider(|mut stream| {
            async move {
                write(&mut stream, STREAM).await;
                write(&mut stream, CHUNK).await;
                write(&mut stream, "data: [DONE]\n\n").await;
            }
            .boxed()
        })
        .await;
        let gateway = gateway(&[first, second], json!({})).await;
        let reply = gateway.chat(STREAMED).await;
        assert_eq!(reply.status, 200, "{part}");
        assert_eq!(reply.text(), format!("{CHUNK}data: [DONE]\n\n"), "{part}");
        let (row, reasons) = reasons(&gateway).await;
        assert_eq!(row["provider"], "q");
        assert!(
            reasons.contains("attempt 1 at provider p failed"),
            "{reasons}"
        );
        assert!(reasons.contains(part), "{part}: {reasons}");
    }
}

#[tokio::test]
async fn a_provider_that_is_gone_is_passed_over_and_left_alone() {
    let mut second = well().await;
    let gateway = gateway(
        &[gone().await, second.0],
        json!({ "routing": { "eject_after": 2 } }),
    )
    .await;
    for _ in 0..6 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    assert_eq!(count(&mut second), 6);
    let put_off = gateway
        .record_where(|row| {
            row["reasons"]
                .to_string()
                .contains("put off because they fail: p")
        })
        .await;
    assert!(!put_off["reasons"].to_string().contains("attempt 1"));
}

#[tokio::test]
async fn a_stream_that_has_begun_is_not_begun_again() {
    let (first, _kept) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, CHUNK).await;
        }
        .boxed()
    })
    .await;
    let mut second = well().await;
    let gateway = gateway(&[first, second.0], json!({})).await;
    let reply = gateway.chat(STREAMED).await;
    assert_eq!(reply.status, 200);
    assert!(
        reply.broken && reply.text().contains("\"error\""),
        "{}",
        reply.text()
    );
    assert_eq!(count(&mut second), 0);
    let (row, _) = reasons(&gateway).await;
    assert_eq!(row["outcome"], "upstream_error");
}

#[tokio::test]
async fn the_last_answer_is_the_callers_whatever_it_is() {
    let script: Script = |mut stream| {
        async move {
            answer(
                &mut stream,
                "503 Service Unavailable",
                "x-request-id: provider\r\n",
                "{\"error\":1}",
            )
            .await;
        }
        .boxed()
    };
    let mut servers = [
        provider(script).await,
        provider(script).await,
        provider(script).await,
    ];
    let addresses = servers.each_ref().map(|server| server.0);
    let gateway = gateway(&addresses, json!({ "routing": { "attempts": 2 } })).await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.headers["x-request-id"], "provider");
    let asked = servers.each_mut().map(count);
    assert_eq!(asked, [1, 1, 0]);
}

#[tokio::test]
async fn what_is_refused_for_the_request_itself_is_asked_of_nobody_else() {
    let script: Script =
        |mut stream| async move { answer(&mut stream, "400 Bad Request", "", "{}").await }.boxed();
    let (first, _kept) = provider(script).await;
    let mut second = well().await;
    let gateway = gateway(&[first, second.0], json!({})).await;
    assert_eq!(gateway.chat(ASK).await.status, 400);
    assert_eq!(count(&mut second), 0);
}

#[tokio::test]
async fn failover_can_be_turned_off_and_is_only_among_granted() {
    let mut second = well().await;
    let grant = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" }, { "models": "p/**" }] } }]);
    for more in [
        json!({ "routing": { "failover": false } }),
        json!({ "grants": grant }),
    ] {
        let gateway = gateway(&[gone().await, second.0], more).await;
        assert_eq!(gateway.chat(ASK).await.status, 502);
        assert_eq!(count(&mut second), 0);
    }
}

#[tokio::test]
async fn a_retry_storm_has_a_budget() {
    let script: Script = |mut stream| {
        async move { answer(&mut stream, "503 Service Unavailable", "", "{}").await }.boxed()
    };
    let (first, mut asked) = provider(script).await;
    let (second, mut again) = provider(script).await;
    let routing = json!({ "routing": { "eject_after": 0 } });
    let gateway = gateway(&[first, second], routing).await;
    let (mut first, mut second) = (0, 0);
    for _ in 0..100 {
        assert_eq!(gateway.chat(ASK).await.status, 503);
        first += std::iter::from_fn(|| asked.try_recv().ok()).count();
        second += std::iter::from_fn(|| again.try_recv().ok()).count();
    }
    assert_eq!(first, 100);
    // Ten at the start, and one for five requests, those to the second included.
    assert!((30..=40).contains(&second), "{second}");
}

#[tokio::test]
async fn aliases_pick_as_they_say() {
    let mut servers = [well().await, well().await, well().await];
    let addresses = servers.each_ref().map(|server| server.0);
    let dst = json!(["p/m", "q/m", "r/m"]);
    let alias = |strategy: &str| json!({ "dst": dst, "strategy": strategy });
    let gateway = gateway(&addresses, json!({ "model_aliases": { "models": {
        "first": alias("first"),
        "turns": alias("round_robin"),
        "fail": alias("failover"),
        "weights": { "strategy": "weighted", "dst": [
            { "model": "p/m", "weight": 0 }, { "model": "q/m", "weight": 1 }, { "model": "r/m", "weight": 3 }] },
    } } }))
    .await;
    let mut asked = async |alias: &str, times: usize| {
        for _ in 0..times {
            let body = ASK.replace("\"m\"", &format!("{alias:?}"));
            assert_eq!(gateway.chat(&body).await.status, 200);
        }
        servers.each_mut().map(count)
    };
    assert_eq!(asked("first", 4).await, [4, 0, 0]);
    assert_eq!(asked("fail", 4).await, [4, 0, 0]);
    assert_eq!(asked("turns", 6).await, [2, 2, 2]);
    let [none, some, most] = asked("weights", 60).await;
    assert_eq!(none, 0);
    assert!(some > 3 && most > some, "{some} {most}");
}

#[tokio::test]
async fn an_alias_that_is_first_is_no_chain_of_retries_and_failover_is() {
    let mut second = well().await;
    let dst = json!(["p/m", "q/m"]);
    let gateway = gateway(
        &[gone().await, second.0],
        json!({ "model_aliases": { "models": {
        "first": { "dst": dst },
        "fail": { "dst": dst, "strategy": "failover" },
    } } }),
    )
    .await;
    assert_eq!(
        gateway
            .chat(&ASK.replace("\"m\"", "\"first\""))
            .await
            .status,
        502
    );
    assert_eq!(count(&mut second), 0);
    assert_eq!(
        gateway.chat(&ASK.replace("\"m\"", "\"fail\"")).await.status,
        200
    );
    assert_eq!(count(&mut second), 1);
}

#[tokio::test]
async fn equals_share_by_open_requests_and_conversations_stay() {
    let slow: Script = |mut stream| {
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            answer(&mut stream, "200 OK", "", COMPLETION).await;
        }
        .boxed()
    };
    let mut servers = [provider(slow).await, provider(slow).await];
    let others = json!({ "q": { "baseurl": format!("http://{}", servers[1].0), "models": ["m"] } });
    let gateway = Gateway::start(servers[0].0, json!({ "others": others })).await;
    // Without a conversation: the least busy.
    let bodies = [r#"{"model":"m","messages":[]}"#; 8];
    futures_util::future::join_all(bodies.iter().map(|body| gateway.chat(body))).await;
    assert_eq!(servers.each_mut().map(count), [4, 4]);
    // Twenty conversations, each on one server, not all on the same.
    let mut both = [0, 0];
    for talk in 0..20 {
        let turn =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"talk {talk}"}}]}}"#);
        futures_util::future::join_all([gateway.chat(&turn), gateway.chat(&turn)]).await;
        let asked = servers.each_mut().map(count);
        assert!(asked == [2, 0] || asked == [0, 2], "{asked:?}");
        both[0] += asked[0];
        both[1] += asked[1];
    }
    assert!(both[0] > 0 && both[1] > 0, "{both:?}");
    // A conversation with too many requests at once spreads.
    let turn = r#"{"model":"m","messages":[{"role":"user","content":"talk 1"}]}"#;
    futures_util::future::join_all((0..16).map(|_| gateway.chat(turn))).await;
    let asked = servers.each_mut().map(count);
    assert!(asked[0] > 2 && asked[1] > 2, "{asked:?}");
}
