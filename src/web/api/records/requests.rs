//! `GET /api/requests`: requests, newest first.

use schemars::JsonSchema;
use serde::Serialize;

use crate::records::{Entry, EntryId};
use crate::web::api::csv::{Column, Csv, dollars, known, time};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::ledger::Page;
use crate::web::api::parameters::{
    BEFORE, FORMAT, FROM, HEADER, LIMIT, LOGIN, Listing, TO, parameter,
};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/requests",
    name: "Requests",
    about: "Requests, newest first.",
    parameters: &[
        LOGIN,
        parameter("node", "Only from this node, by its stable id."),
        parameter("session", "Only of this session."),
        parameter("model", "Only for this model, as the provider names it."),
        parameter("provider", "Only to this provider."),
        parameter("agent", "Only from this client program."),
        parameter("api", "Only in this API format."),
        parameter("status", "Only with this HTTP status."),
        parameter("outcome", "Only with this outcome."),
        parameter("tool", "Only those whose answer calls this tool."),
        HEADER,
        FROM,
        TO,
        LIMIT,
        BEFORE,
        FORMAT,
    ],
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
    reader: &Reader<'_>,
    Listing { query, .. }: Listing,
) -> Result<Page<Entry>, Rejection> {
    let limit = query.limit;
    let rows = reader.ledger().requests(reader.scope(), query).await?;
    Ok(Page::new(rows, limit, |last| &last.id))
}

async fn answer(call: Call<'_>) -> Reply {
    let listing: Listing = call.given.read()?;
    let csv = listing.csv;
    let Page { rows, next } = page(call.reader, listing).await?;
    if csv {
        return Ok(Csv::of(&COLUMNS, &rows).respond("requests"));
    }
    let page = RequestPage {
        requests: rows,
        next,
    };
    Ok(crate::web::api::json(&page))
}

const COLUMNS: [Column<Entry>; 31] = [
    ("id", |row| row.id.to_string()),
    ("started_at", |row| time(row.started_at)),
    ("login", |row| row.login.to_string()),
    ("node", |row| row.node_name.to_string()),
    ("session", |row| row.session.to_string()),
    ("agent", |row| row.agent.to_string()),
    ("api", |row| row.api.to_string()),
    ("provider", |row| row.provider.to_string()),
    ("model", |row| row.model.to_string()),
    ("status", |row| row.status.to_string()),
    ("outcome", |row| row.outcome.as_str().to_owned()),
    ("stream", |row| row.stream.to_string()),
    ("input_tokens", |row| known(row.tokens.input)),
    ("output_tokens", |row| known(row.tokens.output)),
    ("cached_tokens", |row| known(row.tokens.cached)),
    ("cache_creation_input_tokens", |row| {
        known(row.tokens.cache_write)
    }),
    ("reasoning_tokens", |row| known(row.tokens.reasoning)),
    ("image_input_tokens", |row| known(row.tokens.image_input)),
    ("image_output_tokens", |row| known(row.tokens.image_output)),
    ("audio_input_tokens", |row| known(row.tokens.audio_input)),
    ("audio_cached_tokens", |row| known(row.tokens.audio_cached)),
    ("audio_output_tokens", |row| known(row.tokens.audio_output)),
    ("web_search_count", |row| known(row.tokens.web_searches)),
    ("estimated", |row| row.tokens.estimated.to_string()),
    ("cost_usd", |row| known(row.cost.map(dollars))),
    ("cost_basis", |row| known(row.cost_basis.as_ref())),
    ("own_credential", |row| row.own_credential.to_string()),
    ("tool_calls", |row| row.tool_calls.to_string()),
    ("finish_reason", |row| known(row.finish_reason.as_ref())),
    ("first_token_ms", |row| known(row.first_token_ms)),
    ("duration_ms", |row| row.duration_ms.to_string()),
];
