//! When a stream is complete and when it is counted, in each format, and what is held of it.

use serde_json::json;

use super::*;
use crate::formats::{
    anthropic_messages, bedrock_converse, corpus, gemini_generate_content, openai_chat,
};

fn meter(format: &str) -> Box<dyn Meter> {
    let request = corpus::metered(400, 1 << 20);
    match format {
        "messages" => Box::new(Assembling::new(
            anthropic_messages::Events::default(),
            anthropic_messages::read,
            &request,
        )),
        "converse" => Box::new(Assembling::new(
            bedrock_converse::Events::default(),
            bedrock_converse::read,
            &request,
        )),
        "gemini" => gemini_generate_content::meter(gemini_generate_content::read, &request),
        _ => Box::new(Assembling::new(
            openai_chat::Chunks::new(&openai_chat::CHAT, false),
            openai_chat::read,
            &request,
        )),
    }
}

/// A format's first event with a count, forty bytes of text, the end without a count, and the
/// final count of 90.
fn parts(format: &str) -> [(&'static str, Value); 4] {
    let text = "word ".repeat(8);
    match format {
        "messages" => [
            (
                "",
                json!({"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}),
            ),
            (
                "",
                json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":text}}),
            ),
            (
                "",
                json!({"type":"message_delta","delta":{"stop_reason":"end_turn"}}),
            ),
            (
                "",
                json!({"type":"message_delta","delta":{},"usage":{"output_tokens":90}}),
            ),
        ],
        "converse" => [
            ("messageStart", json!({"role":"assistant"})),
            (
                "contentBlockDelta",
                json!({"contentBlockIndex":0,"delta":{"text":text}}),
            ),
            ("messageStop", json!({"stopReason":"end_turn"})),
            (
                "metadata",
                json!({"usage":{"inputTokens":9,"outputTokens":90}}),
            ),
        ],
        "gemini" => [
            (
                "",
                json!({"candidates":[{"content":{"parts":[{"text":""}]}}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1}}),
            ),
            (
                "",
                json!({"candidates":[{"content":{"parts":[{"text":text}]}}]}),
            ),
            ("", json!({"candidates":[{"finishReason":"STOP"}]})),
            (
                "",
                json!({"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":90}}),
            ),
        ],
        _ => [
            (
                "",
                json!({"choices":[{"index":0,"delta":{"role":"assistant"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}),
            ),
            (
                "",
                json!({"choices":[{"index":0,"delta":{"content":text}}]}),
            ),
            (
                "",
                json!({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}),
            ),
            (
                "",
                json!({"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":90}}),
            ),
        ],
    }
}

#[test]
fn an_early_count_is_not_the_whole_and_the_final_one_is() {
    for format in ["messages", "converse", "gemini", "chat"] {
        let early = u64::from(format != "converse");
        for is_final in [false, true] {
            let mut meter = meter(format);
            for (nth, (name, event)) in parts(format).iter().enumerate() {
                if nth == 3 && !is_final {
                    break;
                }
                corpus::feed(&mut *meter, name, &event.to_string());
                assert_eq!(meter.is_complete(), nth >= 2, "{format}: {nth}");
                assert_eq!(meter.is_counted(), nth == 3, "{format}: {nth}");
            }
            let tokens = meter.finish().tokens;
            let output = if is_final { 90 } else { early + 10 };
            assert_eq!(
                (tokens.output, tokens.estimated),
                (Some(output), !is_final),
                "{format}"
            );
        }
    }
}
