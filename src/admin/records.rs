//! Sessions and requests: one's own, or everyone's for an admin.

use http::{Response, StatusCode};
use serde_json::json;

use super::View;
use crate::access::{Permit, Role};
use crate::identity::Caller;
use crate::ledger::{Query, Scope};
use crate::wire::{Body, Rejection};

/// Rows of an answer unless `limit` says otherwise.
const DEFAULT_LIMIT: usize = 100;

/// `GET /api/sessions`.
pub(super) async fn sessions(
    view: &View<'_>,
    caller: &Caller,
    permit: &Permit,
    query: &str,
) -> Result<Response<Body>, Rejection> {
    let rows = view
        .ledger
        .sessions(scope(caller, permit), wanted(query)?)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(super::json(&json!({ "sessions": rows })))
}

/// `GET /api/requests`.
pub(super) async fn requests(
    view: &View<'_>,
    caller: &Caller,
    permit: &Permit,
    query: &str,
) -> Result<Response<Body>, Rejection> {
    let rows = view
        .ledger
        .requests(scope(caller, permit), wanted(query)?)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(super::json(&json!({ "requests": rows })))
}

/// The only place that decides whose records a caller sees.
fn scope(caller: &Caller, permit: &Permit) -> Scope {
    if permit.role() == Role::Admin {
        Scope::Everyone
    } else {
        Scope::Own(caller.name().to_owned())
    }
}

fn wanted(query: &str) -> Result<Query, Rejection> {
    let mut wanted = Query {
        limit: DEFAULT_LIMIT,
        ..Query::default()
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?;
        match name {
            "login" => wanted.login = Some(value),
            "node" => wanted.node = Some(value),
            "session" => wanted.session = Some(value),
            "before" => wanted.before = Some(value),
            "limit" => {
                wanted.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=1000).contains(limit))
                    .ok_or_else(|| bad("`limit` must be a number from 1 to 1000"))?;
            }
            _ => {
                return Err(bad(
                    "known parameters are login, node, session, before and limit",
                ));
            }
        }
    }
    Ok(wanted)
}

/// Percent-decodes a query's value.
fn decoded(value: &str) -> Result<String, Rejection> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = bytes
                    .next()
                    .and_then(|digit| char::from(digit).to_digit(16));
                let low = bytes
                    .next()
                    .and_then(|digit| char::from(digit).to_digit(16));
                match (high, low) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(b'?'),
                    _ => return Err(bad("a parameter has a broken % escape")),
                }
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| bad("a parameter is not UTF-8"))
}

fn bad(why: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "bad_query", why)
}

fn unavailable(error: &crate::ledger::Error) -> Rejection {
    tracing::error!(%error, "the ledger cannot be read");
    Rejection::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "ledger_unavailable",
        "the records cannot be read at the moment",
    )
}
