//! The session that a request names in `prompt_cache_key`: OpenAI's clients put the id of a
//! conversation there, so that its turns meet in one cache.

use crate::wire::json;

/// Shorter keys are words, shared by many conversations.
const SHORTEST: usize = 16;

/// The session of a request with this key, if it looks like an id: hexadecimal digits and
/// hyphens, as in a UUID, or a prefix and such an id.
pub(super) fn of(key: &[u8]) -> Option<String> {
    let key = json::string(key)?;
    let id = key.rsplit(['_', ':', '/']).next()?;
    let is_id = id.len() >= SHORTEST
        && id
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_id.then(|| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_a_session_and_words_do_not() {
        for id in [
            r#""019ab-7c1e-4d2f-9a7b-1234567890ab""#,
            r#""thread_019ab7c1e4d2f9a7b1234567890ab""#,
        ] {
            assert!(of(id.as_bytes()).is_some(), "{id}");
        }
        for word in [r#""system-prompt-of-acme""#, r#""abc""#, "7", "null"] {
            assert_eq!(of(word.as_bytes()), None, "{word}");
        }
    }
}
