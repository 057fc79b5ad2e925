//! The session that Claude Code names in `metadata.user_id`.

use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct UserId {
    session_id: String,
}

/// The session of a request with this `metadata`: the `user_id` is an object in a string, or
/// ends in `_session_` and the session, as older builds write it.
pub(in crate::formats) fn of(metadata: &[u8]) -> Option<String> {
    let user = serde_json::from_slice::<Metadata>(metadata).ok()?.user_id?;
    if let Ok(named) = serde_json::from_str::<UserId>(&user) {
        return Some(named.session_id);
    }
    let (_, session) = user.rsplit_once("_session_")?;
    Some(session.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_claude_code_and_nobody_elses() {
        let new = br#"{"user_id":"{\"device_id\":\"d\",\"session_id\":\"3f-1\"}"}"#;
        assert_eq!(of(new).as_deref(), Some("3f-1"));
        let old = br#"{"user_id":"user_ab_account__session_77-aa"}"#;
        assert_eq!(of(old).as_deref(), Some("77-aa"));
        for other in [
            r#"{"user_id":"somebody"}"#,
            r#"{"user_id":7}"#,
            "{}",
            "null",
        ] {
            assert_eq!(of(other.as_bytes()), None, "{other}");
        }
    }
}
