//! The client program behind a request, as its `User-Agent` names it: for reports, never for a
//! decision.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::base::text::Text;

/// Longest name in a report.
const MAX: usize = 48;

/// What a known program's user agent holds, in lower case, and the program's name. The first
/// that fits counts: an agent's own name stands before that of the SDK that it is built on.
const KNOWN: [(&str, &str); 22] = [
    ("claude-cli", "claude-code"),
    ("claude-code", "claude-code"),
    ("codex", "codex"),
    ("geminicli", "gemini-cli"),
    ("gemini-cli", "gemini-cli"),
    ("qwencode", "qwen-code"),
    ("opencode", "opencode"),
    ("continue", "continue"),
    ("cline", "cline"),
    ("aider", "aider"),
    ("litellm", "litellm"),
    ("openai/python", "openai-python"),
    ("openai/js", "openai-js"),
    ("openai/go", "openai-go"),
    ("anthropic/python", "anthropic-python"),
    ("anthropic/js", "anthropic-js"),
    // Google's two SDKs differ by the language they name after their own.
    ("gl-python/", "google-genai-python"),
    ("gl-node/", "google-genai-js"),
    ("google-genai-sdk", "google-genai"),
    ("ai-sdk/", "ai-sdk"),
    ("mozilla/", "browser"),
    ("curl/", "curl"),
];

/// User agents whose names are kept by each thread; beyond it all are forgotten.
const KEPT: usize = 256;

/// The program's short name, and its user agent; records of one program share both. The name is one of
/// the known, else the first product of the user agent without its version; `unknown` without one.
pub(super) fn named(user_agent: &str) -> (Text, Text) {
    thread_local! {
        static NAMES: RefCell<HashMap<Text, Text>> = RefCell::default();
    }
    // The search takes longer than all else of a record, and few programs send most requests.
    NAMES.with_borrow_mut(|names| {
        if let Some((user_agent, name)) = names.get_key_value(user_agent) {
            return (name.clone(), user_agent.clone());
        }
        if names.len() >= KEPT {
            names.clear();
        }
        let (name, user_agent) = (Text::from(found(user_agent)), Text::from(user_agent));
        names.insert(user_agent.clone(), name.clone());
        (name, user_agent)
    })
}

fn found(user_agent: &str) -> String {
    let folded = user_agent.to_ascii_lowercase();
    if let Some((_, name)) = KNOWN.iter().find(|(part, _)| folded.contains(part)) {
        return (*name).to_owned();
    }
    let product: String = folded
        .split(['/', ' ', '('])
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'))
        .take(MAX)
        .collect();
    if product.is_empty() {
        "unknown".to_owned()
    } else {
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_own_name() {
        for (user_agent, expected) in [
            ("claude-cli/2.1.197 (external, cli)", "claude-code"),
            ("codex_exec/0.169.0 (Debian)", "codex"),
            ("OpenAI/Python 3.54.0", "openai-python"),
            (
                "google-genai-sdk/3.4.0 gl-python/3.11.7",
                "google-genai-python",
            ),
            (
                "opencode/1.18.33 ai-sdk/provider-utils/4.0.23 runtime/bun/1.3.14",
                "opencode",
            ),
            ("curl/8.5.0", "curl"),
            ("My-Tool/1.2 (linux)", "my-tool"),
            ("", "unknown"),
            ("\u{1f980}", "unknown"),
        ] {
            for _ in 0..2 {
                let (name, whole) = named(user_agent);
                assert_eq!((&*name, &*whole), (expected, user_agent));
            }
        }
    }
}
