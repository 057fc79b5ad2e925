//! What hooks receive after a request has ended: made with its record, delivered later.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::payload::{self, HookContext, Outcome, Request};
use super::{Wants, Wired};
use crate::policy::access::{HookEvent, HookPart};
use crate::records::{Delivery, Entry, ToolCall};
use crate::wire::Framing;
use crate::wire::decode::Decoding;

/// Bytes of each body that hooks are told, whatever a capture keeps. Of a longer one that is no
/// stream they are told nothing: part of it would be no JSON.
const ROOM: usize = 8 << 20;

/// The hooks to be told once a request has ended.
pub(crate) struct After {
    /// Their names, and what each is told: the configuration may have changed by then.
    hooks: Vec<(String, Wants)>,
    context: HookContext,
    /// The request, if a hook wants it.
    body: Bytes,
    /// How the response is cut into events, if it is.
    framing: Option<Framing>,
    /// Decompresses the response, if it is compressed.
    decoding: Option<Decoding>,
}

impl After {
    /// The hooks of `wired` to call afterwards; `None` if there are none. Without `keeps_tools`, no hook
    /// gets tool calls. Hooks for low budgets are called only if the context has warnings.
    pub(crate) fn new(
        wired: &[Wired<'_>],
        context: HookContext,
        body: &Bytes,
        keeps_tools: bool,
    ) -> Option<Self> {
        let hooks = wired.iter().filter(|wired| !wired.hook.url.is_empty());
        let hooks: Vec<(String, Wants)> = hooks
            .filter_map(|wired| {
                let mut wants = wired.wants.clone();
                wants.events.retain(|event| match event {
                    HookEvent::EntireRequest => true,
                    HookEvent::PreRequest => false,
                    HookEvent::QuotaWarning => !context.warnings.is_empty(),
                    HookEvent::ToolCallEntireRequest => keeps_tools,
                });
                (!wants.events.is_empty()).then(|| (wired.name.to_owned(), wants))
            })
            .collect();
        if hooks.is_empty() {
            return None;
        }
        let mut after = Self {
            hooks,
            context,
            body: Bytes::new(),
            framing: None,
            decoding: None,
        };
        let keeps = after.wants(HookPart::RequestBody) || after.wants(HookPart::UserMessage);
        if keeps && body.len() <= ROOM {
            after.body = body.clone();
        }
        Some(after)
    }

    /// Notes how the response comes.
    pub(crate) fn answered(&mut self, framing: Option<Framing>, decoding: Option<Decoding>) {
        self.framing = framing;
        self.decoding = decoding;
    }

    /// Bytes of each body to keep until the end, where a capture keeps `room`.
    pub(crate) fn room(&self, room: usize) -> usize {
        if self.wants(HookPart::ResponseBody) || self.wants_raw() {
            room.max(ROOM)
        } else {
            room
        }
    }

    /// Whether some hook wants the response as it came.
    pub(crate) fn wants_raw(&self) -> bool {
        self.wants(HookPart::RawResponses)
    }

    fn wants(&self, part: HookPart) -> bool {
        let mut hooks = self.hooks.iter();
        hooks.any(|(_, wants)| wants.parts.contains(&part))
    }

    /// The data of each event, or the one response.
    fn raws(&mut self, response: &[u8], raw: Option<&[u8]>) -> Vec<Box<RawValue>> {
        let mut raws = Vec::new();
        let mut add = |data: &[u8]| raws.extend(payload::document(data).map(ToOwned::to_owned));
        match (self.framing, raw) {
            (Some(framing), Some(raw)) => match &mut self.decoding {
                Some(decoding) => framing.data(&decoding.feed(raw), ROOM, add),
                None => framing.data(raw, ROOM, add),
            },
            _ => add(response),
        }
        raws
    }

    /// What is to be delivered, now that the request has ended.
    pub(crate) fn deliveries(
        mut self,
        entry: &Entry,
        tools: &[ToolCall],
        response: &[u8],
        raw: Option<&[u8]>,
    ) -> Vec<Delivery> {
        let raws = if self.wants_raw() {
            self.raws(response, raw)
        } else {
            Vec::new()
        };
        let request = Request {
            context: &self.context,
            entry,
            provider: &entry.provider,
            model: &entry.model,
            body: &self.body,
        };
        let outcome = Outcome {
            tools,
            response,
            raws: &raws,
        };
        let mut deliveries = Vec::new();
        for (hook, wants) in &self.hooks {
            for event in &wants.events {
                let word = match event {
                    HookEvent::EntireRequest => "entire_request",
                    HookEvent::QuotaWarning => "quota_warning",
                    HookEvent::ToolCallEntireRequest if !tools.is_empty() => {
                        "tool_call_entire_request"
                    }
                    HookEvent::ToolCallEntireRequest | HookEvent::PreRequest => continue,
                };
                deliveries.push(Delivery {
                    hook: hook.clone(),
                    event: word.to_owned(),
                    payload: payload::build(wants, &request, Some(&outcome)),
                });
            }
        }
        deliveries
    }
}
