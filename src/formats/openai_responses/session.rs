//! The session that a request names: in `conversation`, or in `prompt_cache_key`, where OpenAI's
//! clients put the id of a conversation so that its turns meet in one cache.

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

/// The session of a request with this `conversation`: an id, or an object with one.
pub(super) fn conversation(value: &[u8]) -> Option<String> {
    if value.first() == Some(&b'{') {
        let fields = json::scan(value, &["id"]).ok()?;
        return json::string(&value[fields.get(0)?]).map(std::borrow::Cow::into_owned);
    }
    json::string(value).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_named_in_two_forms() {
        for value in [
            r#""conv_1""#,
            r#"{"id":"conv_1"}"#,
            r#"{ "a": 1, "id": "conv_1" }"#,
        ] {
            assert_eq!(
                conversation(value.as_bytes()).as_deref(),
                Some("conv_1"),
                "{value}"
            );
        }
        for value in ["null", "7", "{}", r#"{"id":7}"#, r#"{"id":"a","id":"b"}"#] {
            assert_eq!(conversation(value.as_bytes()), None, "{value}");
        }
    }

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
