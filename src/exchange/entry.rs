//! What a record says of a request: its head, its caller, and which conversation it is part of.

use http::{HeaderMap, HeaderName, Method, header};
use sha2::{Digest, Sha256};

use super::agent;
use crate::base::clock;
use crate::base::text::Text;
use crate::formats::{Call, Format};
use crate::policy::access::Permit;
use crate::policy::identity::Caller;
use crate::records::{Entry, EntryId, Outcome};

/// Bytes of a session's name in a record. A longer one is kept by its beginning and a digest.
const MAX_SESSION: usize = 256;
/// Headers that name a session, the first that is there: anyone's own, those of Codex by its
/// age, and the one that Claude Code sends beside its body's.
static SESSION_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("session-id"),
    HeaderName::from_static("session_id"),
    HeaderName::from_static("x-claude-code-session-id"),
];
/// Reasons that most records have room for.
const REASONS: usize = 6;
/// Letters of a user agent in a record.
const MAX_USER_AGENT: usize = 512;
/// Letters of a path in a record.
const MAX_PATH: usize = 1024;

/// The name of an exchange, which has the time at which it began.
pub(super) struct Ticket {
    pub(super) id: EntryId,
}

impl Ticket {
    pub(super) fn new() -> Self {
        let id = EntryId::new(clock::unix_ms());
        Self { id }
    }
}

/// The record as far as the request's head tells.
pub(super) fn new(
    ticket: Ticket,
    format: &Format,
    caller: &Caller,
    head: &http::request::Parts,
    permit: &Permit,
) -> Entry {
    let Ticket { id } = ticket;
    let user_agent = head.headers.get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|value| value.to_str().ok());
    let user_agent = start(user_agent.unwrap_or_default(), MAX_USER_AGENT);
    let names = caller.names();
    let (agent, user_agent) = agent::named(user_agent);
    let mut reasons = Vec::with_capacity(REASONS);
    reasons.extend(permit.reasons(caller));
    Entry {
        session: named_session(&head.headers).map_or_else(|| id.text(), Text::from),
        started_at: id.started_at(),
        id,
        caller: names.key,
        login: names.login,
        node_id: names.node_id,
        node_name: names.node_name,
        tags: caller.tags().to_vec(),
        api: Text::fixed(format.name),
        method: method(&head.method),
        path: path(format, head.uri.path()),
        outcome: Outcome::ClientClosed,
        agent,
        user_agent,
        reasons,
        ..Entry::default()
    }
}

/// The conversation that a request belongs to, as its record shows it; `None` if it begins one
/// that nothing tells from others.
pub(super) fn conversation(entry: &Entry) -> Option<&str> {
    (entry.session != entry.id.as_str()).then_some(entry.session.as_str())
}

/// Adds what the body tells; `earlier` is what is known of the response that it goes on with.
pub(super) fn describe(entry: &mut Entry, call: &Call, earlier: Option<String>) {
    let named = call.session_model.as_ref().map(|names| &names.asked);
    entry.model_requested = named.unwrap_or(&call.model).clone();
    entry.stream = call.stream;
    entry.request_bytes = call.body.len() as u64;
    // A header has named it.
    if conversation(entry).is_some() {
        return;
    }
    let named = call.session.as_ref();
    if let Some(session) = named.filter(|session| is_session(session)) {
        entry.session = kept(session).into();
    } else if let Some(earlier) = earlier {
        entry.session = earlier.into();
    } else if let Some(opening) = call.opening {
        entry.session = format!("chat_{opening:016x}").into();
    }
}

/// A path as records keep it. Those of formats are the program's own.
fn path(format: &Format, path: &str) -> Text {
    match format.target(path) {
        Some(known) if known == path => Text::fixed(known),
        _ => start(path, MAX_PATH).into(),
    }
}

fn method(method: &Method) -> Text {
    match *method {
        Method::GET => Text::fixed("GET"),
        Method::POST => Text::fixed("POST"),
        _ => method.as_str().into(),
    }
}

fn named_session(headers: &HeaderMap) -> Option<String> {
    SESSION_HEADERS
        .iter()
        .filter_map(|name| headers.get(name))
        .map(|value| words(value.as_bytes()))
        .find(|given| is_session(given))
        .map(|given| kept(&given))
}

/// A name as records keep it: two that differ stay two, however long they are.
fn kept(name: &str) -> String {
    if name.len() <= MAX_SESSION {
        return name.to_owned();
    }
    let digest = Sha256::digest(name);
    let digest = digest.first_chunk().copied().unwrap_or_default();
    let digest = u64::from_be_bytes(digest);
    let start = &name[..name.floor_char_boundary(MAX_SESSION - 17)];
    format!("{start}~{digest:016x}")
}

/// A header's value as text. Clients write names that aren't ASCII in UTF-8 or in Latin-1.
fn words(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

fn is_session(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

/// The first letters of a text.
fn start(text: &str, letters: usize) -> &str {
    if text.len() <= letters {
        return text;
    }
    let end = text.char_indices().nth(letters);
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(value: &[u8]) -> Option<String> {
        let mut headers = HeaderMap::new();
        let value = http::HeaderValue::from_bytes(value).unwrap();
        headers.insert("x-session-id", value);
        named_session(&headers)
    }

    #[test]
    fn names_of_sessions_in_each_encoding_and_length() {
        assert_eq!(session(b"a-1").as_deref(), Some("a-1"));
        let utf8 = "bücher 日本";
        assert_eq!(session(utf8.as_bytes()).as_deref(), Some(utf8));
        assert_eq!(session(&[b'b', 0xfc]).as_deref(), Some("bü"));
        for none in [&b""[..], b"  ", &[b'b', 0x85]] {
            assert_eq!(session(none), None, "{none:?}");
        }
        let long = |end: &str| session(format!("{}{end}", "n".repeat(300)).as_bytes()).unwrap();
        assert_ne!(long("1"), long("2"));
        assert_eq!((long("1").len(), long("1")), (MAX_SESSION, long("1")));
        let wide = session("日".repeat(100).as_bytes()).unwrap();
        assert!(wide.len() <= MAX_SESSION && wide.starts_with('日'));
    }
}
