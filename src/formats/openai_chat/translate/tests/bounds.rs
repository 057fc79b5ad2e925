//! What a small body may cost.

use serde_json::json;

use super::CODEC;
use crate::formats::translate::checks::{read, streaming, value};
use crate::formats::translate::{Citation, Content, Part, Response, Text};

/// A megabyte of reasoning that 2,000 calls name would be 2 GB if each call had a copy.
#[test]
fn a_thought_of_many_calls_is_kept_once() {
    let data = "x".repeat(1 << 20);
    let call = json!({ "id": "a", "type": "function", "function": { "name": "t" } });
    let message = json!({
        "role": "assistant",
        "reasoning_details": [
            { "type": "reasoning.encrypted", "data": data, "id": "a" },
            { "type": "reasoning.text", "text": "hm", "id": "a" },
        ],
        "tool_calls": vec![call; 2_000],
    });
    let request = read(&CODEC, &json!({ "model": "m", "messages": [message] })).unwrap();
    let parts = &request.turns[0].parts;
    let is_thought = parts
        .iter()
        .map(|part| matches!(part.content, Content::Reasoning(_)));
    let is_thought: Vec<bool> = is_thought.collect();
    assert_eq!(is_thought[..3], [true, true, false]);
    assert_eq!(is_thought.iter().filter(|is| **is).count(), 2);
    assert_eq!(parts.len(), 2_002);
}

/// The parts' lengths add up. Counting the whole text again at each part would take time that grows with
/// the square of their number.
#[test]
fn citations_of_many_parts_end_where_their_text_ends() {
    let citation = Citation {
        url: Some("https://x.test".to_owned()),
        ..Citation::default()
    };
    let text = Text {
        citations: vec![citation],
        ..Text::new("ü".repeat(100))
    };
    let response = Response {
        parts: vec![Part::new(Content::Text(text)); 20_000],
        ..Response::default()
    };
    let whole = value(&(CODEC.write_response)(&streaming(), response));
    let annotations = whole["choices"][0]["message"]["annotations"]
        .as_array()
        .unwrap();
    let end = |nth: usize| &annotations[nth]["url_citation"]["end_index"];
    assert_eq!((end(0), end(19_999)), (&json!(100), &json!(2_000_000)));
}
