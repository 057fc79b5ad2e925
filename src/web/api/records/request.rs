//! `GET /api/requests/{id}`: one request.

use schemars::JsonSchema;
use serde::Serialize;

use super::{entry, readable};
use crate::formats::ToolCall;
use crate::records::Entry;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/requests/{id}",
    name: "Request",
    about: "One request, with the tools that its answer called.",
    answer: json_of::<Request>(),
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct Request {
    #[serde(flatten)]
    pub entry: Entry,
    pub tools: Vec<ToolCall>,
    /// Those by which it can be filtered, as name and value.
    #[schemars(with = "Vec<Vec<String>>")]
    pub headers: Vec<(String, String)>,
}

/// A request that the reader may see.
pub(in crate::web) async fn request(reader: &Reader<'_>, id: &str) -> Result<Request, Rejection> {
    let ledger = reader.ledger();
    let entry = entry(reader, id).await?;
    let mut tools = ledger.tools(reader.scope(), id).await?;
    if !reader.owns(&entry.caller) && readable(reader).is_err() {
        // With what a tool was called is a part of what was said.
        for tool in &mut tools {
            "null".clone_into(&mut tool.params);
        }
    }
    let headers = ledger.headers(reader.scope(), id).await?;
    Ok(Request {
        entry,
        tools,
        headers,
    })
}

async fn answer(call: Call<'_>) -> Reply {
    let request = request(call.reader, call.id).await?;
    Ok(crate::web::api::json(&request))
}
