//! `GET /api/tools`: which tools answers called, and on which days.

use http::Response;
use serde_json::json;

use super::records::unavailable;
use super::{Asked, View, csv, query};
use crate::records::ToolUse;
use crate::wire::{Body, Rejection};

/// The calls that were asked for, by tool and day, and the time that they are of.
pub(crate) struct Calls {
    pub from: i64,
    pub to: i64,
    pub rows: Vec<ToolUse>,
}

/// Counts the calls that were asked for.
pub(crate) async fn calls(view: &View<'_>, asked: &Asked<'_>) -> Result<Calls, Rejection> {
    let wanted = query::Wanted::read(&asked.parameters)?.query;
    let (from, to) = query::days(&wanted, 31)?;
    let wanted = crate::records::Query {
        from: Some(from),
        to: Some(to),
        ..wanted
    };
    let rows = view.ledger.tool_use(asked.scope(), wanted).await;
    Ok(Calls {
        from,
        to,
        rows: rows.map_err(|error| unavailable(&error))?,
    })
}

pub(super) async fn tools(view: &View<'_>, asked: &Asked<'_>) -> Result<Response<Body>, Rejection> {
    let calls = calls(view, asked).await?;
    Ok(super::json(&json!({
        "from": csv::time(calls.from),
        "to": csv::time(calls.to),
        "tools": calls.rows,
    })))
}
