//! A provider's response.

use super::{NAME, citation, stop_of, usage_of};
use crate::formats::translate::{
    Content, Delta, Event, EventReader, Failure, Json, Object, Open, Part, Response, Seal,
    SealKind, Sequence, Stop, Text, Thought, ToolCall, hold,
};
use crate::wire::sse;

/// Each type of error with its status.
const ERRORS: [(&str, u16); 9] = [
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("api_error", 500),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

pub(super) fn whole(body: &Json) -> Result<Response, Failure> {
    if body.at("type").text() == Some("error") {
        return Err(error(body.at("error")));
    }
    if !matches!(body.at("content"), Json::List(_)) {
        return Err(Failure::new("the provider's response isn't a message"));
    }
    Ok(Response {
        id: body.at("id").words().map(str::to_owned),
        model: body.at("model").words().map(str::to_owned),
        parts: body.at("content").list().iter().filter_map(part).collect(),
        stop: stop_of(
            body.at("stop_reason").text().unwrap_or_default(),
            body.at("stop_sequence"),
        ),
        usage: usage_of(body.at("usage")),
    })
}

fn error(error: &Json) -> Failure {
    let kind = error.at("type").text().unwrap_or_default();
    let status = ERRORS.into_iter().find(|(known, _)| *known == kind);
    let words = error
        .at("message")
        .words()
        .unwrap_or("the provider reports an error");
    Failure::reported(status.map(|(_, status)| status), words)
}

/// A block of content; `None` for calls of the provider's own tools and their results.
fn part(block: &Json) -> Option<Part> {
    let text = |key| block.at(key).text().unwrap_or_default().to_owned();
    let content = match block.at("type").text()? {
        "text" => Content::Text(Text {
            text: text("text"),
            citations: block
                .at("citations")
                .list()
                .iter()
                .map(citation::read)
                .collect(),
            logprobs: Vec::new(),
        }),
        "thinking" => Content::Reasoning(Thought {
            text: text("thinking"),
            seal: signature(&text("signature")),
        }),
        "redacted_thinking" => Content::Reasoning(redacted(&text("data"))),
        "tool_use" => Content::ToolCall(ToolCall {
            id: text("id"),
            name: text("name"),
            arguments: match block.at("input") {
                Json::Null => Object::default().to_string(),
                input => input.to_string(),
            },
            is_freeform: false,
        }),
        _ => return None,
    };
    Some(Part::new(content))
}

fn signature(signature: &str) -> Option<Seal> {
    let seal = || Seal::new(NAME, SealKind::Signature, signature);
    (!signature.is_empty()).then(seal)
}

fn redacted(data: &str) -> Thought {
    Thought {
        text: String::new(),
        seal: Some(Seal::new(NAME, SealKind::Encrypted, data)),
    }
}

/// Reads a stream. Its blocks come one after the other.
#[derive(Debug, Default)]
pub(super) struct Reader {
    sequence: Sequence,
    /// The block that is open is one that is left out.
    is_skipping: bool,
    /// The signature of the thought that is open.
    signature: String,
    is_ended: bool,
}

impl EventReader for Reader {
    fn read(&mut self, event: &sse::Event<'_>, out: &mut Vec<Event>) -> Result<(), Failure> {
        let Ok(data) = Json::read(event.data) else {
            return Err(Failure::new("an event of the provider's stream isn't JSON"));
        };
        match data.at("type").text().unwrap_or_default() {
            "message_start" => {
                let message = data.at("message");
                let (id, model) = (message.at("id").words(), message.at("model").words());
                self.sequence.start(id, model, out);
                out.push(Event::Usage(usage_of(message.at("usage"))));
            }
            "content_block_start" => self.open(data.at("content_block"), out),
            "content_block_delta" => self.delta(data.at("delta"), out)?,
            "content_block_stop" => self.close(out),
            "message_delta" => {
                out.push(Event::Usage(usage_of(data.at("usage"))));
                if let Some(reason) = data.at("delta").at("stop_reason").text() {
                    let stop = stop_of(reason, data.at("delta").at("stop_sequence"));
                    self.sequence.stop(stop, out);
                }
            }
            "message_stop" => {
                self.is_ended = true;
                self.sequence.stop(Stop::End, out);
            }
            "error" => return Err(error(data.at("error"))),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Failure> {
        if !self.is_ended && !self.sequence.is_stopped() {
            return Err(Failure::new("the provider's stream ended before its end"));
        }
        self.sequence.stop(Stop::End, out);
        Ok(())
    }
}

impl Reader {
    fn open(&mut self, block: &Json, out: &mut Vec<Event>) {
        self.close(out);
        let Some(part) = part(block) else {
            self.is_skipping = true;
            return;
        };
        match part.content {
            Content::Text(text) => {
                self.sequence.open(Open::Text, out);
                push_text(text.text, out);
                out.extend(
                    text.citations
                        .into_iter()
                        .map(|one| Event::Delta(Delta::Citation(one))),
                );
            }
            Content::Reasoning(thought) => {
                self.sequence.open(Open::Reasoning, out);
                push_text(thought.text, out);
                match thought.seal {
                    Some(seal) if seal.kind == SealKind::Signature => self.signature = seal.value,
                    seal => out.extend(seal.map(|seal| Event::Delta(Delta::Seal(seal)))),
                }
            }
            Content::ToolCall(call) => {
                let open = Open::ToolCall {
                    id: call.id,
                    name: call.name,
                    is_freeform: false,
                };
                self.sequence.open(open, out);
                // Mostly it begins empty, and its parameters follow.
                if call.arguments != "{}" {
                    push_text(call.arguments, out);
                }
            }
            _ => {}
        }
    }

    fn delta(&mut self, delta: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        if self.is_skipping || !self.sequence.is_open() {
            return Ok(());
        }
        let text = |key| delta.at(key).text().unwrap_or_default();
        match delta.at("type").text().unwrap_or_default() {
            "text_delta" => push_text(text("text").to_owned(), out),
            "thinking_delta" => push_text(text("thinking").to_owned(), out),
            "input_json_delta" => push_text(text("partial_json").to_owned(), out),
            "signature_delta" => hold(&mut self.signature, text("signature"))?,
            "citations_delta" => {
                let citation = citation::read(delta.at("citation"));
                out.push(Event::Delta(Delta::Citation(citation)));
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        self.is_skipping = false;
        let seal = signature(&std::mem::take(&mut self.signature));
        if self.sequence.is_open() {
            out.extend(seal.map(|seal| Event::Delta(Delta::Seal(seal))));
        }
        self.sequence.close(out);
    }
}

fn push_text(text: String, out: &mut Vec<Event>) {
    if !text.is_empty() {
        out.push(Event::Delta(Delta::Text(text)));
    }
}
