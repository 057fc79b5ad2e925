//! OpenAI's responses: `POST /v1/responses`, as Codex and the newer SDKs use it.

mod error;
mod meter;
mod session;

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response};

use super::meter::Assembling;
use super::{
    Api, ApiKind, Call, Destination, Frame, Head, Known, Meter, Offer, OpaquePlace, Outbound, Path,
    Reading, Splice, body, estimate, known, openai_error, opening,
};
use super::{offer, openai_chat};
use crate::wire::{Body, Rejection, json};

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
#[derive(Debug)]
pub(super) struct OpenAiResponses;

impl Api for OpenAiResponses {
    fn kind(&self) -> ApiKind {
        ApiKind("openai_responses")
    }

    fn flags(&self) -> &'static [&'static str] {
        &["openai_responses"]
    }

    fn endpoint(&self) -> Option<&'static str> {
        Some(ENDPOINT)
    }

    fn opaque(&self) -> &'static [&'static str] {
        &["encrypted_content"]
    }

    fn socket_flag(&self) -> Option<&'static str> {
        Some("openai_responses_websocket")
    }

    fn recognises_socket(&self, path: &str) -> bool {
        target(path) == Some(ENDPOINT)
    }

    fn frame(&self, frame: &[u8]) -> Result<Frame, Rejection> {
        let fields = body::scan(frame, &["type", "response"])?;
        let kind = fields.get(0).and_then(|at| json::string(&frame[at]));
        match kind.as_deref() {
            // Some servers take the request from inside `response`, which nobody evaluates here.
            Some("response.create") if fields.get(1).is_some() => Err(body::bad_request(
                "`response` is not taken in a `response.create`: put its keys beside `type`",
            )),
            Some("response.create") => Ok(Frame::Request),
            Some("response.cancel" | "response.processed") => {
                let keys = fields.members.iter().map(|(key, _)| &frame[key.clone()]);
                let mut keys = keys.filter_map(json::string);
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

    fn opaque_places(&self) -> &'static [OpaquePlace] {
        const ENCRYPTED: &[OpaquePlace] = &[OpaquePlace {
            path: &["input", "*", "encrypted_content"],
            kinds: &[
                "reasoning",
                "compaction",
                "compaction_summary",
                "context_compaction",
            ],
        }];
        ENCRYPTED
    }

    fn known(&self) -> &'static Known {
        &known::RESPONSES
    }

    fn recognises(&self, method: &Method, path: &str) -> bool {
        method == Method::POST && target(path).is_some()
    }

    fn longest_event(&self) -> usize {
        WITH_IMAGES
    }

    fn read(&self, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
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
        let previous = text(7).and_then(json::string).map(Cow::into_owned);
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
            splice: Splice {
                model: fields.get(0),
                json: true,
                ..Splice::default()
            },
            ..Call::new(self.kind(), model, body)
        })
    }

    /// Functions and custom tools by their name, others by their type.
    fn tools(&self, body: &[u8]) -> Offer {
        let listed = |at| {
            offer::tools(body, at, |tool| match tool.text(&["type"])?.as_deref() {
                None | Some("function" | "custom") => {
                    tool.agreed(&[&["name"], &["function", "name"]])
                }
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
            key if openai_chat::TEMPLATES.contains(&key) => {
                openai_chat::templated(body, at, listed)
            }
            "tools" => listed(at),
            // Results of a search for tools, and tools that a client adds as it goes.
            "input" => offer::within(body, at, "tools", listed),
            // A stored prompt brings its own tools.
            "prompt" => match &body[at.clone()] {
                b"null" => Offer::default(),
                prompt => {
                    let id = json::scan(prompt, &["id"]).ok();
                    let id = id.and_then(|fields| fields.get(0));
                    let id = id.and_then(|at| json::string(&prompt[at]));
                    Offer::Tool(format!("prompt:{}", id.unwrap_or_default()))
                }
            },
            key => openai_chat::switched(body, at, key),
        })
    }

    fn prepare(&self, call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
        Ok(call.outbound(to.model))
    }

    fn estimated_count(&self, call: &Call) -> Option<serde_json::Value> {
        let count = || estimate::tokens(&call.body);
        (!call.billed).then(
            || serde_json::json!({ "object": "response.input_tokens", "input_tokens": count() }),
        )
    }

    fn meter(&self, call: &Call, room: usize) -> Box<dyn Meter> {
        // A count of tokens is a forecast, not usage.
        let read = if call.billed {
            meter::read
        } else {
            |_: &[u8]| Reading::default()
        };
        let events = meter::Events::default();
        Box::new(Assembling::new(events, read, call.text_bytes(), room))
    }

    fn refuse(&self, rejection: &Rejection) -> Response<Body> {
        openai_error::refuse(rejection)
    }

    fn stream_error(&self, _: &Call, rejection: &Rejection) -> Bytes {
        error::event(rejection)
    }
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
