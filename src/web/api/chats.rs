//! Conversations of the chat that the configuration has kept here. Nobody but their owner sees
//! them, admins included: what was asked and answered is in the records anyway.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::records::unavailable;
use super::{Asked, View};
use crate::config::History;
use crate::exchange::rules::Rules;
use crate::records::{ChatWrite, Expected, chat_version};
use crate::wire::{Body, Rejection};

/// Longest conversation, in bytes of its JSON.
const LONGEST: usize = 2 << 20;
/// Longest title, in characters.
const TITLE: usize = 100;
const LONGEST_ID: usize = 64;

/// A conversation as a browser sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chat {
    title: String,
    /// An object, of which the gateway knows nothing.
    body: Box<RawValue>,
}

/// Whether conversations are kept here: where the configuration says so, and what was said is
/// kept at all.
pub(crate) fn are_kept(view: &View<'_>) -> bool {
    keeps(&view.rules) && view.ledger.policy().captures
}

fn keeps(rules: &Rules) -> bool {
    rules.file.chat.history == History::Ledger
}

/// `GET /api/chats`.
pub(super) async fn list(view: &View<'_>, asked: &Asked<'_>) -> Result<Response<Body>, Rejection> {
    let chats = view.ledger.chats(asked.caller.key()).await;
    let chats = chats.map_err(|error| unavailable(&error))?;
    Ok(super::json(&json!({ "chats": chats })))
}

/// `GET /api/chats/{id}`.
pub(super) async fn chat(view: &View<'_>, asked: &Asked<'_>) -> Result<Response<Body>, Rejection> {
    let found = view.ledger.chat(asked.caller.key(), asked.id).await;
    let body = found
        .map_err(|error| unavailable(&error))?
        .ok_or_else(none)?;
    let version = chat_version(&body);
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = json!({ "id": asked.id, "version": version, "body": body });
    Ok(tagged(super::json(&answer), &version))
}

/// `PUT /api/chats/{id}`. With `If-Match`, what another tab has saved meanwhile is not replaced;
/// with `If-None-Match: *`, nothing is.
pub(super) async fn keep(
    view: &View<'_>,
    asked: &Asked<'_>,
    headers: &HeaderMap,
    chat: Chat,
) -> Result<Response<Body>, Rejection> {
    if !are_kept(view) {
        return Err(Rejection::new(
            StatusCode::CONFLICT,
            "no_history",
            "this gateway keeps no conversations: `chat.history` is not \"ledger\", or what is said \
             is not kept at all",
        ));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if asked.id.len() > LONGEST_ID || !asked.id.bytes().all(is_part) {
        let why = "the id of a conversation has letters, digits, '-' and '_', 64 at most";
        return Err(bad(why));
    }
    let body = chat.body.get();
    if body.len() > LONGEST {
        let why = format!("the conversation is longer than {LONGEST} bytes");
        return Err(Rejection::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "chat_too_long",
            why,
        ));
    }
    if !body.starts_with('{') {
        return Err(bad("`body` must be a JSON object"));
    }
    let expected = expected(headers)?;
    let title: String = chat.title.chars().take(TITLE).collect();
    let (caller, id) = (asked.caller.key(), asked.id);
    let version = chat_version(body.as_bytes());
    let kept = view
        .ledger
        .keep_chat(caller, id, &title, body.into(), expected);
    match kept.await.map_err(|error| unavailable(&error))? {
        ChatWrite::Done => {
            let answer = json!({ "id": asked.id, "version": version });
            Ok(tagged(super::json(&answer), &version))
        }
        ChatWrite::Missing | ChatWrite::Changed => Err(changed()),
    }
}

/// `DELETE /api/chats/{id}`.
pub(super) async fn delete(
    view: &View<'_>,
    asked: &Asked<'_>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Rejection> {
    let (caller, expected) = (asked.caller.key(), expected(headers)?);
    let deleted = view.ledger.delete_chat(caller, asked.id, expected).await;
    match deleted.map_err(|error| unavailable(&error))? {
        ChatWrite::Done => Ok(super::json(&json!({ "id": asked.id }))),
        ChatWrite::Missing => Err(none()),
        ChatWrite::Changed => Err(changed()),
    }
}

/// What `If-Match` and `If-None-Match` ask for.
fn expected(headers: &HeaderMap) -> Result<Expected, Rejection> {
    let given = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        let first = values
            .next()
            .map(|value| value.to_str().unwrap_or_default());
        (first, values.next().is_some())
    };
    let (if_match, if_none_match) = (given(header::IF_MATCH), given(header::IF_NONE_MATCH));
    match (if_match, if_none_match) {
        ((None, _), (None, _)) => Ok(Expected::Anything),
        ((None, _), (Some("*"), false)) => Ok(Expected::Absent),
        ((Some(tag), false), (None, _)) => {
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let is_one = |version: &&str| !version.contains(['"', ',']);
            version
                .filter(is_one)
                .map(|version| Expected::Version(version.to_owned()))
                .ok_or_else(|| bad("`If-Match` must be the `ETag` of the conversation, in quotes"))
        }
        _ => Err(bad(
            "send one `If-Match` with the `ETag` of the conversation, or `If-None-Match: *`",
        )),
    }
}

fn tagged(mut response: Response<Body>, version: &str) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn changed() -> Rejection {
    Rejection::new(
        StatusCode::PRECONDITION_FAILED,
        "chat_changed",
        "the conversation was changed or deleted since it was read; read it again",
    )
}

fn none() -> Rejection {
    Rejection::new(
        StatusCode::NOT_FOUND,
        "no_such_record",
        "you have no such conversation",
    )
}

fn bad(why: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
}
