//! OpenAI's responses: `POST /v1/responses`, as Codex and the newer SDKs use it.

mod error;
mod meter;
mod session;

use std::borrow::Cow;

use bytes::Bytes;

use super::meter::Assembling;
use serde_json::json;

use super::{
    Call, Chat, Flag, Format, Frame, Head, Offer, OpaquePlace, Path, ProviderState, Refusals,
    Socket, Splice, body, known, openai, opening,
};
use super::{offer, openai_chat};
use crate::wire::{Rejection, json as strict};

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
        path: &["input", "*", "encrypted_content"],
        kinds: &[
            "reasoning",
            "compaction",
            "compaction_summary",
            "context_compaction",
        ],
    }],
    socket: Some(Socket {
        flag: &SOCKET,
        recognises: |path| target(path) == Some(ENDPOINT),
        frame,
    }),
    longest_event: WITH_IMAGES,
    tools,
    count_response: Some(
        |count| json!({ "object": "response.input_tokens", "input_tokens": count }),
    ),
    refusals: Refusals {
        event: error::event,
        ..openai::error::REFUSALS
    },
    state: ProviderState::Items,
    conversation: openai::transcript::RESPONSES,
    export_name: "oai_responses",
    chat: Some(Chat {
        flag: &FLAG,
        name: "responses",
        rank: 2,
    }),
    ..Format::new("openai_responses", &known::RESPONSES, read, |request| {
        let events = meter::Events::default();
        Box::new(Assembling::new(events, meter::read, request))
    })
};

fn frame(frame: &[u8]) -> Result<Frame, Rejection> {
    let fields = body::scan(frame, &["type", "response"])?;
    let kind = fields.get(0).and_then(|at| strict::string(&frame[at]));
    match kind.as_deref() {
        // Some servers take the request from inside `response`, which isn't evaluated here.
        Some("response.create") if fields.get(1).is_some() => Err(body::bad_request(
            "`response` is not taken in a `response.create`: put its keys beside `type`",
        )),
        Some("response.create") => Ok(Frame::Request),
        Some("response.cancel" | "response.processed") => {
            let keys = fields.members.iter().map(|(key, _)| &frame[key.clone()]);
            let mut keys = keys.filter_map(strict::string);
            match keys.find(|key| !BESIDE.contains(&&**key)) {
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
    ];
    let fields = body::scan(&body, &keys)?;
    let model = body::model(&body, fields.get(0))?;
    let stream = body::flag(&body, fields.get(1), "stream")?;
    let text = |nth| fields.get(nth).map(|at| &body[at]);
    let opening = text(3).and_then(|input| opening::of(text(2), input));
    let session = text(6).and_then(session::conversation);
    let session = session.or_else(|| text(4).and_then(session::of));
    let previous = text(7).and_then(strict::string).map(Cow::into_owned);
    let mut choices = known::choices(&body, &fields.members);
    choices.extend(known::models_of_tools(&body, &fields.members));
    Ok(Call {
        stream,
        choices,
        billed: path != COUNT,
        answer_limit: body::count(&body, fields.get(5)),
        session,
        previous_response: previous,
        opening,
        path: Path::Fixed(Cow::Borrowed(path)),
        splice: Splice::at(fields.get(0)),
        ..Call::new(model, body)
    })
}

/// Functions and custom tools by their name, others by their type.
fn tools(body: &[u8]) -> Offer {
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
    let mut keys = vec!["tools", "input", "prompt"];
    keys.extend(openai_chat::SWITCHES);
    keys.extend(openai_chat::TEMPLATES);
    offer::request(body, &keys, |key, at| match key {
        key if openai_chat::TEMPLATES.contains(&key) => openai_chat::templated(body, at, listed),
        "tools" => listed(at),
        // Results of a search for tools, and tools that a client adds as it goes.
        "input" => offer::within(body, at, "tools", listed),
        // A stored prompt brings its own tools.
        "prompt" => match &body[at.clone()] {
            b"null" => Offer::default(),
            prompt => {
                let id = strict::scan(prompt, &["id"]).ok();
                let id = id.and_then(|fields| fields.get(0));
                let id = id.and_then(|at| strict::string(&prompt[at]));
                Offer::Tool(format!("prompt:{}", id.unwrap_or_default()))
            }
        },
        key => openai_chat::switched(body, at, key),
    })
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
