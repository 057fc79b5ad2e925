//! What the user said last, out of a request of any format: for hooks, who are told it without
//! having to know each of them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::wire::json;

/// Where the turns of a conversation stand: in OpenAI's chat, Anthropic and Bedrock, in OpenAI's
/// responses, in Gemini. Then, where a text stands by itself.
const KEYS: [&str; 5] = ["messages", "input", "contents", "prompt", "query"];
const TURNS: usize = 3;

/// The text of the last message of the user; `None` without one, or if it is not text. Looks at
/// one turn at a time: a tree of a long body takes many times its memory.
#[must_use]
pub fn last(body: &[u8]) -> Option<String> {
    let fields = json::scan(body, &KEYS).ok()?;
    let value = |nth| Some(&body[fields.get(nth)?]);
    let turns = (0..TURNS).filter_map(value);
    if let Some(turns) = turns.into_iter().find(|turns| turns.starts_with(b"[")) {
        let mut said = None;
        each(turns, |turn| said = of_user(turn).or(said.take()));
        return said;
    }
    [1, 3, 4]
        .into_iter()
        .filter_map(value)
        .find_map(|text| json::string(text).map(Cow::into_owned))
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

/// What a turn says, if it is the user's. Gemini leaves the role out where there is but one turn;
/// items of responses that are no messages have none either.
fn of_user(turn: &RawValue) -> Option<String> {
    let turn: Turn<'_> = serde_json::from_str(turn.get()).ok()?;
    let is_users = match &turn.role {
        Some(role) => role == "user",
        None => turn.parts.is_some(),
    };
    if !is_users {
        return None;
    }
    let content = turn.content.or(turn.parts)?.get().as_bytes();
    if let Some(text) = json::string(content) {
        return Some(text.into_owned());
    }
    // Results of tools are said in the user's name, but not by the user.
    let mut said: Option<String> = None;
    each(content, |part| {
        let part = serde_json::from_str::<Part<'_>>(part.get());
        if let Some(text) = part.ok().and_then(|part| part.text) {
            match &mut said {
                Some(said) => {
                    said.push('\n');
                    said.push_str(&text);
                }
                None => said = Some(text.into_owned()),
            }
        }
    });
    said
}

/// Calls `each` with the elements of an array, one after the other.
fn each(array: &[u8], each: impl FnMut(&RawValue)) {
    struct Elements<F>(F);

    impl<'de, F: FnMut(&RawValue)> Visitor<'de> for Elements<F> {
        type Value = ();

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(element) = seq.next_element::<&RawValue>()? {
                (self.0)(element);
            }
            Ok(())
        }
    }

    // Anything but an array has no elements.
    let _ = serde_json::Deserializer::from_slice(array).deserialize_seq(Elements(each));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_the_user_are_found_in_each_format() {
        for (body, expected) in [
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}"#,
                Some("c"),
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]}]}"#,
                Some("a\nb"),
            ),
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"tool_result","content":"r"}]}]}"#,
                Some("a"),
            ),
            (r#"{"input":"a"}"#, Some("a")),
            (
                r#"{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"function_call_output","output":"o"}]}"#,
                Some("a"),
            ),
            (r#"{"contents":[{"parts":[{"text":"a"}]}]}"#, Some("a")),
            (
                r#"{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"text":"b"}]}]}"#,
                Some("a"),
            ),
            (r#"{"prompt":"a"}"#, Some("a")),
            (r#"{"messages":[]}"#, None),
            ("[]", None),
            ("x", None),
        ] {
            assert_eq!(last(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
