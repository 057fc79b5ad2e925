//! Sessions, requests and captures: one's own, or everyone's for an admin.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use super::csv::{self, Csv};
use super::query::Wanted;
use super::{Asked, View};
use crate::policy::access::{Permit, Role};
use crate::policy::identity::Caller;
use crate::records::{Capture, Entry, EntryId, Ledger, Scope, Session, ToolCall};
use crate::wire::{Body, Rejection};

/// The only place that decides whose records a caller sees.
pub(super) fn scope(own: &[String], permit: &Permit) -> Scope {
    if permit.role() == Role::Admin {
        Scope::Everyone
    } else {
        Scope::Own(own.to_vec())
    }
}

/// Finds the caller's records from before users were told apart by numbers.
pub(crate) async fn take_earlier(ledger: &Ledger, caller: &Caller) {
    if let Some(login) = caller.own_login() {
        let taken = ledger.take_earlier(caller.key(), login, caller.node_id());
        if let Err(error) = taken.await {
            tracing::warn!(%error, login, "earlier records could not be looked for");
        }
    }
}

/// A page of rows.
pub(crate) struct Page<R> {
    /// Newest first.
    pub rows: Vec<R>,
    /// The cursor of the page after, if this one is full.
    pub next: Option<EntryId>,
    csv: bool,
}

impl<R> Page<R> {
    fn new(rows: Vec<R>, limit: usize, csv: bool, cursor: fn(&R) -> &EntryId) -> Self {
        let last = rows.last().filter(|_| rows.len() == limit);
        let next = last.map(cursor).cloned();
        Self { rows, next, csv }
    }
}

/// The sessions that were asked for.
pub(crate) async fn session_page(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Page<Session>, Rejection> {
    let wanted = Wanted::read(&asked.parameters)?;
    let (limit, csv) = (wanted.query.limit, wanted.csv);
    let rows = view.ledger.sessions(asked.scope(), wanted.query).await;
    let rows = rows.map_err(|error| unavailable(&error))?;
    Ok(Page::new(rows, limit, csv, |last| &last.last_request))
}

/// The requests that were asked for.
pub(crate) async fn request_page(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Page<Entry>, Rejection> {
    let wanted = Wanted::read(&asked.parameters)?;
    let (limit, csv) = (wanted.query.limit, wanted.csv);
    let rows = view.ledger.requests(asked.scope(), wanted.query).await;
    let rows = rows.map_err(|error| unavailable(&error))?;
    Ok(Page::new(rows, limit, csv, |last| &last.id))
}

/// A request with what belongs to it.
pub(crate) struct Found {
    pub entry: Entry,
    pub tools: Vec<ToolCall>,
    /// Those by which it can be filtered.
    pub headers: Vec<(String, String)>,
}

/// The request that was asked for.
pub(crate) async fn found(view: &View<'_>, asked: &Asked<'_>) -> Result<Found, Rejection> {
    let found = view.ledger.request(asked.scope(), asked.id).await;
    let Some(entry) = found.map_err(|error| unavailable(&error))? else {
        return Err(no_such(asked.id));
    };
    let tools = view.ledger.tools(asked.scope(), asked.id).await;
    let mut tools = tools.map_err(|error| unavailable(&error))?;
    if is_others(&entry, asked) && readable(asked).is_err() {
        // With what a tool was called is a part of what was said.
        for tool in &mut tools {
            "null".clone_into(&mut tool.params);
        }
    }
    let headers = view.ledger.headers(asked.scope(), asked.id).await;
    Ok(Found {
        entry,
        tools,
        headers: headers.map_err(|error| unavailable(&error))?,
    })
}

/// What was said in the request that was asked for. An admin who reads another's leaves a trace.
pub(crate) async fn captured(view: &View<'_>, asked: &Asked<'_>) -> Result<Capture, Rejection> {
    let whose = view.ledger.request(asked.scope(), asked.id).await;
    let whose = whose.map_err(|error| unavailable(&error))?;
    if let Some(entry) = whose.filter(|entry| entry.captured && is_others(entry, asked)) {
        readable(asked)?;
        let detail = json!({ "login": entry.login, "session": entry.session });
        super::audit::note(view, asked, "capture_read", asked.id, detail).await?;
    }
    let found = view.ledger.capture(asked.scope(), asked.id).await;
    let found = found.map_err(|error| unavailable(&error))?;
    found.ok_or_else(|| no_such(asked.id))
}

/// `GET /api/sessions`.
pub(super) async fn sessions(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let page = session_page(view, asked).await?;
    if page.csv {
        return Ok(session_table(&page.rows).respond("sessions"));
    }
    Ok(super::json(
        &json!({ "sessions": page.rows, "next": page.next }),
    ))
}

/// `GET /api/requests`.
pub(super) async fn requests(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let page = request_page(view, asked).await?;
    if page.csv {
        return Ok(request_table(&page.rows).respond("requests"));
    }
    Ok(super::json(
        &json!({ "requests": page.rows, "next": page.next }),
    ))
}

/// `GET /api/requests/{id}`.
pub(super) async fn request(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let found = found(view, asked).await?;
    let mut row = value(&found.entry);
    row["tools"] = value(&found.tools);
    row["headers"] = value(&found.headers);
    Ok(super::json(&row))
}

/// `GET /api/requests/{id}/capture`.
pub(super) async fn capture(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let Capture {
        request_headers,
        request_body,
        response_headers,
        response_body,
        raw,
        truncated,
    } = captured(view, asked).await?;
    let mut response = super::json(&json!({
        "id": asked.id,
        "request": { "headers": request_headers, "body": text(&request_body) },
        "response": { "headers": response_headers, "body": text(&response_body) },
        "raw": raw.as_deref().map(text),
        "truncated": truncated,
    }));
    // What others wrote is data, wherever a browser may come from to it.
    let attachment = HeaderValue::from_static("attachment; filename=\"capture.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, attachment);
    Ok(response)
}

/// Whether a record is another caller's.
fn is_others(entry: &Entry, asked: &Asked<'_>) -> bool {
    !asked.own.contains(&entry.caller)
}

/// Refuses what others said to admins who may not read it.
fn readable(asked: &Asked<'_>) -> Result<(), Rejection> {
    if asked.permit.may_read_captures() {
        return Ok(());
    }
    Err(Rejection::new(
        StatusCode::FORBIDDEN,
        "no_captures",
        "access denied: what others said takes a grant with read_captures",
    ))
}

/// A body as text; bytes that are not text are replaced.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn request_table(rows: &[Entry]) -> Csv {
    let mut csv = Csv::new(&[
        "id",
        "started_at",
        "login",
        "node",
        "session",
        "agent",
        "api",
        "provider",
        "model",
        "status",
        "outcome",
        "stream",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cache_creation_input_tokens",
        "reasoning_tokens",
        "image_input_tokens",
        "image_output_tokens",
        "web_search_count",
        "estimated",
        "cost_usd",
        "cost_basis",
        "tool_calls",
        "finish_reason",
        "first_token_ms",
        "duration_ms",
    ]);
    for row in rows {
        let tokens = &row.tokens;
        csv.row([
            row.id.to_string(),
            csv::time(row.started_at),
            row.login.clone(),
            row.node_name.clone(),
            row.session.clone(),
            row.agent.clone(),
            row.api.clone(),
            row.provider.clone(),
            row.model.clone(),
            row.status.to_string(),
            row.outcome.as_str().to_owned(),
            row.stream.to_string(),
            csv::known(tokens.input),
            csv::known(tokens.output),
            csv::known(tokens.cached),
            csv::known(tokens.cache_write),
            csv::known(tokens.reasoning),
            csv::known(tokens.image_input),
            csv::known(tokens.image_output),
            csv::known(tokens.web_searches),
            tokens.estimated.to_string(),
            csv::known(row.cost.map(csv::dollars)),
            csv::known(row.cost_basis.as_ref()),
            row.tool_calls.to_string(),
            csv::known(row.finish_reason.as_ref()),
            csv::known(row.first_token_ms),
            row.duration_ms.to_string(),
        ]);
    }
    csv
}

fn session_table(rows: &[Session]) -> Csv {
    let mut csv = Csv::new(&[
        "session",
        "login",
        "node",
        "agent",
        "provider",
        "models",
        "started_at",
        "last_at",
        "requests",
        "errors",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cost_usd",
        "unpriced",
    ]);
    for row in rows {
        csv.row([
            row.id.clone(),
            row.login.clone(),
            row.node_name.clone(),
            row.agent.clone(),
            row.provider.clone(),
            row.models.join(" "),
            csv::time(row.started_at),
            csv::time(row.last_at),
            row.counts.requests.to_string(),
            row.counts.errors.to_string(),
            row.counts.input_tokens.to_string(),
            row.counts.output_tokens.to_string(),
            row.counts.cached_tokens.to_string(),
            csv::dollars(row.counts.cost),
            row.counts.unpriced.to_string(),
        ]);
    }
    csv
}

/// The same for a record that is not there and for another's: ids can't be tried out.
pub(super) fn no_such(id: &str) -> Rejection {
    let shown: String = id.chars().take(64).collect();
    Rejection::new(
        StatusCode::NOT_FOUND,
        "no_such_record",
        format!("there is no record {shown:?} that you may see, or it was not kept"),
    )
}

/// How long a caller waits before the next try.
const RETRY: std::time::Duration = std::time::Duration::from_secs(5);

/// The ledger can't be used, or was asked for what it doesn't answer.
pub(crate) fn unavailable(error: &crate::records::Error) -> Rejection {
    if let crate::records::Error::Report(why) = error {
        return Rejection::new(StatusCode::BAD_REQUEST, "bad_query", *why);
    }
    let what = if error.is_of_write() {
        "the database cannot be written right now"
    } else {
        "the records cannot be read right now"
    };
    tracing::error!(%error, "{what}");
    Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", what).retry_after(RETRY)
}

/// What changes something is noted, so it waits until that is possible.
///
/// # Errors
/// Where it is known that nothing can be written.
pub(super) fn writable(ledger: &Ledger) -> Result<(), Rejection> {
    ledger.writable().map_err(|error| unavailable(&error))
}
