//! `GET /api/requests/{id}/capture`: what was said.

use http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{no_such, readable};
use crate::records;
use crate::web::api::audit;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::reader::Reader;
use crate::wire::{HeaderList, Rejection};

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/requests/{id}/capture",
    name: "Capture",
    about: "What was said: heads without credentials, and bodies.",
    answer: json_of::<Capture>(),
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct Capture {
    id: String,
    request: Message,
    response: Message,
    raw: Option<String>,
    truncated: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Message {
    /// Names and values.
    #[schemars(with = "Vec<Vec<String>>")]
    headers: Vec<(String, String)>,
    /// Bytes that are not text are replaced.
    body: String,
}

/// What was said in a request. An admin who reads another's leaves a trace.
pub(in crate::web) async fn capture(
    reader: &Reader<'_>,
    id: &str,
) -> Result<records::Capture, Rejection> {
    let ledger = reader.ledger();
    let whose = ledger.request(reader.scope(), id).await?;
    if let Some(entry) = whose.filter(|entry| entry.captured && !reader.owns(&entry.caller)) {
        readable(reader)?;
        let detail = json!({ "login": entry.login, "session": entry.session });
        audit::note(reader, "capture_read", id, detail).await?;
    }
    let capture = ledger.capture(reader.scope(), id).await?;
    capture.ok_or_else(|| no_such(id))
}

fn pairs(headers: &HeaderList) -> Vec<(String, String)> {
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

async fn answer(call: Call<'_>) -> Reply {
    let capture = capture(call.reader, call.id).await?;
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    let mut response = crate::web::api::json(&Capture {
        id: call.id.to_owned(),
        request: Message {
            headers: pairs(&capture.request_headers),
            body: text(&capture.request_body),
        },
        response: Message {
            headers: pairs(&capture.response_headers),
            body: text(&capture.response_body),
        },
        raw: capture.raw.as_deref().map(text),
        truncated: capture.truncated,
    });
    // What others wrote is data, wherever a browser may come from to it.
    let attachment = HeaderValue::from_static("attachment; filename=\"capture.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, attachment);
    Ok(response)
}
