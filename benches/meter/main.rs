//! What metering costs: a program for `valgrind --tool=callgrind`, whose counts of instructions are
//! the same on every run. Two runs that differ by their counts alone tell what one costs.
//!
//! `cargo bench --bench meter -- FORMAT events|bodies|requests COUNT` meters so many events of a
//! stream, or so many small responses with their requests, or reads so many requests alone.
#![expect(clippy::print_stdout, reason = "what was read shows that it was")]

use bytes::Bytes;
use http::HeaderMap;
use iris::formats::{self, Format, Head, Meter};
use iris::wire::sse::{Decoder, Event};

/// A request, the first events of a stream and one that is repeated, and an unstreamed response.
struct Script {
    format: &'static str,
    path: &'static str,
    request: &'static str,
    first: &'static [&'static str],
    next: &'static str,
    response: &'static str,
}

const SCRIPTS: [Script; 5] = [
    Script {
        format: "openai_chat",
        path: "/v1/chat/completions",
        request: r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
        first: &[
            r#"{"id":"chatcmpl-ab12","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        ],
        next: r#"{"id":"chatcmpl-ab12","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}"#,
        response: r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#,
    },
    Script {
        format: "anthropic_messages",
        path: "/v1/messages",
        request: r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"hi"}]}"#,
        first: &[
            r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ],
        next: r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" token"}}"#,
        response: r#"{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello there"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":3}}"#,
    },
    Script {
        format: "openai_responses",
        path: "/v1/responses",
        request: r#"{"model":"m","input":"hi"}"#,
        first: &[
            r#"{"type":"response.created","response":{"id":"r","object":"response","status":"in_progress","model":"m","output":[]}}"#,
            r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"i","type":"message","role":"assistant","content":[]}}"#,
            r#"{"type":"response.content_part.added","item_id":"i","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}"#,
        ],
        next: r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":" token","sequence_number":5,"logprobs":[],"obfuscation":"abcdef"}"#,
        response: r#"{"id":"r","object":"response","status":"completed","model":"m","output":[{"id":"i","type":"message","role":"assistant","content":[{"type":"output_text","text":"hello there"}]}],"usage":{"input_tokens":9,"output_tokens":3,"total_tokens":12}}"#,
    },
    Script {
        format: "gemini_generate_content",
        path: "/v1beta/models/m:streamGenerateContent",
        request: r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
        first: &[
            r#"{"candidates":[{"content":{"parts":[{"text":"The"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1,"totalTokenCount":10,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}]},"modelVersion":"m","responseId":"r"}"#,
        ],
        next: r#"{"candidates":[{"content":{"parts":[{"text":" token"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"totalTokenCount":13,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}]},"modelVersion":"m","responseId":"r"}"#,
        response: r#"{"candidates":[{"content":{"parts":[{"text":"hello there"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3,"totalTokenCount":12},"modelVersion":"m","responseId":"r"}"#,
    },
    Script {
        format: "bedrock_converse",
        path: "/bedrock/model/m/converse",
        request: r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#,
        first: &[r#"{"contentBlockIndex":0,"delta":{"text":"The"},"p":"abcd"}"#],
        next: r#"{"contentBlockIndex":0,"delta":{"text":" token"},"p":"abcdefgh"}"#,
        response: r#"{"output":{"message":{"role":"assistant","content":[{"text":"hello there"}]}},"stopReason":"end_turn","usage":{"inputTokens":9,"outputTokens":3,"totalTokens":12},"metrics":{"latencyMs":5}}"#,
    },
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` adds a word of its own.
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [format, what, count, ..] = words[..] else {
        println!("usage: meter FORMAT events|bodies|requests COUNT");
        return;
    };
    let script = SCRIPTS.iter().find(|script| script.format == format);
    let script = script.expect("the name of a format");
    let count: usize = count.parse().expect("a number");
    let format = formats::named(script.format).expect("a format");
    let body = script.response.as_bytes();
    let whole = |_| metered(format, script, |meter| meter.body(body));
    let nothing = |_| metered(format, script, |_| {});
    let tokens: u64 = match what {
        "events" => events(format, script, count),
        "bodies" => (0..count).map(whole).sum(),
        _ => (0..count).map(nothing).sum(),
    };
    println!("{tokens} tokens");
}

/// What a new meter reads, to which `feed` gives a response.
fn metered(format: &Format, script: &Script, feed: impl FnOnce(&mut dyn Meter)) -> u64 {
    let head = Head {
        path: script.path,
        query: None,
        headers: &HeaderMap::new(),
    };
    let body = Bytes::from_static(script.request.as_bytes());
    let call = format.read(&head, body).expect("a request");
    let mut meter = format.meter(&call.metered(1 << 20));
    feed(meter.as_mut());
    meter.finish().tokens.output.unwrap_or_default()
}

fn events(format: &Format, script: &Script, count: usize) -> u64 {
    // Amazon's events have names, and no lines.
    let name = (script.format == "bedrock_converse").then_some(b"contentBlockDelta");
    metered(format, script, |meter| {
        let mut decoder = Decoder::default();
        let mut feed = |data: &str, lines: &str| {
            if let Some(name) = name {
                let data = data.as_bytes();
                meter.event(&Event { name, data });
                return;
            }
            decoder.feed(lines.as_bytes(), |event| {
                meter.event(&event);
            });
        };
        let lines = |data: &str| format!("data: {data}\n\n");
        for data in script.first {
            feed(data, &lines(data));
        }
        let next = lines(script.next);
        for _ in 0..count {
            feed(script.next, &next);
        }
    })
}
