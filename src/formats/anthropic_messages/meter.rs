//! Messages: events put together again, and what a message tells.

use serde_json::{Map, Value, json};

use crate::formats::assembly::{Assembly, Continued, Repeated, Seen};
use crate::formats::merge::merge;
use crate::formats::room::Room;
use crate::formats::tokens::{sealed, spoken};
use crate::formats::tree::{self, add_counts_at, count, counted, highest, list, size, sum};
use crate::formats::{Reading, Tokens, ToolCall};
use crate::wire::json::Part;
use crate::wire::sse;

/// Pieces of a tool's input.
const INPUT: &str = "partial_json";
/// Words for what was written up to here.
const OUTPUT: [&str; 2] = ["output_tokens", "completion_tokens"];
/// Blocks of content at most; a stream with more is followed no further.
const MAX_BLOCKS: usize = 4096;

/// Events of a stream.
#[derive(Default)]
pub(in crate::formats) struct Events {
    message: Option<Value>,
    /// Input of tools, which comes as pieces of JSON text, by the number of its block.
    inputs: Vec<(usize, String)>,
    /// Where blocks stand whose number another one has: the number, and the place.
    moved: Vec<(usize, usize)>,
    /// The block and the key of the text that the last event went on with.
    target: (usize, &'static str),
}

impl Assembly for Events {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        match tree::object(event.data) {
            Some(event) => self.event(Value::Object(event), room),
            None => Seen::default(),
        }
    }

    fn goes_on<'p>(&mut self, _: &[u8], event: Part<'p>, room: &mut Room) -> Option<Continued<'p>> {
        if !event.get("type")?.is("content_block_delta") {
            return None;
        }
        let delta = event.get("delta")?;
        let key = text_of(&delta.get("type")?.text()?)?;
        let piece = delta.get(key);
        let text = piece.and_then(Part::text).unwrap_or_default();
        let at = event.get("index").and_then(Part::whole);
        let at = self.place(at.and_then(|at| usize::try_from(at).ok()));
        self.target = (at, key);
        Some(Continued {
            seen: self.text(at, key, &text, room),
            text: piece.filter(|piece| piece.is_text()),
        })
    }

    fn again(&mut self, repeated: &Repeated<'_>, room: &mut Room) -> Option<Seen> {
        let (at, key) = self.target;
        Some(self.text(at, key, &repeated.text, room))
    }

    fn marks(&self) -> &'static [&'static str] {
        &["message_", "content_block", "ping"]
    }

    fn response(&mut self) -> Option<Value> {
        let mut message = self.message.take()?;
        let content = message["content"].as_array_mut()?;
        for (at, input) in std::mem::take(&mut self.inputs) {
            if let Some(block) = content.get_mut(at).filter(|block| block.is_object()) {
                // What was cut off is kept as the text that it is.
                block["input"] = serde_json::from_str(&input).unwrap_or(Value::String(input));
            }
        }
        content.retain(|block| !block.is_null());
        Some(message)
    }
}

impl Events {
    /// One event, by its `type`: its name says the same, and Bedrock's have none.
    pub(in crate::formats) fn event(&mut self, event: Value, room: &mut Room) -> Seen {
        let kind = event["type"].as_str().unwrap_or_default();
        let at = event["index"]
            .as_u64()
            .and_then(|at| usize::try_from(at).ok());
        match kind {
            "message_start" => self.start(event, room),
            "content_block_start" => {
                let at = self.free(at);
                self.block(at, event, room).closes(false)
            }
            "content_block_stop" => Seen::default().closes(true),
            "content_block_delta" => {
                let at = self.place(at);
                self.delta(at, &event, room)
            }
            "message_delta" => self.message_delta(event, room),
            "message_stop" => Seen::end(),
            _ => Seen::default(),
        }
    }

    /// Where the block with a number stands; the last one for a block without a number.
    fn place(&self, number: Option<usize>) -> usize {
        let count = self
            .message
            .as_ref()
            .and_then(|message| message["content"].as_array());
        let last = count.map_or(0, Vec::len).saturating_sub(1);
        let number = number.unwrap_or(last);
        let moved = self.moved.iter().rfind(|(of, _)| *of == number);
        moved.map_or(number, |(_, place)| *place)
    }

    /// Where a block begins: where its number says, unless there is another one.
    fn free(&mut self, number: Option<usize>) -> usize {
        let content = self.content().map(|content| &**content).unwrap_or_default();
        let next = content.len();
        let Some(number) = number else {
            return next;
        };
        if content.get(number).is_none_or(Value::is_null) {
            return number;
        }
        self.moved.retain(|(of, _)| *of != number);
        self.moved.push((number, next));
        next
    }

    fn start(&mut self, mut event: Value, room: &mut Room) -> Seen {
        let mut message = event["message"].take();
        if !message.is_object() || !room.take(size(&message)) {
            return Seen::default();
        }
        message["content"] = Value::Array(Vec::new());
        let counted = counts_output(&message["usage"]);
        self.message = Some(message);
        Seen {
            counted,
            ..Seen::default()
        }
    }

    fn block(&mut self, at: usize, mut event: Value, room: &mut Room) -> Seen {
        let block = event["content_block"].take();
        if !block.is_object() {
            return Seen::default();
        }
        let Some(content) = self.content() else {
            return Seen::default();
        };
        if at >= MAX_BLOCKS
            || !room.take(size(&block) + 64 * (at + 1).saturating_sub(content.len()))
        {
            return Seen::default();
        }
        if content.len() <= at {
            content.resize(at + 1, Value::Null);
        }
        // The start of a tool's call is output already.
        let is_call = block.get("input").is_some();
        let text = block["text"].as_str().map_or(0, str::len);
        let hidden = if block["type"] == "redacted_thinking" {
            sealed(&block["data"])
        } else {
            0
        };
        content[at] = block;
        Seen::said(text + hidden + usize::from(is_call))
    }

    fn delta(&mut self, at: usize, event: &Value, room: &mut Room) -> Seen {
        let delta = &event["delta"];
        if !delta.is_object() {
            return Seen::default();
        }
        let kind = delta["type"].as_str().unwrap_or_default();
        if let Some(key) = text_of(kind) {
            return self.text(at, key, delta[key].as_str().unwrap_or_default(), room);
        }
        let block = self.content().and_then(|content| content.get_mut(at));
        // A block that never began is one that is left out.
        let Some(block) = block.filter(|block| block.is_object()) else {
            return Seen::default();
        };
        match kind {
            "citations_delta" => {
                let citation = json!({ "citations": [delta["citation"]] });
                if block["citations"].is_null() {
                    block["citations"] = Value::Array(Vec::new());
                }
                merge(block, citation, room);
                Seen::default()
            }
            "signature_delta" => {
                block["signature"] = delta["signature"].clone();
                // It holds all of the reasoning, of which the caller may have been shown a part.
                let shown = block["thinking"].as_str().map_or(0, str::len);
                Seen::said(sealed(&delta["signature"]).saturating_sub(shown))
            }
            // Kinds to come: each piece of text goes on where its name says.
            _ => {
                let mut piece = delta.clone();
                if let Some(fields) = piece.as_object_mut() {
                    fields.remove("type");
                }
                let length = usize::from(size(&piece) > 0).max(spoken(&piece));
                merge(block, piece, room);
                Seen::said(length)
            }
        }
    }

    /// A piece of a text, or of the input of a tool.
    fn text(&mut self, at: usize, key: &str, piece: &str, room: &mut Room) -> Seen {
        if key == INPUT {
            let is_open = self.content().is_some_and(|content| at < content.len());
            match self.inputs.iter_mut().find(|(block, _)| *block == at) {
                Some((_, input)) => room.push(input, piece),
                None if is_open && !piece.is_empty() => {
                    let mut input = String::new();
                    room.push(&mut input, piece);
                    self.inputs.push((at, input));
                }
                None => {}
            }
            return Seen::said(piece.len());
        }
        let block = self.content().and_then(|content| content.get_mut(at));
        match block.filter(|block| block.is_object()) {
            Some(block) => append(block, key, piece, room),
            // A block that never began is one that is left out.
            None => Seen::default(),
        }
    }

    /// The end of the message, with the usage up to here, which adds to that of the start.
    fn message_delta(&mut self, mut event: Value, room: &mut Room) -> Seen {
        // The start may have been of a kind that can't be read.
        let message = self.message.get_or_insert_with(|| json!({ "content": [] }));
        let (delta, usage) = (event["delta"].take(), event["usage"].take());
        for (key, value) in delta.as_object().into_iter().flatten() {
            // These are put together here.
            if matches!(key.as_str(), "content" | "usage") {
                continue;
            }
            if message.get(key).is_some() || room.take(key.len() + size(value)) {
                message[key] = value.clone();
            }
        }
        let counted = counts_output(&usage);
        let usage = match usage {
            Value::Object(usage) => usage,
            _ => Map::new(),
        };
        if let Some(message) = message.as_object_mut() {
            add_counts_at(message, "usage", usage);
        }
        Seen {
            counted,
            // What follows is at most the count.
            ends: delta["stop_reason"].is_string(),
            ..Seen::default()
        }
    }

    fn content(&mut self) -> Option<&mut Vec<Value>> {
        self.message.as_mut()?["content"].as_array_mut()
    }
}

/// The key of the text that a delta of this kind has.
fn text_of(kind: &str) -> Option<&'static str> {
    match kind {
        "input_json_delta" => Some(INPUT),
        "text_delta" => Some("text"),
        "thinking_delta" => Some("thinking"),
        _ => None,
    }
}

/// Whether a report counts what was written up to here.
fn counts_output(usage: &Value) -> bool {
    OUTPUT.iter().any(|key| count(&usage[*key]).is_some())
}

fn append(block: &mut Value, key: &str, piece: &str, room: &mut Room) -> Seen {
    if let Value::String(text) = &mut block[key] {
        room.push(text, piece);
    } else if block.is_object() && room.take(piece.len()) {
        block[key] = piece.into();
    }
    Seen::said(piece.len())
}

/// Reads a message.
pub(in crate::formats) fn read(message: Part<'_>) -> Reading {
    let usage = message.get("usage").filter(|usage| usage.is_object());
    let total = usage.and_then(|usage| highest(usage, &["total_tokens"]));
    Reading {
        finish_reason: message.word("stop_reason"),
        tool_calls: list(message, "content").filter_map(tool_call).collect(),
        tier: message.word("usage/service_tier"),
        geography: message.word("usage/inference_geo"),
        model: message.word("model"),
        ..Reading::of(message, usage.map(tokens).unwrap_or_default(), total)
    }
}

/// Tools of the caller's, of Anthropic's servers and of MCP servers are called alike.
fn tool_call(block: Part<'_>) -> Option<ToolCall> {
    let is_call = block.get("type")?.text()?.ends_with("tool_use");
    ToolCall::of(block.get("name").filter(|_| is_call), || {
        ToolCall::params(block.get("input"))
    })
}

/// Anthropic counts tokens of the prompt apart from those that its cache served or took. Servers
/// that follow it may use OpenAI's words, which include them.
fn tokens(usage: Part<'_>) -> Tokens {
    let below = |of: &str, key: &str| counted(usage.get(of)?.get(key)?);
    let lives = |key: &str| below("cache_creation", key);
    let (five, hour) = (
        lives("ephemeral_5m_input_tokens"),
        lives("ephemeral_1h_input_tokens"),
    );
    let written = highest(
        usage,
        &["cache_creation_input_tokens", "cache_write_input_tokens"],
    )
    .or(sum([five, hour]));
    let read = highest(usage, &["cache_read_input_tokens", "cache_read_tokens"]);
    Tokens {
        input: match highest(usage, &["input_tokens"]) {
            Some(own) => sum([Some(own), read, written]),
            None => highest(usage, &["prompt_tokens"]),
        },
        output: highest(usage, &OUTPUT),
        cached: read.or(highest(usage, &["cached_tokens"])),
        cache_write: written,
        cache_write_5m: five,
        cache_write_1h: hour,
        web_searches: below("server_tool_use", "web_search_requests"),
        ..Tokens::default()
    }
}
