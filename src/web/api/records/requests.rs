//! `GET /api/requests`: requests, newest first.

use schemars::JsonSchema;
use serde::Serialize;

use crate::records::{Entry, EntryId};
use crate::web::api::csv::{self, Column, Csv};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::ledger::{Page, unavailable};
use crate::web::api::parameters::{
    self, LOGIN, Listing, Parameters, before, format, from, limit, read, text, to,
};
use crate::web::engines::Engines;
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web) const PARAMETERS: Parameters<Listing> = Parameters(&[
    LOGIN,
    text("node", "Only from this node, by its stable id.", |to| {
        &mut to.query.node
    }),
    text("session", "Only of this session.", |to| {
        &mut to.query.session
    }),
    text(
        "model",
        "Only for this model, as the provider names it.",
        |to| &mut to.query.model,
    ),
    text("provider", "Only to this provider.", |to| {
        &mut to.query.provider
    }),
    text("agent", "Only from this client program.", |to| {
        &mut to.query.agent
    }),
    text("api", "Only in this API format.", |to| &mut to.query.api),
    read(
        "status",
        "Only with this HTTP status.",
        parameters::one_status,
    ),
    read(
        "outcome",
        "Only with this outcome.",
        parameters::one_outcome,
    ),
    text("tool", "Only those whose answer calls this tool.", |to| {
        &mut to.query.tool
    }),
    read(
        "header",
        "Only with this header, as `name` or `name:value`; takes a grant with `filterable_headers`.",
        |to, text| {
            to.query.header = Some(parameters::header(text));
            Ok(())
        },
    ),
    from(),
    to(),
    limit(),
    before(),
    format(),
]);

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/requests",
    name: "Requests",
    about: "Requests, newest first.",
    parameters: &PARAMETERS,
    answer: json_of::<RequestPage>(),
    csv: true,
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct RequestPage {
    requests: Vec<Entry>,
    /// Cursor of the next page.
    next: Option<EntryId>,
}

/// The requests that the reader may see.
pub(in crate::web) async fn page(
    engines: &Engines<'_>,
    reader: &Reader<'_>,
    Listing { query, .. }: Listing,
) -> Result<Page<Entry>, Rejection> {
    let limit = query.limit;
    let rows = engines.gateway.ledger.requests(reader.scope(), query).await;
    let rows = rows.map_err(|error| unavailable(&error))?;
    Ok(Page::new(rows, limit, |last| &last.id))
}

async fn answer(call: Call<'_>) -> Reply {
    let listing = call.query(&PARAMETERS)?;
    let csv = listing.csv;
    let Page { rows, next } = page(call.engines, call.reader, listing).await?;
    if csv {
        return Ok(Csv::of(&COLUMNS, &rows).respond("requests"));
    }
    let page = RequestPage {
        requests: rows,
        next,
    };
    Ok(crate::web::api::json(&page))
}

const COLUMNS: [Column<Entry>; 27] = [
    ("id", |row| row.id.to_string()),
    ("started_at", |row| csv::time(row.started_at)),
    ("login", |row| row.login.clone()),
    ("node", |row| row.node_name.clone()),
    ("session", |row| row.session.clone()),
    ("agent", |row| row.agent.clone()),
    ("api", |row| row.api.clone()),
    ("provider", |row| row.provider.clone()),
    ("model", |row| row.model.clone()),
    ("status", |row| row.status.to_string()),
    ("outcome", |row| row.outcome.as_str().to_owned()),
    ("stream", |row| row.stream.to_string()),
    ("input_tokens", |row| csv::known(row.tokens.input)),
    ("output_tokens", |row| csv::known(row.tokens.output)),
    ("cached_tokens", |row| csv::known(row.tokens.cached)),
    ("cache_creation_input_tokens", |row| {
        csv::known(row.tokens.cache_write)
    }),
    ("reasoning_tokens", |row| csv::known(row.tokens.reasoning)),
    ("image_input_tokens", |row| {
        csv::known(row.tokens.image_input)
    }),
    ("image_output_tokens", |row| {
        csv::known(row.tokens.image_output)
    }),
    ("web_search_count", |row| {
        csv::known(row.tokens.web_searches)
    }),
    ("estimated", |row| row.tokens.estimated.to_string()),
    ("cost_usd", |row| csv::known(row.cost.map(csv::dollars))),
    ("cost_basis", |row| csv::known(row.cost_basis.as_ref())),
    ("tool_calls", |row| row.tool_calls.to_string()),
    ("finish_reason", |row| {
        csv::known(row.finish_reason.as_ref())
    }),
    ("first_token_ms", |row| csv::known(row.first_token_ms)),
    ("duration_ms", |row| row.duration_ms.to_string()),
];
