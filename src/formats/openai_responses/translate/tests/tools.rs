//! Tools and calls of them.

use serde_json::{Value, json};

use super::super::CODEC;
use super::chat;
use crate::formats::translate::checks::{read, translated};
use crate::formats::translate::{Codec, Untranslatable};

/// The provider's search is left out, unless the caller's choice is that the model must search.
#[test]
fn a_search_by_the_provider_is_left_out_unless_it_is_forced() {
    let body = |choice: &str, tools: Value| json!({ "model": "m", "input": "hi", "tools": tools, "tool_choice": choice });
    let search = json!({ "type": "web_search_2025_08_26" });
    let look = json!({ "type": "function", "name": "look" });
    let read_tools = |choice: &str, tools: Value| {
        let request = read(&CODEC, &body(choice, tools))?;
        Ok::<_, Untranslatable>((request.tools.len(), request.dropped))
    };
    let left_out = vec!["tools.web_search".to_owned()];
    let both = json!([search, look]);
    assert_eq!(read_tools("required", both), Ok((1, left_out.clone())));
    let twice = json!([search, search]);
    assert_eq!(read_tools("auto", twice.clone()), Ok((0, left_out)));
    let refused = read_tools("required", twice).unwrap_err();
    assert_eq!(refused.field, "tool_choice");
}

#[test]
fn tools_one_at_a_time_are_a_wish() {
    let lacks: Codec = Codec {
        expresses: &[],
        ..CODEC
    };
    let tools = json!([{ "type": "function", "name": "look" }]);
    let asks = json!({ "model": "m", "input": "hi", "tools": tools, "parallel_tool_calls": false });
    let (sent, dropped) = translated(&CODEC, &lacks, &asks).unwrap();
    assert_eq!(dropped, ["parallel_tool_calls"]);
    assert!(sent.get("parallel_tool_calls").is_none());
    let function = json!({ "type": "function", "function": { "name": "look" } });
    let message = json!({ "role": "user", "content": "hi" });
    let asks = json!({ "model": "m", "messages": [message], "tools": [function],
        "parallel_tool_calls": false });
    assert_eq!(
        translated(chat(), &lacks, &asks).unwrap().1,
        ["parallel_tool_calls"]
    );
}

#[test]
fn a_group_is_described_once() {
    let about = "D".repeat(100_000);
    let group = |name: &str, count: usize| {
        let tools: Vec<_> = (0..count)
            .map(|nth| json!({ "type": "function", "name": format!("t{nth}"), "description": "T" }))
            .collect();
        json!({ "type": "namespace", "name": name, "description": about, "tools": tools })
    };
    let asks =
        |name: &str, count| json!({ "model": "m", "input": "hi", "tools": [group(name, count)] });
    let request = read(&CODEC, &asks("mcp", 1_000)).unwrap();
    let description = |nth: usize| request.tools[nth].description.as_deref().unwrap();
    assert_eq!(description(0), format!("{about}\n\nT"));
    assert!((1..1_000).all(|nth| description(nth) == "T"));
    assert!(read(&CODEC, &asks(&"n".repeat(256), 1)).is_ok());
    let refused = read(&CODEC, &asks(&"n".repeat(257), 1)).unwrap_err();
    assert_eq!(refused.field, "tools[0].name");
}
