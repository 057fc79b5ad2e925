//! Gemini's developer API: `POST /v1beta/models/MODEL:generateContent` and its siblings
//! (<https://ai.google.dev/api/generate-content>). The path names model and method; clients use
//! it under `v1beta`, `v1` and `v1alpha`.

mod meter;
mod partial;
mod request;
mod strip;

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response};

use super::offer::{self, What};
use super::{
    Api, ApiKind, Call, Density, Destination, Head, Known, Meter, Offer, OpaquePlace, Outbound,
    Path, estimate, google_error, google_path, is_method, known, vertex,
};
use crate::wire::{Body, Rejection, json};

pub(super) use meter::{meter, read};
pub(super) use request::{body, renamed};

/// Methods of a model that are relayed.
pub(in crate::formats) const VERBS: [&str; 5] = [
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
];
/// Versions that clients name.
const VERSIONS: [&str; 3] = ["v1beta", "v1", "v1alpha"];
/// Lets a provider of Vertex take requests in this format.
const FOR_VERTEX: &str = "experimental_gemini_cli_vertex_compat";

/// Signatures on what a model thought.
pub(super) const OPAQUE_PLACES: &[OpaquePlace] = &[
    OpaquePlace {
        path: &["contents", "*", "parts", "*", "thoughtSignature"],
        kinds: &[],
    },
    OpaquePlace {
        path: &["contents", "*", "parts", "*", "thought_signature"],
        kinds: &[],
    },
];

/// Gemini's developer API.
#[derive(Debug)]
pub(super) struct GeminiGenerateContent;

impl Api for GeminiGenerateContent {
    fn kind(&self) -> ApiKind {
        ApiKind("gemini_generate_content")
    }

    fn flags(&self) -> &'static [&'static str] {
        &["gemini_generate_content", FOR_VERTEX]
    }

    fn endpoint(&self) -> Option<&'static str> {
        Some("/v1beta/models/{model}:generateContent")
    }

    fn opaque_places(&self) -> &'static [OpaquePlace] {
        OPAQUE_PLACES
    }

    fn known(&self) -> &'static Known {
        &known::GOOGLE
    }

    fn recognises(&self, method: &Method, path: &str) -> bool {
        // What has no method is a model, as listings show it.
        let has_method = |(version, _, rest): (&str, &str, &str)| {
            if version == "v1" {
                is_method(rest)
            } else {
                rest.contains(':')
            }
        };
        method == Method::POST && split(path).is_some_and(has_method)
    }

    fn read(&self, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
        let Some((version, collection, rest)) = split(head.path) else {
            return Err(super::body::bad_request("the path names no model"));
        };
        let target = google_path::target(rest, &VERBS)?;
        let model = match collection {
            "models" => target.model,
            other => format!("{other}/{}", target.model),
        };
        google_path::same_in_query(head.query, &model)?;
        let parts = request::body(&body, &model)?;
        Ok(Call {
            stream: target.verb == "streamGenerateContent",
            billed: target.verb != "countTokens",
            choices: parts.choices,
            answer_limit: parts.answer_limit,
            session: parts.session,
            opening: parts.opening,
            path: Path::Around {
                before: format!("/{version}/"),
                after: format!(":{}", target.verb),
            },
            ..Call::new(self.kind(), model, body)
        })
    }

    fn tools(&self, body: &[u8]) -> Offer {
        tools(body)
    }

    fn prepare(&self, call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
        let Path::Around { before, after } = &call.path else {
            return Ok(call.outbound(to.model));
        };
        let mut splice = renamed(call, to.model)?;
        let path = if to.flags.contains(&FOR_VERTEX) {
            splice.edits.extend(strip::unknown_fields(&call.body)?);
            vertex::path(to, after)?
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

    fn density(&self, call: &Call) -> Density {
        google_path::density(call)
    }

    fn estimated_count(&self, call: &Call) -> Option<serde_json::Value> {
        let count = || estimate::tokens(&call.body);
        (!call.billed).then(|| serde_json::json!({ "totalTokens": count() }))
    }

    fn meter(&self, call: &Call, room: usize) -> Box<dyn Meter> {
        meter(read, call.text_bytes(), room)
    }

    fn refuse(&self, rejection: &Rejection) -> Response<Body> {
        google_error::refuse(rejection)
    }

    fn stream_error(&self, _: &Call, rejection: &Rejection) -> Bytes {
        google_error::event(rejection)
    }
}

/// Keys under which functions are declared; this API reads either spelling.
const FUNCTIONS: [&str; 2] = ["functionDeclarations", "function_declarations"];

/// Kinds of tools that one element may offer; there are a dozen.
const MOST_KINDS: usize = 64;

/// Functions by their name, Google's own tools by the key that they stand under.
pub(super) fn tools(body: &[u8]) -> Offer {
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
    offer::request(body, &keys, |key, at| match key {
        "tools" => offer::list(body, at, group),
        // It brings the tools that it was made with.
        _ => offer::switch(body, at, "cachedContent"),
    })
}

/// The keys of an object: each of them offers a tool.
fn keys(object: &[u8]) -> Vec<String> {
    let members = json::members(object).unwrap_or_default();
    let key = |(key, _): (std::ops::Range<usize>, _)| json::string(&object[key]);
    members
        .into_iter()
        .filter_map(|member| key(member).map(Cow::into_owned))
        .collect()
}

/// What a model can be a member of; a tuned one keeps this as part of its name.
const COLLECTIONS: [&str; 2] = ["models", "tunedModels"];

/// Version, collection and the rest of a path.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let (version, below) = path.strip_prefix('/')?.split_once('/')?;
    let (collection, rest) = below.split_once('/')?;
    (VERSIONS.contains(&version) && COLLECTIONS.contains(&collection) && !rest.is_empty())
        .then_some((version, collection, rest))
}

#[cfg(test)]
mod tests;
