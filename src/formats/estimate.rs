//! About how many tokens a request has, for a provider that can't be asked. Text counts by its
//! length; an image or a file in base64 counts as what a model sees of it, not as its letters.

use aws_smithy_types::base64;
use serde_json::Value;

use super::tokens::{IMAGE, OPAQUE, roughly, text_bytes};

/// A longer body is counted by its bytes: as a tree it would take many times its length.
const LARGE: usize = 1 << 20;
/// Around each value: names of keys, marks of roles and turns.
const STRUCTURE: u64 = 1;

/// The tokens of a JSON body.
pub(super) fn tokens(body: &[u8]) -> u64 {
    if body.len() > LARGE {
        return roughly(text_bytes(body));
    }
    match serde_json::from_slice(body) {
        Ok(value) => of(&value).max(1),
        Err(_) => roughly(body.len() as u64),
    }
}

fn of(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) => STRUCTURE,
        Value::String(text) => text_tokens(text),
        Value::Array(values) => values.iter().map(of).sum(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| *key != "model" && *key != "cache_control")
            .map(|(key, value)| match value {
                // The request for Bedrock's InvokeModel stands in base64.
                Value::String(text) if key == "body" => {
                    base64::decode(text).map_or_else(|_| text_tokens(text), |inner| tokens(&inner))
                }
                value => STRUCTURE + of(value),
            })
            .sum(),
    }
}

fn text_tokens(text: &str) -> u64 {
    let is_opaque = text.starts_with("data:")
        || (text.len() > OPAQUE && !text.bytes().any(|byte| byte.is_ascii_whitespace()));
    if is_opaque {
        IMAGE
    } else {
        roughly(text.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_by_its_length_and_an_image_as_one() {
        let short =
            tokens(br#"{"model":"m","messages":[{"role":"user","content":"hello there"}]}"#);
        assert!((4..=10).contains(&short), "{short}");
        let long = format!(
            r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#,
            "word ".repeat(1000)
        );
        assert!((1_200..=1_300).contains(&tokens(long.as_bytes())));
        let image = format!(
            r#"{{"content":[{{"type":"image","source":{{"data":"{}"}}}}]}}"#,
            "A".repeat(400_000)
        );
        assert!((1_600..=1_620).contains(&tokens(image.as_bytes())));
        let inner = base64::encode(long.as_bytes());
        let invoke = format!(r#"{{"input":{{"invokeModel":{{"body":"{inner}"}}}}}}"#);
        assert!((1_200..=1_310).contains(&tokens(invoke.as_bytes())));
        assert_eq!(tokens(b"{}"), 1);
        assert_eq!(tokens(b"12345678x"), 3);
    }
}
