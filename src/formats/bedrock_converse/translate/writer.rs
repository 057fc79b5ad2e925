//! A stream for a caller: `messageStart`, then blocks, `messageStop`, `metadata`. A block has a start
//! only if it is a call or a picture; of others, the first delta says what they are.

use super::write_response::{metrics, picture};
use super::{citation, is_redacted, put_stop, redacted_content, signature, usage};
use crate::formats::translate::{
    Delta, Event, EventWriter, Object, Open, Seal, Stop, Usage, id_or_new, object,
};
use crate::wire::event_stream;

/// The longest text of an event, in bytes: a message of the framing has a limit. A multiple of 4, so that
/// each piece of Base64 stands for whole bytes.
const LONGEST: usize = 1 << 20;

/// Writes a stream.
#[derive(Debug, Default)]
pub(super) struct Writer {
    is_started: bool,
    /// The number of the block that is open, or of the next.
    index: u64,
    block: Block,
    /// Something of the block was written.
    is_begun: bool,
    stop: Stop,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    #[default]
    None,
    Text,
    Thought,
    Call,
}

impl EventWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { .. } => self.start(out),
            Event::Usage(usage) => self.usage.add(usage),
            Event::Open(open) => self.open(open, out),
            Event::Delta(delta) => self.add(delta, out),
            Event::Close => self.close(out),
            Event::Stop(stop) => {
                self.close(out);
                self.stop = stop;
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.close(out);
        let mut stop = Object::default();
        put_stop(&mut stop, &self.stop);
        message("messageStop", &stop, out);
        let metadata = object! { "usage": usage(&self.usage), "metrics": metrics() };
        message("metadata", &metadata, out);
    }
}

impl Writer {
    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_started, true) {
            message("messageStart", &object! { "role": "assistant" }, out);
        }
    }

    fn open(&mut self, open: Open, out: &mut Vec<u8>) {
        self.start(out);
        self.close(out);
        match open {
            Open::Text | Open::Refusal => self.block = Block::Text,
            Open::Reasoning => self.block = Block::Thought,
            Open::ToolCall { id, name, .. } => {
                self.block = Block::Call;
                let id = id_or_new(Some(id), "tooluse_");
                let call = object! { "toolUseId": id, "name": name };
                self.start_block(object! { "toolUse": call }, out);
            }
            Open::Media(media) => {
                if let Some((format, bytes)) = picture(&media) {
                    let image = object! { "format": format };
                    self.start_block(object! { "image": image }, out);
                    for bytes in pieces(bytes) {
                        let source = object! { "bytes": bytes };
                        let image = object! { "source": source };
                        self.delta(object! { "image": image }, out);
                    }
                    self.stop_block(out);
                }
            }
        }
    }

    fn add(&mut self, delta: Delta, out: &mut Vec<u8>) {
        match (self.block, delta) {
            (Block::Text, Delta::Text(text)) => {
                for text in pieces(&text) {
                    self.delta(object! { "text": text }, out);
                }
            }
            (Block::Text, Delta::Citation(citation)) => {
                self.delta(object! { "citation": citation::write(&citation) }, out);
            }
            (Block::Thought, Delta::Text(text)) => {
                for text in pieces(&text) {
                    self.think(object! { "text": text }, out);
                }
            }
            (Block::Thought, Delta::Seal(seal)) => self.seal(&seal, out),
            (Block::Call, Delta::Text(text)) => {
                for text in pieces(&text) {
                    let call = object! { "input": text };
                    self.delta(object! { "toolUse": call }, out);
                }
            }
            _ => {}
        }
    }

    fn seal(&mut self, seal: &Seal, out: &mut Vec<u8>) {
        let piece = if is_redacted(self.is_begun, seal) {
            object! { "redactedContent": redacted_content(seal) }
        } else {
            object! { "signature": signature(seal) }
        };
        self.think(piece, out);
    }

    fn think(&mut self, piece: Object, out: &mut Vec<u8>) {
        self.delta(object! { "reasoningContent": piece }, out);
    }

    fn start_block(&mut self, start: Object, out: &mut Vec<u8>) {
        let data = object! { "start": start, "contentBlockIndex": self.index };
        message("contentBlockStart", &data, out);
    }

    fn delta(&mut self, delta: Object, out: &mut Vec<u8>) {
        self.is_begun = true;
        let data = object! { "delta": delta, "contentBlockIndex": self.index };
        message("contentBlockDelta", &data, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let block = std::mem::take(&mut self.block);
        if block == Block::Call && !self.is_begun {
            // Callers put the pieces together and read them as JSON, which nothing isn't.
            let call = object! { "input": "{}" };
            self.delta(object! { "toolUse": call }, out);
        }
        if self.is_begun {
            self.stop_block(out);
        }
    }

    fn stop_block(&mut self, out: &mut Vec<u8>) {
        let data = object! { "contentBlockIndex": self.index };
        message("contentBlockStop", &data, out);
        self.index += 1;
        self.is_begun = false;
    }
}

fn message(name: &str, data: &Object, out: &mut Vec<u8>) {
    let headers = [(":event-type", name), (":message-type", "event")];
    out.extend_from_slice(&event_stream::encode(&headers, data.to_string()));
}

/// A text in pieces that are short enough for an event.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(LONGEST));
        rest = more;
        (!piece.is_empty()).then_some(piece)
    })
}
