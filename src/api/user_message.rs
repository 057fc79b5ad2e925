//! What the user said last, out of a request of any format: for hooks, who are told it without
//! having to know each of them.

use serde_json::Value;

/// The text of the last message of the user; `None` if there is none, or it is no text.
#[must_use]
pub fn last(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    // OpenAI's chat, Anthropic, Bedrock; OpenAI's responses; Gemini.
    let turns = ["messages", "input", "contents"];
    if let Some(turns) = turns.iter().find_map(|key| body[key].as_array()) {
        return turns
            .iter()
            .rev()
            .filter(|turn| is_users(turn))
            .find_map(said);
    }
    ["input", "prompt", "query"]
        .iter()
        .find_map(|key| body[key].as_str())
        .map(str::to_owned)
}

/// Gemini leaves the role out where there is but one turn; items of responses that are no
/// messages have none either.
fn is_users(turn: &Value) -> bool {
    match turn["role"].as_str() {
        Some(role) => role == "user",
        None => turn.get("parts").is_some(),
    }
}

fn said(turn: &Value) -> Option<String> {
    let content = turn.get("content").or_else(|| turn.get("parts"))?;
    if let Some(text) = content.as_str() {
        return Some(text.to_owned());
    }
    // Results of tools are said in the user's name, but not by the user.
    let parts = content.as_array()?.iter();
    let texts: Vec<&str> = parts.filter_map(|part| part["text"].as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
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
