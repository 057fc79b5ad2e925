//! What hooks are told of a request that has ended: made with its record, delivered later.

use bytes::Bytes;

use super::Wired;
use super::payload::{self, Outcome, Story};
use crate::access::{HookEvent, HookPart};
use crate::config::Hook;
use crate::ledger::{Delivery, Entry, ToolCall};

/// The hooks to be told once a request has ended.
pub struct After {
    hooks: Vec<Telling>,
    story: Story,
    /// The request, where somebody wants it.
    body: Bytes,
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
    /// of tools may be kept at all: where they may not, nobody is told of them.
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
                events.remove(&HookEvent::PreRequest);
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
            body: if keeps { body.clone() } else { Bytes::new() },
            hooks,
        })
    }

    /// Whether some hook wants the answer as it came.
    #[must_use]
    pub fn wants_raw(&self) -> bool {
        let wants = |hook: &Telling| hook.parts.contains(&HookPart::RawResponses);
        self.hooks.iter().any(wants)
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
        let outcome = Outcome {
            entry,
            tools,
            answer,
            raw,
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
