//! `GET /api/exporters`: how exporters do.

use schemars::JsonSchema;
use serde::Serialize;

use crate::records::outlets;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/exporters",
    name: "Exporters",
    about: "How exporters do: what waits, what arrived last, and what failed.",
    answer: json_of::<ExporterList>(),
    handler: Handler::Admin(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct ExporterList {
    exporters: Vec<Exporter>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::web) struct Exporter {
    #[serde(rename = "exporter")]
    pub name: &'static str,
    /// Records that wait.
    pub waiting: u64,
    #[serde(flatten)]
    pub status: outlets::Status,
}

/// The exporters of the configuration.
pub(in crate::web) async fn all(reader: &Reader<'_>) -> Result<Vec<Exporter>, Rejection> {
    let board = reader.engines.management.board.all();
    let mut rows = Vec::new();
    for name in outlets::names(&reader.rules.file.exporters) {
        rows.push(Exporter {
            name,
            waiting: reader.ledger().export_waiting(name).await?,
            status: board.get(name).cloned().unwrap_or_default(),
        });
    }
    Ok(rows)
}

async fn answer(call: Call<'_>) -> Reply {
    let exporters = all(call.reader).await?;
    Ok(crate::web::api::json(&ExporterList { exporters }))
}
