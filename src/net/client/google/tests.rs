//! A token endpoint on loopback that hands out numbered tokens, or refuses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config;
use crate::net::client::Timeouts;

const KEY: &str = include_str!("../fixtures/throw-away-test-key.pem");
const PUBLIC: &[u8] = include_bytes!("../fixtures/throw-away-test-key.public.der");

/// A key whose tokens come from `at`.
fn account(at: SocketAddr) -> Arc<ServiceAccount> {
    let file = json!({
        "type": "service_account",
        "project_id": "proj",
        "private_key_id": "key-1",
        "private_key": KEY,
        "client_email": "gateway@proj.example",
        "token_uri": format!("http://{at}/token"),
    });
    let apikey = format!("keyfile::{}", base64::encode(file.to_string()));
    let text = json!({"providers":{"p":{"baseurl":"http://p","models":["m"],"apikey":apikey}}});
    let file = config::parse(&text.to_string(), &|_| None).unwrap().file;
    file.providers["p"].service_account.clone().unwrap()
}

/// Answers each exchange; `{n}` in `answer` is its number.
async fn endpoint(status: &'static str, answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !String::from_utf8_lossy(&request).contains("&assertion=") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let nth = counter.fetch_add(1, Ordering::SeqCst) + 1;
            let body = answer.replace("{n}", &nth.to_string());
            let head = format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .await
                .unwrap();
        }
    });
    (address, asked)
}

fn client() -> Client {
    Client::new(None, Timeouts::all(Duration::from_secs(5)))
}

const GRANTED: &str = r#"{"access_token":"token-{n}","expires_in":3599,"token_type":"Bearer"}"#;

fn part(text: &str) -> Vec<u8> {
    let mut plain = text.replace('-', "+").replace('_', "/");
    while !plain.len().is_multiple_of(4) {
        plain.push('=');
    }
    base64::decode(plain).unwrap()
}

#[tokio::test]
async fn the_assertion_is_signed_and_says_for_what() {
    let account = account("127.0.0.1:9".parse().unwrap());
    let text = assertion(&account, 1_700_000_000).unwrap();
    let (signed, signature) = text.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, PUBLIC)
        .verify(signed.as_bytes(), &part(signature))
        .unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    let head: Value = serde_json::from_slice(&part(head)).unwrap();
    assert_eq!(head, json!({"alg":"RS256","typ":"JWT","kid":"key-1"}));
    let claims: Value = serde_json::from_slice(&part(claims)).unwrap();
    assert_eq!(
        claims,
        json!({"iss":"gateway@proj.example","scope":SCOPE,"aud":"http://127.0.0.1:9/token",
            "iat":1_700_000_000,"exp":1_700_003_600})
    );
}

#[tokio::test]
async fn one_exchange_for_all_until_a_provider_refuses_the_token() {
    let (address, asked) = endpoint("200 OK", GRANTED).await;
    let (client, cache) = (client(), TokenCache::default());
    // Two readings of one key, as after a reload.
    let (first, second) = (account(address), account(address));
    let sources = [
        cache.source(&first, &client),
        cache.source(&second, &client),
    ];
    let many = (0..8).map(|nth| sources[nth % 2].token());
    for token in futures_util::future::join_all(many).await {
        assert_eq!(token.unwrap().expose(), "token-1");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let old = sources[0].token().await.unwrap();
    sources[0].reject(&old).await;
    assert_eq!(sources[1].token().await.unwrap().expose(), "token-2");
    // A late refusal of the old one does not cost the new one.
    sources[0].reject(&old).await;
    assert_eq!(sources[1].token().await.unwrap().expose(), "token-2");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_near_its_end_is_renewed() {
    let answer = r#"{"access_token":"token-{n}","expires_in":1}"#;
    let (address, asked) = endpoint("200 OK", answer).await;
    let (client, cache, account) = (client(), TokenCache::default(), account(address));
    let source = cache.source(&account, &client);
    assert_eq!(source.token().await.unwrap().expose(), "token-1");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(source.token().await.unwrap().expose(), "token-2");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refusal_is_told_and_not_repeated_at_once() {
    let answer = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    let (address, asked) = endpoint("400 Bad Request", answer).await;
    let (client, cache, account) = (client(), TokenCache::default(), account(address));
    let source = cache.source(&account, &client);
    for _ in 0..3 {
        let error = source.token().await.unwrap_err().to_string();
        assert!(
            error.ends_with("refused its service account with 400 Bad Request (invalid_grant)"),
            "{error}"
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    tokio::time::sleep(PAUSE).await;
    assert!(source.token().await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    for answer in [
        "",
        "[]",
        r#"{"access_token":"","expires_in":1}"#,
        r#"{"access_token":"t"}"#,
    ] {
        let (address, _) = endpoint("200 OK", answer).await;
        let account = self::account(address);
        let error = cache.source(&account, &client).token().await.unwrap_err();
        assert!(matches!(error, TokenError::Unreadable), "{answer}: {error}");
    }
}
