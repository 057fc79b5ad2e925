//! Log probabilities of tokens.

use crate::formats::translate::{Json, LogProb, Object, object};

/// A `logprobsResult`.
pub(super) fn read(result: &Json) -> Vec<LogProb> {
    let mut tops = result.at("topCandidates").list().iter();
    let chosen = result.at("chosenCandidates").list().iter();
    let token = |chosen| LogProb {
        top: tops.next().map(top).unwrap_or_default(),
        ..one(chosen)
    };
    chosen.map(token).collect()
}

fn top(place: &Json) -> Vec<LogProb> {
    place.at("candidates").list().iter().map(one).collect()
}

fn one(json: &Json) -> LogProb {
    LogProb {
        token: json.at("token").text().unwrap_or_default().to_owned(),
        logprob: json.at("logProbability").number().unwrap_or_default(),
        ..LogProb::default()
    }
}

/// Adds the same to a candidate, as the API has it.
pub(super) fn put(candidate: &mut Object, all: &[LogProb]) {
    if all.is_empty() {
        return;
    }
    let sum: f64 = all.iter().map(|one| one.logprob).sum();
    #[expect(clippy::cast_precision_loss, reason = "a response has fewer tokens")]
    let average = sum / all.len() as f64;
    let chosen: Vec<Object> = all.iter().map(token).collect();
    let place = |one: &LogProb| {
        let top: Vec<Object> = one.top.iter().map(token).collect();
        object! { "candidates": top }
    };
    let mut result = object! { "chosenCandidates": chosen };
    if all.iter().any(|one| !one.top.is_empty()) {
        let places: Vec<Object> = all.iter().map(place).collect();
        result.put("topCandidates", places);
    }
    candidate.put("avgLogprobs", average);
    candidate.put("logprobsResult", result);
}

fn token(one: &LogProb) -> Object {
    object! { "token": &one.token, "logProbability": one.logprob }
}
