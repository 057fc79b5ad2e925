//! `GET /api/tools`: which tools answers called, and on which days.

use schemars::JsonSchema;
use serde::Serialize;

use crate::records::{Query, ToolUse};
use crate::web::api::csv;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::parameters::{FROM, LOGIN, Listing, TO, days, parameter};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/tools",
    name: "Tools",
    about: "The tools that answers called, by day; 31 days at most.",
    parameters: &[
        LOGIN,
        parameter("session", "Only in answers of this session."),
        parameter("model", "Only in answers of this model."),
        parameter("provider", "Only in answers of this provider."),
        parameter("agent", "Only in answers to this client program."),
        parameter("tool", "Only this tool."),
        FROM,
        TO,
    ],
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
    reader: &Reader<'_>,
    Listing { query, .. }: Listing,
) -> Result<Calls, Rejection> {
    let (from, to) = days(&query, Some(31))?;
    let query = Query {
        from: Some(from),
        to: Some(to),
        ..query
    };
    let rows = reader.ledger().tool_use(reader.scope(), query).await?;
    Ok(Calls { from, to, rows })
}

async fn answer(call: Call<'_>) -> Reply {
    let calls = calls(call.reader, call.given.read()?).await?;
    Ok(crate::web::api::json(&ToolReport {
        from: csv::time(calls.from),
        to: csv::time(calls.to),
        tools: calls.rows,
    }))
}
