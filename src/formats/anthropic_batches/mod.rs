//! Anthropic's message batches: their paths, their requests, and their objects as clients read them. Like
//! OpenAI's, they are no way to ask a model, so they aren't among [`ALL`](super::ALL).

mod endpoint;
mod remote;
mod request;
mod shape;

use bytes::Bytes;

use super::body::bad_request;
use super::{
    Call, Flag, Format, Head, Meter, MeteredRequest, anthropic_messages, known, openai_companions,
};
use crate::wire::Rejection;

pub use endpoint::Action;
pub use remote::REMOTE;
pub use request::{lines, version};
pub use shape::{Counts, Shape, batch, deleted, failed_line, list, result_line};

/// The path that lines are for.
pub const ENDPOINT: &str = "/v1/messages";

/// Headers of the request that makes a batch which its lines have too.
pub const HEADERS: [&str; 2] = ["anthropic-version", "anthropic-beta"];

static FLAG: Flag = Flag {
    name: "anthropic_batches",
    text: "It has batches of its own, at `/v1/messages/batches`, to which batches for its models are relayed; see [JOBS.md](JOBS.md).",
    is_default: false,
    vendor: None,
};

/// `/v1/messages/batches`.
pub static FORMAT: Format = Format {
    flags: &[&FLAG],
    refusals: anthropic_messages::REFUSALS,
    operation: "batch",
    ..Format::new(
        "anthropic_batches",
        &known::COMPANIONS,
        not_for_a_model,
        meter,
    )
};

fn not_for_a_model(_: &Head<'_>, _: Bytes) -> Result<Call, Rejection> {
    Err(bad_request("requests for batches name no model"))
}

fn meter(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(openai_companions::Whole::new((FORMAT.density)(
        request.path,
    )))
}
