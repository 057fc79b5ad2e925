//! The client program behind a request, as its `User-Agent` names it: for reports, never for a
//! decision.

use std::cell::RefCell;
use std::collections::HashMap;

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

/// The program's short name: one of the known, else the first product of the user agent without
/// its version; `unknown` without one.
pub(super) fn name(user_agent: &str) -> String {
    thread_local! {
        static NAMES: RefCell<HashMap<Box<str>, Box<str>>> = RefCell::default();
    }
    // The search takes longer than all else of a record, and few programs send most requests.
    NAMES.with_borrow_mut(|names| {
        if let Some(name) = names.get(user_agent) {
            return name.to_string();
        }
        if names.len() >= KEPT {
            names.clear();
        }
        let name = found(user_agent);
        names.insert(user_agent.into(), name.as_str().into());
        name
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
            assert_eq!(name(user_agent), expected, "{user_agent}");
        }
    }
}
