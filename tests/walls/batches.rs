//! Files and batches: each caller's are their own, admins included, and lines run as the caller who has the
//! device.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::daemon::{ADA, BOB, EVE, KIM, Person};
use crate::world::{Gateway, until};
use futures_util::FutureExt;
use support::provider::{answer, provider};

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![nobody_finds_what_is_anothers_and_lines_run_as_their_owner,];

const CREATE: &str = "/v1beta/models/m:batchGenerateContent";

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,
    "message":{"role":"assistant","content":"for ada alone"},"finish_reason":"stop"}],
    "usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;

async fn gateway() -> Gateway {
    let (upstream, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", ANSWER).await }.boxed()
    })
    .await;
    drop(received);
    let grant = |person: Person, role: &str| {
        json!({ "src": [person.login], "app": { "tailscale.com/cap/aperture": [
            { "role": role }, { "models": "**" }] } })
    };
    let config = json!({
        "providers": { "p": { "baseurl": format!("http://{upstream}"), "models": ["m"] } },
        "grants": [grant(ADA, "user"), grant(BOB, "user"), grant(KIM, "admin")],
    });
    Gateway::start(config, &[]).await
}

/// The id of a file of Ada's with one line.
async fn upload() -> String {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hello" }] });
    let line = json!({
        "custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body,
    });
    let form = format!(
        "--X\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"in\"\r\n\r\n{line}\r\n--X--\r\n"
    );
    let request = Request::post("/v1/files")
        .header("content-type", "multipart/form-data; boundary=X")
        .body(Full::from(form))
        .unwrap();
    let sent = ADA.send(request, Duration::from_secs(10)).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    sent.json()["id"].as_str().unwrap().to_owned()
}

async fn batch(input: &str) -> Value {
    let body = json!({
        "input_file_id": input, "endpoint": "/v1/chat/completions", "completion_window": "24h",
    });
    let made = ADA.ask("POST", "/v1/batches", &body.to_string(), &[]).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/batches/{id}");
    until("the batch does not end", async || {
        ADA.get(&path).await.json()["status"] == "completed"
    })
    .await;
    ADA.get(&path).await.json()
}

async fn message_batch() -> String {
    let messages = json!([{ "role": "user", "content": "hello" }]);
    let params = json!({ "model": "m", "max_tokens": 9, "messages": messages });
    let body = json!({ "requests": [{ "custom_id": "a", "params": params }] });
    let made = ADA
        .ask("POST", "/v1/messages/batches", &body.to_string(), &[])
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
    made.json()["id"].as_str().unwrap().to_owned()
}

/// The name of a batch of Gemini's that has ended.
async fn operation() -> String {
    let contents = json!([{ "role": "user", "parts": [{ "text": "hello" }] }]);
    let requests = json!([{ "request": { "contents": contents } }]);
    let input = json!({ "requests": { "requests": requests } });
    let body = json!({ "batch": { "inputConfig": input } });
    let made = ADA.ask("POST", CREATE, &body.to_string(), &[]).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let name = made.json()["name"].as_str().unwrap().to_owned();
    let path = format!("/v1beta/{name}");
    until("the batch does not end", async || {
        ADA.get(&path).await.json()["done"] == true
    })
    .await;
    let ended = ADA.get(&path).await;
    assert!(ended.text.contains("for ada alone"), "{}", ended.text);
    name
}

async fn nobody_finds_what_is_anothers_and_lines_run_as_their_owner() {
    let gateway = gateway().await;
    let input = upload().await;
    let batch = batch(&input).await;
    let messages = message_batch().await;
    let operation = operation().await;
    let [id, output] = ["id", "output_file_id"].map(|key| batch[key].as_str().unwrap());
    let content = ADA.get(&format!("/v1/files/{output}/content")).await;
    assert!(content.text.contains("for ada alone"), "{}", content.text);
    let rows = KIM.get("/api/requests?limit=20").await.json();
    let rows = rows["requests"].as_array().unwrap();
    let line = rows.iter().find(|row| row["session"] == id);
    assert_eq!(line.unwrap()["login"], ADA.login, "{rows:?}");

    let create = json!({
        "input_file_id": input, "endpoint": "/v1/chat/completions", "completion_window": "24h",
    });
    let names_file = json!({
        "batch": { "inputConfig": { "fileName": format!("files/{input}") } },
    });
    let part = json!({ "type": "file", "file": { "file_id": input } });
    let names = json!({ "model": "m", "messages": [{ "role": "user", "content": [part] }] });
    for (method, path, body) in [
        ("POST", "/v1/chat/completions".to_owned(), names.to_string()),
        ("POST", CREATE.to_owned(), names_file.to_string()),
        ("GET", format!("/v1beta/{operation}"), String::new()),
        ("POST", format!("/v1beta/{operation}:cancel"), String::new()),
        ("DELETE", format!("/v1beta/{operation}"), String::new()),
        ("GET", format!("/v1/files/{input}"), String::new()),
        ("GET", format!("/v1/files/{input}/content"), String::new()),
        ("GET", format!("/v1/files/{output}/content"), String::new()),
        ("DELETE", format!("/v1/files/{input}"), String::new()),
        ("GET", format!("/v1/batches/{id}"), String::new()),
        ("POST", format!("/v1/batches/{id}/cancel"), String::new()),
        ("POST", "/v1/batches".to_owned(), create.to_string()),
        (
            "GET",
            format!("/v1/messages/batches/{messages}"),
            String::new(),
        ),
        (
            "GET",
            format!("/v1/messages/batches/{messages}/results"),
            String::new(),
        ),
        (
            "POST",
            format!("/v1/messages/batches/{messages}/cancel"),
            String::new(),
        ),
        (
            "DELETE",
            format!("/v1/messages/batches/{messages}"),
            String::new(),
        ),
    ] {
        for (person, status) in [(BOB, 404), (KIM, 404), (EVE, 403)] {
            let reply = person.ask(method, &path, &body, &[]).await;
            assert_eq!(
                reply.status, status,
                "{} {method} {path}: {}",
                person.login, reply.text
            );
            let said = reply.whole();
            assert!(
                !said.contains("for ada alone") && !said.contains(ADA.login),
                "{said}"
            );
        }
    }
    each_list_is_its_owners().await;
    drop(gateway);
}

async fn each_list_is_its_owners() {
    for (path, key) in [
        ("/v1/files", "data"),
        ("/v1/batches", "data"),
        ("/v1/messages/batches", "data"),
        ("/v1beta/batches", "operations"),
    ] {
        for person in [BOB, KIM] {
            assert_eq!(person.get(path).await.json()[key], json!([]), "{path}");
        }
        assert_ne!(ADA.get(path).await.json()[key], json!([]), "{path}");
    }
}
