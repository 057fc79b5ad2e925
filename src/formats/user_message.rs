//! What the user said last, out of a request of any format: for hooks, who are told it without
//! having to know each of them.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ALL;
use super::tree::each;
use crate::wire::json;

/// Where formats have what is said.
struct Keys {
    all: Vec<&'static str>,
    /// So many of them, the first, are of turns.
    turns: usize,
    /// Which of them are of texts.
    texts: Vec<usize>,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let mut all = Vec::new();
    let mut place = |key: &'static str| {
        let known = all.iter().position(|one| *one == key);
        known.unwrap_or_else(|| {
            all.push(key);
            all.len() - 1
        })
    };
    let turns = ALL.iter().flat_map(|format| format.turns);
    let turns = turns.map(|key| place(key) + 1).max();
    let texts = ALL.iter().flat_map(|format| format.texts);
    let mut texts: Vec<usize> = texts.map(|key| place(key)).collect();
    texts.sort_unstable();
    texts.dedup();
    Keys {
        all,
        turns: turns.unwrap_or(0),
        texts,
    }
});

/// The text of the last message of the user; `None` without one, or if it is not text. Looks at
/// one turn at a time: a tree of a long body takes many times its memory.
#[must_use]
pub fn last(body: &[u8]) -> Option<String> {
    let fields = json::scan(body, &KEYS.all).ok()?;
    let value = |nth| Some(&body[fields.get(nth)?]);
    let turns = (0..KEYS.turns).filter_map(value);
    if let Some(turns) = turns.into_iter().find(|turns| turns.starts_with(b"[")) {
        let mut said = None;
        each(turns, |turn| {
            said = of_user(turn).or(said.take());
            ControlFlow::Continue(())
        });
        return said;
    }
    KEYS.texts
        .iter()
        .filter_map(|nth| value(*nth))
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
        ControlFlow::Continue(())
    });
    said
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
