//! OpenAI's files and batches: their paths, their requests, and their objects as clients read them. They
//! are no way to ask a model, so they aren't among [`ALL`](super::ALL): a batch's lines are.

mod endpoint;
mod line;
mod request;
mod shape;

use bytes::Bytes;

use super::body::bad_request;
use super::{Call, Format, Head, Meter, MeteredRequest, known, openai, openai_companions};
use crate::wire::Rejection;

pub use endpoint::{Action, ENDPOINTS};
pub use line::{Flaw, Line};
pub use request::{CreateBatch, PURPOSE, PURPOSES, Upload};
pub use shape::{
    BatchShape, Counts, FileShape, batch, deleted_file, error_line, failed_line, file, list,
    result_line,
};

/// What requests of both have in common: none is for a model.
const fn jobs(name: &'static str) -> Format {
    Format {
        refusals: openai::error::REFUSALS,
        operation: "batch",
        ..Format::new(name, &known::COMPANIONS, not_for_a_model, meter)
    }
}

/// `/v1/files`.
pub static FILES: Format = Format {
    accepts: &["multipart/form-data"],
    ..jobs("openai_files")
};

/// `/v1/batches`.
pub static BATCHES: Format = jobs("openai_batches");

fn not_for_a_model(_: &Head<'_>, _: Bytes) -> Result<Call, Rejection> {
    Err(bad_request("requests for files and batches name no model"))
}

fn meter(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(openai_companions::Whole::new((BATCHES.density)(
        request.path,
    )))
}
