//! Log probabilities of tokens.

pub(super) use crate::formats::openai::logprobs::read;
use crate::formats::translate::{LogProb, Object, object};

/// The same as the API has it.
pub(super) fn write(all: &[LogProb]) -> Vec<Object> {
    let with_top = |one: &LogProb| {
        let mut out = token(one);
        let top: Vec<Object> = one.top.iter().map(token).collect();
        out.put("top_logprobs", top);
        out
    };
    all.iter().map(with_top).collect()
}

fn token(one: &LogProb) -> Object {
    // The API's types have the bytes always.
    let bytes = one.bytes.as_deref().unwrap_or(one.token.as_bytes());
    object! { "token": &one.token, "bytes": bytes, "logprob": one.logprob }
}
