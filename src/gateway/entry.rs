//! What a record says of a request: its head, its caller, and which conversation it is part of.

use http::HeaderMap;

use super::agent;
use crate::access::Permit;
use crate::api::{Api, Call};
use crate::identity::Caller;
use crate::ledger::{Entry, EntryId, Outcome, Tokens};

/// A longer name is none of a session.
const MAX_SESSION: usize = 128;
/// Headers that name a session, the first that is there: anyone's own, those of Codex by its
/// age, and the one that Claude Code sends beside its body's.
const SESSION_HEADERS: [&str; 4] = [
    "x-session-id",
    "session-id",
    "session_id",
    "x-claude-code-session-id",
];

/// The record as far as the request's head tells. Its id is made of the time that it carries:
/// the ledger looks for times by ranges of ids.
pub(super) fn new(
    (id, now): (EntryId, i64),
    api: &dyn Api,
    caller: &Caller,
    head: &http::request::Parts,
    permit: &Permit,
) -> Entry {
    let user_agent: String = text(&head.headers, "user-agent")
        .chars()
        .take(512)
        .collect();
    Entry {
        session: named_session(&head.headers).unwrap_or_else(|| id.as_str().to_owned()),
        id,
        started_at: now,
        login: caller.name().to_owned(),
        node_id: caller.node_id().to_owned(),
        node_name: caller.node_name().to_owned(),
        tags: caller.tags().to_vec(),
        api: api.kind().0.to_owned(),
        model_requested: String::new(),
        model: String::new(),
        provider: String::new(),
        method: head.method.to_string(),
        path: head.uri.path().chars().take(1024).collect(),
        status: 0,
        outcome: Outcome::ClientClosed,
        stream: false,
        tokens: Tokens::default(),
        finish_reason: None,
        tool_calls: 0,
        cost: None,
        cost_basis: None,
        captured: false,
        first_byte_ms: None,
        first_token_ms: None,
        duration_ms: 0.0,
        overhead_ms: None,
        request_bytes: 0,
        response_bytes: 0,
        agent: agent::name(&user_agent),
        user_agent,
        reasons: vec![
            format!(
                "caller {} on node {}, role {:?} by {}",
                caller.name(),
                caller.node_name(),
                permit.role(),
                permit.role_source()
            ),
            format!(
                "grants that match this caller: {}",
                permit.sources().collect::<Vec<_>>().join("; ")
            ),
        ],
        error: None,
    }
}

/// The conversation that a request belongs to, as its record shows it; `None` if it begins one
/// that nothing tells from others.
pub(super) fn conversation(entry: &Entry) -> Option<&str> {
    (entry.session != entry.id.as_str()).then_some(entry.session.as_str())
}

/// Adds what the body tells.
pub(super) fn describe(entry: &mut Entry, call: &Call, headers: &HeaderMap) {
    entry.model_requested.clone_from(&call.model);
    entry.stream = call.stream;
    entry.request_bytes = call.body.len() as u64;
    if named_session(headers).is_some() {
        return;
    }
    let told = call.session.as_ref();
    if let Some(session) = told.filter(|session| is_session(session)) {
        entry.session.clone_from(session);
    } else if let Some(opening) = &call.opening {
        entry.session = format!("chat_{opening}");
    }
}

fn named_session(headers: &HeaderMap) -> Option<String> {
    SESSION_HEADERS
        .into_iter()
        .map(|name| text(headers, name))
        .find(|given| is_session(given))
        .map(str::to_owned)
}

fn is_session(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_SESSION && !name.chars().any(char::is_control)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
