//! Log probabilities of tokens.

pub(super) use crate::formats::openai::logprobs::read;
use crate::formats::translate::{LogProb, Object, object};

/// The same as the API has it.
pub(super) fn write(all: &[LogProb]) -> Object {
    let tokens: Vec<Object> = all.iter().map(with_top).collect();
    object! { "content": tokens, "refusal": None::<String> }
}

fn with_top(one: &LogProb) -> Object {
    let mut out = token(one);
    let top: Vec<Object> = one.top.iter().map(token).collect();
    out.put("top_logprobs", top);
    out
}

fn token(one: &LogProb) -> Object {
    object! {
        "token": &one.token,
        "logprob": one.logprob,
        "bytes": one.bytes.as_deref(),
    }
}
