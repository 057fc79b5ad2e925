//! A provider's response.

use super::{NAME, citation, media, stop_of, usage_of};
use crate::formats::translate::{
    Citation, Content, Delta, Event, EventReader, Failure, Json, Media, MediaKind, Object, Open,
    Part, Response, Seal, SealKind, Sequence, Source, Stop, Text, Thought, ToolCall, hold,
};
use crate::wire::sse;

/// The longest picture of a stream, in bytes of Base64.
const LONGEST_MEDIUM: usize = 32 << 20;

/// Each exception with its status.
const EXCEPTIONS: [(&str, u16); 9] = [
    ("accessDeniedException", 403),
    ("internalServerException", 500),
    ("modelErrorException", 502),
    ("modelStreamErrorException", 502),
    ("modelTimeoutException", 504),
    ("resourceNotFoundException", 404),
    ("serviceUnavailableException", 503),
    ("throttlingException", 429),
    ("validationException", 400),
];

pub(super) fn whole(body: &Json) -> Result<Response, Failure> {
    let content = body.at("output").at("message").at("content");
    if !matches!(content, Json::List(_)) {
        return Err(match body.at("message").words() {
            Some(words) => Failure::reported(None, words),
            None => Failure::new("the provider's response has no message"),
        });
    }
    Ok(Response {
        id: None,
        model: None,
        parts: content.list().iter().filter_map(part).collect(),
        stop: stop_of(body)?,
        usage: usage_of(body.at("usage")),
    })
}

/// A block of content; `None` for calls of the provider's own tools and their results.
fn part(block: &Json) -> Option<Part> {
    if let Some(text) = block.at("text").text() {
        return Some(Part::text(text));
    }
    let Json::Object(members) = block else {
        return None;
    };
    let (kind, value) = members.members().next()?;
    let content = match kind {
        "toolUse" => Content::ToolCall(call(value)?),
        "reasoningContent" => Content::Reasoning(thought(value)),
        "citationsContent" => {
            let pieces = value.at("content").list().iter();
            Content::Text(Text {
                text: pieces.filter_map(|piece| piece.at("text").text()).collect(),
                citations: citations(value.at("citations")),
                logprobs: Vec::new(),
            })
        }
        "image" => {
            let bytes = value.at("source").at("bytes").words()?;
            Content::Media(picture(value, bytes.to_owned()))
        }
        _ => return None,
    };
    Some(Part::new(content))
}

fn citations(list: &Json) -> Vec<Citation> {
    list.list().iter().map(citation::read).collect()
}

/// A call; `None` if the provider runs the tool itself.
fn call(call: &Json) -> Option<ToolCall> {
    if !call.at("type").is_null() {
        return None;
    }
    let text = |key| call.at(key).text().unwrap_or_default().to_owned();
    Some(ToolCall {
        id: text("toolUseId"),
        name: text("name"),
        arguments: match call.at("input") {
            Json::Null => Object::default().to_string(),
            // What isn't JSON comes as a text.
            Json::Text(input) => input.clone(),
            input => input.to_string(),
        },
        is_freeform: false,
    })
}

fn thought(reasoning: &Json) -> Thought {
    if let Some(data) = reasoning.at("redactedContent").words() {
        return Thought {
            text: String::new(),
            seal: Some(hidden(data)),
        };
    }
    let visible = reasoning.at("reasoningText");
    Thought {
        text: visible.at("text").text().unwrap_or_default().to_owned(),
        seal: visible.at("signature").words().map(signed),
    }
}

fn signed(signature: &str) -> Seal {
    Seal::new(NAME, SealKind::Signature, signature)
}

fn hidden(data: &str) -> Seal {
    Seal::new(NAME, SealKind::Encrypted, data)
}

fn picture(image: &Json, bytes: String) -> Media {
    let format = image.at("format").text().unwrap_or_default();
    let mime = media::mime_of(MediaKind::Image, format);
    Media::new(
        MediaKind::Image,
        mime.map(str::to_owned),
        Source::Inline(bytes),
    )
}

/// Reads a stream. Its blocks come one after the other; only some of them have a start.
#[derive(Debug, Default)]
pub(super) struct Reader {
    sequence: Sequence,
    block: Block,
    /// The number of the block.
    index: u64,
    /// Why the model stopped, once it has.
    stop: Option<Stop>,
}

#[derive(Debug, Default)]
enum Block {
    /// None has begun.
    #[default]
    None,
    /// A text.
    Text,
    /// A thought, with its signature as far as it came.
    Thought(String),
    /// A call, and whether some of its input has come.
    Call(bool),
    /// A picture, as far as it came.
    Picture(Media),
    /// One that is left out.
    Skipped,
}

impl EventReader for Reader {
    fn read(&mut self, event: &sse::Event<'_>, out: &mut Vec<Event>) -> Result<(), Failure> {
        let Ok(data) = Json::read(event.data) else {
            return Err(Failure::new("an event of the provider's stream isn't JSON"));
        };
        let name = std::str::from_utf8(event.name).unwrap_or_default();
        match name {
            "messageStart" => self.sequence.start(None, None, out),
            "contentBlockStart" => self.open(&data, out),
            "contentBlockDelta" => return self.delta(&data, out),
            "contentBlockStop" => self.close(out),
            "messageStop" => {
                self.close(out);
                self.stop = Some(stop_of(&data)?);
            }
            "metadata" => {
                self.sequence.start(None, None, out);
                out.push(Event::Usage(usage_of(data.at("usage"))));
            }
            _ => return error(name, &data),
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Failure> {
        match self.stop.take() {
            Some(stop) => {
                self.sequence.stop(stop, out);
                Ok(())
            }
            None if self.sequence.is_stopped() => Ok(()),
            None => Err(Failure::new("the provider's stream ended before its end")),
        }
    }
}

/// The error that an event reports. Other events say nothing.
fn error(name: &str, data: &Json) -> Result<(), Failure> {
    let known = EXCEPTIONS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    let is_error =
        known.is_some() || name.ends_with("Exception") || data.at("code").text().is_some();
    if !is_error {
        return Ok(());
    }
    // What the model's own server said is nearer to the cause.
    let original = data.at("originalStatusCode").whole();
    let original = original.and_then(|status| u16::try_from(status).ok());
    let original = original.filter(|status| (400..600).contains(status));
    let status = original.or(known.map(|(_, status)| *status));
    let words = data.at("message").words();
    Err(Failure::reported(
        status,
        words.unwrap_or("the provider reports an error"),
    ))
}

impl Reader {
    fn open(&mut self, event: &Json, out: &mut Vec<Event>) {
        self.close(out);
        self.index = index_of(event);
        let start = event.at("start");
        if start.at("toolUse").is_object() {
            match call(start.at("toolUse")) {
                Some(call) => {
                    self.block = Block::Call(false);
                    let open = Open::ToolCall {
                        id: call.id,
                        name: call.name,
                        is_freeform: false,
                    };
                    self.sequence.open(open, out);
                }
                None => self.block = Block::Skipped,
            }
        } else if start.at("image").is_object() {
            self.block = Block::Picture(picture(start.at("image"), String::new()));
        } else if start.at("toolResult").is_object() {
            self.block = Block::Skipped;
        }
    }

    fn delta(&mut self, event: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        let index = index_of(event);
        if index != self.index {
            self.close(out);
            self.index = index;
        }
        let delta = event.at("delta");
        if matches!(self.block, Block::Skipped) {
            return Ok(());
        }
        if let Some(text) = delta.at("text").text() {
            self.in_text(out);
            push_text(text, out);
        } else if delta.at("citation").is_object() {
            self.in_text(out);
            let citation = citation::read(delta.at("citation"));
            out.push(Event::Delta(Delta::Citation(citation)));
        } else if delta.at("reasoningContent").is_object() {
            self.think(delta.at("reasoningContent"), out)?;
        } else if let Some(input) = delta.at("toolUse").at("input").text() {
            let Block::Call(has_input) = &mut self.block else {
                return Err(Failure::new(
                    "the provider's stream mixes up calls of tools",
                ));
            };
            *has_input |= !input.is_empty();
            push_text(input, out);
        } else if let Some(more) = delta.at("image").at("source").at("bytes").text()
            && let Block::Picture(Media {
                source: Source::Inline(bytes),
                ..
            }) = &mut self.block
        {
            if bytes.len() + more.len() > LONGEST_MEDIUM {
                return Err(Failure::new("a picture of the provider's is too long"));
            }
            bytes.push_str(more);
        }
        Ok(())
    }

    fn in_text(&mut self, out: &mut Vec<Event>) {
        if !matches!(self.block, Block::Text) {
            self.close(out);
            self.block = Block::Text;
            self.sequence.open(Open::Text, out);
        }
    }

    fn think(&mut self, delta: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        if !matches!(self.block, Block::Thought(_)) {
            self.close(out);
            self.block = Block::Thought(String::new());
            self.sequence.open(Open::Reasoning, out);
        }
        push_text(delta.at("text").text().unwrap_or_default(), out);
        if let Some(data) = delta.at("redactedContent").words() {
            out.push(Event::Delta(Delta::Seal(hidden(data))));
        }
        if let Block::Thought(signature) = &mut self.block {
            hold(signature, delta.at("signature").text().unwrap_or_default())?;
        }
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        match std::mem::take(&mut self.block) {
            Block::Thought(signature) if !signature.is_empty() => {
                out.push(Event::Delta(Delta::Seal(signed(&signature))));
            }
            // Of a call without input, nothing comes.
            Block::Call(false) => push_text("{}", out),
            Block::Picture(media) => self.sequence.open(Open::Media(media), out),
            _ => {}
        }
        self.sequence.close(out);
    }
}

fn index_of(event: &Json) -> u64 {
    event.at("contentBlockIndex").whole().unwrap_or(0)
}

fn push_text(text: &str, out: &mut Vec<Event>) {
    if !text.is_empty() {
        out.push(Event::Delta(Delta::Text(text.to_owned())));
    }
}
