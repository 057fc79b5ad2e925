//! What is charged if a provider's response has another shape than its format's, or names a price.

use serde_json::{Value, json};

use crate::lab::{IMAGES, Lab, MESSAGES, RESPONSES, counts};
use support::http::CHAT;

const INVOKE: &str = "/bedrock/model/m/invoke";
const PREDICT: &str = "/v1/projects/p/locations/l/publishers/google/models/m:predict";
const TRANSCRIBE: &str = "/v1/audio/transcriptions";

async fn lab(more: Value) -> Lab {
    Lab::start("100000000 tokens", more).await
}

#[tokio::test]
async fn a_text_that_begins_like_a_stream_is_charged_as_a_text() {
    let lab = lab(json!({})).await;
    for text in [
        "data: my words are here\n",
        "data: my words are here",
        "event: the party is at nine\n",
        "id: seven\nretry: later\n",
        ": a pause\n",
        "data: [music] and words\n\n",
    ] {
        for stream in [false, true] {
            lab.answers("text/plain", text.as_bytes());
            let ask = json!({"file":"x","response_format":"text","stream":stream});
            let (reply, record) = lab.ask(TRANSCRIBE, ask).await;
            assert_eq!(reply.text(), text);
            assert_eq!(record["outcome"], "complete", "{text:?} {record}");
            let (_, output, estimated) = counts(&record);
            let expected = (text.len() as u64).div_ceil(4);
            assert_eq!((output, estimated), (Some(expected), true), "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_of_its_coding_is_charged_by_its_bytes() {
    let lab = lab(json!({})).await;
    let body = br#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{}}"#;
    for coding in ["gzip", "deflate", "br", "zstd", "unheard-of"] {
        for media in ["application/json", "text/event-stream"] {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            lab.plan(&[&[head.as_bytes(), body].concat()]);
            let (_, record) = lab.ask(CHAT, json!({"messages":[]})).await;
            let what = format!("{coding} {media}: {record}");
            assert_eq!(record["outcome"], "complete", "{what}");
            let (_, output, estimated) = counts(&record);
            assert!(output.is_some_and(|output| output >= 10), "{what}");
            assert!(estimated && record["cost"].as_u64() > Some(0), "{what}");
        }
    }
}

#[tokio::test]
async fn responses_in_a_wrapper_or_a_servers_own_shape_are_charged() {
    let lab = lab(json!({})).await;
    for (path, ask, body, expected) in [
        (
            CHAT,
            json!({"messages":[]}),
            r#"{"result":{"response":"hi","usage":{"prompt_tokens":4,"completion_tokens":2}},"success":true}"#,
            (Some(4), Some(2)),
        ),
        (
            "/v1/completions",
            json!({"prompt":"x"}),
            r#"{"generated_text":"some words"}"#,
            (Some(7), Some(8)),
        ),
        // A model's words aren't an error.
        (
            INVOKE,
            json!({"prompt":"x"}),
            r#"{"message":"some words"}"#,
            (Some(7), Some(6)),
        ),
    ] {
        lab.answers("application/json", body.as_bytes());
        let (_, record) = lab.ask(path, ask).await;
        assert_eq!(record["outcome"], "complete", "{path} {record}");
        assert_eq!(record["error"], Value::Null, "{path}");
        let (input, output, _) = counts(&record);
        assert_eq!((input, output), expected, "{path} {record}");
    }
}

#[tokio::test]
async fn predictions_may_be_none_or_elsewhere() {
    let google = json!({
        "openai_chat": true, "google_generate_content": true,
    });
    let lab = lab(json!({ "speaks": google })).await;
    let ask = json!({"instances":[{"prompt":"x"}]});
    for body in ["{}", r#"{"deployedModelId":"1","metadata":{}}"#] {
        lab.answers("application/json", body.as_bytes());
        let (_, record) = lab.ask(PREDICT, ask.clone()).await;
        assert_eq!(record["outcome"], "complete", "{body} {record}");
        assert_eq!(record["usage"]["output_tokens"], 0, "{body} {record}");
    }
    let body = r#"{"predictions":[{"gcsUri":"gs://b/1.png"},{"gcsUri":"gs://b/2.png"}]}"#;
    lab.answers("application/json", body.as_bytes());
    let (_, record) = lab.ask(PREDICT, ask).await;
    assert_eq!(record["usage"]["output_tokens"], 2 * 1_056, "{record}");
    let ask = json!({"instances":[],"parameters":{"storageUri":"gs://mine/x"}});
    let reply = lab.refused(PREDICT, ask).await;
    assert!(reply.contains("storageUri"), "{reply}");

    let body = r#"{"data":[{"url":"gs://b/1.png"}]}"#;
    lab.answers("application/json", body.as_bytes());
    let (_, record) = lab.ask(IMAGES, json!({"prompt":"x"})).await;
    assert_eq!(record["usage"]["output_tokens"], 1_056, "{record}");
}

#[tokio::test]
async fn a_stream_in_another_formats_events_is_charged() {
    let lab = lab(json!({})).await;
    let chat = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1000}}\n\ndata: [DONE]\n\n";
    let messages = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1000}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let gemini = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]},\"finishReason\":\"STOP\"}],\
        \"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":1000}}\n\n";
    let asks = [
        (CHAT, json!({"messages":[],"stream":true})),
        (RESPONSES, json!({"input":"x","stream":true})),
        (
            MESSAGES,
            json!({"messages":[],"max_tokens":9,"stream":true}),
        ),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            json!({"contents":[]}),
        ),
    ];
    for (nth, (path, ask)) in asks.iter().enumerate() {
        for (of, body) in [(0, chat), (2, messages), (3, gemini)] {
            lab.answers("text/event-stream", body.as_bytes());
            let record = lab.broken(path, ask.clone()).await;
            let what = format!("{path} {body:.40}: {record}");
            if of != nth {
                let (input, output, _) = counts(&record);
                assert_eq!((input, output), (Some(5), Some(1000)), "{what}");
                assert_eq!(record["cost"], 10_005_000, "{what}");
            }
        }
        // A shape that isn't known.
        let words = "x".repeat(4_000);
        let body = format!("data: {{\"words\":\"{words}\"}}\n\n");
        lab.answers("text/event-stream", body.as_bytes());
        let record = lab.broken(path, ask.clone()).await;
        let (_, output, estimated) = counts(&record);
        assert_eq!((output, estimated), (Some(1_000), true), "{path} {record}");
        // A keep-alive is free.
        lab.answers("text/event-stream", b"data: {\"type\":\"ping\"}\n\n");
        let record = lab.broken(path, ask.clone()).await;
        assert_eq!(record["cost"], 0, "{path} {record}");
    }
}
