//! What guardrails read of a request: every part of a form, strings, keys and numbers of an object, and
//! what is encoded in them.

use std::net::SocketAddr;

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::guardrails::{body, drain, gateway, guarded, model, reasons};
use support::http::post;

#[tokio::test]
async fn what_of_a_form_is_text_is_looked_at() {
    let (gateway, mut asked) = guarded("redact").await;
    let form = "--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--X\r\n\
        Content-Disposition: form-data; name=\"prompt\"\r\n\r\nlike a@b.org\r\n--X\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"e@f.org\"\r\n\r\nc@d.org\r\n--X--\r\n";
    let send = |form: Vec<u8>| {
        let request = Request::post("/v1/audio/transcriptions")
            .header("content-type", "multipart/form-data; boundary=X")
            .body(Full::from(form))
            .unwrap();
        gateway.send(request)
    };
    assert_eq!(send(form.into()).await.status, StatusCode::OK);
    let left = form.replace("a@b.org", "[redacted email]");
    let left = left.replace("c@d.org", "[redacted email]");
    let left = left.replace("e@f.org", "[redacted email]");
    assert_eq!(body(&drain(&mut asked)[0]), left);
    // A file that isn't text passes. A field that isn't in UTF-8 can't be inspected.
    let with = |head: &str, value: &[u8]| {
        let at = form.find("--X\r\nContent-Disposition: form-data; name=\"file\"");
        let (before, after) = form.split_at(at.unwrap());
        let part = format!("--X\r\nContent-Disposition: form-data; name=\"{head}\r\n\r\n");
        [
            before.as_bytes(),
            part.as_bytes(),
            value,
            b"\r\n",
            after.as_bytes(),
        ]
        .concat()
    };
    let latin = b"a@b.org \xe9";
    let binary = b"\x89PNG\r\n\x1a\n\0\0\0\xff a@b.org";
    let wide: Vec<u8> = "a@b.org"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let in_base64 = "data:text/plain;base64,SSBhbSBhbm5AZXhhbXBsZS5vcmc=";
    let utf7 = "file\"; filename=\"a\"\r\nContent-Type: text/plain; charset=utf-7";
    let sound = "file\"; filename=\"a\"\r\nContent-Type: audio/webm;codecs=opus";
    for (head, value, expected) in [
        ("image\"; filename=\"a.png\"", &binary[..], StatusCode::OK),
        (sound, b"\x1aE\xdf\xa3\x01\x02", StatusCode::OK),
        ("image\"; filename=\"a.png\"", latin, StatusCode::FORBIDDEN),
        ("file\"; filename=\"a.txt\"", &wide, StatusCode::FORBIDDEN),
        (utf7, b"x", StatusCode::FORBIDDEN),
        ("prompt\"; filename=\"x\"", binary, StatusCode::FORBIDDEN),
        ("x_note\"", b"x", StatusCode::FORBIDDEN),
        ("language\"", latin, StatusCode::FORBIDDEN),
        ("language\"; filename=\"\"", latin, StatusCode::FORBIDDEN),
        (
            "language\"\r\nContent-Type: text/plain; charset=utf-16",
            b"x",
            StatusCode::BAD_REQUEST,
        ),
        ("x_unknown\"", b"x", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(send(with(head, value)).await.status, expected, "{head}");
    }
    drain(&mut asked);
    let sent = send(with("language\"", in_base64.as_bytes())).await;
    assert_eq!(sent.status, StatusCode::OK);
    let sent = body(&drain(&mut asked)[0]);
    assert!(
        sent.contains("\r\n\r\ndata:text/plain;base64,SSBhbSBbcmVkYWN0ZWQgZW1haWxd\r\n"),
        "{sent}"
    );
}

#[tokio::test]
async fn what_only_a_provider_can_read_is_left_alone() {
    let (model, mut asked) = model().await;
    let more = json!({ "guards": { "own": { "kind": "patterns", "patterns": ["[a-z]+1", "gNmy[a-z]+"], "action": "redact" } } });
    let gateway = gateway(model, json!([{ "models": "**", "guards": ["own"] }]), more).await;
    let sealed: Vec<u8> = (0..60_u8).map(|nth| nth.wrapping_mul(89) | 0x80).collect();
    let sealed = aws_smithy_types::base64::encode(sealed);
    let message = |content: &Value| {
        json!({ "model": "m", "max_tokens": 1, "messages": [{ "role": "assistant", "content": [content] }] })
            .to_string()
    };
    let ask = message(&json!({ "type": "thinking", "signature": sealed, "thinking": "cd1" }));
    gateway.send(post("/v1/messages", &ask)).await;
    let sent = body(&drain(&mut asked)[0]);
    assert!(
        sent.contains(&sealed) && !sent.contains("cd1") && sent.contains("[redacted pattern 1]"),
        "{sent}"
    );
    // The same key elsewhere, or with text in it, is read by the model.
    let clear = aws_smithy_types::base64::encode(
        "ab1 is what stands here, in a text that is long enough to be one",
    );
    for content in [
        json!({ "type": "thinking", "signature": "say ab1", "thinking": "" }),
        json!({ "type": "thinking", "signature": clear, "thinking": "" }),
        json!({ "type": "text", "signature": "ab1ab1ab1ab1", "text": "" }),
        json!({ "type": "text", "signature": sealed, "text": "" }),
        json!({ "input": { "signature": "ab1" }, "thinking": "" }),
        json!({ "type": "tool_result", "content": [{ "type": "text", "encrypted_content": sealed }] }),
    ] {
        let ask = message(&content);
        gateway.send(post("/v1/messages", &ask)).await;
        let sent = body(&drain(&mut asked)[0]);
        assert_ne!(sent, ask);
        for hidden in ["ab1", &clear, &sealed] {
            assert!(!sent.contains(hidden), "{sent}");
        }
    }
    for (path, ask) in [(
        "/v1/responses",
        json!({ "model": "m", "input": [{ "type": "message", "role": "user", "content": "x", "encrypted_content": sealed }] }),
    )] {
        gateway.send(post(path, &ask.to_string())).await;
        let sent = body(&drain(&mut asked)[0]);
        assert!(!sent.contains(&sealed), "{sent}");
    }
}

/// A call of a tool with these arguments.
fn call(arguments: &str) -> Value {
    json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "function": { "name": "f", "arguments": arguments } }] }] })
}

/// Requests with secrets among the characters of other languages, and whether they can be taken out.
fn in_other_characters() -> Vec<(&'static str, Value, bool)> {
    // Cyrillic in windows-1251, Japanese in Shift_JIS, German in ISO 8859-1.
    let old = |letters: &[u8]| {
        let letters = letters.repeat(12);
        aws_smithy_types::base64::encode(
            [&letters, &b" AKIAIOSFODNN7EXAMPLE "[..], &letters].concat(),
        )
    };
    let (cyrillic, japanese, german) = (
        old(b"\xea\xeb\xfe\xf7"),
        old(b"\x83A\x83L"),
        old(b"\xe4\xf6\xfcx"),
    );
    vec![
        (
            "/v1/chat/completions",
            call("{\"k\":\"密钥是AKIAIOSFODNN7EXAMPLE请检查\"}"),
            true,
        ),
        (
            "/v1/chat/completions",
            call("{\"k\":\"卡号４１１１ １１１１ １１１１ １１１１请检查\"}"),
            true,
        ),
        (
            "/v1/chat/completions",
            call("{\"k\":\"ann@exa\\u200bmple.org\"}"),
            true,
        ),
        (
            "/v1/messages",
            json!({ "max_tokens": 1, "messages": [{ "content": [{ "type": "document", "source": { "media_type": "text/plain", "data": german } }] }] }),
            false,
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({ "contents": [{ "parts": [{ "inlineData": { "mimeType": "text/csv", "data": cyrillic } }] }] }),
            false,
        ),
        (
            "/bedrock/model/m/converse",
            json!({ "messages": [{ "content": [{ "document": { "format": "txt", "source": { "bytes": japanese } } }] }] }),
            false,
        ),
    ]
}

#[tokio::test]
async fn keys_numbers_and_strings_inside_strings_are_read() {
    let (model, mut asked) = model().await;
    let guards = |action: &str| {
        json!({ "guards": { "secrets": { "kind": "patterns",
            "detect": ["email", "credit_card", "aws_access_key"], "action": action } } })
    };
    let objects = json!([{ "models": "**", "guards": ["secrets"] }]);
    let blocks = gateway(model, objects.clone(), guards("block")).await;
    let redacts = gateway(model, objects.clone(), guards("redact")).await;
    let reports = gateway(model, objects, guards("report")).await;
    let mut asks = in_other_characters();
    asks.extend([
        (
            "/v1/messages",
            json!({ "max_tokens": 1, "messages": [{ "content": [{ "type": "tool_use", "input": { "card": 4_111_111_111_111_111_u64 } }] }] }),
            false,
        ),
        (
            "/v1/messages",
            json!({ "max_tokens": 1, "messages": [{ "content": [{ "type": "tool_use", "input": { "AKIAIOSFODNN7EXAMPLE": true } }] }] }),
            false,
        ),
        (
            "/v1/chat/completions",
            json!({ "tools": [{ "function": { "parameters": { "properties": { "ann@example.org": {} } } } }] }),
            false,
        ),
        (
            "/v1/embeddings",
            json!({ "input": [[9906, 1917], [1]] }),
            false,
        ),
        ("/v1/completions", json!({ "prompt": [9906, 1917] }), false),
        (
            "/v1/chat/completions",
            call("{\"k\":\"a\\u006en@example.org\"}"),
            true,
        ),
        (
            "/v1/chat/completions",
            call("{\"env\":\"x\\nAKIAIOSFODNN7EXAMPLE\"}"),
            true,
        ),
        (
            "/v1/chat/completions",
            call("{\"a\\u0040example.org\":1}"),
            true,
        ),
        (
            "/v1/chat/completions",
            call("{\"file\":\"SSBhbSBhbm5AZXhhbXBsZS5vcmc=\"}"),
            false,
        ),
    ]);
    for (path, mut ask, is_redacted) in asks {
        if path.starts_with("/v1/") {
            ask["model"] = json!("m");
        }
        let ask = ask.to_string();
        let refused = blocks.send(post(path, &ask)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{ask}");
        assert_eq!(drain(&mut asked).len(), 0, "{ask}");
        let redacted = redacts.send(post(path, &ask)).await;
        assert_eq!(redacted.status == StatusCode::OK, is_redacted, "{ask}");
        if let [sent] = &drain(&mut asked)[..] {
            let sent: Value = serde_json::from_slice(&sent.body).unwrap();
            let arguments = &sent["messages"][0]["tool_calls"][0]["function"]["arguments"];
            let arguments: Value = serde_json::from_str(arguments.as_str().unwrap()).unwrap();
            let arguments = arguments.to_string();
            assert!(arguments.contains("[redacted "), "{arguments}");
        }
        assert_eq!(reports.send(post(path, &ask)).await.status, StatusCode::OK);
        drain(&mut asked);
        let told = reasons(&reports).await;
        assert!(told.contains("guard secrets has found"), "{told}");
    }
}

#[tokio::test]
async fn words_of_formats_and_schemas_are_not_what_a_caller_says() {
    // Nor are short numbers.
    let own = json!({ "guards": { "own": { "kind": "patterns", "patterns": ["[A-Za-z_]{9,}", "[0-9]{3}"] } } });
    let (words, _asked) = model().await;
    let words = gateway_of(words, own).await;
    let ask = json!({ "model": "m", "max_completion_tokens": 8000, "temperature": 0.123_456_789,
        "tools": [{ "function": { "name": "f", "parameters": { "additionalProperties": false,
            "properties": { "a": { "description": "x", "exclusiveMinimum": 1 } } } } }] });
    let passed = words
        .send(post("/v1/chat/completions", &ask.to_string()))
        .await;
    assert_eq!(passed.status, StatusCode::OK, "{}", passed.text());
}

async fn gateway_of(model: SocketAddr, guards: Value) -> Gateway {
    gateway(
        model,
        json!([{ "models": "**", "guards": ["own"] }]),
        guards,
    )
    .await
}
