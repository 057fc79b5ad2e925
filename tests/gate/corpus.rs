//! Every case of the corpus, sent over a socket of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::Gateway;
use crate::wire::{Answers, exchange};
use support::http::CHAT;
use support::malformed::cases::{ASK, Case, all};
use support::malformed::http2;
use support::malformed::provider::{Provider, Seen};
use support::provider::{STREAM, provider, write};

/// Cases run side by side, each of these with a gateway of its own.
const SIDE_BY_SIDE: usize = 6;

/// A gateway whose one provider speaks every format that has a path of its own.
pub async fn gateway(provider: std::net::SocketAddr) -> Gateway {
    let speaks: serde_json::Map<String, Value> = [
        "openai_chat",
        "openai_responses",
        "anthropic_messages",
        "gemini_generate_content",
        "google_generate_content",
        "google_raw_predict",
        "bedrock_model_invoke",
        "bedrock_converse",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), json!(true)))
    .collect();
    let provider_config = json!({
        "apikey": "sk-provider",
        "models": ["m", "q:7b"],
        "compatibility": speaks,
        "pass_headers": ["x-clean"],
    });
    Gateway::start(provider, json!({ "provider": provider_config })).await
}

/// Sends a case, and says what is wrong with what came back.
pub async fn sent(case: &Case, to: std::net::SocketAddr) -> Result<Answers, String> {
    let wanted = (case.answers.len(), case.closed, case.is_head());
    let answers = exchange(to, case.bytes(to), wanted).await;
    let wrong = |what: &str| {
        let said = String::from_utf8_lossy(&answers.bytes).into_owned();
        let said: String = said.chars().take(600).collect();
        format!("{}: {what}: {:?}\n{said}", case.name, answers.statuses)
    };
    let none = answers.statuses.is_empty() && case.dropped;
    let fits = answers.statuses.len() == case.answers.len()
        && case
            .answers
            .iter()
            .zip(&answers.statuses)
            .all(|(allowed, status)| allowed.contains(status));
    if !fits && !none {
        return Err(wrong(&format!("wanted {:?}", case.answers)));
    }
    if case.closed && !answers.closed {
        return Err(wrong("the connection stays open"));
    }
    Ok(answers)
}

fn clean(host: std::net::SocketAddr) -> (Vec<u8>, bool) {
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json");
    let length = ASK.len();
    let text = format!("{head}\r\nx-clean: 1\r\ncontent-length: {length}\r\n\r\n{ASK}");
    (text.into_bytes(), false)
}

async fn check(case: &Case, gateway: &Gateway, provider: &Provider) -> Result<(), String> {
    // What a case before it has left is that case's fault.
    provider.take();
    sent(case, gateway.address).await?;
    // Whatever it was, the next one is served.
    let after = exchange(gateway.address, clean(gateway.address), (1, false, false)).await;
    if after.statuses != [200] {
        return Err(format!("{}: the request after it: {after:?}", case.name));
    }
    let mut seen = provider.take();
    let last = seen.pop();
    if last.is_none_or(|last| last.all("x-clean") != ["1"]) {
        return Err(format!("{}: the request after it is not last", case.name));
    }
    if case.seen.is_some_and(|wanted| wanted != seen.len()) {
        return Err(format!("{}: the provider saw {seen:?}", case.name));
    }
    for one in &seen {
        one.sound(provider.address)
            .map_err(|why| format!("{}: {why}", case.name))?;
    }
    let path = seen.last().map(Seen::path);
    if case.path.is_some() && path != case.path {
        return Err(format!(
            "{}: the provider was asked for {path:?}",
            case.name
        ));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_is_answered_as_it_says() {
    let cases: Arc<[Case]> = all().into();
    assert!(cases.len() >= 250, "{}", cases.len());
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for _ in 0..SIDE_BY_SIDE {
        let (cases, next) = (Arc::clone(&cases), Arc::clone(&next));
        workers.push(tokio::spawn(async move {
            let provider = Provider::start().await;
            let gateway = gateway(provider.address).await;
            let mut wrong = Vec::new();
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                wrong.extend(check(case, &gateway, &provider).await.err());
            }
            wrong
        }));
    }
    let mut wrong = Vec::new();
    for worker in workers {
        wrong.extend(worker.await.unwrap());
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_servers_could_read_in_two_ways_is_refused_in_http2_too() {
    let provider = Provider::start().await;
    let gateway = gateway(provider.address).await;
    let at = gateway.address;
    let connect = move || {
        let stream = std::net::TcpStream::connect(at).unwrap();
        let patience = Some(Duration::from_secs(5));
        stream.set_read_timeout(patience).unwrap();
        stream
    };
    let check = move || http2::wrong(at, "http", connect, &provider);
    let wrong = tokio::task::spawn_blocking(check).await.unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn junk_behind_a_question_does_not_cut_its_answer_short() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let word = r#"{"choices":[{"index":0,"delta":{"content":"word"}}]}"#;
                write(&mut stream, &format!("data: {word}\n\n")).await;
            }
            write(&mut stream, "data: [DONE]\n\n").await;
        }
        .boxed()
    })
    .await;
    let gateway = gateway(address).await;
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json",
        gateway.address
    );
    let text = format!(
        "{head}\r\ncontent-length: {}\r\n\r\n{body}junk\0\r\n\r\n",
        body.len()
    );
    let answers = exchange(
        gateway.address,
        (text.into_bytes(), false),
        (2, true, false),
    )
    .await;
    let said = String::from_utf8_lossy(&answers.bytes);
    assert_eq!(answers.statuses, [200, 400], "{said}");
    assert_eq!(said.matches("word").count(), 5, "{said}");
    assert!(answers.closed && said.contains("[DONE]"), "{said}");
}

#[test]
fn the_corpus_names_each_case_once() {
    let mut names: Vec<&str> = all().iter().map(|case| case.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
