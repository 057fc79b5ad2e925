//! A record as a row: the columns it is written to and read from.

use rusqlite::types::Type;
use rusqlite::{Row, Statement, params};

use super::{Entry, EntryId, Outcome, Tokens};

/// Only an id already written is skipped. `INSERT OR IGNORE` would also drop, in silence, a
/// record that breaks another constraint.
pub(super) const INSERT: &str = "INSERT INTO entries (
    id, session, started_at, login, node_id, node_name, tags, api, model_requested, model,
    provider, method, path, status, outcome, stream, input_tokens, output_tokens, cache_read,
    cache_write, reasoning, tokens_estimated, finish_reason, tool_calls, first_byte_ms,
    first_token_ms, duration_ms, overhead_ms, request_bytes, response_bytes, user_agent, reasons,
    error
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
    ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33
) ON CONFLICT (id) DO NOTHING";

pub(super) fn insert(insert: &mut Statement<'_>, entry: &Entry) -> rusqlite::Result<usize> {
    insert.execute(params![
        entry.id.as_str(),
        entry.session,
        entry.started_at,
        entry.login,
        entry.node_id,
        entry.node_name,
        json(&entry.tags)?,
        entry.api,
        entry.model_requested,
        entry.model,
        entry.provider,
        entry.method,
        entry.path,
        entry.status,
        entry.outcome.as_str(),
        entry.stream,
        entry.tokens.input.map(integer),
        entry.tokens.output.map(integer),
        entry.tokens.cached.map(integer),
        entry.tokens.cache_write.map(integer),
        entry.tokens.reasoning.map(integer),
        entry.tokens.estimated,
        entry.finish_reason,
        entry.tool_calls,
        finite(entry.first_byte_ms),
        finite(entry.first_token_ms),
        finite(Some(entry.duration_ms)).unwrap_or(0.0),
        finite(entry.overhead_ms),
        integer(entry.request_bytes),
        integer(entry.response_bytes),
        entry.user_agent,
        json(&entry.reasons)?,
        entry.error,
    ])
}

fn json(list: &[String]) -> rusqlite::Result<String> {
    serde_json::to_string(list)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// `SQLite`'s integers are signed. A provider may claim any count; one beyond them must not stop
/// the queue behind it.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// `SQLite` stores NaN as NULL, which a NOT NULL column would refuse for ever.
fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: EntryId(row.get("id")?),
        session: row.get("session")?,
        started_at: row.get("started_at")?,
        login: row.get("login")?,
        node_id: row.get("node_id")?,
        node_name: row.get("node_name")?,
        tags: list(row, "tags")?,
        api: row.get("api")?,
        model_requested: row.get("model_requested")?,
        model: row.get("model")?,
        provider: row.get("provider")?,
        method: row.get("method")?,
        path: row.get("path")?,
        status: row.get("status")?,
        outcome: outcome(row)?,
        stream: row.get("stream")?,
        tokens: Tokens {
            input: count(row, "input_tokens")?,
            output: count(row, "output_tokens")?,
            cached: count(row, "cache_read")?,
            cache_write: count(row, "cache_write")?,
            reasoning: count(row, "reasoning")?,
            estimated: row.get("tokens_estimated")?,
            ..Tokens::default()
        },
        finish_reason: row.get("finish_reason")?,
        tool_calls: row.get("tool_calls")?,
        first_byte_ms: row.get("first_byte_ms")?,
        first_token_ms: row.get("first_token_ms")?,
        duration_ms: row.get("duration_ms")?,
        overhead_ms: row.get("overhead_ms")?,
        request_bytes: count(row, "request_bytes")?.unwrap_or(0),
        response_bytes: count(row, "response_bytes")?.unwrap_or(0),
        user_agent: row.get("user_agent")?,
        agent: String::new(),
        reasons: list(row, "reasons")?,
        error: row.get("error")?,
    })
}

pub(super) fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<u64>> {
    Ok(row
        .get::<_, Option<i64>>(column)?
        .map(|count| count.max(0).cast_unsigned()))
}

fn list(row: &Row<'_>, column: &str) -> rusqlite::Result<Vec<String>> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| {
        let index = row.as_ref().column_index(column).unwrap_or_default();
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
    })
}

fn outcome(row: &Row<'_>) -> rusqlite::Result<Outcome> {
    let text: String = row.get("outcome")?;
    Outcome::parse(&text).ok_or_else(|| {
        let index = row.as_ref().column_index("outcome").unwrap_or_default();
        let error = format!("unknown outcome {text:?}");
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn entry(started_at: i64, login: &str, session: &str) -> Entry {
        Entry {
            id: EntryId::new(started_at),
            session: session.into(),
            started_at,
            login: login.into(),
            node_id: "n1".into(),
            node_name: "laptop".into(),
            tags: vec!["tag:dev".into()],
            api: "openai_chat".into(),
            model_requested: "fast".into(),
            model: format!("model-{started_at}"),
            provider: "main".into(),
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            status: 200,
            outcome: Outcome::ClientClosed,
            stream: true,
            tokens: Tokens {
                input: Some(7),
                output: Some(3),
                ..Tokens::default()
            },
            finish_reason: Some("stop".into()),
            tool_calls: 2,
            first_byte_ms: Some(1.5),
            first_token_ms: None,
            duration_ms: 12.25,
            overhead_ms: Some(0.125),
            request_bytes: 100,
            response_bytes: 200,
            user_agent: "client/1".into(),
            agent: String::new(),
            reasons: vec!["route: \"fast\" is main".into(), "budget: 3 left".into()],
            error: None,
        }
    }
}
