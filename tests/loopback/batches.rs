//! Files and batches that the gateway runs itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Gateway;
use support::http::{CHAT, Reply, post};
use support::provider::{answer, read_request};

/// A provider that notes the texts it is asked, and answers some only when it is let.
pub(crate) struct Provider {
    asked: Arc<Mutex<Vec<String>>>,
    /// One permit for each `wait` that is answered.
    pub(crate) gate: Arc<Semaphore>,
}

impl Provider {
    pub(crate) async fn start() -> (std::net::SocketAddr, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, gate) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(Semaphore::new(0)),
        );
        let provider = Self {
            asked: Arc::clone(&asked),
            gate: Arc::clone(&gate),
        };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked, gate) = (Arc::clone(&asked), Arc::clone(&gate));
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        if request.target() != format!("POST {CHAT}") {
                            answer(&mut stream, "404 Not Found", "", "{}").await;
                            continue;
                        }
                        let body: Value = serde_json::from_slice(&request.body).unwrap();
                        let text = body["messages"][0]["content"].as_str().unwrap().to_owned();
                        asked.lock().unwrap().push(text.clone());
                        if text.starts_with("wait") {
                            gate.acquire().await.unwrap().forget();
                        }
                        let (status, body) = reply(&text);
                        answer(&mut stream, status, "", &body.to_string()).await;
                    }
                });
            }
        });
        (address, provider)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) async fn is_asked(&self, text: &str) {
        until(async || self.asked().iter().any(|asked| asked == text).then_some(())).await;
    }
}

fn reply(text: &str) -> (&'static str, Value) {
    if text == "bad" {
        let error = json!({ "error": { "message": "no", "type": "invalid_request_error" } });
        return ("400 Bad Request", error);
    }
    let message = json!({ "role": "assistant", "content": format!("re: {text}") });
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "m",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 },
    });
    ("200 OK", answer)
}

/// Waits until something is there.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come");
}

pub(crate) fn line(id: &str, model: &str, text: &str) -> Value {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": text }] });
    json!({ "custom_id": id, "method": "POST", "url": CHAT, "body": body })
}

pub(crate) fn form(purpose: &str, content: &str) -> Request<Full<Bytes>> {
    let body = format!(
        "--X\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
         --X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\
         content-type: application/octet-stream\r\n\r\n{content}\r\n--X--\r\n"
    );
    Request::post("/v1/files")
        .header("content-type", "multipart/form-data; boundary=X")
        .body(Full::from(body))
        .unwrap()
}

pub(crate) async fn ask(gateway: &Gateway, method: Method, path: &str) -> Reply {
    let request = Request::builder().method(method).uri(path);
    gateway.send(request.body(Full::default()).unwrap()).await
}

pub(crate) async fn get(gateway: &Gateway, path: &str) -> Value {
    let reply = ask(gateway, Method::GET, path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

/// The id of an uploaded file.
pub(crate) async fn upload(gateway: &Gateway, lines: &[Value]) -> String {
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    let reply = gateway.send(form("batch", &lines.join("\n"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn create(gateway: &Gateway, file: &str) -> Reply {
    let body = json!({
        "input_file_id": file, "endpoint": CHAT, "completion_window": "24h",
        "metadata": { "for": "a test" },
    });
    gateway.send(post("/v1/batches", &body.to_string())).await
}

/// A batch that was made of lines.
pub(crate) async fn batch(gateway: &Gateway, lines: &[Value]) -> String {
    let reply = create(gateway, &upload(gateway, lines).await).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn ended(gateway: &Gateway, id: &str, status: &str) -> Value {
    until(async || {
        let batch = get(gateway, &format!("/v1/batches/{id}")).await;
        let is_over = !matches!(batch["status"].as_str(), Some("in_progress" | "cancelling"));
        assert!(!is_over || batch["status"] == status, "{batch}");
        is_over.then_some(batch)
    })
    .await
}

pub(crate) async fn lines(gateway: &Gateway, file: &Value) -> Vec<Value> {
    let path = format!("/v1/files/{}/content", file.as_str().unwrap());
    let reply = ask(gateway, Method::GET, &path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_file_can_be_sent_listed_read_and_deleted() {
    let (address, _) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let first = upload(&gateway, &[line("a", "m", "one")]).await;
    let second = upload(&gateway, &[line("b", "m", "two")]).await;
    let list = get(&gateway, "/v1/files").await;
    assert_eq!(
        (&list["first_id"], &list["last_id"]),
        (&json!(second), &json!(first))
    );
    let page = get(&gateway, &format!("/v1/files?limit=1&after={second}")).await;
    assert_eq!(
        (&page["data"][0]["id"], &page["has_more"]),
        (&json!(first), &json!(false))
    );
    let file = get(&gateway, &format!("/files/{first}")).await;
    assert_eq!(
        (&file["filename"], &file["purpose"]),
        (&json!("in.jsonl"), &json!("batch"))
    );
    assert_eq!(
        lines(&gateway, &json!(first)).await,
        [line("a", "m", "one")]
    );
    let path = format!("/v1/files/{first}");
    let deleted = ask(&gateway, Method::DELETE, &path).await;
    assert_eq!(deleted.json()["deleted"], true);
    for path in [
        path.as_str(),
        "/v1/files/file-other",
        "/v1/files/..%2Fnode/content",
    ] {
        let reply = ask(&gateway, Method::GET, path).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]["code"]),
            (404, &json!("not_found"))
        );
    }
    let other = gateway.send(form("fine-tune", "x")).await;
    assert_eq!(other.status, 400);
    assert!(other.message().contains("fine-tune"), "{}", other.message());
}

#[tokio::test]
async fn a_batch_runs_line_by_line_and_each_line_is_a_request_of_its_own() {
    let (address, provider) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let asked = [
        line("a", "m", "one"),
        line("b", "p/m", "bad"),
        line("c", "m", "three"),
    ];
    let id = batch(&gateway, &asked).await;
    let batch = ended(&gateway, &id, "completed").await;
    assert_eq!(
        batch["request_counts"],
        json!({ "total": 3, "completed": 2, "failed": 1 })
    );
    assert_eq!(batch["metadata"], json!({ "for": "a test" }));
    assert_eq!(provider.asked(), ["one", "bad", "three"]);
    let output = lines(&gateway, &batch["output_file_id"]).await;
    let ids: Vec<_> = output
        .iter()
        .map(|line| line["custom_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["a", "c"]);
    let response = &output[0]["response"];
    assert_eq!(response["status_code"], 200);
    assert_eq!(
        response["body"]["choices"][0]["message"]["content"],
        "re: one"
    );
    let errors = lines(&gateway, &batch["error_file_id"]).await;
    assert_eq!(
        (
            &errors[0]["custom_id"],
            &errors[0]["response"]["status_code"]
        ),
        (&json!("b"), &json!(400))
    );
    let request = response["request_id"].as_str().unwrap();
    let record = gateway.record_where(|row| row["id"] == request).await;
    assert_eq!(
        (&record["session"], &record["provider"]),
        (&json!(id), &json!("p"))
    );
    assert_eq!(record["agent"], "iris-batch");
    let list = get(&gateway, "/v1/batches?limit=1").await;
    assert_eq!(list["data"][0]["id"], id.as_str());
    let late = ask(&gateway, Method::POST, &format!("/v1/batches/{id}/cancel")).await;
    assert_eq!(late.status, 409);
}

#[tokio::test]
async fn what_is_wrong_is_told_before_a_line_is_asked() {
    let (address, provider) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let twice = upload(&gateway, &[line("a", "m", "one"), line("a", "m", "two")]).await;
    let failed = create(&gateway, &twice).await.json();
    assert_eq!(failed["status"], "failed");
    let error = &failed["errors"]["data"][0];
    assert_eq!(
        (&error["code"], &error["line"]),
        (&json!("duplicate_custom_id"), &json!(2))
    );
    let other = upload(
        &gateway,
        &[line("a", "m", "one"), line("b", "secret", "two")],
    )
    .await;
    let refused = create(&gateway, &other).await;
    assert_eq!(refused.status, 404);
    assert!(
        refused.message().contains("line 2"),
        "{}",
        refused.message()
    );
    assert_eq!(create(&gateway, "file-other").await.status, 404);
    assert_eq!(
        get(&gateway, "/v1/batches").await["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(provider.asked().is_empty());
}

#[tokio::test]
async fn a_batch_goes_on_after_a_restart_where_it_was() {
    let (address, provider) = Provider::start().await;
    let mut gateway = Gateway::start(address, json!({})).await;
    let asked = [
        line("a", "m", "one"),
        line("b", "m", "wait"),
        line("c", "m", "three"),
    ];
    let id = batch(&gateway, &asked).await;
    provider.is_asked("wait").await;
    gateway.stop().await;
    let gateway = gateway.again().await;
    provider.gate.add_permits(2);
    let batch = ended(&gateway, &id, "completed").await;
    assert_eq!(batch["request_counts"]["completed"], 3);
    assert_eq!(provider.asked(), ["one", "wait", "wait", "three"]);
    assert_eq!(lines(&gateway, &batch["output_file_id"]).await.len(), 3);
}

#[tokio::test]
async fn a_line_that_stops_the_gateway_twice_is_given_up() {
    let (address, provider) = Provider::start().await;
    let mut gateway = Gateway::start(address, json!({})).await;
    let id = batch(&gateway, &[line("a", "m", "wait"), line("b", "m", "two")]).await;
    for times in 1..=2 {
        until(async || (provider.asked().len() == times).then_some(())).await;
        gateway.stop().await;
        gateway = gateway.again().await;
    }
    let batch = ended(&gateway, &id, "completed").await;
    assert_eq!(
        batch["request_counts"],
        json!({ "total": 2, "completed": 1, "failed": 1 })
    );
    let errors = lines(&gateway, &batch["error_file_id"]).await;
    assert_eq!(errors[0]["error"]["code"], "interrupted");
    assert_eq!(provider.asked(), ["wait", "wait", "two"]);
}

#[tokio::test]
async fn a_cancelled_batch_finishes_its_line_and_asks_no_other() {
    let (address, provider) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let id = batch(&gateway, &[line("a", "m", "wait"), line("b", "m", "two")]).await;
    provider.is_asked("wait").await;
    let path = format!("/v1/batches/{id}/cancel");
    let cancelled = ask(&gateway, Method::POST, &path).await;
    assert_eq!(cancelled.json()["status"], "cancelling");
    provider.gate.add_permits(1);
    let batch = ended(&gateway, &id, "cancelled").await;
    assert_eq!(
        batch["request_counts"],
        json!({ "total": 2, "completed": 1, "failed": 0 })
    );
    assert_eq!(provider.asked(), ["wait"]);
}

#[tokio::test]
async fn lines_wait_while_their_provider_is_busy() {
    let (address, provider) = Provider::start().await;
    let gateway = Arc::new(Gateway::start(address, json!({})).await);
    let body = line("", "m", "wait for me")["body"].to_string();
    let chat = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.chat(&body).await }
    });
    provider.is_asked("wait for me").await;
    let id = batch(&gateway, &[line("a", "m", "one")]).await;
    // For what must not come: the batch looks twice a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(provider.asked(), ["wait for me"]);
    provider.gate.add_permits(1);
    assert_eq!(chat.await.unwrap().status, 200);
    ended(&gateway, &id, "completed").await;
    assert_eq!(provider.asked(), ["wait for me", "one"]);
}

#[tokio::test]
async fn a_line_needs_the_grants_of_the_moment_in_which_it_runs() {
    let (address, provider) = Provider::start().await;
    let mut gateway = Gateway::start(address, json!({})).await;
    let id = batch(&gateway, &[line("a", "m", "wait"), line("b", "m", "two")]).await;
    provider.is_asked("wait").await;
    gateway.stop().await;
    let path = gateway.config();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace(r#""models":"**""#, r#""models":"q/**""#),
    )
    .unwrap();
    let gateway = gateway.again().await;
    let batch = ended(&gateway, &id, "completed").await;
    assert_eq!(
        batch["request_counts"],
        json!({ "total": 2, "completed": 0, "failed": 2 })
    );
    let errors = lines(&gateway, &batch["error_file_id"]).await;
    assert!(
        errors
            .iter()
            .all(|line| line["response"]["status_code"] == 404),
        "{errors:?}"
    );
    assert_eq!(provider.asked(), ["wait"]);
}

#[tokio::test]
async fn files_take_no_more_room_than_they_may() {
    let (address, _) = Provider::start().await;
    let gateway = Gateway::start(address, json!({ "limits": { "files": 1_000 } })).await;
    assert_eq!(
        gateway.send(form("batch", &"x".repeat(400))).await.status,
        200
    );
    let full = gateway.send(form("batch", &"x".repeat(200))).await;
    assert_eq!(
        (full.status.as_u16(), &full.json()["error"]["code"]),
        (413, &json!("files_full"))
    );
}
