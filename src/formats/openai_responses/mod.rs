//! OpenAI's responses: `POST /v1/responses`, as Codex and the newer SDKs use it.

mod attached;
mod error;
mod meter;
mod named;
mod session;
mod stored;
mod translate;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::assembly::Assembling;
use super::offer;
use super::{
    Call, Chat, Flag, Format, Frame, Goes, Head, KeptElsewhere, Offer, OpaquePlace, ProviderState,
    Refusals, Socket, body, known, openai, opening,
};
use crate::wire::{Rejection, json as strict};

pub(super) use meter::Events;
pub(super) use meter::read as read_response;
pub(super) use stored::STORED;

/// Its path as listings and providers know it.
const ENDPOINT: &str = "/v1/responses";
/// Where tokens are counted without asking the model.
const COUNT: &str = "/v1/responses/input_tokens";
/// Where a conversation is made shorter, by a model.
const COMPACT: &str = "/v1/responses/compact";

/// The last event of a stream holds all images that were made, in base64.
const WITH_IMAGES: usize = 16 << 20;

/// What a frame may hold that asks for no response. Nothing else in it would be evaluated.
const BESIDE: [&str; 4] = ["type", "event_id", "response_id", "stream_id"];

/// OpenAI's responses.
pub(super) static FLAG: Flag = Flag {
    name: "openai_responses",
    text: "OpenAI responses.",
    is_default: false,
    vendor: None,
};

/// The same over a WebSocket.
static SOCKET: Flag = Flag {
    name: "openai_responses_websocket",
    text: "The same over a WebSocket.",
    ..FLAG
};

/// OpenAI's responses.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some(ENDPOINT),
    recognises: |path| target(path).is_some(),
    opaque: &["encrypted_content"],
    opaque_places: &[OpaquePlace {
        path: "input.*.encrypted_content",
        kinds: &[
            "reasoning",
            "compaction",
            "compaction_summary",
            "context_compaction",
        ],
        goes: Goes::Element,
    }],
    socket: Some(Socket {
        flag: &SOCKET,
        recognises: |path| target(path) == Some(ENDPOINT),
        model: handshake_model,
        frame,
        cancelled: |id| {
            json!({
                "type": "response.cancelled",
                "response": { "id": id, "object": "response", "status": "cancelled" },
            })
        },
    }),
    longest_event: WITH_IMAGES,
    tools,
    attaching: Some(attached::ATTACHING),
    count_response: Some(
        |count| json!({ "object": "response.input_tokens", "input_tokens": count }),
    ),
    refusals: Refusals {
        event: error::event,
        ..openai::error::REFUSALS
    },
    state: ProviderState::Items,
    conversation: openai::transcript::RESPONSES,
    turns: &["input"],
    texts: &["input"],
    export_name: "oai_responses",
    codec: Some(&translate::CODEC),
    delivery_keys: &["stream", "stream_options"],
    translates: |path| target(path) != Some(COMPACT),
    background: Some(stored::BACKGROUND),
    chat: Some(Chat {
        flag: &FLAG,
        name: "responses",
        rank: 2,
    }),
    ..Format::new("openai_responses", &known::RESPONSES, read, |request| {
        let events = Events::default();
        Box::new(Assembling::new(events, meter::read, request))
    })
};

/// Codex describes what it is about to ask in a header.
fn handshake_model(headers: &HeaderMap) -> Option<String> {
    #[derive(Deserialize)]
    struct Turn {
        model: String,
    }
    let turn = headers.get("x-codex-turn-metadata")?;
    Some(serde_json::from_slice::<Turn>(turn.as_bytes()).ok()?.model)
}

fn frame(frame: &[u8]) -> Result<Frame, Rejection> {
    let fields = body::scan(frame, &["type", "response"])?;
    let kind = fields.get(0).and_then(|at| strict::string(&frame[at]));
    match kind.as_deref() {
        // Some servers take the request from inside `response`, which isn't evaluated here.
        Some("response.create") if fields.get(1).is_some() => Err(body::bad_request(
            "`response` is not taken in a `response.create`: put its keys beside `type`",
        )),
        Some("response.create") => Ok(Frame::Request),
        Some(kind @ ("response.cancel" | "response.processed")) => {
            let keys = fields.members.iter().map(|(key, _)| &frame[key.clone()]);
            let mut keys = keys.filter_map(strict::string);
            match keys.find(|key| !BESIDE.contains(&&**key)) {
                None if kind == "response.cancel" => Ok(Frame::Cancel),
                None => Ok(Frame::Beside),
                Some(key) => {
                    let key: String = key.chars().take(60).collect();
                    Err(body::bad_request(format!(
                        "a frame of this `type` can't have the key {key:?}: it can have {}",
                        BESIDE.join(", ")
                    )))
                }
            }
        }
        // `response.steer`, for one, makes a model answer again.
        _ => Err(body::bad_request(
            "frames of this `type` are not taken: send `response.create`",
        )),
    }
}

fn read(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let path = target(head.path).unwrap_or(ENDPOINT);
    let keys = [
        "model",
        "stream",
        "instructions",
        "input",
        "prompt_cache_key",
        "max_output_tokens",
        "conversation",
        "previous_response_id",
        "background",
    ];
    let (mut call, fields) = Call::of_json(path, body, &keys)?;
    let is_background = path == ENDPOINT && call.value(&fields, 8) == Some(b"true");
    if is_background {
        // It is followed until it ends, so that it is counted.
        call.choices.retain(|choice| choice.key != "background");
    }
    call.add_models_of_tools(&fields);
    let value = |nth| call.value(&fields, nth);
    let session = value(6).and_then(session::conversation);
    let previous = value(7).and_then(strict::string).map(Cow::into_owned);
    let kept_elsewhere = KeptElsewhere {
        items: named::items(value(3).unwrap_or_default()).map_err(|error| {
            body::bad_request(format!("an item of `input` is ambiguous: {error}"))
        })?,
        conversation: value(6)
            .filter(|named| *named != b"null")
            .map(|named| session::conversation(named).unwrap_or_default()),
    };
    if kept_elsewhere.items.len() > named::MOST {
        let why = format!("`input` names more than {} items", named::MOST);
        return Err(body::bad_request(why));
    }
    Ok(Call {
        billed: path != COUNT,
        background: is_background,
        answer_limit: body::count(value(5)),
        session: session.or_else(|| value(4).and_then(session::of)),
        previous_response: previous,
        kept_elsewhere,
        opening: opening::of(value(2), value(3)),
        ..call
    })
}

/// Functions and custom tools by their name, others by their type.
fn tools(body: &[u8]) -> Offer {
    tools_at(body, 0..body.len())
}

/// The same of an object that is part of a request.
pub(super) fn tools_at(body: &[u8], at: Range<usize>) -> Offer {
    let listed = |at| {
        offer::tools(body, at, |tool| match tool.text(&["type"])?.as_deref() {
            None | Some("function" | "custom") => tool.agreed(&[&["name"], &["function", "name"]]),
            Some("mcp") => {
                let label = tool.text(&["server_label"])?.unwrap_or_default();
                Ok(Some(format!("mcp:{label}")))
            }
            Some(kind) => Ok(Some(kind.to_owned())),
        })
    };
    offer::of_servers(
        body,
        at,
        &["input", "prompt"],
        listed,
        |key, at| match key {
            // Results of a search for tools, and tools that a client adds as it goes.
            "input" => offer::within(body, at, "tools", listed),
            // A stored prompt brings its own tools.
            _ => match &body[at.clone()] {
                b"null" => Offer::default(),
                prompt => {
                    let id = strict::scan(prompt, &["id"]).ok();
                    let id = id.and_then(|fields| fields.get(0));
                    let id = id.and_then(|at| strict::string(&prompt[at]));
                    Offer::Tool(format!("prompt:{}", id.unwrap_or_default()))
                }
            },
        },
    )
}

/// Clients of `ChatGPT`'s own backend put `/codex` in front.
fn target(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("/codex").unwrap_or(path);
    let path = path.strip_prefix("/v1").unwrap_or(path);
    [ENDPOINT, COUNT, COMPACT]
        .into_iter()
        .find(|known| known.strip_prefix("/v1") == Some(path))
}

#[cfg(test)]
mod tests;
