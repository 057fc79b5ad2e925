//! Events that only go on with a text are read in a shorter way, which must come to the same.

use super::*;
use crate::formats::openai_chat::{CHAT, Chunks};
use crate::formats::{
    anthropic_messages, bedrock_converse, bedrock_model_invoke, corpus, gemini_generate_content,
    openai_chat, openai_completions, openai_responses,
};

/// Reads each event in the longer way.
struct Longer<A>(A);

impl<A: Assembly> Assembly for Longer<A> {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        self.0.add(event, room)
    }

    fn response(&mut self) -> Option<Value> {
        self.0.response()
    }

    fn marks(&self) -> &'static [&'static str] {
        self.0.marks()
    }
}

/// Counts the events that were read in the shorter way.
struct Counted<A>(A, std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl<A: Assembly> Assembly for Counted<A> {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        self.0.add(event, room)
    }

    fn goes_on<'p>(
        &mut self,
        name: &[u8],
        event: Part<'p>,
        room: &mut Room,
    ) -> Option<Continued<'p>> {
        let continued = self.0.goes_on(name, event, room)?;
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(continued)
    }

    fn again(&mut self, repeated: &Repeated<'_>, room: &mut Room) -> Option<Seen> {
        let seen = self.0.again(repeated, room)?;
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(seen)
    }

    fn free(&self) -> &'static [Free] {
        self.0.free()
    }

    fn response(&mut self) -> Option<Value> {
        self.0.response()
    }

    fn marks(&self) -> &'static [&'static str] {
        self.0.marks()
    }
}

type Events = Vec<(String, Vec<u8>)>;

/// What a meter says after each event, and in the end.
fn story(mut meter: impl Meter, events: &Events) -> (Vec<String>, Reading) {
    let each = events.iter().map(|(name, data)| {
        let name = name.as_bytes();
        let pass = meter.event(&sse::Event { name, data });
        let facts = [
            meter.has_output(),
            meter.is_complete(),
            meter.is_counted(),
            meter.is_closing(),
            meter.has_failed(),
        ];
        format!("{pass:?} {facts:?}")
    });
    (each.collect(), meter.finish())
}

/// Compares both ways, with each value of each event replaced in turn; `usual` of the events go on
/// with a text.
fn check<A: Assembly>(events: &[(&str, &str)], read: Read, usual: usize, make: impl Fn() -> A) {
    let original: Events = events
        .iter()
        .map(|(name, data)| ((*name).to_owned(), data.as_bytes().to_vec()))
        .collect();
    let mut all = vec![original.clone()];
    for nth in 0..original.len() {
        for data in corpus::variants(corpus::Framing::Text, &original[nth].1) {
            let mut bent = original.clone();
            bent[nth].1 = data;
            all.push(bent.clone());
            // The same again, and then as it was.
            bent.insert(nth, bent[nth].clone());
            bent.insert(nth, original[nth].clone());
            all.push(bent);
        }
    }
    for events in all {
        for room in [200, 100_000] {
            let request = corpus::metered(400, room);
            let count = std::sync::Arc::default();
            let counted = Counted(make(), std::sync::Arc::clone(&count));
            let short = story(Assembling::new(counted, read, &request), &events);
            let long = story(Assembling::new(Longer(make()), read, &request), &events);
            let text = || {
                let texts = events.iter().map(|(_, data)| String::from_utf8_lossy(data));
                texts.collect::<Vec<_>>().join("\n")
            };
            assert_eq!(short, long, "{}", text());
            if events == original && room > 200 {
                assert_eq!(
                    count.load(std::sync::atomic::Ordering::Relaxed),
                    usual,
                    "{}",
                    text()
                );
            }
        }
    }
}

#[test]
fn of_chat_completions() {
    let events = [
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","usage":null,"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"p":"a"}"#,
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","usage":null,"choices":[{"index":0,"delta":{"content":"Hel\u006co \"you\""},"logprobs":null,"finish_reason":null}],"p":"abc"}"#,
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"data:image"},"finish_reason":""}],"p":"ab"}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning":"because","content":null}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning":" of","role":""}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"","type":"function","function":{"name":"","arguments":"{\"a\""}}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
        r#"{"id":"d","choices":[{"index":0,"delta":{"content":" there","tool_calls":[]}}]}"#,
        r#"{"id":"c","choices":[{"index":1,"delta":{"content":"B"}}]}"#,
        r#"{"id":"c","choices":[{"index":1,"delta":{"content":"C"}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":"D"},"finish_reason":"stop"}]}"#,
        r#"{"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#,
        "[DONE]",
    ];
    let events = events.map(|data| ("", data));
    check(&events, openai_chat::read, 6, || Chunks::new(&CHAT, true));
}

#[test]
fn of_completions() {
    let events = [
        r#"{"id":"c","object":"text_completion","created":1,"choices":[{"text":"a","index":0,"logprobs":null,"finish_reason":null}]}"#,
        r#"{"id":"c","object":"text_completion","created":1,"choices":[{"text":"b\n","index":0,"logprobs":null,"finish_reason":null}]}"#,
        r#"{"id":"c","object":"text_completion","created":1,"choices":[{"text":"c","index":0,"logprobs":null,"finish_reason":""}]}"#,
        r#"{"id":"c","object":"text_completion","created":1,"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":3}}"#,
    ];
    let events = events.map(|data| ("", data));
    check(&events, openai_chat::read, 2, || {
        Chunks::new(&openai_completions::KIND, false)
    });
}

#[test]
fn of_messages() {
    let events = [
        r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":9,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm\n"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"abcd"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hel"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"lo"}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":":1}"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":12}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let events = events.map(|data| ("", data));
    check(
        &events,
        anthropic_messages::read,
        5,
        anthropic_messages::Events::default,
    );
}

#[test]
fn of_responses() {
    let events = [
        r#"{"type":"response.created","response":{"id":"r","object":"response","status":"in_progress","output":[]}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"i","type":"message","content":[]}}"#,
        r#"{"type":"response.content_part.added","item_id":"i","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}"#,
        r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"Hel","sequence_number":4}"#,
        r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"lo\n","sequence_number":5}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"id":"j","type":"function_call","name":"f","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","item_id":"j","output_index":1,"delta":"{}"}"#,
        r#"{"type":"response.reasoning_summary_text.delta","item_id":"k","output_index":0,"summary_index":1,"delta":"so"}"#,
        r#"{"type":"response.completed","response":{"id":"r","object":"response","status":"completed","usage":{"input_tokens":3,"output_tokens":9}}}"#,
    ];
    let events = events.map(|data| ("", data));
    check(
        &events,
        openai_responses::read_response,
        4,
        openai_responses::Events::default,
    );
}

#[test]
fn of_generated_contents() {
    let events = [
        r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hm","thought":true}]}}],"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4,"promptTokensDetails":[{"modality":"TEXT","tokenCount":4}]},"modelVersion":"g"}"#,
        r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"m\n","thought":true}]}}],"usageMetadata":{"promptTokenCount":4,"totalTokenCount":9,"promptTokensDetails":[{"modality":"TEXT","tokenCount":4}]},"modelVersion":"g"}"#,
        r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hel"}]}}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":1,"totalTokenCount":10},"modelVersion":"g"}"#,
        r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"lo"}]}}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":3,"totalTokenCount":12},"modelVersion":"g"}"#,
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"!"}]}}],"modelVersion":"g"}"#,
        r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":5,"totalTokenCount":14},"modelVersion":"g"}"#,
    ];
    let events = events.map(|data| ("", data));
    check(
        &events,
        gemini_generate_content::read,
        3,
        gemini_generate_content::Contents::default,
    );
}

#[test]
fn of_converse_and_invoke() {
    let events = [
        ("messageStart", r#"{"role":"assistant"}"#),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":0,"delta":{"text":"Hel"},"p":"a"}"#,
        ),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":0,"delta":{"text":"lo\n"},"p":"ab"}"#,
        ),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"text":"so"}}}"#,
        ),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"text":" it is"}}}"#,
        ),
        (
            "contentBlockStart",
            r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}"#,
        ),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{}"}}}"#,
        ),
        ("messageStop", r#"{"stopReason":"tool_use"}"#),
        (
            "metadata",
            r#"{"usage":{"inputTokens":4,"outputTokens":9,"totalTokens":13}}"#,
        ),
    ];
    check(
        &events,
        bedrock_converse::read,
        3,
        bedrock_converse::Events::default,
    );
    let nova = events.map(|(name, data)| format!(r#"{{"{name}":{data}}}"#));
    let nova: Vec<(&str, &str)> = nova.iter().map(|data| ("", data.as_str())).collect();
    check(
        &nova,
        bedrock_model_invoke::read_response,
        3,
        bedrock_model_invoke::Vendor::default,
    );
}
