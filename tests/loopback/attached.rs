//! Files that callers keep at the gateway and name in requests: providers get the content.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::batches::ask;
use crate::guardrails::{body, drain, gateway, model, pii};
use crate::translation::speaks;
use support::http::{CHAT, Reply, post};
use support::provider::{COMPLETION, server};

/// A file that is sent to OpenAI's API with a purpose, or to Anthropic's.
async fn upload(gateway: &Gateway, purpose: Option<&str>, file: (&str, &str), text: &str) -> Reply {
    let (name, kind) = file;
    let purpose_part = purpose.map_or_else(String::new, |purpose| {
        format!("--X\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n")
    });
    let form = format!(
        "{purpose_part}--X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: {kind}\r\n\r\n{text}\r\n--X--\r\n"
    );
    let request =
        Request::post("/v1/files").header("content-type", "multipart/form-data; boundary=X");
    let request = match purpose {
        Some(_) => request,
        None => request.header("anthropic-version", "2023-06-01"),
    };
    gateway.send(request.body(Full::from(form)).unwrap()).await
}

async fn kept(gateway: &Gateway, file: (&str, &str), text: &str) -> String {
    let reply = upload(gateway, Some("user_data"), file, text).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn header(reply: &Reply, name: &str) -> String {
    reply.headers[name].to_str().unwrap().to_owned()
}

fn chat(id: &str) -> Value {
    let part = json!({ "type": "file", "file": { "file_id": id } });
    json!({ "model": "m", "messages": [{ "role": "user", "content": [part] }] })
}

fn messages(id: &str) -> Value {
    let source = json!({ "type": "file", "file_id": id });
    let part = json!({ "type": "document", "source": source });
    json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": [part] }] })
}

#[tokio::test]
async fn a_provider_gets_the_content_of_a_file() {
    let (model, mut asked) = model().await;
    let gateway = gateway(model, json!([{ "models": "**" }]), json!({})).await;
    let pdf = kept(&gateway, ("a.pdf", "application/pdf"), "%PDF").await;
    let text = kept(&gateway, ("a.txt", "text/plain"), "some text").await;
    let image = kept(&gateway, ("a.png", ""), "PNG").await;
    let input = json!([{ "role": "user", "content": [
        { "type": "input_image", "file_id": image }, { "type": "input_file", "file_id": pdf } ] }]);
    for (path, ask, inline) in [
        (
            CHAT,
            chat(&pdf),
            r#""file_data":"data:application/pdf;base64,JVBERg==""#,
        ),
        (CHAT, chat(&image), r#""url":"data:image/png;base64,UE5H""#),
        ("/v1/messages", messages(&pdf), r#""data":"JVBERg==""#),
        ("/v1/messages", messages(&text), r#""data":"some text""#),
        (
            "/v1/responses",
            json!({ "model": "m", "input": input }),
            r#""image_url":"data:image/png;base64,UE5H""#,
        ),
    ] {
        let reply = gateway.send(post(path, &ask.to_string())).await;
        assert_eq!(reply.status, 200, "{path} {ask}: {}", reply.text());
        let received = drain(&mut asked);
        let sent = body(received.last().unwrap());
        assert!(sent.contains(inline), "{sent}");
        assert!(!sent.contains("file-iris-"), "{sent}");
    }
}

#[tokio::test]
async fn a_file_reaches_a_provider_of_another_format() {
    let (address, log) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let gateway = Gateway::start(address, speaks("openai_chat")).await;
    let pdf = kept(&gateway, ("a.pdf", "application/pdf"), "%PDF").await;
    let reply = gateway
        .send(post("/v1/messages", &messages(&pdf).to_string()))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = body(log.lock().unwrap().last().unwrap());
    assert!(
        sent.contains("data:application/pdf;base64,JVBERg=="),
        "{sent}"
    );
}

#[tokio::test]
async fn guardrails_read_files() {
    let (model, mut asked) = model().await;
    let objects = json!([{ "models": "**", "guards": ["pii"] }]);
    let gateway = gateway(model, objects, pii("block")).await;
    let file = kept(
        &gateway,
        ("a.txt", "text/plain"),
        "write to ann@example.org",
    )
    .await;
    for (path, ask) in [(CHAT, chat(&file)), ("/v1/messages", messages(&file))] {
        let reply = gateway.send(post(path, &ask.to_string())).await;
        assert_eq!(
            reply.status,
            StatusCode::FORBIDDEN,
            "{path}: {}",
            reply.text()
        );
    }
    assert!(drain(&mut asked).is_empty());
}

#[tokio::test]
async fn a_file_that_is_not_there_or_does_not_fit_is_refused() {
    let (model, mut asked) = model().await;
    let limits = json!({ "limits": { "request_body": 4096 } });
    let gateway = gateway(model, json!([{ "models": "**" }]), limits).await;
    let long = kept(&gateway, ("a.pdf", "application/pdf"), &"x".repeat(3_500)).await;
    let gone = kept(&gateway, ("a.pdf", "application/pdf"), "x").await;
    let deleted = ask(&gateway, Method::DELETE, &format!("/v1/files/{gone}")).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    for (ask, status, why) in [
        (chat(&gone), StatusCode::NOT_FOUND, "no file"),
        (chat("file-iris-0"), StatusCode::NOT_FOUND, "no file"),
        (
            chat(&long),
            StatusCode::PAYLOAD_TOO_LARGE,
            "limits.request_body",
        ),
    ] {
        let reply = gateway.send(post(CHAT, &ask.to_string())).await;
        assert_eq!(reply.status, status, "{ask}: {}", reply.text());
        assert!(reply.text().contains(why), "{}", reply.text());
    }
    assert!(drain(&mut asked).is_empty());
    // A provider's own id is the provider's to check.
    let own = gateway
        .send(post(CHAT, &chat("file-abc").to_string()))
        .await;
    assert_eq!(own.status, 200, "{}", own.text());
    assert!(body(&drain(&mut asked)[0]).contains("file-abc"));
    let odd = upload(&gateway, Some("evals"), ("a", ""), "x").await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
    assert!(odd.text().contains("user_data"), "{}", odd.text());
}

#[tokio::test]
async fn anthropics_clients_have_their_own_shapes() {
    let (model, _asked) = model().await;
    let gateway = gateway(model, json!([{ "models": "**" }]), json!({})).await;
    let anthropic = async |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("anthropic-version", "2023-06-01");
        gateway
            .send(request.body(Full::<Bytes>::default()).unwrap())
            .await
    };
    let made = upload(&gateway, None, ("a.md", ""), "# a").await.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["type"], "file");
    assert_eq!(
        (&made["mime_type"], &made["size_bytes"]),
        (&json!("text/markdown"), &json!(3))
    );
    let created = made["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z'), "{created}");
    let path = format!("/v1/files/{id}");
    assert_eq!(anthropic(Method::GET, &path).await.json(), made);
    let list = anthropic(Method::GET, "/v1/files?limit=10").await.json();
    assert_eq!(
        (&list["data"], &list["has_more"]),
        (&json!([made]), &json!(false))
    );
    let content = anthropic(Method::GET, &format!("{path}/content")).await;
    assert_eq!(content.text(), "# a");
    let gone = anthropic(Method::DELETE, &path).await.json();
    assert_eq!(gone, json!({ "id": id, "type": "file_deleted" }));
    let missing = anthropic(Method::GET, &path).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.json()["type"], "error", "{}", missing.text());
}

#[tokio::test]
async fn geminis_clients_upload_in_steps() {
    let (model, mut asked) = model().await;
    let gateway = gateway(model, json!([{ "models": "**" }]), json!({})).await;
    let step = async |uri: &str, command: &str, offset: usize, body: &str| {
        let request = Request::post(uri)
            .header("x-goog-upload-protocol", "resumable")
            .header("x-goog-upload-command", command)
            .header("x-goog-upload-offset", offset)
            .header("x-goog-upload-header-content-length", 7);
        let body = Full::from(body.to_owned());
        gateway.send(request.body(body).unwrap()).await
    };
    let about = r#"{"file":{"displayName":"my notes","mimeType":"text/plain"}}"#;
    let begun = step("/upload/v1beta/files", "start", 0, about).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let url = header(&begun, "x-goog-upload-url");
    let (_, path) = url.split_once("/upload/").unwrap();
    let path = format!("/upload/{path}");
    // A piece that leaves a gap, two pieces, and one of them once more.
    let gap = step(&path, "upload", 2, "x").await;
    assert_eq!(gap.status, StatusCode::BAD_REQUEST, "{}", gap.text());
    for _ in 0..2 {
        let piece = step(&path, "upload", 0, "note").await;
        assert_eq!(header(&piece, "x-goog-upload-status"), "active");
    }
    let last = step(&path, "upload, finalize", 4, "s 1").await;
    assert_eq!(header(&last, "x-goog-upload-status"), "final");
    let file = last.json()["file"].clone();
    assert_eq!(
        (&file["displayName"], &file["sizeBytes"], &file["state"]),
        (&json!("my notes"), &json!("7"), &json!("ACTIVE"))
    );
    let again = step(&path, "upload, finalize", 0, "x").await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "{}", again.text());
    let name = format!("/v1beta/{}", file["name"].as_str().unwrap());
    assert_eq!(ask(&gateway, Method::GET, &name).await.json(), file);
    let list = ask(&gateway, Method::GET, "/v1beta/files?pageSize=1").await;
    assert_eq!(list.json()["files"], json!([file]));

    let parts = json!([{ "fileData": { "fileUri": file["uri"], "mimeType": "text/plain" } }]);
    let body_of = json!({ "contents": [{ "role": "user", "parts": parts }] });
    let path = "/v1beta/models/m:generateContent";
    let reply = gateway.send(post(path, &body_of.to_string())).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = body(drain(&mut asked).last().unwrap());
    assert!(sent.contains(r#""data":"bm90ZXMgMQ==""#), "{sent}");
    let gone = ask(&gateway, Method::DELETE, &name).await;
    assert_eq!(gone.json(), json!({}));
    let missing = gateway.send(post(path, &body_of.to_string())).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.json()["error"]["code"], 404, "{}", missing.text());
}

#[tokio::test]
async fn an_upload_has_to_be_as_long_as_it_was_said_to_be() {
    let (model, _asked) = model().await;
    let gateway = gateway(model, json!([{ "models": "**" }]), json!({})).await;
    let id = format!("file-iris-{:032x}", 1);
    let path = format!("/upload/v1beta/files?upload_id={id}&name=n&kind=text%2Fplain&bytes=9");
    let request = Request::post(&path).header("x-goog-upload-command", "upload, finalize");
    let reply = gateway
        .send(request.body(Full::from("short")).unwrap())
        .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
    let file = ask(&gateway, Method::GET, &format!("/v1beta/files/{id}")).await;
    assert_eq!(file.status, StatusCode::NOT_FOUND);
}
