//! What of a request's body decides. The path names the model; some bodies name it once more,
//! as a resource (`models/MODEL`), and may not name another.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::formats::body::{self, bad_request, inside, prefix, scan};
use crate::formats::google::path::two_models;
use crate::formats::{Call, Path, Splice, known, opening};
use crate::wire::{Rejection, json};

/// Requests that one batch may hold; Google takes a hundred.
const BATCH: usize = 10_000;

/// Google's parsers take a field by its name in JSON and by that of its definition.
const KEYS: [&str; 10] = [
    "model",
    "contents",
    "systemInstruction",
    "system_instruction",
    "session_id",
    "generateContentRequest",
    "generate_content_request",
    "generationConfig",
    "generation_config",
    "parameters",
];

/// Reads a request whose path names the model and the method behind `before`.
///
/// # Errors
/// A 400 if it isn't a JSON object, could be read in two ways, or names another model.
pub(in crate::formats) fn call(
    before: String,
    model: String,
    verb: &str,
    body: Bytes,
) -> Result<Call, Rejection> {
    let fields = scan(&body, &KEYS)?;
    named(&body, &model)?;
    let value = |nth| fields.get(nth).map(|at| &body[at]);
    let mut choices = known::choices(&body, &fields.members);
    choices.extend(known::models_of_tools(&body, &fields.members));
    for config in [value(7), value(8)].into_iter().flatten() {
        // Vertex can be told here to route a request to another model.
        let members = json::members(config).unwrap_or_default();
        choices.extend(known::inner_choices(config, &members));
    }
    // Of `predict`: the results can be written to a place that the caller names.
    if let Some(parameters) = value(9) {
        let members = json::members(parameters).unwrap_or_default();
        choices.extend(known::choices(parameters, &members));
    }
    Ok(Call {
        stream: verb == "streamGenerateContent",
        billed: verb != "countTokens",
        choices,
        session: value(4).and_then(json::string).map(Cow::into_owned),
        answer_limit: value(7).or(value(8)).and_then(answer_limit),
        opening: opening::of(value(2).or(value(3)), value(1)),
        path: Path::Around {
            before,
            after: format!(":{verb}"),
        },
        ..Call::new(model, body)
    })
}

fn answer_limit(config: &[u8]) -> Option<u64> {
    let keys = [
        "maxOutputTokens",
        "max_output_tokens",
        "candidateCount",
        "candidate_count",
    ];
    let inner = json::scan(config, &keys).ok()?;
    let value = |nth| inner.get(nth).map(|at| &config[at]);
    body::answer_limit([value(0), value(1)], value(2).or(value(3)))
}

/// The changes that give a body another model's name, where it has one.
///
/// # Errors
/// As [`call`] has, which has seen it before.
pub(in crate::formats) fn renamed(call: &Call, model: &str) -> Result<Splice, Rejection> {
    let mut splice = call.splice.clone();
    if call.model != model {
        for (at, before) in named(&call.body, &call.model)? {
            let name = format!("{before}{model}");
            let name = serde_json::Value::from(name).to_string();
            splice.edits.push((at, Cow::Owned(name)));
        }
    }
    Ok(splice)
}

/// Where a body names its model, and what stands there before the name: at its top, in the
/// request that is to be counted, or in each of a batch.
fn named(body: &[u8], model: &str) -> Result<Vec<(Range<usize>, String)>, Rejection> {
    let mut found = Vec::new();
    let keys = [
        "model",
        "generateContentRequest",
        "generate_content_request",
        "requests",
    ];
    let top = scan(body, &keys)?;
    let mut inner: Vec<Range<usize>> = top.get(1).into_iter().chain(top.get(2)).collect();
    if inner.len() > 1 {
        return Err(bad_request("`generateContentRequest` is given twice"));
    }
    if let Some(list) = top.get(3) {
        let requests = json::elements(&body[list.clone()], BATCH)
            .ok_or_else(|| bad_request("`requests` must be an array, and no longer than 10000"))?;
        inner.extend(requests.into_iter().map(|at| inside(&list, at)));
    }
    let mut places: Vec<Range<usize>> = top.get(0).into_iter().collect();
    for object in inner {
        let at = scan(&body[object.clone()], &["model"])?.get(0);
        places.extend(at.map(|at| inside(&object, at)));
    }
    for at in places {
        let named = json::string(&body[at.clone()])
            .ok_or_else(|| bad_request("`model` must be the name of a model"))?;
        let before = prefix(&named, model).ok_or_else(two_models)?;
        found.push((at, before.to_owned()));
    }
    Ok(found)
}
