//! What responses rest on, when there is much of it.

use serde_json::{Value, json};

use super::super::CODEC;
use crate::formats::translate::checks::{streaming, value, whole};
use crate::formats::translate::{Citation, Content, Part, Response, Text};

/// A provider's response of this text that rests on this.
fn grounded(text: &str, chunks: &Value, supports: &Value) -> Vec<Citation> {
    let body = json!({ "candidates": [{
        "content": { "parts": [{ "text": text }] },
        "finishReason": "STOP",
        "groundingMetadata": { "groundingChunks": chunks, "groundingSupports": supports },
    }] });
    let response = whole(&CODEC, body.to_string().as_bytes());
    let Content::Text(text) = &response.parts[0].content else {
        panic!("a text")
    };
    text.citations.clone()
}

/// The `groundingMetadata` that a caller gets of a text with these citations.
fn written(text: String, citations: Vec<Citation>) -> Value {
    let text = Content::Text(Text {
        text,
        citations,
        ..Text::default()
    });
    let response = Response {
        parts: vec![Part::new(text)],
        ..Response::default()
    };
    let body = value(&(CODEC.write_response)(&streaming(), response));
    body["candidates"][0]["groundingMetadata"].clone()
}

#[test]
fn a_support_cites_a_chunk_once() {
    let chunks =
        json!([{ "web": { "uri": "https://a.test" } }, { "web": { "uri": "https://b.test" } }]);
    let support = |end: u64, chunks: &[u64]| json!({ "segment": { "endIndex": end }, "groundingChunkIndices": chunks });
    let supports = json!([support(2, &[1, 0, 1, 1, 0]), support(3, &[1])]);
    let citations = grounded("Yes.", &chunks, &supports);
    let places: Vec<_> = citations
        .iter()
        .map(|one| (one.url.as_deref().unwrap(), one.span.unwrap().1))
        .collect();
    let expected = [
        ("https://b.test", 2),
        ("https://a.test", 2),
        ("https://b.test", 3),
    ];
    assert_eq!(places, expected);
}

#[test]
fn a_chunk_that_many_supports_name_fills_no_memory() {
    let quote = "q".repeat(1 << 20);
    let chunks = json!([{ "retrievedContext": { "title": "Log", "text": quote } }]);
    let support = json!({ "segment": { "endIndex": 1 }, "groundingChunkIndices": [0] });
    let citations = grounded("Yes.", &chunks, &json!(vec![support; 100]));
    assert_eq!(citations.len(), 3);
}

#[test]
fn places_in_a_long_text_are_characters() {
    let text = "ä".repeat(500_000);
    let chunks = json!([{ "web": { "uri": "https://a.test" } }]);
    let support = |nth: u64| {
        json!({ "segment": { "startIndex": 998_000, "endIndex": 998_002 + 2 * (nth % 9) },
        "groundingChunkIndices": [0] })
    };
    let supports: Vec<Value> = (0..2_000).map(support).collect();
    let citations = grounded(&text, &chunks, &json!(supports));
    assert_eq!(citations.len(), 2_000);
    assert_eq!(citations[5].span, Some((499_000, 499_006)));
    let grounding = written(text, citations);
    assert_eq!(
        grounding["groundingSupports"][5]["segment"],
        json!({ "startIndex": 998_000, "endIndex": 998_012, "text": "ääääää" })
    );
}

#[test]
fn a_text_in_many_pieces_is_one_part() {
    let piece = "It is noon in Oslo. ".repeat(5);
    let response = Response {
        parts: vec![Part::text(&piece); 10_000],
        ..Response::default()
    };
    let body = (CODEC.write_response)(&streaming(), response);
    let parts = &value(&body)["candidates"][0]["content"]["parts"];
    assert_eq!(*parts, json!([{ "text": piece.repeat(10_000) }]));
}

#[test]
fn a_text_that_many_sources_support_is_repeated_in_bounds() {
    let source = |nth| Citation {
        url: Some(format!("https://{nth}.test")),
        ..Citation::default()
    };
    let text = "t".repeat(400_000);
    let length = text.len();
    let grounding = written(text, (0..100).map(source).collect());
    let supports = grounding["groundingSupports"].as_array().unwrap();
    assert_eq!(supports.len(), 100);
    assert!(
        supports
            .iter()
            .all(|one| one["segment"]["endIndex"] == length)
    );
    let texts = supports
        .iter()
        .filter_map(|one| one["segment"]["text"].as_str());
    assert_eq!(texts.map(str::len).sum::<usize>(), 800_000);
}
