//! What hooks receive after a request has ended: made with its record, delivered later.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::Wired;
use super::payload::{self, Outcome, Story};
use crate::config::Hook;
use crate::policy::access::{HookEvent, HookPart};
use crate::records::{Delivery, Entry, ToolCall};
use crate::wire::Framing;
use crate::wire::decode::Decoding;

/// Bytes of each body that hooks are told, whatever a capture keeps. Of a longer one that is no
/// stream they are told nothing: part of it would be no JSON.
const ROOM: usize = 8 << 20;

/// The hooks to be told once a request has ended.
pub struct After {
    hooks: Vec<Telling>,
    story: Story,
    /// The request, if a hook wants it.
    body: Bytes,
    /// How the answer is cut into events, if it is.
    framing: Option<Framing>,
    /// Opens the answer as it came, if it is compressed.
    decoding: Option<Decoding>,
}

/// What is needed of a wired hook once its configuration may have changed.
struct Telling {
    name: String,
    hook: Hook,
    events: std::collections::BTreeSet<HookEvent>,
    parts: std::collections::BTreeSet<HookPart>,
}

impl After {
    /// Those of `wired` that are to be told; `None` if none is. `keeps_tools` says whether calls
    /// of tools may be kept at all: where they may not, no hook gets them. Of budgets that
    /// run low they are told if the story has any.
    #[must_use]
    pub fn new(
        wired: &[Wired<'_>],
        story: &Story,
        body: &Bytes,
        keeps_tools: bool,
    ) -> Option<Self> {
        let hooks: Vec<Telling> = wired
            .iter()
            .filter_map(|wired| {
                let mut events = wired.events.clone();
                if wired.hook.url.is_empty() {
                    events.clear();
                }
                events.remove(&HookEvent::PreRequest);
                if story.warnings.is_empty() {
                    events.remove(&HookEvent::QuotaWarning);
                }
                if !keeps_tools {
                    events.remove(&HookEvent::ToolCallEntireRequest);
                }
                (!events.is_empty()).then(|| Telling {
                    name: wired.name.to_owned(),
                    hook: wired.hook.clone(),
                    events,
                    parts: wired.parts.clone(),
                })
            })
            .collect();
        if hooks.is_empty() {
            return None;
        }
        let wants_body = |part| hooks.iter().any(|hook| hook.parts.contains(&part));
        let keeps = wants_body(HookPart::RequestBody) || wants_body(HookPart::UserMessage);
        Some(Self {
            story: story.clone(),
            body: if keeps && body.len() <= ROOM {
                body.clone()
            } else {
                Bytes::new()
            },
            hooks,
            framing: None,
            decoding: None,
        })
    }

    /// Notes how the answer comes.
    pub fn answered(&mut self, framing: Option<Framing>, decoding: Option<Decoding>) {
        self.framing = framing;
        self.decoding = decoding;
    }

    /// Bytes of each body to keep until the end, where a capture keeps `room`.
    #[must_use]
    pub fn room(&self, room: usize) -> usize {
        if self.wants(HookPart::ResponseBody) || self.wants_raw() {
            room.max(ROOM)
        } else {
            room
        }
    }

    /// Whether some hook wants the answer as it came.
    #[must_use]
    pub fn wants_raw(&self) -> bool {
        self.wants(HookPart::RawResponses)
    }

    fn wants(&self, part: HookPart) -> bool {
        self.hooks.iter().any(|hook| hook.parts.contains(&part))
    }

    /// The data of each event, or the one answer.
    fn raws(&mut self, answer: &[u8], raw: Option<&[u8]>) -> Vec<Box<RawValue>> {
        let mut raws = Vec::new();
        let mut add = |data: &[u8]| raws.extend(payload::document(data).map(ToOwned::to_owned));
        match (self.framing, raw) {
            (Some(framing), Some(raw)) => match &mut self.decoding {
                Some(decoding) => framing.data(&decoding.feed(raw), ROOM, add),
                None => framing.data(raw, ROOM, add),
            },
            _ => add(answer),
        }
        raws
    }

    /// What is to be delivered, now that the request has ended.
    #[must_use]
    pub fn deliveries(
        mut self,
        entry: &Entry,
        tools: &[ToolCall],
        answer: &[u8],
        raw: Option<&[u8]>,
    ) -> Vec<Delivery> {
        // Another provider may have answered than the one that was to be asked.
        self.story.provider.clone_from(&entry.provider);
        self.story.model.clone_from(&entry.model);
        let raws = if self.wants_raw() {
            self.raws(answer, raw)
        } else {
            Vec::new()
        };
        let outcome = Outcome {
            entry,
            tools,
            answer,
            raws: &raws,
        };
        let mut deliveries = Vec::new();
        for telling in &self.hooks {
            let wired = Wired {
                name: &telling.name,
                hook: &telling.hook,
                events: telling.events.clone(),
                parts: telling.parts.clone(),
            };
            for event in &telling.events {
                let word = match event {
                    HookEvent::EntireRequest => "entire_request",
                    HookEvent::QuotaWarning => "quota_warning",
                    HookEvent::ToolCallEntireRequest if !tools.is_empty() => {
                        "tool_call_entire_request"
                    }
                    HookEvent::ToolCallEntireRequest | HookEvent::PreRequest => continue,
                };
                deliveries.push(Delivery {
                    hook: telling.name.clone(),
                    event: word.to_owned(),
                    payload: payload::build(&wired, &self.story, &self.body, Some(&outcome)),
                });
            }
        }
        deliveries
    }
}
