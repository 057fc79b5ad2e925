//! An entry as a row: the columns it is written to and read from, in one order.

use std::sync::LazyLock;

use super::value::{Row, Value};
use super::{Failure, places};
use crate::records::reports::sums::{COUNTS, cost, counts};
use crate::records::{Entry, EntryId, Outcome, Tokens};

/// The columns of `entries`, in one order: those before the counts of tokens, and those after them.
const BEFORE: &str = "id, session, started_at, login, node_id, node_name, tags, agent, api, \
    model_requested, model, provider, method, path, status, outcome, stream";
const AFTER: &str = "tokens_estimated, cost, cost_basis, finish_reason, tool_calls, first_byte_ms, \
    first_token_ms, duration_ms, overhead_ms, request_bytes, response_bytes, user_agent, reasons, \
    error, caller";

/// The columns of the counts of tokens, in the order of [`counts`].
pub(super) const COUNTERS: [&str; COUNTS] = [
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "image_input_tokens",
    "image_output_tokens",
    "web_searches",
];

static COLUMNS: LazyLock<String> =
    LazyLock::new(|| format!("{BEFORE}, {}, {AFTER}", COUNTERS.join(", ")));

/// Bytes of what is part of a key; what is longer ends with a hash (`value::key`). All keys
/// together stay below the 2,704 bytes that `PostgreSQL` has room for.
pub(super) mod limit {
    /// Longer than any id.
    pub(crate) const ID: usize = 64;
    pub(crate) const CALLER: usize = 384;
    pub(crate) const LOGIN: usize = 320;
    pub(crate) const SESSION: usize = 256;
    pub(crate) const NODE: usize = 128;
    pub(crate) const MODEL: usize = 256;
    pub(crate) const PROVIDER: usize = 128;
    pub(crate) const AGENT: usize = 64;
    pub(crate) const API: usize = 64;
    pub(crate) const HEADER_NAME: usize = 128;
    pub(crate) const HEADER_VALUE: usize = 256;
    pub(crate) const TOOL: usize = 256;
    pub(crate) const BUCKET: usize = 512;
}

/// Only an id already written is skipped, should it be written this instant. `INSERT OR IGNORE` would also
/// drop, in silence, a record that breaks another constraint.
pub(crate) static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO entries ({}) VALUES ({}) ON CONFLICT (id) DO NOTHING",
        *COLUMNS,
        places(0, COLUMNS.split(',').count())
    )
});

/// The columns for [`read`], of a query from `entries`. No table that it is joined with has one of them.
pub(super) static SELECTED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}, CASE WHEN EXISTS (SELECT 1 FROM captures WHERE captures.entry_id = entries.id) \
         THEN 1 ELSE 0 END AS captured",
        *COLUMNS
    )
});

/// The values of an entry, in the order of [`COLUMNS`]; its reasons are JSON already.
pub(super) fn write<'e>(entry: &'e Entry, reasons: &'e str) -> Vec<Value<'e>> {
    let mut row = vec![
        entry.id.as_str().into(),
        Value::key(&entry.session, limit::SESSION),
        entry.started_at.into(),
        Value::key(&entry.login, limit::LOGIN),
        Value::key(&entry.node_id, limit::NODE),
        entry.node_name.as_str().into(),
        Value::json(&entry.tags),
        Value::key(&entry.agent, limit::AGENT),
        Value::key(&entry.api, limit::API),
        entry.model_requested.as_str().into(),
        Value::key(&entry.model, limit::MODEL),
        Value::key(&entry.provider, limit::PROVIDER),
        entry.method.as_str().into(),
        entry.path.as_str().into(),
        i64::from(entry.status).into(),
        entry.outcome.as_str().into(),
        entry.stream.into(),
    ];
    row.extend(counts(&entry.tokens).map(Value::from));
    row.extend([
        entry.tokens.estimated.into(),
        cost(entry).into(),
        entry.cost_basis.as_deref().into(),
        entry.finish_reason.as_deref().into(),
        i64::from(entry.tool_calls).into(),
        entry.first_byte_ms.into(),
        entry.first_token_ms.into(),
        Some(entry.duration_ms)
            .filter(|ms| ms.is_finite())
            .unwrap_or(0.0)
            .into(),
        entry.overhead_ms.into(),
        entry.request_bytes.into(),
        entry.response_bytes.into(),
        entry.user_agent.as_str().into(),
        reasons.into(),
        entry.error.as_deref().into(),
        Value::key(&entry.caller, limit::CALLER),
    ]);
    row
}

pub(super) fn read(row: &mut Row) -> Result<Entry, Failure> {
    let mut entry = Entry {
        id: EntryId(row.text()?),
        session: row.text()?,
        started_at: row.integer()?,
        caller: String::new(),
        login: row.text()?,
        node_id: row.text()?,
        node_name: row.text()?,
        tags: row.json()?,
        agent: row.text()?,
        api: row.text()?,
        model_requested: row.text()?,
        model: row.text()?,
        provider: row.text()?,
        method: row.text()?,
        path: row.text()?,
        status: status(row)?,
        outcome: outcome(row)?,
        stream: row.integer()? != 0,
        tokens: tokens(row)?,
        cost: row.maybe_integer()?,
        cost_basis: row.maybe_text()?,
        finish_reason: row.maybe_text()?,
        tool_calls: u32::try_from(row.integer()?).unwrap_or(u32::MAX),
        first_byte_ms: row.maybe_real()?,
        first_token_ms: row.maybe_real()?,
        duration_ms: row.maybe_real()?.unwrap_or_default(),
        overhead_ms: row.maybe_real()?,
        request_bytes: row.count()?,
        response_bytes: row.count()?,
        user_agent: row.text()?,
        reasons: row.json()?,
        error: row.maybe_text()?,
        captured: false,
    };
    entry.caller = row.text()?;
    entry.captured = row.integer()? != 0;
    Ok(entry)
}

pub(super) fn status(row: &mut Row) -> Result<u16, Failure> {
    Ok(u16::try_from(row.integer()?).unwrap_or_default())
}

pub(super) fn outcome(row: &mut Row) -> Result<Outcome, Failure> {
    let text = row.text()?;
    Outcome::parse(&text).ok_or_else(|| Failure::Value(format!("outcome {text:?}")))
}

/// The counts of tokens, and whether they were estimated.
fn tokens(row: &mut Row) -> Result<Tokens, Failure> {
    let mut counts = [None; COUNTS];
    for count in &mut counts {
        *count = row
            .maybe_integer()?
            .map(|count| count.max(0).cast_unsigned());
    }
    Ok(Tokens::of_counts(counts, row.integer()? != 0))
}
