//! Ollama's own API: `/api/chat`, `/api/generate`, `/api/embed` and the older `/api/embeddings`
//! (<https://github.com/ollama/ollama/blob/main/docs/api.md>). A response is a stream of JSON lines
//! unless the request says `"stream": false`.

mod error;
mod meter;
mod transcript;
mod translate;

use bytes::Bytes;

use super::assembly::Assembling;
use super::openai_companions;
use super::{
    Call, Density, Dialect, Flag, Format, Head, Offer, ProviderState, body, known, offer, opening,
};
use crate::wire::{Rejection, json};

pub(super) use error::REFUSALS;
use meter::{Lines, read};

/// Its paths.
const CHAT_PATH: &str = "/api/chat";
const GENERATE_PATH: &str = "/api/generate";
const EMBED_PATHS: [&str; 2] = ["/api/embed", "/api/embeddings"];

/// Ollama's own API.
pub(super) static FLAG: Flag = Flag {
    name: "ollama",
    text: "Ollama's own API: `/api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings`.",
    is_default: false,
    vendor: None,
};

/// What its formats have in common.
const COMMON: Format = Format {
    flags: &[&FLAG],
    has_lines: true,
    refusals: REFUSALS,
    state: ProviderState::None,
    lists_for: Some(Dialect::Ollama),
    ..Format::new("ollama", &known::OLLAMA, read_chat, |request| {
        Box::new(Assembling::new(Lines::default(), read, request))
    })
};

/// `POST /api/chat`.
pub(super) static CHAT: Format = Format {
    endpoint: Some(CHAT_PATH),
    paths: &[CHAT_PATH],
    tools,
    conversation: transcript::CHAT,
    turns: &["messages"],
    codec: Some(&translate::CHAT),
    idle_response: translate::idle_chat,
    export_name: "ollama_chat",
    ..COMMON
};

/// `POST /api/generate`.
pub(super) static GENERATE: Format = Format {
    name: "ollama_generate",
    paths: &[GENERATE_PATH],
    read: read_generate,
    conversation: transcript::GENERATE,
    texts: &["prompt", "suffix", "system"],
    codec: Some(&translate::GENERATE),
    idle_response: translate::idle_generate,
    operation: "text_completion",
    export_name: "ollama_generate",
    ..COMMON
};

/// `POST /api/embed` and `/api/embeddings`.
pub(super) static EMBED: Format = Format {
    name: "ollama_embed",
    paths: &EMBED_PATHS,
    read: read_embed,
    density: |_| Density::VECTORS,
    meter: |_| Box::new(openai_companions::Whole::new(Density::VECTORS)),
    conversation: super::openai::transcript::COMPANIONS,
    texts: &["input", "prompt"],
    vector_caller: Some(&translate::EMBED),
    operation: "embeddings",
    export_name: "ollama_embed",
    ..COMMON
};

fn read_chat(_: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let keys = ["model", "stream", "options", "messages", "keep_alive"];
    let (call, fields) = Call::of_json(CHAT_PATH, body, &keys)?;
    let value = |nth| call.value(&fields, nth);
    Ok(Call {
        stream: streams(&call, &fields),
        answer_limit: value(2).and_then(answer_limit),
        opening: opening::of(None, value(3)),
        ..call
    })
}

fn read_generate(_: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let keys = [
        "model",
        "stream",
        "options",
        "prompt",
        "system",
        "keep_alive",
    ];
    let (call, fields) = Call::of_json(GENERATE_PATH, body, &keys)?;
    let value = |nth| call.value(&fields, nth);
    Ok(Call {
        stream: streams(&call, &fields),
        answer_limit: value(2).and_then(answer_limit),
        opening: opening::of(value(4), value(3)),
        ..call
    })
}

fn read_embed(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let path = EMBED.target(head.path).unwrap_or_default();
    // It has no streams.
    let (call, _) = Call::of_json(path, body, &["model"])?;
    Ok(Call {
        // Vectors aren't tokens.
        answer_limit: Some(0),
        ..call
    })
}

/// Whether the caller wants a stream, which is the default.
fn streams(call: &Call, fields: &json::Fields) -> bool {
    call.stream || call.value(fields, 1).is_none_or(|value| value == b"null")
}

/// `options.num_predict`. A negative number is no bound.
fn answer_limit(options: &[u8]) -> Option<u64> {
    let inner = json::scan(options, &["num_predict"]).ok()?;
    body::count(inner.get(0).map(|at| &options[at]))
}

/// Functions, by their names.
fn tools(body: &[u8]) -> Offer {
    offer::request(body, &["tools"], |_, at| {
        offer::tools(body, at, |tool| tool.text(&["function", "name"]))
    })
}

#[cfg(test)]
mod tests;
