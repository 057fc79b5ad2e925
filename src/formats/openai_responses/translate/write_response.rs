//! A whole response for a caller, and the items that streams have too.

use super::write_request::{arguments, call_kind, choice, effort, format, put_name, tools};
use super::{NAME, PLAIN, annotation, incomplete_reason, logprobs, usage};
use crate::formats::translate::{
    Content, Json, Object, Part, Request, Response, SealKind, Text, Thought, Tool, ToolCall,
    fit_id, id_or_new, object,
};

/// The longest part of a response's id that the ids of its items have in them.
const LONGEST_BASE: usize = 40;

pub(super) fn whole(request: &Request, mut response: Response) -> Object {
    let head = Head::new(request, response.id.take(), response.model.take());
    head.response(request, Some(&response))
}

/// What all events of a response share.
#[derive(Clone, Debug)]
pub(super) struct Head {
    id: String,
    model: String,
    created: u64,
    /// The request's tools, by which the group of one that is called is found.
    tools: Vec<Tool>,
}

impl Head {
    pub(super) fn new(request: &Request, id: Option<String>, model: Option<String>) -> Self {
        Self {
            id: id_or_new(id, "resp_"),
            model: model.unwrap_or_else(|| request.model.clone()),
            created: request.created,
            tools: request.tools.clone(),
        }
    }

    /// The response: `None` stands for one that has only begun.
    pub(super) fn response(&self, request: &Request, response: Option<&Response>) -> Object {
        let reason = response.and_then(|response| incomplete_reason(&response.stop));
        let status = match (response, reason) {
            (None, _) => "in_progress",
            (Some(_), None) => "completed",
            (Some(_), Some(_)) => "incomplete",
        };
        let effort = request.reasoning.and_then(effort);
        let any_text = || object! { "type": "text" };
        let mut text = object! { "format": format(&request.output).unwrap_or_else(any_text) };
        text.put_some("verbosity", request.verbosity.as_ref());
        let auto = || Json::from("auto");
        object! {
            "id": &self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": false,
            "error": Json::Null,
            "incomplete_details": reason.map(|reason| object! { "reason": reason }),
            "instructions": Json::Null,
            "max_output_tokens": request.max_tokens,
            "max_tool_calls": Json::Null,
            "model": &self.model,
            "output": response.map(|response| self.output(response)).unwrap_or_default(),
            "parallel_tool_calls": request.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": Json::Null,
            "prompt_cache_key": request.cache_key.as_ref(),
            "reasoning": object! { "effort": effort, "summary": Json::Null },
            "safety_identifier": Json::Null,
            "service_tier": "default",
            "store": false,
            "temperature": request.temperature,
            "text": text,
            "tool_choice": choice(request).unwrap_or_else(auto),
            "tools": tools(request),
            "top_logprobs": request.logprobs.unwrap_or(0),
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": response.and_then(|response| usage(&response.usage)),
            "user": request.user.as_ref(),
            "metadata": request.metadata.clone().unwrap_or_default(),
        }
    }

    fn output(&self, response: &Response) -> Vec<Object> {
        let groups = response
            .parts
            .chunk_by(|one, next| is_said(one) && is_said(next));
        let items: Vec<&[Part]> = groups.filter(|group| is_item(group)).collect();
        let last = items.len().saturating_sub(1);
        let items = items.into_iter().enumerate();
        let is_cut = incomplete_reason(&response.stop).is_some();
        let items = items.filter_map(|(nth, group)| self.item(nth, group, is_cut && nth == last));
        items.collect()
    }

    /// The item of these parts: those of one message, or a single other one.
    pub(super) fn item(&self, nth: usize, parts: &[Part], is_cut: bool) -> Option<Object> {
        let status = if is_cut { "incomplete" } else { "completed" };
        Some(match &parts.first()?.content {
            Content::Text(_) | Content::Refusal(_) => {
                let content: Vec<Object> = parts.iter().filter_map(said).collect();
                self.message(nth, status, content)
            }
            Content::Reasoning(thought) => self.reasoning(nth, thought),
            Content::ToolCall(call) => self.call(nth, status, call, arguments(call)),
            Content::Media(_) | Content::ToolResult(_) => return None,
        })
    }

    pub(super) fn message(&self, nth: usize, status: &str, content: Vec<Object>) -> Object {
        object! {
            "id": self.item_id("msg", nth),
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }
    }

    pub(super) fn reasoning(&self, nth: usize, thought: &Thought) -> Object {
        let seal = thought.seal.as_ref();
        let is_plain = seal.and_then(|seal| seal.value_for(NAME, SealKind::Signature));
        let text = |kind: &str| object! { "type": kind, "text": &thought.text };
        let mut item = object! { "id": self.item_id("rs", nth), "type": "reasoning" };
        if is_plain == Some(PLAIN) {
            item.put("summary", Vec::<Object>::new());
            item.put("content", vec![text(PLAIN)]);
            return item;
        }
        let summary = (!thought.text.is_empty()).then(|| text("summary_text"));
        item.put("summary", summary.into_iter().collect::<Vec<_>>());
        let value = seal.map(|seal| match seal.value_for(NAME, SealKind::Encrypted) {
            Some(value) => value.to_owned(),
            None => seal.closed(),
        });
        item.put_some("encrypted_content", value);
        item
    }

    pub(super) fn call(&self, nth: usize, status: &str, call: &ToolCall, text: &str) -> Object {
        let (kind, key) = call_kind(call.is_freeform);
        let prefix = if call.is_freeform { "ctc" } else { "fc" };
        // Results are found by it, so each call needs its own.
        let call_id = match call.id.as_str() {
            "" => self.item_id("call", nth),
            id => id.to_owned(),
        };
        let mut item = object! {
            "id": self.item_id(prefix, nth),
            "type": kind,
            "status": status,
            "call_id": call_id,
        };
        let tool = self.tools.iter().find(|tool| tool.name == call.name);
        put_name(&mut item, &call.name, tool);
        item.put(key, text);
        item
    }

    pub(super) fn item_id(&self, prefix: &str, nth: usize) -> String {
        let base = self.id.strip_prefix("resp_").unwrap_or(&self.id);
        format!("{prefix}_{}_{nth}", fit_id(base, LONGEST_BASE))
    }
}

/// Whether it is a part of a message.
fn is_said(part: &Part) -> bool {
    matches!(part.content, Content::Text(_) | Content::Refusal(_))
}

/// Whether parts are an item. A thought of which there is nothing isn't, and the API has no media of
/// this kind in a response.
fn is_item(parts: &[Part]) -> bool {
    parts.iter().any(|part| match &part.content {
        Content::Text(_) | Content::Refusal(_) | Content::ToolCall(_) => true,
        Content::Reasoning(thought) => !thought.text.is_empty() || thought.seal.is_some(),
        Content::Media(_) | Content::ToolResult(_) => false,
    })
}

/// A part of a message.
pub(super) fn said(part: &Part) -> Option<Object> {
    match &part.content {
        Content::Text(text) => Some(output_text(text)),
        Content::Refusal(text) => Some(object! { "type": "refusal", "refusal": text }),
        _ => None,
    }
}

fn output_text(text: &Text) -> Object {
    let length = text.text.chars().count();
    let annotations = text.citations.iter();
    let annotations = annotations.filter_map(|one| annotation(one, length));
    object! {
        "type": "output_text",
        "annotations": annotations.collect::<Vec<_>>(),
        "logprobs": logprobs::write(&text.logprobs),
        "text": &text.text,
    }
}
