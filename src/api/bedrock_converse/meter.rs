//! `Converse`: events put together again, and what an answer tells.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::block::Block;
use super::usage::Usage;
use crate::api::merge::size;
use crate::api::meter::{Assembly, Room, Seen, part};
use crate::api::{Reading, Tokens, ToolCall};
use crate::wire::sse;

/// Blocks of content at most; a stream with more is followed no further.
const MAX_BLOCKS: usize = 4096;
/// What a block costs beside its text.
const OVERHEAD: usize = 64;

/// Events of a stream.
#[derive(Default)]
pub(in crate::api) struct Events {
    begun: bool,
    role: Option<Value>,
    blocks: Vec<(u64, Block)>,
    /// What stands beside the message: why it stopped, usage, metrics.
    rest: serde_json::Map<String, Value>,
}

impl Assembly for Events {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        let name = std::str::from_utf8(event.name).unwrap_or_default();
        match serde_json::from_slice(event.data) {
            Ok(value) => self.event(name, value, room),
            Err(_) => Seen::default(),
        }
    }

    fn answer(&mut self) -> Option<Value> {
        if !std::mem::take(&mut self.begun) {
            return None;
        }
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.sort_by_key(|(index, _)| *index);
        let content: Vec<Value> = blocks
            .into_iter()
            .filter_map(|(_, block)| block.finished())
            .collect();
        let role = self.role.take().unwrap_or_else(|| "assistant".into());
        let mut answer = std::mem::take(&mut self.rest);
        let message = json!({ "message": { "role": role, "content": content } });
        answer.insert("output".to_owned(), message);
        Some(Value::Object(answer))
    }
}

impl Events {
    /// One event. Its name is that of its message; Nova's events in another operation's stream
    /// name themselves by their only key.
    pub(in crate::api) fn event(&mut self, name: &str, mut event: Value, room: &mut Room) -> Seen {
        if !event.is_object() {
            return Seen::default();
        }
        let at = event["contentBlockIndex"].as_u64().unwrap_or(0);
        match name {
            "messageStart" => {
                self.begun = true;
                let role = event["role"].take();
                if role.is_string() && room.take(size(&role)) {
                    self.role = Some(role);
                }
                Seen::default()
            }
            "contentBlockStart" => self
                .block(at, room)
                .map_or_else(Seen::default, |block| said(block.0.start(&event, block.1))),
            "contentBlockDelta" => {
                let delta = event["delta"].take();
                self.block(at, room)
                    .map_or_else(Seen::default, |block| said(block.0.add(delta, block.1)))
            }
            "messageStop" => {
                self.put(event, room);
                Seen::default()
            }
            "metadata" => {
                let counted = event["usage"].is_object();
                self.put(event, room);
                Seen {
                    counted,
                    ends: true,
                    ..Seen::default()
                }
            }
            _ => Seen::default(),
        }
    }

    /// Puts an event's members beside the message.
    fn put(&mut self, event: Value, room: &mut Room) {
        let Value::Object(event) = event else {
            return;
        };
        self.begun = true;
        for (key, value) in event {
            // Padding, so that the length of a message says nothing.
            let told = key != "p" && !value.is_null();
            // These are few and short, and say how the answer ended.
            let needed = matches!(key.as_str(), "stopReason" | "usage") && size(&value) < 1024;
            if told && (needed || room.take(key.len() + size(&value))) {
                self.rest.insert(key, value);
            }
        }
    }

    fn block<'e, 'r>(
        &'e mut self,
        at: u64,
        room: &'r mut Room,
    ) -> Option<(&'e mut Block, &'r mut Room)> {
        self.begun = true;
        // Mostly the last one.
        let found = self.blocks.iter().rposition(|(index, _)| *index == at);
        let nth = match found {
            Some(nth) => nth,
            None if self.blocks.len() < MAX_BLOCKS && room.take(OVERHEAD) => {
                self.blocks.push((at, Block::default()));
                self.blocks.len() - 1
            }
            None => return None,
        };
        self.blocks.get_mut(nth).map(|(_, block)| (block, room))
    }
}

fn said(said: usize) -> Seen {
    Seen {
        said: said as u64,
        ..Seen::default()
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "stopReason")]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "serviceTier")]
    service_tier: Option<&'a RawValue>,
}

/// Reads an answer.
pub(in crate::api) fn read(body: &[u8]) -> Reading {
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
        return Reading::default();
    };
    let output: Value = part(answer.output).unwrap_or_default();
    let content = output
        .pointer("/message/content")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let tier: Value = part(answer.service_tier).unwrap_or_default();
    Reading {
        tokens: part::<Usage>(answer.usage).map_or_else(Tokens::default, |usage| usage.tokens()),
        finish_reason: part(answer.stop_reason),
        tool_calls: content
            .filter_map(|block| call(&block["toolUse"]))
            .collect(),
        tier: tier["type"].as_str().map(str::to_owned),
        ..Reading::default()
    }
}

fn call(tool: &Value) -> Option<ToolCall> {
    Some(ToolCall {
        name: tool["name"].as_str()?.to_owned(),
        params: tool["input"].to_string(),
    })
}
