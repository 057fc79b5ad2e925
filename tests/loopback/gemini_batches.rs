//! Gemini's batches, which the gateway runs itself: of requests that come with them, and of files.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::batches::{Provider, ask, get, until};
use crate::refusals::is_error_of;
use support::http::{Reply, post};
use support::provider::{Received, server};

const CREATE: &str = "/v1beta/models/m:batchGenerateContent";

fn request(text: &str) -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }] })
}

/// Requests that come with a batch.
fn inline(texts: &[&str]) -> Value {
    let requests = texts.iter().map(|text| {
        let metadata = json!({ "key": text });
        json!({ "request": request(text), "metadata": metadata })
    });
    json!({ "requests": { "requests": requests.collect::<Vec<_>>() } })
}

async fn create(gateway: &Gateway, path: &str, input: &Value) -> Reply {
    let batch = json!({ "batch": { "displayName": "night", "inputConfig": input } });
    gateway.send(post(path, &batch.to_string())).await
}

/// The name of a batch that was made.
async fn made(gateway: &Gateway, path: &str, input: &Value) -> String {
    let reply = create(gateway, path, input).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let operation = reply.json();
    assert_eq!(operation["metadata"]["state"], "BATCH_STATE_RUNNING");
    assert_eq!(operation["done"], false);
    operation["name"].as_str().unwrap().to_owned()
}

async fn done(gateway: &Gateway, name: &str) -> Value {
    until(async || {
        let operation = get(gateway, &format!("/v1beta/{name}")).await;
        (operation["done"] == true).then_some(operation)
    })
    .await
}

/// The name of an uploaded file.
async fn upload(gateway: &Gateway, text: &str) -> String {
    let step = async |uri: &str, command: &str, body: &str| {
        let request = Request::post(uri)
            .header("x-goog-upload-command", command)
            .header("x-goog-upload-header-content-type", "jsonl");
        let body = Full::from(body.to_owned());
        gateway.send(request.body(body).unwrap()).await
    };
    let begun = step("/upload/v1beta/files", "start", "").await;
    let url = begun.headers["x-goog-upload-url"].to_str().unwrap();
    let (_, path) = url.split_once("/upload/").unwrap();
    let path = format!("/upload/{path}");
    let ended = step(&path, "upload, finalize", text).await;
    let name = ended.json()["file"]["name"].clone();
    name.as_str().unwrap().to_owned()
}

fn texts(results: &Value) -> Vec<&Value> {
    let mut texts = Vec::new();
    for result in results["inlinedResponses"].as_array().unwrap() {
        texts.push(&result["response"]["candidates"][0]["content"]["parts"][0]["text"]);
    }
    texts
}

#[tokio::test]
async fn requests_that_come_with_a_batch_have_their_results_in_it() {
    let (address, _) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let name = made(&gateway, CREATE, &inline(&["one", "bad", "three"])).await;
    let operation = done(&gateway, &name).await;
    let metadata = &operation["metadata"];
    assert_eq!(metadata["state"], "BATCH_STATE_SUCCEEDED");
    assert_eq!(
        (&metadata["displayName"], &metadata["model"]),
        (&json!("night"), &json!("models/m"))
    );
    let stats = json!({
        "requestCount": "3", "successfulRequestCount": "2", "failedRequestCount": "1",
        "pendingRequestCount": "0",
    });
    assert_eq!(metadata["batchStats"], stats);
    let results = &operation["response"]["inlinedResponses"];
    assert_eq!(*results, metadata["output"]["inlinedResponses"]);
    let said = texts(results);
    assert_eq!(said, [&json!("re: one"), &Value::Null, &json!("re: three")]);
    let failed = json!({
        "metadata": { "key": "bad" }, "error": { "code": 3, "message": "no" },
    });
    assert_eq!(results["inlinedResponses"][1], failed);
    let id = name.strip_prefix("batches/").unwrap();
    let record = gateway.record_where(|row| row["session"] == id).await;
    assert_eq!(record["agent"], "iris-batch");

    // The lists of the APIs are apart, and the input isn't in the caller's.
    let list = get(&gateway, "/v1beta/batches").await;
    assert_eq!(list["operations"][0]["name"], name.as_str());
    assert_eq!(list.get("nextPageToken"), None);
    assert_eq!(get(&gateway, "/v1/batches").await["data"], json!([]));
    assert_eq!(get(&gateway, "/v1beta/files").await["files"], json!([]));
    let path = format!("/v1beta/{name}");
    let late = ask(&gateway, Method::POST, &format!("{path}:cancel")).await;
    assert_eq!(late.status, 409);
    assert!(is_error_of("google", &late), "{}", late.text());
    let deleted = ask(&gateway, Method::DELETE, &path).await;
    assert_eq!(deleted.json(), json!({}));
    for method in [Method::GET, Method::DELETE] {
        let gone = ask(&gateway, method, &path).await;
        assert!(
            gone.status == 404 && is_error_of("google", &gone),
            "{}",
            gone.text()
        );
    }
}

#[tokio::test]
async fn lines_of_a_file_have_their_results_in_a_file() {
    let (address, _) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let lines = ["one", "bad"].map(|text| {
        let line = json!({ "key": text, "request": request(text) });
        line.to_string()
    });
    let input = upload(&gateway, &lines.join("\n")).await;
    let name = made(&gateway, CREATE, &json!({ "fileName": input })).await;
    let operation = done(&gateway, &name).await;
    let metadata = &operation["metadata"];
    assert_eq!(metadata["inputConfig"]["fileName"], input.as_str());
    let output = operation["response"]["responsesFile"].as_str().unwrap();
    assert_eq!(metadata["output"]["responsesFile"], output);
    let file = get(&gateway, &format!("/v1beta/{output}")).await;
    assert_eq!(file["source"], "GENERATED");
    let uri = file["downloadUri"].as_str().unwrap();
    let origin = format!("http://{}", gateway.address);
    let own = uri.strip_prefix(&origin).unwrap().to_owned();
    let path = format!("/v1beta/{name}");
    assert_eq!(ask(&gateway, Method::DELETE, &path).await.json(), json!({}));
    // The file stays.
    for path in [own, format!("/download/v1beta/{output}:download?alt=media")] {
        let text = ask(&gateway, Method::GET, &path).await.text();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let keys: Vec<_> = lines.iter().map(|line| &line["key"]).collect();
        assert_eq!(keys, ["one", "bad"], "{text}");
        let parts = &lines[0]["response"]["candidates"][0]["content"]["parts"];
        assert_eq!(parts[0]["text"], "re: one");
        assert_eq!(lines[1]["error"]["code"], 3);
    }
}

#[tokio::test]
async fn a_cancelled_operation_says_which_requests_were_not_asked() {
    let (address, provider) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let name = made(&gateway, CREATE, &inline(&["wait", "two"])).await;
    provider.is_asked("wait").await;
    let path = format!("/v1beta/{name}:cancel");
    let cancelled = ask(&gateway, Method::POST, &path).await;
    assert_eq!(cancelled.json(), json!({}));
    provider.gate.add_permits(1);
    let operation = done(&gateway, &name).await;
    assert_eq!(operation["metadata"]["state"], "BATCH_STATE_CANCELLED");
    assert_eq!(operation["error"]["code"], 1);
    assert_eq!(operation.get("response"), None);
    let results = &operation["metadata"]["output"]["inlinedResponses"];
    assert_eq!(texts(results), [&json!("re: wait"), &Value::Null]);
    assert_eq!(results["inlinedResponses"][1]["error"]["code"], 1);
    assert_eq!(provider.asked(), ["wait"]);
}

#[tokio::test]
async fn a_deleted_operation_asks_no_further_request_and_keeps_no_results() {
    let (address, provider) = Provider::start().await;
    let mut gateway = Gateway::start(address, json!({})).await;
    let lines = ["a", "wait", "b"].map(|text| json!({ "request": request(text) }).to_string());
    let file = upload(&gateway, &lines.join("\n")).await;
    for (nth, input) in [
        inline(&["one", "wait", "two"]),
        json!({ "fileName": file }),
        inline(&["three", "wait", "four"]),
    ]
    .iter()
    .enumerate()
    {
        let name = made(&gateway, CREATE, input).await;
        until(async || (provider.asked().len() == 2 * (nth + 1)).then_some(())).await;
        // The last one is deleted after a restart, and may be asked once more before.
        let is_last = nth == 2;
        if is_last {
            gateway.stop().await;
            gateway = gateway.again().await;
        }
        let path = format!("/v1beta/{name}");
        let deleted = ask(&gateway, Method::DELETE, &path).await;
        assert_eq!(deleted.json(), json!({}));
        provider.gate.add_permits(if is_last { 2 } else { 1 });
        assert_eq!(ask(&gateway, Method::GET, &path).await.status, 404);
    }
    // Another one runs to its end, while the lines that ran before are answered.
    let name = made(&gateway, CREATE, &inline(&["five"])).await;
    done(&gateway, &name).await;
    ask(&gateway, Method::DELETE, &format!("/v1beta/{name}")).await;
    ask(&gateway, Method::DELETE, &format!("/v1beta/{file}")).await;
    for never in ["two", "b", "four"] {
        assert!(!provider.asked().iter().any(|asked| asked == never));
    }
    // No file of any of them is left, neither in the list nor on the disk.
    assert_eq!(get(&gateway, "/v1beta/files").await["files"], json!([]));
    let folder = gateway.config().with_file_name("state").join("files");
    until(async || {
        let owners = std::fs::read_dir(&folder).unwrap().map(Result::unwrap);
        let owners = owners.filter(|owner| owner.file_type().unwrap().is_dir());
        let mut owners = owners.map(|owner| std::fs::read_dir(owner.path()).unwrap());
        owners.all(|mut files| files.next().is_none()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_operation_goes_on_after_a_restart_where_it_was() {
    let (address, provider) = Provider::start().await;
    let mut gateway = Gateway::start(address, json!({})).await;
    let name = made(&gateway, CREATE, &inline(&["one", "wait", "three"])).await;
    provider.is_asked("wait").await;
    gateway.stop().await;
    let gateway = gateway.again().await;
    provider.gate.add_permits(2);
    let operation = done(&gateway, &name).await;
    let said = texts(&operation["response"]["inlinedResponses"]);
    assert_eq!(said, ["re: one", "re: wait", "re: three"]);
    assert_eq!(provider.asked(), ["one", "wait", "wait", "three"]);
}

#[tokio::test]
async fn an_operation_that_cannot_be_run_is_refused() {
    let (address, provider) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let line = json!({ "key": "a", "request": request("one") });
    let odd = upload(&gateway, &format!("{line}\n{{\"key\":1}}")).await;
    let other = json!({ "model": "models/other", "contents": [] });
    let other = json!({ "requests": { "requests": [{ "request": other }] } });
    let secret = "/v1beta/models/secret:batchGenerateContent";
    let unknown = json!({ "fileName": "files/file-iris-other" });
    for (path, input, status, says) in [
        (CREATE, json!({ "fileName": odd }), 400, "line 2"),
        (CREATE, unknown, 404, "file-iris-other"),
        (CREATE, other, 400, "request 1"),
        (CREATE, inline(&[]), 400, "no requests"),
        (CREATE, json!({}), 400, "fileName"),
        (CREATE, json!({ "gcsSource": {} }), 400, "gcsSource"),
        (secret, inline(&["one"]), 404, "secret"),
        // A provider that is asked in another format makes no vectors.
        (
            "/v1beta/models/m:asyncBatchEmbedContent",
            inline(&["one"]),
            404,
            "no route",
        ),
    ] {
        let reply = create(&gateway, path, &input).await;
        assert_eq!(reply.status, status, "{input}: {}", reply.text());
        assert!(is_error_of("google", &reply), "{}", reply.text());
        assert!(reply.message().contains(says), "{}", reply.message());
    }
    let list = get(&gateway, "/v1beta/batches").await;
    assert_eq!(list["operations"], json!([]));
    let kept = get(&gateway, "/v1beta/files").await;
    assert_eq!(kept["files"].as_array().unwrap().len(), 1);
    assert!(provider.asked().is_empty());
}

#[tokio::test]
async fn vectors_are_made_in_batches_and_lists_have_pages() {
    let embed = |_: &Received| {
        let embedding = json!({ "embedding": { "values": [0.5, 1.0] } });
        ("200 OK", embedding.to_string())
    };
    let (address, log) = server("127.0.0.1:0", embed).await;
    let speaks = json!({ "gemini_generate_content": true });
    let provider = json!({ "provider": { "compatibility": speaks } });
    let gateway = Gateway::start(address, provider).await;
    let path = "/v1beta/models/m:asyncBatchEmbedContent";
    let content = json!({ "parts": [{ "text": "hello" }] });
    let request = json!({ "request": { "model": "models/m", "content": content } });
    let input = json!({ "requests": { "requests": [request] } });
    let mut names = Vec::new();
    for _ in 0..2 {
        let name = made(&gateway, path, &input).await;
        let operation = done(&gateway, &name).await;
        let results = &operation["metadata"]["output"]["inlinedResponses"];
        let vector = &results["inlinedResponses"][0]["response"]["embedding"];
        assert_eq!(vector["values"], json!([0.5, 1.0]), "{operation}");
        let kind = operation["metadata"]["@type"].as_str().unwrap();
        assert!(kind.ends_with(".EmbedContentBatch"), "{kind}");
        names.push(name);
    }
    let asked: Vec<_> = log.lock().unwrap().iter().map(Received::target).collect();
    assert_eq!(asked, ["POST /v1beta/models/m:embedContent"; 2]);
    let first = get(&gateway, "/v1beta/batches?pageSize=1").await;
    assert_eq!(first["operations"][0]["name"], names[1].as_str());
    let token = first["nextPageToken"].as_str().unwrap();
    let next = format!("/v1beta/batches?pageSize=1&pageToken={token}");
    let second = get(&gateway, &next).await;
    assert_eq!(second["operations"][0]["name"], names[0].as_str());
    assert_eq!(second.get("nextPageToken"), None);
}

#[tokio::test]
async fn under_v1_the_headers_of_googles_clients_tell_its_batches() {
    let (address, _) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let path = "/v1/models/m:batchGenerateContent";
    let name = made(&gateway, path, &inline(&["one"])).await;
    done(&gateway, &name).await;
    let path = format!("/v1/{name}");
    let openai = ask(&gateway, Method::GET, &path).await;
    assert!(
        openai.status == 404 && is_error_of("openai", &openai),
        "{}",
        openai.text()
    );
    let request = Request::get(&path).header("x-goog-api-key", "-");
    let google = gateway.send(request.body(Full::default()).unwrap()).await;
    assert_eq!(google.json()["name"], name.as_str());
}
