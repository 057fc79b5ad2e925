//! What a response is charged if its provider counts nothing: an estimate from its bytes, by their type.

use serde_json::json;

use crate::Gateway;
use crate::lab::{IMAGES, Lab, MESSAGES, RESPONSES, counts, events};
use support::http::{CHAT, post};
use support::provider::{STREAM, server};

#[tokio::test]
async fn reasoning_that_nobody_can_read_is_estimated_by_its_bytes() {
    let lab = Lab::start("1000000 tokens", json!({})).await;
    let sealed = "A".repeat(40_000);
    let reasoning = json!({"type":"reasoning","id":"i","summary":[],"encrypted_content":sealed});
    let begin = events(&[
        json!({"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}),
        json!({"type":"response.output_item.done","output_index":0,"item":reasoning}),
        json!({"type":"response.output_item.added","output_index":1,"item":{"type":"message","id":"j"}}),
        json!({"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"hi"}),
    ]);
    let never = vec![b' '; 0];
    lab.plan(&[&[STREAM.as_bytes(), &begin].concat(), &never, &never]);
    let ask = json!({"input":"x","stream":true});
    let record = lab
        .leave_at(RESPONSES, ask, r#""type":"response.output_text.delta"}"#)
        .await;
    let (_, output, estimated) = counts(&record);
    assert!(output.unwrap() >= 7_500 && estimated, "{record}");
    for block in [
        vec![
            json!({"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":sealed}}),
        ],
        vec![
            json!({"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}),
            json!({"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":sealed}}),
        ],
    ] {
        let begin = events(&[
            json!({"type":"message_start","message":{"content":[],"usage":{"input_tokens":20,"output_tokens":1}}}),
        ]);
        let block = events(&block);
        let text = events(&[
            json!({"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}),
            json!({"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"hi"}}),
        ]);
        let all = [STREAM.as_bytes(), &begin, &block, &text].concat();
        lab.plan(&[&all, &never, &never]);
        let ask = json!({"messages":[],"max_tokens":9,"stream":true});
        let record = lab.leave_at(MESSAGES, ask, "text_delta").await;
        let (_, output, estimated) = counts(&record);
        assert!(output.unwrap() >= 7_500 && estimated, "{record}");
    }
}

#[tokio::test]
async fn pictures_that_a_response_links_to_are_counted() {
    let lab = Lab::start("100000 tokens", json!({})).await;
    let links = json!({"created":1,"data":[{"url":"https://x/1"},{"url":"https://x/2"},{"url":"https://x/3"},{"url":"https://x/4"}]});
    lab.answers("application/json", links.to_string().as_bytes());
    let (_, record) = lab
        .ask(IMAGES, json!({"prompt":"x","n":4,"response_format":"url"}))
        .await;
    let (_, output, estimated) = counts(&record);
    assert_eq!((output, estimated), (Some(4 * 1_056), true), "{record}");
}

#[tokio::test]
async fn what_pictures_and_speech_may_cost_is_held_while_they_are_made() {
    for (path, ask, body) in [
        (
            IMAGES,
            json!({"prompt":"x","n":10}),
            r#"{"data":[{"url":"https://x"}]}"#,
        ),
        (
            "/v1/audio/speech",
            json!({"input":"x ".repeat(2_000),"voice":"v"}),
            "ID3 sound",
        ),
    ] {
        let lab = Lab::start("5000 tokens", json!({})).await;
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        lab.plan(&[head.as_bytes(), body.as_bytes()]);
        let asked = (0..4).map(|_| lab.ask(path, ask.clone()));
        let replies = futures_util::future::join_all(asked).await;
        let passed = replies.iter().filter(|(reply, _)| reply.status == 200);
        assert_eq!(passed.count(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_stream_of_lines_is_counted() {
    let lab = Lab::start("100000 tokens", json!({})).await;
    let word = r#"{"choices":[{"index":0,"delta":{"content":"x"}}]}"#;
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":5}}"#;
    let lines = format!("{}\n{end}\n", vec![word; 40].join("\n"));
    for media in ["application/x-ndjson", "application/json", "text/plain"] {
        lab.answers(media, lines.as_bytes());
        let (reply, record) = lab.ask(CHAT, json!({"messages":[],"stream":true})).await;
        assert_eq!(reply.text(), lines, "{media}");
        assert_eq!(
            counts(&record),
            (Some(11), Some(5), false),
            "{media} {record}"
        );
        assert_eq!(record["finish_reason"], "stop", "{media}");
    }
    // One object, on one line or on several, is a response.
    let whole = json!({"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":5}});
    for body in [
        whole.to_string(),
        format!("{whole}\n"),
        format!("{whole:#}"),
    ] {
        lab.answers("application/json", body.as_bytes());
        let (reply, record) = lab.ask(CHAT, json!({"messages":[],"stream":true})).await;
        assert_eq!(reply.text(), body);
        assert_eq!(counts(&record), (Some(11), Some(5), false), "{record}");
    }
}

#[tokio::test]
async fn what_bedrock_holds_is_known_by_its_shape() {
    let lab = Lab::start("100000000 tokens", json!({})).await;
    let picture = "A".repeat(2 << 20);
    for (body, output) in [
        (r#"{"embeddings":{"float":[[0.1,0.2]]}}"#.to_owned(), None),
        (r#"{"embedding":[0.1,0.2]}"#.to_owned(), None),
        (
            r#"{"results":[{"index":0,"relevance_score":0.9}]}"#.to_owned(),
            None,
        ),
        (format!(r#"{{"images":["{picture}"]}}"#), Some(2_049)),
        (
            format!(r#"{{"artifacts":[{{"base64":"{picture}"}}]}}"#),
            Some(2_049),
        ),
    ] {
        lab.answers("application/json", body.as_bytes());
        let (_, record) = lab
            .ask("/bedrock/model/m/invoke", json!({"texts":["x"]}))
            .await;
        let (input, told, estimated) = counts(&record);
        assert!(input.is_some() && estimated, "{record}");
        assert_eq!(told, output, "{record}");
    }
    // A text stays a text, whatever its model is called.
    let text = format!(r#"{{"generation":"{}"}}"#, "word ".repeat(200));
    lab.answers("application/json", text.as_bytes());
    let (_, record) = lab
        .ask("/bedrock/model/m/invoke", json!({"prompt":"x"}))
        .await;
    assert!(counts(&record).1.unwrap() > 200, "{record}");
}

#[tokio::test]
async fn a_message_of_amazons_that_is_too_long_neither_cuts_nor_frees_the_response() {
    let lab = Lab::start("100000000 tokens", json!({})).await;
    let message = |kind: &str, payload: &[u8]| {
        let mut headers = Vec::new();
        for (name, value) in [(":message-type", "event"), (":event-type", kind)] {
            headers.push(u8::try_from(name.len()).unwrap());
            headers.extend_from_slice(name.as_bytes());
            headers.push(7);
            headers.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            headers.extend_from_slice(value.as_bytes());
        }
        let total = u32::try_from(16 + headers.len() + payload.len()).unwrap();
        let mut out = total.to_be_bytes().to_vec();
        out.extend_from_slice(&u32::try_from(headers.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&crc(&out).to_be_bytes());
        out.extend_from_slice(&headers);
        out.extend_from_slice(payload);
        let sum = crc(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    };
    let long = json!({"contentBlockIndex":0,"delta":{"text":"x".repeat(18 << 20)}});
    let long = message("contentBlockDelta", long.to_string().as_bytes());
    let stop = message("messageStop", br#"{"stopReason":"end_turn"}"#);
    let count = message(
        "metadata",
        br#"{"usage":{"inputTokens":11,"outputTokens":105,"totalTokens":116}}"#,
    );
    let media = "application/vnd.amazon.eventstream";
    let path = "/bedrock/model/m/converse-stream";
    let whole = [&long[..], &stop, &count].concat();
    lab.answers(media, &whole);
    let (reply, record) = lab.ask(path, json!({"messages":[]})).await;
    assert!(reply.body == whole && !reply.broken);
    assert_eq!(counts(&record), (Some(11), Some(105), false), "{record}");
    assert_eq!(record["outcome"], "complete");
    // A response that can't be read passes, and is estimated.
    let rubbish = [
        &message("messageStart", br#"{"role":"assistant"}"#)[..],
        &[0; 4_000],
    ]
    .concat();
    lab.answers(media, &rubbish);
    let (reply, record) = lab.ask(path, json!({"messages":[]})).await;
    assert!(reply.body == rubbish && !reply.broken);
    let (_, output, estimated) = counts(&record);
    assert!(output.unwrap() >= 1_000 && estimated, "{record}");
}

fn crc(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

#[tokio::test]
async fn pieces_of_a_stream_count_under_whatever_key() {
    let lab = Lab::start("1000000 tokens", json!({})).await;
    for delta in [
        json!({"thinking":"ab"}),
        json!({"audio":{"id":"a-long-id-of-sound","transcript":"ab"}}),
        json!({"reasoning":"ab","reasoning_details":[{"type":"reasoning.text","text":"ab"}]}),
    ] {
        let piece = format!(
            "data: {}\n\n",
            json!({"choices":[{"index":0,"delta":delta}]})
        );
        let stop = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        lab.answers(
            "text/event-stream",
            format!("{}{stop}", piece.repeat(30)).as_bytes(),
        );
        let (_, record) = lab.ask(CHAT, json!({"messages":[],"stream":true})).await;
        assert_eq!(counts(&record).1, Some(30), "{delta} {record}");
    }
}

#[tokio::test]
async fn one_odd_404_turns_no_counts_off() {
    let (address, _log) = server("127.0.0.1:0", |request| {
        if String::from_utf8_lossy(&request.body).contains("file_x") {
            let body = r#"{"type":"error","error":{"type":"not_found_error","message":"File not found: file_x"}}"#;
            ("404 Not Found", body.to_owned())
        } else {
            ("200 OK", r#"{"input_tokens":14}"#.to_owned())
        }
    })
    .await;
    let more = json!({ "provider": {
        "models": ["claude-x"], "compatibility": { "anthropic_messages": true },
    } });
    let gateway = Gateway::start(address, more).await;
    let ask = async |text: &str| {
        let body = json!({"model":"claude-x","messages":[{"role":"user","content":text}]});
        let request = post("/v1/messages/count_tokens", &body.to_string());
        let reply = gateway.send(request).await;
        (
            reply.status.as_u16(),
            reply.headers.contains_key("x-iris-estimated"),
            reply.json(),
        )
    };
    let (status, is_estimated, _) = ask("file_x").await;
    assert_eq!((status, is_estimated), (200, true));
    let counted = (200, false, json!({"input_tokens":14}));
    assert_eq!(ask("hi").await, counted);
    // With counts, the provider's own word stands.
    let (status, is_estimated, _) = ask("file_x").await;
    assert_eq!((status, is_estimated), (404, false));
    assert_eq!(ask("hi").await, counted);
}
