//! `GET /api/tools`: which tools answers called, and on which days.

use schemars::JsonSchema;
use serde::Serialize;

use crate::records::{Query, ToolUse};
use crate::web::api::csv;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::ledger::unavailable;
use crate::web::api::parameters::{LOGIN, Listing, Parameters, days, from, text, to};
use crate::web::engines::Engines;
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web) const PARAMETERS: Parameters<Listing> = Parameters(&[
    LOGIN,
    text("session", "Only in answers of this session.", |to| {
        &mut to.query.session
    }),
    text("model", "Only in answers of this model.", |to| {
        &mut to.query.model
    }),
    text("provider", "Only in answers of this provider.", |to| {
        &mut to.query.provider
    }),
    text("agent", "Only in answers to this client program.", |to| {
        &mut to.query.agent
    }),
    text("tool", "Only this tool.", |to| &mut to.query.tool),
    from(),
    to(),
]);

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/tools",
    name: "Tools",
    about: "The tools that answers called, by day; 31 days at most.",
    parameters: &PARAMETERS,
    answer: json_of::<ToolReport>(),
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct ToolReport {
    from: String,
    to: String,
    tools: Vec<ToolUse>,
}

/// Calls by tool and day, and the time that they are of.
pub(in crate::web) struct Calls {
    pub from: i64,
    pub to: i64,
    pub rows: Vec<ToolUse>,
}

/// Counts the calls that the reader may see.
pub(in crate::web) async fn calls(
    engines: &Engines<'_>,
    reader: &Reader<'_>,
    Listing { query, .. }: Listing,
) -> Result<Calls, Rejection> {
    let (from, to) = days(&query, Some(31))?;
    let query = Query {
        from: Some(from),
        to: Some(to),
        ..query
    };
    let rows = engines.gateway.ledger.tool_use(reader.scope(), query).await;
    Ok(Calls {
        from,
        to,
        rows: rows.map_err(|error| unavailable(&error))?,
    })
}

async fn answer(call: Call<'_>) -> Reply {
    let calls = calls(call.engines, call.reader, call.query(&PARAMETERS)?).await?;
    Ok(crate::web::api::json(&ToolReport {
        from: csv::time(calls.from),
        to: csv::time(calls.to),
        tools: calls.rows,
    }))
}
