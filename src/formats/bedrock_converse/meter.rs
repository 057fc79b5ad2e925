//! `Converse`: events put together again, and what a response tells.

use serde_json::{Map, Value, json};

use super::block::{self, Block, Place};
use super::usage;
use crate::formats::assembly::{Assembly, Continued, Free, Repeated, Seen};
use crate::formats::room::Room;
use crate::formats::tree::{self, add_counts_at, highest, list, size};
use crate::formats::{Reading, ToolCall};
use crate::wire::json::Part;
use crate::wire::sse;

/// Blocks of content at most; a stream with more is followed no further.
const MAX_BLOCKS: usize = 4096;
/// What a block costs beside its text.
const OVERHEAD: usize = 64;

/// Events of a stream.
#[derive(Default)]
pub(in crate::formats) struct Events {
    begun: bool,
    role: Option<Value>,
    blocks: Vec<(u64, Block)>,
    /// What stands beside the message: why it stopped, usage, metrics.
    rest: Map<String, Value>,
    /// The place of the block, and of the text in it, that the last event went on with.
    target: (usize, Place),
}

impl Assembly for Events {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        let name = std::str::from_utf8(event.name).unwrap_or_default();
        match tree::object(event.data) {
            Some(event) => self.event(name, Value::Object(event), room),
            None => Seen::default(),
        }
    }

    fn goes_on<'p>(
        &mut self,
        name: &[u8],
        event: Part<'p>,
        room: &mut Room,
    ) -> Option<Continued<'p>> {
        if name != b"contentBlockDelta" {
            return None;
        }
        let at = event
            .get("contentBlockIndex")
            .and_then(Part::whole)
            .unwrap_or(0);
        let nth = self.blocks.iter().rposition(|(index, _)| *index == at)?;
        let (place, piece) = block::text_of(event.get("delta")?)?;
        self.target = (nth, place);
        let (_, block) = self.blocks.get_mut(nth)?;
        Some(Continued {
            seen: block.goes_on(place, &piece.text()?, room)?,
            text: Some(piece),
        })
    }

    fn again(&mut self, repeated: &Repeated<'_>, room: &mut Room) -> Option<Seen> {
        let (nth, place) = self.target;
        let (_, block) = self.blocks.get_mut(nth)?;
        block.goes_on(place, &repeated.text, room)
    }

    fn free(&self) -> &'static [Free] {
        // Padding, so that the length of a message says nothing.
        &[Free::Text("p")]
    }

    fn marks(&self) -> &'static [&'static str] {
        &["message", "contentBlock", "metadata"]
    }

    fn response(&mut self) -> Option<Value> {
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
        let mut response = std::mem::take(&mut self.rest);
        let message = json!({ "message": { "role": role, "content": content } });
        response.insert("output".to_owned(), message);
        Some(Value::Object(response))
    }
}

impl Events {
    /// One event. Its name is that of its message; Nova's events in another operation's stream
    /// name themselves by their only key.
    pub(in crate::formats) fn event(
        &mut self,
        name: &str,
        mut event: Value,
        room: &mut Room,
    ) -> Seen {
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
            "contentBlockStart" => {
                let block = self.started(at, &event, room);
                let said = block.map_or(0, |(block, room)| block.start(&event, room));
                Seen::said(said).closes(false)
            }
            "contentBlockStop" => Seen::default().closes(true),
            "contentBlockDelta" => {
                let delta = event["delta"].take();
                let block = self.block(at, room);
                Seen::said(block.map_or(0, |(block, room)| block.add(delta, room)))
            }
            // What follows is at most the count.
            "messageStop" => {
                self.put(event, room);
                Seen::end()
            }
            "metadata" => {
                let counted = event["usage"].is_object();
                self.put(event, room);
                Seen {
                    counted,
                    ..Seen::end()
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
            if key == "usage"
                && let Value::Object(usage) = value
            {
                add_counts_at(&mut self.rest, "usage", usage);
                continue;
            }
            // Padding, so that the length of a message says nothing.
            let is_kept = key != "p" && !value.is_null();
            // These are few and short, and say how the response ended.
            let needed = key == "stopReason" && size(&value) < 1024;
            if is_kept && (needed || room.take(key.len() + size(&value))) {
                self.rest.insert(key, value);
            }
        }
    }

    /// The block that an event starts. Some models give all calls the same number: what has
    /// another ID is another block.
    fn started<'e, 'r>(
        &'e mut self,
        at: u64,
        event: &Value,
        room: &'r mut Room,
    ) -> Option<(&'e mut Block, &'r mut Room)> {
        let held = self.blocks.iter().rfind(|(index, _)| *index == at);
        let is_other = held.is_some_and(|(_, block)| block.is_another(event));
        if is_other && self.blocks.len() < MAX_BLOCKS && room.take(OVERHEAD) {
            self.blocks.push((at, Block::default()));
        }
        self.block(at, room)
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

/// Reads a response.
pub(in crate::formats) fn read(response: Part<'_>) -> Reading {
    let usage = response.get("usage").filter(|usage| usage.is_object());
    let total = usage.and_then(|usage| highest(usage, &["totalTokens"]));
    let blocks = list(response, "output/message/content");
    Reading {
        finish_reason: response.word("stopReason"),
        tool_calls: blocks.filter_map(tool_call).collect(),
        tier: response.word("serviceTier/type"),
        model: response.word("trace/promptRouter/invokedModelId"),
        ..Reading::of(
            response,
            usage.map(usage::tokens).unwrap_or_default(),
            total,
        )
    }
}

fn tool_call(block: Part<'_>) -> Option<ToolCall> {
    let tool = block.get("toolUse")?;
    ToolCall::of(tool.get("name"), || ToolCall::params(tool.get("input")))
}
