//! Usage is counted whatever a provider's response looks like: however long it is, however its stream
//! ends, and with the names and places that many servers use.

use std::io::Write;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::lab::Lab;
use support::http::{CHAT, post};

fn counts(record: &Value) -> (&Value, &Value) {
    let usage = &record["usage"];
    assert_eq!(usage["estimated"], false, "{record}");
    (&usage["input_tokens"], &usage["output_tokens"])
}

/// A path, a long response, and its tokens.
type Long = (&'static str, String, Value, Value);

fn long_responses() -> Vec<Long> {
    let path = "/v1/images/generations";
    let picture = "A".repeat(3 << 20);
    let usage = r#""usage":{"input_tokens":50,"output_tokens":4160}"#;
    let pictures = vec![format!(r#"{{"b64_json":"{picture}"}}"#); 6].join(",");
    let output = format!(r#"[{{"type":"image_generation_call","result":"{picture}"}}]"#);
    let logprob = r#"{"token":"x","logprob":-0.1,"top_logprobs":[{"token":"y","bytes":[1,2]}]}"#;
    let logprobs = vec![logprob; 20_000].join(",");
    let choice = format!(
        r#"{{"index":0,"message":{{"content":"hi"}},"logprobs":{{"content":[{logprobs}]}},"finish_reason":"stop"}}"#
    );
    let told = r#""usage":{"prompt_tokens":50,"completion_tokens":4160}"#;
    let part = format!(r#"{{"inlineData":{{"mimeType":"image/png","data":"{picture}"}}}}"#);
    let part = format!(r#"{{"candidates":[{{"content":{{"parts":[{part}]}}}}]}}"#);
    let end = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":50,"candidatesTokenCount":4160}}"#;
    [
        (path, format!(r#"{{"data":[{pictures}],{usage}}}"#)),
        (path, format!(r#"{{{usage},"data":[{pictures}]}}"#)),
        (CHAT, format!(r#"{{"choices":[{choice}],{told}}}"#)),
        ("/v1/responses", format!(r#"{{"output":{output},{usage}}}"#)),
        // An array of responses, of which the last one counts.
        (
            "/v1beta/models/m:streamGenerateContent",
            format!("[{part},{part},{end}]"),
        ),
    ]
    .map(|(path, body)| (path, body, json!(50), json!(4160)))
    .into_iter()
    .chain(long_embeddings())
    .collect()
}

fn long_embeddings() -> Vec<Long> {
    let numbers = vec!["0.0123456789"; 1536].join(",");
    let vectors = vec![format!(r#"{{"index":0,"embedding":[{numbers}]}}"#); 256].join(",");
    let packed = vec![format!(r#"{{"embedding":"{}"}}"#, "A".repeat(8192)); 2048].join(",");
    let usage = r#""usage":{"prompt_tokens":4000,"total_tokens":4000}"#;
    [vectors, packed]
        .map(|data| {
            let body = format!(r#"{{"data":[{data}],{usage}}}"#);
            ("/v1/embeddings", body, json!(4000), Value::Null)
        })
        .to_vec()
}

#[tokio::test]
async fn a_long_response_is_counted() {
    let lab = Lab::plain().await;
    let request = json!({"messages":[],"prompt":"x","input":"x","contents":[]});
    for (path, body, input, output) in long_responses() {
        lab.answers_with("application/json", "", (body).as_ref());
        let (reply, record) = lab.ask(path, request.clone()).await;
        assert_eq!(reply.body.len(), body.len(), "{path}");
        assert_eq!(counts(&record), (&input, &output), "{path}");
        assert_eq!(record["outcome"], "complete", "{path}");
    }
}

#[tokio::test]
async fn a_long_compressed_response_is_counted() {
    let lab = Lab::plain().await;
    let pictures = vec![format!(r#"{{"b64_json":"{}"}}"#, "A".repeat(3 << 20)); 6].join(",");
    let body =
        format!(r#"{{"data":[{pictures}],"usage":{{"input_tokens":50,"output_tokens":4160}}}}"#);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    for (coding, packed) in [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(body.as_bytes(), 3).unwrap()),
    ] {
        let more = format!("content-encoding: {coding}\r\n");
        lab.answers_with("application/json", &more, (packed.clone()).as_ref());
        let (reply, record) = lab
            .ask("/v1/images/generations", json!({"prompt":"x"}))
            .await;
        assert_eq!(reply.body, packed, "{coding}");
        assert_eq!(counts(&record), (&json!(50), &json!(4160)), "{coding}");
    }
}

#[tokio::test]
async fn a_long_event_is_counted() {
    let lab = Lab::plain().await;
    let picture = "A".repeat(2 << 20);
    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let data = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"inlineData":{{"mimeType":"image/png","data":"{picture}"}}}}]}},"finishReason":"STOP","index":0}}],"usageMetadata":{{"promptTokenCount":11,"candidatesTokenCount":1290}}}}"#
    );
    for end in ["\n\n", "\n", ""] {
        let stream = format!("data: {data}{end}");
        lab.answers_with("text/event-stream", "", (stream.clone()).as_ref());
        let (reply, record) = lab.ask(path, json!({"contents":[]})).await;
        assert!(
            reply.body == stream.as_bytes(),
            "{} bytes",
            reply.body.len()
        );
        assert_eq!(counts(&record), (&json!(11), &json!(1290)));
        assert_eq!(record["outcome"], "complete");
        assert_eq!(record["finish_reason"], "STOP");
    }
}

#[tokio::test]
async fn a_last_event_without_its_blank_line_counts_and_passes() {
    let lab = Lab::plain().await;
    let chat = r#"data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
    let response = r#"data: {"type":"response.completed","response":{"id":"r","status":"completed","output":[],"usage":{"input_tokens":9,"output_tokens":3}}}"#;
    let begins = r#"data: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#;
    let message = r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#;
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}";
    let gemini = r#"data: {"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3}}"#;
    let text = r#"data: {"choices":[{"index":0,"text":"hi"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
    let image = r#"data: {"type":"image_generation.completed","b64_json":"AA","usage":{"input_tokens":9,"output_tokens":3}}"#;
    for (path, request, events) in [
        (CHAT, json!({"messages":[],"stream":true}), vec![chat]),
        (
            CHAT,
            json!({"messages":[],"stream":true}),
            vec![chat, "data: [DONE]"],
        ),
        (
            "/v1/responses",
            json!({"input":"x","stream":true}),
            vec![response],
        ),
        (
            "/v1/messages",
            json!({"messages":[],"max_tokens":9,"stream":true}),
            vec![begins, message, stop],
        ),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            json!({"contents":[]}),
            vec![gemini],
        ),
        (
            "/v1/completions",
            json!({"prompt":"x","stream":true}),
            vec![text],
        ),
        (
            "/v1/images/generations",
            json!({"prompt":"x","stream":true}),
            vec![image],
        ),
    ] {
        for (line, end) in [("\n", ""), ("\n", "\n"), ("\r\n", "\r\n"), ("\r", "\r")] {
            let blank = format!("{line}{line}");
            let stream = events.join("\n\n").replace('\n', line) + end;
            assert!(!stream.ends_with(&blank));
            lab.answers_with("text/event-stream", "", (stream.clone()).as_ref());
            let (reply, record) = lab.ask(path, request.clone()).await;
            assert_eq!(reply.text(), stream, "{path} {line:?} {end:?}");
            assert_eq!(
                counts(&record),
                (&json!(9), &json!(3)),
                "{path} {line:?} {end:?}"
            );
            assert_eq!(record["outcome"], "complete", "{path} {line:?} {end:?}");
        }
    }
}

#[tokio::test]
async fn a_hidden_last_event_stays_hidden_and_half_an_event_is_no_end() {
    let lab = Lab::plain().await;
    let said = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n";
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
    for end in ["", "\n"] {
        lab.answers_with(
            "text/event-stream",
            "",
            (format!("{said}{usage}{end}")).as_ref(),
        );
        let (reply, record) = lab.ask(CHAT, json!({"messages":[],"stream":true})).await;
        assert_eq!(reply.text(), said);
        assert_eq!(counts(&record), (&json!(9), &json!(3)));
    }
    let word = r#"data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
    for (stream, passes) in [
        // An event, but not the end of a completion: it passes, and the error comes after it.
        (format!("{word}\n"), format!("{word}\n\n\n")),
        (format!("{word}\n\ndata: {{\"choi"), format!("{word}\n\n")),
    ] {
        lab.answers_with("text/event-stream", "", (stream).as_ref());
        let mut request = post(CHAT, r#"{"model":"m","messages":[],"stream":true}"#);
        request
            .headers_mut()
            .insert("connection", "close".parse().unwrap());
        let mut raw = lab
            .gateway
            .raw_chat(r#"{"model":"m","messages":[],"stream":true}"#)
            .await;
        let mut bytes = Vec::new();
        let _ = raw.read_to_end(&mut bytes).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("provider_broke_off"), "{text}");
        let events: Vec<&str> = passes.trim_end().split("\n\n").collect();
        for event in events {
            assert!(text.contains(&format!("{event}\n")), "{text}");
        }
    }
}

#[tokio::test]
async fn streams_of_companions_end_without_a_mark() {
    let lab = Lab::plain().await;
    for (path, request, stream) in [
        (
            "/v1/completions",
            json!({"prompt":"x","stream":true}),
            "data: {\"choices\":[{\"index\":0,\"text\":\"hi\"}]}\n\n",
        ),
        (
            "/v1/images/generations",
            json!({"prompt":"x","stream":true}),
            "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n",
        ),
        (
            "/v1/audio/speech",
            json!({"input":"x","voice":"v","stream_format":"sse"}),
            "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AA\"}\n\n",
        ),
    ] {
        lab.answers_with("text/event-stream", "", (stream).as_ref());
        let (reply, record) = lab.ask(path, request).await;
        assert_eq!(reply.text(), stream, "{path}");
        assert_eq!(
            (&record["outcome"], &record["error"]),
            (&json!("complete"), &Value::Null),
            "{path}"
        );
    }
}

#[tokio::test]
async fn usage_is_read_in_the_dialects_of_many_servers() {
    let lab = Lab::plain().await;
    let completion = |usage: Value| json!({"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":usage});
    let xai = json!({"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}});
    let google = json!({"prompt_tokens":32,"completion_tokens":9,"total_tokens":135});
    let floats = json!({"prompt_tokens":32.0,"completion_tokens":103.2});
    let repeated = r#"{"id":"a","id":"b","choices":[],"choices":[],"usage":{"prompt_tokens":1,"prompt_tokens":32,"completion_tokens":103},"usage":null}"#;
    for (server, body) in [
        ("xAI", completion(xai).to_string()),
        ("Google", completion(google).to_string()),
        ("averages", completion(floats).to_string()),
        ("repeated keys", repeated.to_owned()),
    ] {
        lab.answers_with("application/json", "", (body).as_ref());
        let (_, record) = lab.ask(CHAT, json!({"messages":[]})).await;
        assert_eq!(counts(&record), (&json!(32), &json!(103)), "{server}");
    }
    // Moonshot has it in the choice, Groq in a place of its own; a poorer report may follow.
    let usage = r#"{"prompt_tokens":32,"completion_tokens":103}"#;
    let end = r#""index":0,"delta":{"content":"hi"},"finish_reason":"stop""#;
    for events in [
        vec![format!(r#"{{"choices":[{{{end},"usage":{usage}}}]}}"#)],
        vec![format!(
            r#"{{"choices":[{{{end}}}],"x_groq":{{"usage":{usage}}}}}"#
        )],
        vec![
            format!(r#"{{"choices":[{{{end}}}],"usage":{usage}}}"#),
            r#"{"choices":[],"usage":{"prompt_tokens":32,"completion_tokens":0}}"#.to_owned(),
        ],
    ] {
        let stream = format!("data: {}\n\n", events.join("\n\ndata: "));
        lab.answers_with(
            "text/event-stream",
            "",
            (stream + "data: [DONE]\n\n").as_ref(),
        );
        let (_, record) = lab.ask(CHAT, json!({"messages":[],"stream":true})).await;
        assert_eq!(counts(&record), (&json!(32), &json!(103)), "{events:?}");
    }
}
