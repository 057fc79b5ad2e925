//! Translations of damaged requests and responses, and of streams that never end.

use std::path::Path;

use iris::formats::translate::{Delivery, Request, ResponseTranslator, Translator as _};
use iris::wire::Framing;
use serde_json::{Value, json};

use super::{PIECES, fuzz_for, translated};

/// Each round translates for four formats, in three framings.
const ROUNDS: u64 = 150;

const MORE: [&str; 8] = [
    "null,",
    "{\"type\":\"text\",\"text\":\"x\"},",
    "data: {}\n\n",
    "\n\n",
    "\"id\":\"a\",",
    "\"index\":1,",
    "-1",
    "1e9",
];

/// The recorded requests or responses of a format.
fn recorded(format: &str, ends: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Some folders have several formats.
    let folder = format.strip_suffix("_generate").unwrap_or(format);
    let folder = root.join("src/formats").join(folder).join("fixtures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| ends.iter().any(|end| path.to_str().unwrap().ends_with(end)))
        .collect();
    files.sort();
    let texts = files.iter().map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        if path.to_str().unwrap().ends_with(".bin.json") {
            as_lines(&text)
        } else {
            text
        }
    });
    texts.collect()
}

/// Messages of Amazon's framing as events of text.
fn as_lines(messages: &str) -> String {
    let messages: Vec<(String, Value)> = serde_json::from_str(messages).unwrap();
    let line = |(name, data): &(String, Value)| format!("event: {name}\ndata: {data}\n\n");
    messages.iter().map(line).collect()
}

/// The path of a format's requests for a stream.
fn path(format: &str) -> &'static str {
    match format {
        "openai_chat" => "/v1/chat/completions",
        "openai_responses" => "/v1/responses",
        "anthropic_messages" => "/v1/messages",
        "gemini_generate_content" => "/v1beta/models/m:streamGenerateContent",
        "bedrock_converse" => "/bedrock/model/m/converse-stream",
        "ollama" => "/api/chat",
        "ollama_generate" => "/api/generate",
        other => panic!("{other} has no path here"),
    }
}

#[test]
fn a_damaged_request_is_translated_or_refused_by_the_name_of_a_field() {
    let pieces = [&PIECES[..], &MORE].concat();
    for (format, _) in translated::formats() {
        let documents = recorded(format.name, &[".request.json"]);
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let mut count = 0;
        fuzz_for(4 * ROUNDS, 17, &documents, &pieces, |bytes, _| {
            count += translated::request(format.name, path(format.name), bytes);
        });
        assert!(count > 20, "{}: only {count} were translated", format.name);
    }
}

#[test]
fn a_damaged_response_is_translated_the_same_in_whatever_pieces_it_comes() {
    let pieces = [&PIECES[..], &MORE].concat();
    let ends = [
        ".response.json",
        ".stream.txt",
        ".stream.bin.json",
        ".stream.ndjson",
    ];
    for (format, _) in translated::formats() {
        let documents = recorded(format.name, &ends);
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let mut count = 0;
        fuzz_for(ROUNDS, 19, &documents, &pieces, |bytes, _| {
            count += translated::response(format.name, bytes);
        });
        assert!(count > 20, "{}: only {count} were whole", format.name);
    }
}

/// A stream that begins, and goes on with one event for as long as the caller reads. `TEXT` stands for a long
/// text, and `NTH` for the event's number.
struct Endless {
    served: &'static str,
    begin: Value,
    event: Value,
    /// What comes has to be held until it is whole, so the stream is broken off.
    is_held: bool,
}

impl Endless {
    fn new(served: &'static str, begin: Value, event: Value, is_held: bool) -> Self {
        Self {
            served,
            begin,
            event,
            is_held,
        }
    }

    fn line(event: &Value, text: &str, nth: usize) -> String {
        let event = event.to_string().replace("TEXT", text);
        let event = event.replace("\"NTH\"", &nth.to_string());
        // Only Amazon's readers look at the name.
        format!("event: contentBlockDelta\ndata: {event}\n\n")
    }
}

fn endless() -> Vec<Endless> {
    let of_chat = |delta: Value| json!({ "id": "c", "choices": [{ "index": 0, "delta": delta }] });
    let chat = |delta: Value, is_held| {
        Endless::new("openai_chat", of_chat(json!({})), of_chat(delta), is_held)
    };
    let call =
        json!({ "index": "NTH", "id": "TEXT", "function": { "name": "f", "arguments": "" } });
    let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
    let messages = |delta: Value, is_held| {
        let begin = json!({ "type": "content_block_start", "index": 0, "content_block": block });
        let event = json!({ "type": "content_block_delta", "index": 0, "delta": delta });
        Endless::new("anthropic_messages", begin, event, is_held)
    };
    let gemini = |parts: Value| json!({ "candidates": [{ "content": { "parts": parts } }] });
    let signed = json!([{ "text": "", "thoughtSignature": "TEXT" }]);
    let item = json!({ "type": "function_call", "id": "TEXT", "call_id": "c", "name": "f" });
    let converse =
        |delta: Value| json!({ "contentBlockIndex": 0, "delta": { "reasoningContent": delta } });
    vec![
        chat(json!({ "reasoning_content": "TEXT" }), false),
        chat(json!({ "tool_calls": [call] }), true),
        Endless::new(
            "openai_chat",
            json!({ "id": "TEXT", "model": "TEXT", "choices": [] }),
            of_chat(json!({ "content": "x" })),
            false,
        ),
        messages(
            json!({ "type": "signature_delta", "signature": "TEXT" }),
            true,
        ),
        messages(
            json!({ "type": "thinking_delta", "thinking": "TEXT" }),
            false,
        ),
        Endless::new(
            "gemini_generate_content",
            gemini(json!([])),
            gemini(signed),
            false,
        ),
        Endless::new(
            "openai_responses",
            json!({ "type": "response.created", "response": { "id": "r" } }),
            json!({ "type": "response.output_item.added", "output_index": "NTH", "item": item }),
            true,
        ),
        Endless::new(
            "bedrock_converse",
            converse(json!({ "text": "x" })),
            converse(json!({ "signature": "TEXT" })),
            true,
        ),
    ]
}

/// A stream of 6 MiB. Its caller gets at most eight times as much, or is told that it is too long.
#[test]
fn a_stream_without_end_is_passed_on_or_broken_off() {
    let text = "x".repeat(64 << 10);
    let formats: Vec<_> = translated::formats().collect();
    for stream in endless() {
        let served = formats
            .iter()
            .find(|(format, _)| format.name == stream.served);
        let served = served.unwrap().1;
        let callers = formats.iter().copied();
        for (format, caller) in callers.filter(|(format, _)| format.name != stream.served) {
            let request = Request {
                delivery: Delivery::Events { usage: true },
                ..Request::default()
            };
            let framing = Some(Framing::Text);
            let mut translator = ResponseTranslator::new(served, caller, request, framing, 4096);
            let (mut came, mut went) = (0, 0);
            let begin = Endless::line(&stream.begin, &text, 0);
            let more = (0..96).map(|nth| Endless::line(&stream.event, &text, nth));
            let passed = std::iter::once(begin).chain(more).try_for_each(|line| {
                let mut out = Vec::new();
                let fed = translator.feed(line.as_bytes(), &mut out);
                came += line.len();
                went += out.len();
                fed
            });
            let pair = format!("{} → {}: {}", stream.served, format.name, stream.event);
            assert!(went <= 8 * came + (64 << 10), "{pair}: {went} of {came}");
            assert_eq!(passed.is_err(), stream.is_held, "{pair}: {passed:?}");
        }
    }
}
