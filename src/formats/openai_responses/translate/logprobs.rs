//! Log probabilities of tokens.

use crate::formats::translate::{Json, LogProb, Object, object};

/// A list of tokens. Events of a stream have them without bytes.
pub(super) fn read(list: &Json) -> Vec<LogProb> {
    let with_top = |json: &Json| LogProb {
        top: json.at("top_logprobs").list().iter().map(one).collect(),
        ..one(json)
    };
    list.list().iter().map(with_top).collect()
}

fn one(json: &Json) -> LogProb {
    let byte = |json: &Json| u8::try_from(json.whole()?).ok();
    let bytes = match json.at("bytes") {
        Json::List(list) => list.iter().map(byte).collect(),
        _ => None,
    };
    LogProb {
        token: json.at("token").text().unwrap_or_default().to_owned(),
        bytes,
        logprob: json.at("logprob").number().unwrap_or_default(),
        top: Vec::new(),
    }
}

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
