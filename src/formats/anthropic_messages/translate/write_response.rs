//! A response for a caller.

use super::{NAME, citation, put_stop, usage};
use crate::formats::translate::{
    Content, Delta, Event, EventWriter, Object, Open, Part, Request, Response, Seal, SealKind,
    Stop, Usage, id_or_new, object, write_sse,
};

pub(super) fn whole(request: &Request, response: Response) -> Object {
    let content: Vec<Object> = response.parts.iter().filter_map(block).collect();
    let mut message = message(request, response.id, response.model);
    message.put("content", content);
    put_stop(&mut message, &response.stop);
    message.put("usage", usage(&response.usage));
    message
}

fn message(request: &Request, id: Option<String>, model: Option<String>) -> Object {
    object! {
        "id": id_or_new(id, "msg_"),
        "type": "message",
        "role": "assistant",
        "model": model.unwrap_or_else(|| request.model.clone()),
    }
}

fn block(part: &Part) -> Option<Object> {
    Some(match &part.content {
        Content::Text(text) => {
            let mut block = object! { "type": "text", "text": &text.text };
            let citations: Vec<Object> =
                text.citations.iter().filter_map(citation::write).collect();
            if !citations.is_empty() {
                block.put("citations", citations);
            }
            block
        }
        Content::Refusal(text) => object! { "type": "text", "text": text },
        Content::Reasoning(thought) => match &thought.seal {
            Some(seal) if thought.text.is_empty() && seal.kind != SealKind::Signature => {
                object! { "type": "redacted_thinking", "data": value(seal) }
            }
            seal => object! {
                "type": "thinking",
                "thinking": &thought.text,
                "signature": seal.as_ref().map(value).unwrap_or_default(),
            },
        },
        Content::ToolCall(call) => object! {
            "type": "tool_use",
            "id": id_or_new(Some(call.id.clone()), "toolu_"),
            "name": &call.name,
            "input": call.input(),
        },
        // Messages have no media of the model's.
        Content::Media(_) | Content::ToolResult(_) => return None,
    })
}

/// What stands for a seal: the provider's own value, or one that Iris opens again.
fn value(seal: &Seal) -> String {
    if seal.format == NAME {
        seal.value.clone()
    } else {
        seal.closed()
    }
}

/// Writes a stream.
#[derive(Debug)]
pub(super) struct Writer {
    request_model: String,
    is_started: bool,
    /// The number of the block that is open, or of the next.
    index: u64,
    block: Block,
    stop: Stop,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// None is open.
    None,
    /// A thought has begun, of which it isn't known yet whether the caller may read it.
    Thought,
    /// A block of this kind.
    Open(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    ToolUse,
}

impl Writer {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            request_model: request.model.clone(),
            is_started: false,
            index: 0,
            block: Block::None,
            stop: Stop::End,
            usage: Usage::default(),
        }
    }

    fn start(&mut self, id: Option<String>, model: Option<String>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_started, true) {
            return;
        }
        let request = Request {
            model: self.request_model.clone(),
            ..Request::default()
        };
        let mut message = message(&request, id, model);
        message.put("content", Vec::<Object>::new());
        message.put("stop_reason", None::<String>);
        message.put("stop_sequence", None::<String>);
        message.put("usage", usage(&self.usage));
        let data = object! { "type": "message_start", "message": message };
        write_sse(out, "message_start", &data);
    }

    fn begin(&mut self, kind: Kind, block: Object, out: &mut Vec<u8>) {
        self.block = Block::Open(kind);
        let data = object! {
            "type": "content_block_start",
            "index": self.index,
            "content_block": block,
        };
        write_sse(out, "content_block_start", &data);
    }

    fn delta(&self, delta: Object, out: &mut Vec<u8>) {
        let data = object! {
            "type": "content_block_delta",
            "index": self.index,
            "delta": delta,
        };
        write_sse(out, "content_block_delta", &data);
    }

    fn think(&mut self, out: &mut Vec<u8>) {
        let block = object! { "type": "thinking", "thinking": "", "signature": "" };
        self.begin(Kind::Thinking, block, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if matches!(self.block, Block::Open(_)) {
            let data = object! { "type": "content_block_stop", "index": self.index };
            write_sse(out, "content_block_stop", &data);
            self.index += 1;
        }
        self.block = Block::None;
    }

    fn add(&mut self, delta: Delta, out: &mut Vec<u8>) {
        match (self.block, delta) {
            (Block::Open(Kind::Text), Delta::Text(text)) => {
                self.delta(object! { "type": "text_delta", "text": text }, out);
            }
            (Block::Open(Kind::Text), Delta::Citation(citation)) => {
                if let Some(citation) = citation::write(&citation) {
                    let delta = object! { "type": "citations_delta", "citation": citation };
                    self.delta(delta, out);
                }
            }
            (Block::Open(Kind::ToolUse), Delta::Text(text)) => {
                let delta = object! { "type": "input_json_delta", "partial_json": text };
                self.delta(delta, out);
            }
            (Block::Thought, Delta::Seal(seal)) if seal.kind != SealKind::Signature => {
                let block = object! { "type": "redacted_thinking", "data": value(&seal) };
                self.begin(Kind::Thinking, block, out);
            }
            (Block::Thought, delta @ (Delta::Text(_) | Delta::Seal(_))) => {
                self.think(out);
                self.add(delta, out);
            }
            (Block::Open(Kind::Thinking), Delta::Text(text)) => {
                self.delta(object! { "type": "thinking_delta", "thinking": text }, out);
            }
            (Block::Open(Kind::Thinking), Delta::Seal(seal)) => {
                let delta = object! { "type": "signature_delta", "signature": value(&seal) };
                self.delta(delta, out);
            }
            _ => {}
        }
    }
}

impl EventWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => self.start(id, model, out),
            Event::Usage(usage) => self.usage.add(usage),
            Event::Open(open) => {
                self.start(None, None, out);
                self.close(out);
                match open {
                    Open::Text | Open::Refusal => {
                        let block = object! { "type": "text", "text": "" };
                        self.begin(Kind::Text, block, out);
                    }
                    Open::Reasoning => self.block = Block::Thought,
                    Open::ToolCall { id, name, .. } => {
                        let id = id_or_new(Some(id), "toolu_");
                        let block = object! {
                            "type": "tool_use",
                            "id": id,
                            "name": name,
                            "input": Object::default(),
                        };
                        self.begin(Kind::ToolUse, block, out);
                    }
                    Open::Media(_) => {}
                }
            }
            Event::Delta(delta) => self.add(delta, out),
            Event::Close => self.close(out),
            Event::Stop(stop) => {
                self.close(out);
                self.stop = stop;
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(None, None, out);
        self.close(out);
        let mut delta = Object::default();
        put_stop(&mut delta, &self.stop);
        let data = object! {
            "type": "message_delta",
            "delta": delta,
            "usage": usage(&self.usage),
        };
        write_sse(out, "message_delta", &data);
        write_sse(out, "message_stop", &object! { "type": "message_stop" });
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        write_sse(out, "ping", &object! { "type": "ping" });
    }
}
