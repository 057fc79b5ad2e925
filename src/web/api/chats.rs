//! `/api/chats`: conversations of the chat that the configuration has kept here. Nobody
//! but their owner sees them, not even an admin: what was asked and answered is in the records anyway.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::config::History;
use crate::records::{ChatRow, ChatWrite, Expected, chat_version};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(super) const LIST: Endpoint = Endpoint {
    path: "/api/chats",
    name: "Chats",
    about: "Your conversations of the chat that are kept here, newest first; nobody else sees them.",
    answer: json_of::<ChatList>(),
    handler: Handler::Role(|call| Box::pin(list(call))),
    ..Endpoint::GET
};

pub(super) const GET: Endpoint = Endpoint {
    path: "/api/chats/{id}",
    name: "Chat",
    about: "One of your conversations.",
    answer: json_of::<Chat<'_>>(),
    handler: Handler::Role(|call| Box::pin(chat(call))),
    ..Endpoint::GET
};

pub(super) const PUT: Endpoint = Endpoint {
    method: &Method::PUT,
    name: "KeepChat",
    about: "Keeps one of your conversations, where the configuration has them kept here.",
    body: Some(taken::<KeptChat>()),
    answer: json_of::<ChatId<'_>>(),
    handler: Handler::Role(|call| Box::pin(keep(call))),
    ..DELETE
};

pub(super) const DELETE: Endpoint = Endpoint {
    method: &Method::DELETE,
    path: "/api/chats/{id}",
    name: "DeleteChat",
    about: "Deletes one of your conversations; not the records of its requests.",
    answer: json_of::<ChatId<'_>>(),
    if_match: Some((
        false,
        "The `ETag` of the conversation. Without it, any version is replaced.",
    )),
    refusals: &[(
        "412",
        "The conversation was changed or deleted since it was read.",
    )],
    handler: Handler::Role(|call| Box::pin(delete(call))),
    ..Endpoint::GET
};

/// Longest conversation, in bytes of its JSON.
const LONGEST: usize = 2 << 20;
/// Longest title, in characters.
const TITLE: usize = 100;
const LONGEST_ID: usize = 64;

/// A conversation as a browser sends it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeptChat {
    title: String,
    /// 2 MiB at most; the gateway reads nothing of it.
    #[schemars(with = "Map<String, Value>")]
    body: Box<RawValue>,
}

#[derive(Serialize, JsonSchema)]
struct ChatList {
    chats: Vec<ChatRow>,
}

#[derive(Serialize, JsonSchema)]
struct Chat<'a> {
    id: &'a str,
    /// As in `ETag`.
    version: &'a str,
    #[schemars(with = "Map<String, Value>")]
    body: Value,
}

#[derive(Serialize, JsonSchema)]
struct ChatId<'a> {
    id: &'a str,
    /// As in `ETag`; after a `PUT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    version: Option<&'a str>,
}

/// Whether conversations are kept here: where the configuration says so, and what was said is
/// kept at all.
pub(in crate::web) fn are_kept(reader: &Reader<'_>) -> bool {
    reader.rules.file.chat.history == History::Ledger && reader.ledger().policy().captures
}

async fn list(call: Call<'_>) -> Reply {
    let chats = call.reader.ledger().chats(call.reader.caller.key());
    let chats = chats.await?;
    Ok(super::json(&ChatList { chats }))
}

async fn chat(call: Call<'_>) -> Reply {
    let ledger = call.reader.ledger();
    let found = ledger.chat(call.reader.caller.key(), call.id).await;
    let body = found?.ok_or_else(none)?;
    let version = chat_version(&body);
    let chat = Chat {
        id: call.id,
        version: &version,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    Ok(super::tagged(super::json(&chat), &version))
}

/// With `If-Match`, what another tab has saved meanwhile is not replaced; with `If-None-Match: *`,
/// nothing is.
async fn keep(call: Call<'_>) -> Reply {
    let chat: KeptChat = call.body()?;
    if !are_kept(call.reader) {
        let why = "this gateway keeps no conversations: `chat.history` is not \"ledger\", or what is said \
             is not kept at all";
        return Err(Rejection::new(StatusCode::CONFLICT, "no_history", why));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if call.id.len() > LONGEST_ID || !call.id.bytes().all(is_part) {
        let why = "the id of a conversation has letters, digits, '-' and '_', 64 at most";
        return Err(bad(why));
    }
    let body = chat.body.get();
    if body.len() > LONGEST {
        let why = format!("the conversation is longer than {LONGEST} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Rejection::new(status, "chat_too_long", why));
    }
    if !body.starts_with('{') {
        return Err(bad("`body` must be a JSON object"));
    }
    let expected = expected(&call.head.headers)?;
    let title: String = chat.title.chars().take(TITLE).collect();
    let caller = call.reader.caller.key();
    let version = chat_version(body.as_bytes());
    let ledger = call.reader.ledger();
    let kept = ledger.keep_chat(caller, call.id, &title, body.into(), expected);
    match kept.await? {
        ChatWrite::Done => {
            let answer = ChatId {
                id: call.id,
                version: Some(&version),
            };
            Ok(super::tagged(super::json(&answer), &version))
        }
        ChatWrite::Missing | ChatWrite::Changed => Err(changed()),
    }
}

async fn delete(call: Call<'_>) -> Reply {
    let (caller, expected) = (call.reader.caller.key(), expected(&call.head.headers)?);
    let ledger = call.reader.ledger();
    let deleted = ledger.delete_chat(caller, call.id, expected).await;
    match deleted? {
        ChatWrite::Done => Ok(super::json(&ChatId {
            id: call.id,
            version: None,
        })),
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

fn changed() -> Rejection {
    let why = "the conversation was changed or deleted since it was read; read it again";
    Rejection::new(StatusCode::PRECONDITION_FAILED, "chat_changed", why)
}

fn none() -> Rejection {
    let why = "you have no such conversation";
    Rejection::new(StatusCode::NOT_FOUND, "no_such_record", why)
}

fn bad(why: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
}
