//! Items of a conversation that a request names by their ids instead of sending them. The provider puts what it keeps of
//! them in their place (<https://platform.openai.com/docs/api-reference/responses/create>).

use std::sync::LazyLock;

use memchr::memmem;

use crate::formats::NamedItem;
use crate::wire::json::{self, ScanError};

/// Keys of an item that tell whether it is only named.
const KEYS: [&str; 6] = [
    "id",
    "type",
    "role",
    "content",
    "encrypted_content",
    "result",
];

/// Items that one request may name: each is looked up.
pub(super) const MOST: usize = 1_000;

/// The items that `input` names, of which there can be one more than [`MOST`].
///
/// # Errors
/// When servers could disagree about what an item names.
pub(super) fn items(input: &[u8]) -> Result<Vec<NamedItem>, ScanError> {
    let mut named = Vec::new();
    // Most requests name none, and some are long.
    if !may_name(input) {
        return Ok(named);
    }
    // Some servers may take one item in place of a list.
    if input.starts_with(b"{") {
        return Ok(item(input)?.into_iter().collect());
    }
    if !input.starts_with(b"[") {
        return Ok(named);
    }
    let mut failed = None;
    json::each_element(input, |element| {
        match item(element) {
            Ok(item) => named.extend(item),
            Err(error) => failed = Some(error),
        }
        failed.is_none() && named.len() <= MOST
    });
    failed.map_or(Ok(named), Err)
}

/// Whether a text may have the key `id`, which can be written with escapes.
fn may_name(text: &[u8]) -> bool {
    static WORDS: LazyLock<[memmem::Finder<'_>; 2]> =
        LazyLock::new(|| [&b"\"id\""[..], b"\\u"].map(memmem::Finder::new));
    WORDS.iter().any(|word| word.find(text).is_some())
}

/// Whether a value says nothing: `null`, an empty text or an empty list.
fn is_empty(value: &[u8]) -> bool {
    let inside = value.strip_prefix(b"[");
    let inside = inside.and_then(|inside| inside.strip_suffix(b"]"));
    matches!(value, b"null" | b"\"\"")
        || inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// What an element of `input` names.
fn item(element: &[u8]) -> Result<Option<NamedItem>, ScanError> {
    if !element.starts_with(b"{") || !may_name(element) {
        return Ok(None);
    }
    let fields = json::scan(element, &KEYS)?;
    let value = |nth| fields.get(nth).map(|at| &element[at]);
    let has = |nth| value(nth).is_some_and(|value| !is_empty(value));
    let text = |nth| value(nth).and_then(json::string);
    let Some(id) = text(0) else {
        return Ok(None);
    };
    let is_bare = match text(1).as_deref() {
        Some("item_reference") => true,
        // The type can be left out, of messages too.
        None if !(has(2) && has(3)) => true,
        // The picture is at the provider.
        Some("image_generation_call") if !has(5) => true,
        // Its text is at the provider, unless it is sealed.
        Some("reasoning") if !has(3) && !has(4) => false,
        // All of them is sent.
        Some("function_call" | "custom_tool_call") => return Ok(None),
        // Of calls of the provider's own tools, some of the results are there.
        Some(kind) if kind.ends_with("_call") => false,
        _ => return Ok(None),
    };
    Ok(Some(NamedItem {
        id: id.into_owned(),
        is_bare,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn named(item: &Value) -> Vec<(String, bool)> {
        let input = json!([{ "role": "user", "content": "hi" }, item]).to_string();
        let items = items(input.as_bytes()).unwrap();
        items
            .into_iter()
            .map(|item| (item.id, item.is_bare))
            .collect()
    }

    #[test]
    fn items_are_named_in_several_forms() {
        for (item, is_bare) in [
            (json!({ "type": "item_reference", "id": "x" }), true),
            (json!({ "type": null, "id": "x" }), true),
            (json!({ "id": "x" }), true),
            (json!({ "id": "x", "role": "user" }), true),
            (json!({ "id": "x", "content": "a" }), true),
            (json!({ "type": "image_generation_call", "id": "x" }), true),
            (
                json!({ "type": "image_generation_call", "id": "x", "result": "AA" }),
                false,
            ),
            (
                json!({ "type": "web_search_call", "id": "x", "status": "completed" }),
                false,
            ),
            (
                json!({ "type": "reasoning", "id": "x", "summary": [] }),
                false,
            ),
            (
                json!({ "type": "reasoning", "id": "x", "summary": [{ "text": "a" }],
                    "content": [], "encrypted_content": null }),
                false,
            ),
        ] {
            assert_eq!(named(&item), [("x".to_owned(), is_bare)], "{item}");
        }
        let escaped = br#"[{"\u0069d":"x","type":"item_referenc\u0065"}]"#;
        assert_eq!(items(escaped).unwrap().len(), 1);
        let alone = br#"{"id":"x","type":"item_reference"}"#;
        assert_eq!(items(alone).unwrap().len(), 1);
        for blank in [
            r#"[{"type":"reasoning","id":"x","content":[ ]}]"#,
            r#"[{"id":"x","role":"assistant","content":[ ]}]"#,
        ] {
            assert_eq!(items(blank.as_bytes()).unwrap().len(), 1, "{blank}");
        }
    }

    #[test]
    fn items_that_are_sent_are_not_only_named() {
        for item in [
            json!({ "type": "item_reference" }),
            json!({ "id": "x", "role": "assistant", "content": "hi" }),
            json!({ "type": "message", "id": "x", "role": "assistant", "content": [] }),
            json!({ "type": "function_call", "id": "x", "call_id": "c", "name": "f", "arguments": "{}" }),
            json!({ "type": "reasoning", "id": "x", "summary": [], "encrypted_content": "AA" }),
            json!({ "type": "reasoning", "id": "x", "content": [{ "text": "so" }] }),
        ] {
            assert_eq!(named(&item), [], "{item}");
        }
        assert_eq!(items(b"\"id\"").unwrap(), []);
    }

    #[test]
    fn an_item_that_can_be_read_in_two_ways_is_refused() {
        for input in [
            r#"[{"id":"x","id":"y","type":"item_reference"}]"#,
            r#"[{"id":"x","type":"message","Type":"item_reference"}]"#,
        ] {
            assert!(items(input.as_bytes()).is_err(), "{input}");
        }
    }
}
