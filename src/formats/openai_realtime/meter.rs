//! Meters one turn: its events are those of the responses API but for the names of some.

use crate::formats::assembly::Assembling;
use crate::formats::openai_responses::{Events, read_response};
use crate::formats::{Meter, MeteredRequest, Reading};
use crate::wire::json::Part;

pub(super) fn new(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(Assembling::new(Events::default(), read, request))
}

/// Reads the response that ends a turn.
fn read(response: Part<'_>) -> Reading {
    let reading = read_response(response);
    let why = response.word("status_details/reason");
    let status = reading.finish_reason;
    let failure = (status.as_deref() == Some("failed")).then(|| {
        let error = |key: &str| response.word(&format!("status_details/error/{key}"));
        let words = error("message").or_else(|| error("code"));
        words.unwrap_or_else(|| "the response failed".to_owned())
    });
    Reading {
        finish_reason: why.filter(|why| !why.is_empty()).or(status),
        failure,
        ..reading
    }
}
