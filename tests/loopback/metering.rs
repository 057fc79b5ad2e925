//! What a request is charged if a provider's response has its counts late, elsewhere, or not at all.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Gateway;
use crate::lab::{IMAGES, Lab, MESSAGES, RESPONSES, counts, events, serve};
use support::http::CHAT;
use support::provider::{STREAM, read_request};

#[tokio::test]
async fn who_leaves_with_the_last_item_pays_for_the_reasoning_that_counts_after_it() {
    let lab = Lab::start("100000 tokens", json!({})).await;
    let text = json!({"type":"message","id":"i","content":[{"type":"output_text","text":"hi"}]});
    let begin = events(&[
        json!({"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}),
        json!({"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"hi"}),
        json!({"type":"response.output_item.done","output_index":0,"item":text}),
    ]);
    let end = events(&[
        json!({"type":"response.completed","response":{"id":"r","status":"completed","output":[text],
        "usage":{"input_tokens":12,"output_tokens":9000,"output_tokens_details":{"reasoning_tokens":8990}}}}),
    ]);
    lab.plan(&[&[STREAM.as_bytes(), &begin].concat(), &end]);
    let ask = json!({"input":"x","stream":true});
    let record = lab
        .leave_at(RESPONSES, ask, r#""type":"response.output_item.done"}"#)
        .await;
    assert_eq!(counts(&record), (Some(12), Some(9000), false), "{record}");
    assert_eq!(record["outcome"], "client_closed");

    let begin = events(&[
        json!({"type":"message_start","message":{"content":[],"usage":{"input_tokens":20,"output_tokens":1}}}),
        json!({"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"A"}}),
        json!({"type":"content_block_stop","index":0}),
        json!({"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}),
        json!({"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"hi"}}),
        json!({"type":"content_block_stop","index":1}),
    ]);
    let end = events(&[
        json!({"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9000}}),
        json!({"type":"message_stop"}),
    ]);
    lab.plan(&[&[STREAM.as_bytes(), &begin].concat(), &end]);
    let ask = json!({"messages":[],"max_tokens":9,"stream":true});
    let mark = r#""index":1,"type":"content_block_stop""#;
    let record = lab.leave_at(MESSAGES, ask, mark).await;
    assert_eq!(counts(&record), (Some(20), Some(9000), false), "{record}");
}

#[tokio::test]
async fn what_is_no_response_of_the_format_is_no_success_and_costs_nothing() {
    let lab = Lab::start("10000 tokens", json!({})).await;
    let page = format!(
        "<!DOCTYPE html><html><body>{}</body></html>",
        "x".repeat(4_000)
    );
    let long = "no JSON at all ".repeat(200_000);
    for (path, ask) in [
        (CHAT, json!({"messages":[]})),
        (CHAT, json!({"messages":[],"stream":true})),
        ("/v1/completions", json!({"prompt":"x"})),
        (RESPONSES, json!({"input":"x"})),
        (MESSAGES, json!({"messages":[],"max_tokens":9})),
        ("/v1beta/models/m:generateContent", json!({"contents":[]})),
        ("/bedrock/model/m/converse", json!({"messages":[]})),
        ("/bedrock/model/m/invoke", json!({"prompt":"x"})),
        ("/v1/embeddings", json!({"input":"x"})),
        (IMAGES, json!({"prompt":"x"})),
    ] {
        for (media, body) in [
            ("text/html", page.as_str()),
            ("application/json", "null"),
            ("application/json", "{}"),
            ("application/json", "\"a text\""),
            ("application/json", " \n\n"),
            ("text/plain", "internal error: out of memory"),
            ("text/plain", &long),
        ] {
            let is_checked = body.len() < 1 << 20 || path == CHAT;
            if !is_checked {
                continue;
            }
            lab.answers(media, body.as_bytes());
            let (reply, record) = lab.ask(path, ask.clone()).await;
            let what = format!("{path} {media} {body:.20}: {record}");
            assert_eq!(reply.text(), body, "{what}");
            assert_eq!(record["outcome"], "upstream_error", "{what}");
            let error = record["error"].as_str().unwrap();
            assert!(
                error.starts_with("the response is not of the format "),
                "{what}"
            );
            assert_eq!(record["cost"], 0, "{what}");
            assert_eq!(counts(&record), (None, None, false), "{what}");
        }
    }
    assert_eq!(lab.left().await, 10_000);
}

#[tokio::test]
async fn odd_but_honest_responses_stay_successes() {
    let lab = Lab::start("100000000 tokens", json!({})).await;
    let gemini = "/v1beta/models/m:streamGenerateContent";
    for (path, ask, media, body) in [
        (
            CHAT,
            json!({"messages":[]}),
            "application/json",
            r#"{"model":"m","message":{"content":"hi"},"done":true}"#,
        ),
        (
            CHAT,
            json!({"messages":[]}),
            "text/plain",
            r#"{"content":"hi"}"#,
        ),
        (
            CHAT,
            json!({"messages":[]}),
            "application/json",
            r#"{"choices":[],"usage":null}"#,
        ),
        (
            RESPONSES,
            json!({"input":"x"}),
            "application/json",
            r#"{"object":"response","status":"queued"}"#,
        ),
        (
            gemini,
            json!({"contents":[]}),
            "application/json",
            r#"[{"candidates":[{"finishReason":"STOP"}]}]"#,
        ),
        (
            "/v1/rerank",
            json!({"query":"x","documents":[]}),
            "application/json",
            r#"[{"index":0,"score":0.5}]"#,
        ),
        (
            "/v1/embeddings",
            json!({"input":"x"}),
            "application/octet-stream",
            "\u{0}\u{1}\u{ff}",
        ),
        (
            "/v1/audio/speech",
            json!({"input":"x","voice":"v"}),
            "audio/mpeg",
            "ID3 sound",
        ),
        (
            "/v1/audio/transcriptions",
            json!({"file":"x"}),
            "text/plain",
            "what was said",
        ),
        (
            "/bedrock/model/m/invoke",
            json!({"prompt":"x"}),
            "application/json",
            r#"{"words":"of a vendor"}"#,
        ),
    ] {
        // Bytes, some of which aren't text.
        let bytes: Vec<u8> = if media == "application/octet-stream" {
            vec![0, 1, 255]
        } else {
            body.into()
        };
        lab.answers(media, &bytes);
        let (_, record) = lab.ask(path, ask).await;
        assert_eq!(
            (&record["outcome"], &record["error"]),
            (&json!("complete"), &Value::Null),
            "{path} {body}"
        );
    }
}

#[tokio::test]
async fn usage_is_found_as_a_sum_in_a_list_and_by_choice() {
    let lab = Lab::start("1000000 tokens", json!({})).await;
    let one = r#"{"prompt_tokens":11,"completion_tokens":5,"total_tokens":16}"#;
    let two = r#"{"prompt_tokens":11,"completion_tokens":9,"total_tokens":20}"#;
    let choice = |index: u64, key: &str, usage: &str| {
        format!(
            r#"{{"index":{index},"{key}":{{"content":"hi"}},"finish_reason":"stop","usage":{usage}}}"#
        )
    };
    let by_choice = format!(
        r#"{{"choices":[{},{}]}}"#,
        choice(0, "message", one),
        choice(1, "message", two)
    );
    lab.answers("application/json", by_choice.as_bytes());
    let (_, record) = lab.ask(CHAT, json!({"messages":[],"n":2})).await;
    assert_eq!(counts(&record), (Some(11), Some(14), false), "{record}");
    let stream = format!(
        "data: {{\"choices\":[{}]}}\n\ndata: {{\"choices\":[{}]}}\n\ndata: [DONE]\n\n",
        choice(0, "delta", one),
        choice(1, "delta", two)
    );
    lab.answers("text/event-stream", stream.as_bytes());
    let (_, record) = lab
        .ask(CHAT, json!({"messages":[],"n":2,"stream":true}))
        .await;
    assert_eq!(counts(&record), (Some(11), Some(14), false), "{record}");
    for (path, ask, body) in [
        (
            CHAT,
            json!({"messages":[]}),
            format!(r#"{{"choices":[],"usage":[{one}]}}"#),
        ),
        (
            RESPONSES,
            json!({"input":"x"}),
            r#"{"output":[],"usage":[{"input_tokens":11,"output_tokens":5}]}"#.to_owned(),
        ),
        (
            MESSAGES,
            json!({"messages":[],"max_tokens":9}),
            r#"{"type":"message","content":[],"usage":[{"input_tokens":11,"output_tokens":5}]}"#
                .to_owned(),
        ),
    ] {
        lab.answers("application/json", body.as_bytes());
        let (_, record) = lab.ask(path, ask).await;
        assert_eq!(
            counts(&record),
            (Some(11), Some(5), false),
            "{path} {record}"
        );
    }
}

#[tokio::test]
async fn a_sum_alone_and_an_early_count_are_used() {
    let lab = Lab::start("1000000 tokens", json!({})).await;
    let total = r#"{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"total_tokens":1500}}"#;
    lab.answers("application/json", total.as_bytes());
    let (_, record) = lab.ask(CHAT, json!({"messages":[]})).await;
    let (input, output, estimated) = counts(&record);
    assert_eq!(
        (input.unwrap() + output.unwrap(), estimated),
        (1500, true),
        "{record}"
    );
    for (path, ask, body) in [
        (
            MESSAGES,
            json!({"messages":[],"max_tokens":9}),
            r#"{"type":"message","content":[],"stop_reason":"end_turn","usage":{"total_tokens":1500}}"#,
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents":[]}),
            r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"totalTokenCount":1500}}"#,
        ),
        (
            "/bedrock/model/m/converse",
            json!({"messages":[]}),
            r#"{"output":{},"stopReason":"end_turn","usage":{"totalTokens":1500}}"#,
        ),
    ] {
        lab.answers("application/json", body.as_bytes());
        let (_, record) = lab.ask(path, ask).await;
        let (input, output, estimated) = counts(&record);
        assert_eq!(
            (input.unwrap() + output.unwrap(), estimated),
            (1500, true),
            "{path} {record}"
        );
    }
    // The start of a response counts what its end leaves out.
    let all = events(&[
        json!({"type":"response.created","response":{"id":"r","output":[]}}),
        json!({"type":"response.in_progress","response":{"id":"r","output":[],"usage":{"input_tokens":100,"output_tokens":3}}}),
        json!({"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"four words of text..."}),
        json!({"type":"response.completed","response":{"id":"r","status":"completed","output":[]}}),
    ]);
    lab.answers("text/event-stream", &all);
    let (_, record) = lab.ask(RESPONSES, json!({"input":"x","stream":true})).await;
    assert_eq!(counts(&record), (Some(100), Some(8), true), "{record}");
}

#[tokio::test]
async fn a_dearer_model_than_was_asked_for_is_charged_as_what_it_is() {
    let prices = json!({ "prices": {
        "m": { "input": "1", "output": "10" },
        "dear": { "input": "100", "output": "1000" },
        "cheap": { "input": "0.1", "output": "0.1" },
    } });
    let lab = Lab::start("1000000 tokens", prices).await;
    let usage = r#""usage":{"prompt_tokens":1000,"completion_tokens":100}"#;
    for (used, cost) in [
        ("dear", 200_000_000),
        ("cheap", 2_000_000),
        ("m-2026-01-01", 2_000_000),
        ("unheard-of", 2_000_000),
    ] {
        let body = format!(r#"{{"model":"{used}","choices":[],{usage}}}"#);
        lab.answers("application/json", body.as_bytes());
        let (_, record) = lab.ask(CHAT, json!({"messages":[]})).await;
        assert_eq!(record["cost"], cost, "{used}: {record}");
        let chunk = format!(
            "data: {{\"model\":\"{used}\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}],{usage}}}\n\ndata: [DONE]\n\n"
        );
        lab.answers("text/event-stream", chunk.as_bytes());
        let ask = json!({"messages":[],"stream":true});
        let (_, record) = lab.ask(CHAT, ask).await;
        assert_eq!(record["cost"], cost, "{used}, streamed: {record}");
    }
}

/// A price list, a path, a model, a response, and its cost in nanodollars.
const TIERS: [(&str, &str, &str, &str, u64); 10] = [
    (
        "openai",
        CHAT,
        "m",
        r#"{"choices":[],"service_tier":"default","usage":{"prompt_tokens":1000,"completion_tokens":100}}"#,
        2_000_000,
    ),
    (
        "openai",
        CHAT,
        "m",
        r#"{"choices":[],"service_tier":"flex","usage":{"prompt_tokens":1000,"completion_tokens":100}}"#,
        2_000_000,
    ),
    (
        "openai",
        CHAT,
        "m",
        r#"{"choices":[],"service_tier":"priority","usage":{"prompt_tokens":1000,"completion_tokens":100}}"#,
        5_000_000,
    ),
    (
        "openai",
        CHAT,
        "dear",
        r#"{"choices":[],"service_tier":"priority","usage":{"prompt_tokens":1000,"completion_tokens":100}}"#,
        6_000_000,
    ),
    (
        "openai",
        RESPONSES,
        "m",
        r#"{"output":[],"service_tier":"priority","usage":{"input_tokens":1000,"output_tokens":100}}"#,
        5_000_000,
    ),
    (
        "bedrock",
        "/bedrock/model/m/converse",
        "m",
        r#"{"output":{},"serviceTier":{"type":"priority"},"usage":{"inputTokens":1000,"outputTokens":100}}"#,
        3_500_000,
    ),
    (
        "google",
        "/v1beta/models/m:generateContent",
        "m",
        r#"{"candidates":[],"usageMetadata":{"promptTokenCount":1000,"candidatesTokenCount":100,"trafficType":"ON_DEMAND_PRIORITY"}}"#,
        4_000_000,
    ),
    (
        "anthropic",
        MESSAGES,
        "m",
        r#"{"type":"message","content":[],"usage":{"input_tokens":1000,"output_tokens":100,"service_tier":"priority"}}"#,
        2_000_000,
    ),
    (
        "anthropic",
        MESSAGES,
        "m",
        r#"{"type":"message","content":[],"usage":{"input_tokens":1000,"output_tokens":100,"inference_geo":"us"}}"#,
        2_200_000,
    ),
    (
        "vertex",
        MESSAGES,
        "m",
        r#"{"type":"message","content":[],"usage":{"input_tokens":1000,"output_tokens":100,"inference_geo":"us"}}"#,
        2_000_000,
    ),
];

#[tokio::test]
async fn service_tiers_and_places_cost_what_they_cost() {
    let own = json!({ "input": "1", "output": "10", "modes": { "priority": { "input": "3", "output": "30" } } });
    let prices = json!({ "prices": { "m": { "input": "1", "output": "10" }, "dear": own } });
    for (basis, path, model, body, cost) in TIERS {
        let lab = Lab::start("1000000 tokens", {
            let mut more = prices.clone();
            more["basis"] = basis.into();
            more
        })
        .await;
        lab.answers("application/json", body.as_bytes());
        let ask = json!({"model":model,"messages":[],"input":"x","contents":[],"max_tokens":9});
        let (_, record) = lab.ask(path, ask).await;
        assert_eq!(record["cost"], cost, "{basis} {body}: {record}");
    }
}

#[tokio::test]
async fn a_compressed_refusal_of_stream_options_is_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(request) = read_request(&mut stream).await else {
                continue;
            };
            let answer = if String::from_utf8_lossy(&request.body).contains("stream_options") {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                let text = br#"{"error":{"message":"unknown field stream_options"}}"#;
                std::io::Write::write_all(&mut gzip, text).unwrap();
                let packed = gzip.finish().unwrap();
                let head = format!(
                    "HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    packed.len()
                );
                [head.as_bytes(), &packed].concat()
            } else {
                format!("{STREAM}data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"hi\"}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n").into_bytes()
            };
            serve(&mut stream, vec![answer]).await;
        }
    });
    let gateway = Gateway::start(address, json!({})).await;
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let reply = gateway.chat(body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let record = gateway.record().await;
    let reasons = record["reasons"].to_string();
    assert!(reasons.contains("stream_options"), "{reasons}");
}
