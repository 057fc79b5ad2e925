//! Log probabilities of tokens, as chat completions and responses have them.

use crate::formats::translate::{Json, LogProb};

/// A list of tokens. Events of a stream have them without bytes.
pub(in crate::formats) fn read(list: &Json) -> Vec<LogProb> {
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
