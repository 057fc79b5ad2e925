//! Gemini's developer API: `POST /v1beta/models/MODEL:generateContent` and its siblings
//! (<https://ai.google.dev/api/generate-content>). The path names model and method; clients use
//! it under `v1beta`, `v1` and `v1alpha`.

mod attached;
mod meter;
mod partial;
mod request;
mod strip;
mod transcript;
mod translate;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Value, json};

use super::dialect::METHODS;
use super::google::path::{COLLECTIONS, split};
use super::offer::{self, What};
use super::{
    Call, Chat, Destination, Dialect, Flag, Format, Goes, Head, Offer, OpaquePlace, Outbound, Path,
    ProviderState, gemini_batches, google, is_method, known,
};
use crate::base::money::CostBasis;
use crate::wire::{Rejection, json as strict};

pub(super) use attached::ATTACHING;
#[cfg(test)]
pub(super) use meter::Contents;
pub(super) use meter::{meter, read};
pub(super) use request::{call, renamed};
pub(super) use transcript::CONVERSATION;

/// Signatures on what a model thought.
pub(super) const OPAQUE_PLACES: &[OpaquePlace] = &[
    OpaquePlace {
        path: "contents.*.parts.*.thoughtSignature",
        kinds: &[],
        goes: Goes::Alone(translate::unsigned),
    },
    OpaquePlace {
        path: "contents.*.parts.*.thought_signature",
        kinds: &[],
        goes: Goes::Alone(translate::unsigned),
    },
];

static FLAG: Flag = Flag {
    name: "gemini_generate_content",
    text: "Gemini's developer API.",
    is_default: false,
    vendor: Some(CostBasis::Google),
};

/// Lets a provider of Vertex take requests in this format.
static FOR_VERTEX: Flag = Flag {
    name: "experimental_gemini_cli_vertex_compat",
    text: "Short model paths of the Gemini CLI for Vertex.",
    is_default: false,
    vendor: None,
};

/// Gemini's developer API.
pub(super) static FORMAT: Format = Format {
    attaching: Some(ATTACHING),
    flags: &[&FLAG, &FOR_VERTEX],
    endpoint: Some("/v1beta/models/{model}:generateContent"),
    recognises,
    opaque_places: OPAQUE_PLACES,
    tools,
    prepare,
    density: google::path::density,
    count_response: Some(count_response),
    refusals: google::error::REFUSALS,
    refuses_key: google::error::refuses_key,
    state: ProviderState::Named,
    conversation: CONVERSATION,
    turns: &["contents"],
    lists_for: Some(Dialect::Google),
    operation: "generate_content",
    codec: Some(&translate::CODEC),
    translates: |path| {
        let method = path.rsplit(':').next();
        matches!(
            method,
            Some("countTokens" | "generateContent" | "streamGenerateContent")
        )
    },
    chat: Some(Chat {
        flag: &FLAG,
        name: "gemini",
        rank: 3,
    }),
    ..Format::new(
        "gemini_generate_content",
        &known::GOOGLE,
        understand,
        |request| meter(read, request),
    )
};

/// The response to a request for a count.
pub(super) fn count_response(count: u64) -> Value {
    json!({ "totalTokens": count })
}

fn recognises(path: &str) -> bool {
    // What has no method is a model, as listings show it.
    let has_method = |(version, _, rest): (&str, &str, &str)| {
        if version == "v1" {
            is_method(rest)
        } else {
            rest.contains(':')
        }
    };
    split(path).is_some_and(has_method) && !gemini_batches::makes_batch(path)
}

fn understand(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let Some((version, collection, rest)) = split(head.path) else {
        return Err(super::body::bad_request("the path names no model"));
    };
    let target = google::path::target(rest, &METHODS)?;
    let model = match collection {
        "models" => target.model,
        other => format!("{other}/{}", target.model),
    };
    google::path::same_in_query(head.query, &model)?;
    call(format!("/{version}/"), model, target.verb, body)
}

fn prepare(call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
    let Path::Around { before, after } = &call.path else {
        return Ok(call.outbound(to.model));
    };
    let mut splice = renamed(call, to.model)?;
    let path = if to.flags.contains(&FOR_VERTEX.name) {
        splice.edits.extend(strip::unknown_fields(&call.body)?);
        google::vertex::path(to, after)?
    } else {
        let (collection, name) = to
            .model
            .split_once('/')
            .filter(|(collection, _)| COLLECTIONS.contains(collection))
            .unwrap_or(("models", to.model));
        let name = super::body::path_segment(name);
        format!("{before}{collection}/{name}{after}")
    };
    Ok(Outbound {
        path: Cow::Owned(path),
        body: splice.apply(&call.body, None),
    })
}

/// Keys under which functions are declared; this API reads either spelling.
const FUNCTIONS: [&str; 2] = ["functionDeclarations", "function_declarations"];

/// Kinds of tools that one element may offer; there are a dozen.
const MOST_KINDS: usize = 64;

/// Functions by their name, Google's own tools by the key that they stand under.
pub(super) fn tools(body: &[u8]) -> Offer {
    tools_at(body, 0..body.len())
}

/// The same of an object that is part of a request.
pub(super) fn tools_at(body: &[u8], at: std::ops::Range<usize>) -> Offer {
    let group = |body: &[u8], at: std::ops::Range<usize>| {
        let keys: Vec<String> = keys(&body[at.clone()]);
        if keys.len() > MOST_KINDS {
            return What::Offers(Offer::Unclear);
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        What::Offers(offer::object(body, at, &keys, |key, at| {
            if FUNCTIONS.contains(&key) {
                offer::tools(body, at, |function| function.text(&["name"]))
            } else {
                Offer::Tool(key.to_owned())
            }
        }))
    };
    let keys = ["tools", "cachedContent", "cached_content"];
    offer::object(body, at, &keys, |key, at| match key {
        "tools" => offer::list(body, at, group),
        // It brings the tools that it was made with.
        _ => offer::switch(body, at, "cachedContent"),
    })
}

/// The keys of an object: each of them offers a tool.
fn keys(object: &[u8]) -> Vec<String> {
    let members = strict::members(object).unwrap_or_default();
    let key = |(key, _): (std::ops::Range<usize>, _)| strict::string(&object[key]);
    members
        .into_iter()
        .filter_map(|member| key(member).map(Cow::into_owned))
        .collect()
}

#[cfg(test)]
mod tests;
