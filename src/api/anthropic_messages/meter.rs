//! Messages: events put together again, and what a message tells.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::merge::{merge, size};
use crate::api::meter::{Assembly, Room, Seen, count, part, sum};
use crate::api::{Reading, Tokens, ToolCall};
use crate::wire::sse;

/// Bytes of a count of what was used, with its name: so short ones need no room.
const COUNT: usize = 256;
/// So many of them.
const COUNTS: usize = 32;

/// Blocks of content at most; a stream with more is followed no further.
const MAX_BLOCKS: usize = 4096;

/// Events of a stream.
#[derive(Default)]
pub(in crate::api) struct Events {
    message: Option<Value>,
    /// Input of tools, which comes as pieces of JSON text, by the number of its block.
    inputs: Vec<(usize, String)>,
}

impl Assembly for Events {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        match serde_json::from_slice(event.data) {
            Ok(event) => self.event(event, room),
            Err(_) => Seen::default(),
        }
    }

    fn answer(&mut self) -> Option<Value> {
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
    pub(in crate::api) fn event(&mut self, event: Value, room: &mut Room) -> Seen {
        let kind = event["type"].as_str().unwrap_or_default();
        let at = event["index"]
            .as_u64()
            .and_then(|at| usize::try_from(at).ok());
        match (kind, at) {
            ("message_start", _) => self.start(event, room),
            ("content_block_start", Some(at)) => self.block(at, event, room),
            ("content_block_delta", Some(at)) => self.delta(at, &event, room),
            ("message_delta", _) => self.message_delta(event, room),
            ("message_stop", _) => Seen {
                ends: true,
                ..Seen::default()
            },
            _ => Seen::default(),
        }
    }

    fn start(&mut self, mut event: Value, room: &mut Room) -> Seen {
        let mut message = event["message"].take();
        if !message.is_object() || !room.take(size(&message)) {
            return Seen::default();
        }
        message["content"] = Value::Array(Vec::new());
        self.message = Some(message);
        Seen {
            counted: true,
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
        content[at] = block;
        Seen {
            said: text as u64 + u64::from(is_call),
            ..Seen::default()
        }
    }

    fn delta(&mut self, at: usize, event: &Value, room: &mut Room) -> Seen {
        let delta = &event["delta"];
        if !delta.is_object() {
            return Seen::default();
        }
        let text = |key: &str| delta[key].as_str().unwrap_or_default();
        let kind = text("type");
        if kind == "input_json_delta" {
            let piece = text("partial_json");
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
            return said(piece);
        }
        let block = self.content().and_then(|content| content.get_mut(at));
        // A block that never began is one that is left out.
        let Some(block) = block.filter(|block| block.is_object()) else {
            return Seen::default();
        };
        match kind {
            "text_delta" => append(block, "text", text("text"), room),
            "thinking_delta" => append(block, "thinking", text("thinking"), room),
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
                Seen::default()
            }
            // Kinds to come: each piece of text goes on where its name says.
            _ => {
                let mut piece = delta.clone();
                if let Some(fields) = piece.as_object_mut() {
                    fields.remove("type");
                }
                let length = size(&piece);
                merge(block, piece, room);
                Seen {
                    said: u64::from(length > 0),
                    ..Seen::default()
                }
            }
        }
    }

    /// The end of the message, with the usage up to here: counts replace those of the start,
    /// and what it leaves out stays.
    fn message_delta(&mut self, mut event: Value, room: &mut Room) -> Seen {
        let Some(message) = &mut self.message else {
            return Seen::default();
        };
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
        let counted = usage.is_object();
        if !message["usage"].is_object() {
            message["usage"] = json!({});
        }
        if let (Some(held), Some(counts)) = (message["usage"].as_object_mut(), usage.as_object()) {
            for (key, value) in counts {
                // The text before them may have taken all the room.
                let has_place = held.contains_key(key) || held.len() < COUNTS;
                let length = key.len() + size(value);
                if !value.is_null() && (has_place && length <= COUNT || room.take(length)) {
                    held.insert(key.clone(), value.clone());
                }
            }
        }
        Seen {
            counted,
            ..Seen::default()
        }
    }

    fn content(&mut self) -> Option<&mut Vec<Value>> {
        self.message.as_mut()?["content"].as_array_mut()
    }
}

fn append(block: &mut Value, key: &str, piece: &str, room: &mut Room) -> Seen {
    if let Value::String(text) = &mut block[key] {
        room.push(text, piece);
    } else if block.is_object() && room.take(piece.len()) {
        block[key] = piece.into();
    }
    said(piece)
}

fn said(piece: &str) -> Seen {
    Seen {
        said: piece.len() as u64,
        ..Seen::default()
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stop_reason: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default, deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    output_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_read_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation: Value,
    #[serde(default)]
    server_tool_use: Value,
    #[serde(default)]
    service_tier: Value,
}

/// Reads a message.
pub(in crate::api) fn read(body: &[u8]) -> Reading {
    let Ok(message) = serde_json::from_slice::<Message<'_>>(body) else {
        return Reading::default();
    };
    let usage = part::<Usage>(message.usage).unwrap_or_default();
    let blocks = part::<Vec<Value>>(message.content).unwrap_or_default();
    Reading {
        tokens: tokens(&usage),
        finish_reason: part(message.stop_reason),
        tool_calls: blocks.iter().filter_map(tool_call).collect(),
        tier: usage.service_tier.as_str().map(str::to_owned),
        ..Reading::default()
    }
}

/// Tools of the caller's, of Anthropic's servers and of MCP servers are called alike.
fn tool_call(block: &Value) -> Option<ToolCall> {
    if !block["type"].as_str()?.ends_with("tool_use") {
        return None;
    }
    Some(ToolCall {
        name: block["name"].as_str()?.to_owned(),
        params: block["input"].to_string(),
    })
}

/// Anthropic counts tokens of the prompt apart from those that its cache served or took.
fn tokens(usage: &Usage) -> Tokens {
    let lives = |key: &str| usage.cache_creation[key].as_u64();
    let (five, hour) = (
        lives("ephemeral_5m_input_tokens"),
        lives("ephemeral_1h_input_tokens"),
    );
    let written = usage.cache_creation_input_tokens.or(sum(&[five, hour]));
    let read = usage.cache_read_input_tokens;
    Tokens {
        input: usage
            .input_tokens
            .and_then(|own| sum(&[Some(own), read, written])),
        output: usage.output_tokens,
        cached: read,
        cache_write: written,
        cache_write_5m: five,
        cache_write_1h: hour,
        web_searches: usage.server_tool_use["web_search_requests"].as_u64(),
        ..Tokens::default()
    }
}
