//! Gemini's batches (<https://ai.google.dev/api/batch-api>): their paths, their requests and lines, and their
//! operations as clients read them. Like OpenAI's, they don't ask a model, so they aren't among
//! [`ALL`](super::ALL): the lines of a batch do.

mod endpoint;
mod line;
mod request;
mod shape;

use bytes::Bytes;

use super::body::bad_request;
use super::{Call, Format, Head, Meter, MeteredRequest, google, known, openai_companions};
use crate::wire::Rejection;

pub use endpoint::{Action, MethodOfModel};
pub use line::{Line, failed_line, result_line};
pub use request::{About, CreateBatch, Input};
pub use shape::{Batch, State, around_results, list, operation};

pub(super) use endpoint::makes_batch;

/// `/v1beta/batches`.
pub static FORMAT: Format = Format {
    refusals: google::error::REFUSALS,
    operation: "batch",
    ..Format::new("gemini_batches", &known::COMPANIONS, not_for_a_model, meter)
};

fn not_for_a_model(_: &Head<'_>, _: Bytes) -> Result<Call, Rejection> {
    Err(bad_request("requests for batches name no model"))
}

fn meter(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(openai_companions::Whole::new((FORMAT.density)(
        request.path,
    )))
}
