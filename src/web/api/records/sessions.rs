//! `GET /api/sessions`: sessions, newest first.

use schemars::JsonSchema;
use serde::Serialize;

use crate::records::{EntryId, Session};
use crate::web::api::csv::{Column, Csv, dollars, time};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::ledger::Page;
use crate::web::api::parameters::{BEFORE, FORMAT, FROM, LIMIT, LOGIN, Listing, TO, parameter};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/sessions",
    name: "Sessions",
    about: "Sessions, newest first.",
    parameters: &[
        LOGIN,
        parameter("session", "Only this session."),
        parameter("model", "Only those with a request for this model."),
        parameter("provider", "Only those with a request to this provider."),
        parameter(
            "agent",
            "Only those with a request from this client program.",
        ),
        parameter("api", "Only those with a request in this API format."),
        parameter("status", "Only those with a request of this HTTP status."),
        parameter("outcome", "Only those with a request of this outcome."),
        parameter("tool", "Only those with a request that calls this tool."),
        FROM,
        TO,
        LIMIT,
        BEFORE,
        FORMAT,
    ],
    answer: json_of::<SessionPage>(),
    csv: true,
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct SessionPage {
    sessions: Vec<Session>,
    /// Cursor of the next page.
    next: Option<EntryId>,
}

/// The sessions that the reader may see.
pub(in crate::web) async fn page(
    reader: &Reader<'_>,
    Listing { query, .. }: Listing,
) -> Result<Page<Session>, Rejection> {
    let limit = query.limit;
    let rows = reader.ledger().sessions(reader.scope(), query).await?;
    Ok(Page::new(rows, limit, |last| &last.last_request))
}

async fn answer(call: Call<'_>) -> Reply {
    let listing: Listing = call.given.read()?;
    let csv = listing.csv;
    let Page { rows, next } = page(call.reader, listing).await?;
    if csv {
        return Ok(Csv::of(&COLUMNS, &rows).respond("sessions"));
    }
    let page = SessionPage {
        sessions: rows,
        next,
    };
    Ok(crate::web::api::json(&page))
}

const COLUMNS: [Column<Session>; 16] = [
    ("session", |row| row.id.clone()),
    ("login", |row| row.login.clone()),
    ("node", |row| row.node_name.clone()),
    ("agent", |row| row.agent.clone()),
    ("provider", |row| row.provider.clone()),
    ("models", |row| row.models.join(" ")),
    ("started_at", |row| time(row.started_at)),
    ("last_at", |row| time(row.last_at)),
    ("requests", |row| row.counts.requests.to_string()),
    ("errors", |row| row.counts.errors.to_string()),
    ("input_tokens", |row| row.counts.input_tokens.to_string()),
    ("output_tokens", |row| row.counts.output_tokens.to_string()),
    ("cached_tokens", |row| row.counts.cached_tokens.to_string()),
    ("cost_usd", |row| dollars(row.counts.cost)),
    ("own_credential_cost_usd", |row| {
        dollars(row.counts.own_credential_cost)
    }),
    ("unpriced", |row| row.counts.unpriced.to_string()),
];
