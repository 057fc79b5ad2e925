//! A whole response for a caller.

use super::{NAME, annotation, finish_reason, logprobs, usage};
use crate::formats::translate::{
    Content, LogProb, Object, Request, Response, Seal, SealKind, Thought, ToolCall, id_or_new,
    object,
};

pub(super) fn whole(request: &Request, response: Response) -> Object {
    let (mut text, mut refusal) = (None::<String>, None::<String>);
    let (mut annotations, mut tokens) = (Vec::new(), Vec::<LogProb>::new());
    let (mut calls, mut thought, mut details) = (Vec::new(), String::new(), Vec::new());
    let mut next = None;
    // Characters of the text so far.
    let mut length = 0;
    for part in response.parts {
        match part.content {
            Content::Text(more) => {
                text.get_or_insert_default().push_str(&more.text);
                length += more.text.chars().count() as u64;
                annotations.extend(
                    more.citations
                        .iter()
                        .filter_map(|one| annotation(one, length)),
                );
                tokens.extend(more.logprobs);
            }
            Content::Refusal(more) => refusal.get_or_insert_default().push_str(&more),
            Content::ToolCall(call) => {
                let call = call.with_id();
                details.extend(next.take().and_then(|seal| detail_of_next(&seal, &call.id)));
                calls.push(self::call(&call));
            }
            Content::Reasoning(one) => {
                thought.push_str(&one.text);
                match &one.seal {
                    Some(seal) if seal.kind == SealKind::Next => next = one.seal,
                    _ => details.extend(detail(&one)),
                }
            }
            // The API has no media of this kind in a response.
            Content::Media(_) | Content::ToolResult(_) => {}
        }
    }
    details.extend(next.and_then(|seal| detail_of_next(&seal, "")));
    let mut message = object! { "role": "assistant", "content": text, "refusal": refusal };
    if !thought.is_empty() {
        message.put("reasoning_content", thought);
    }
    put_list(&mut message, "reasoning_details", details);
    put_list(&mut message, "tool_calls", calls);
    put_list(&mut message, "annotations", annotations);
    let tokens = (!tokens.is_empty()).then(|| logprobs::write(&tokens));
    let choice = object! {
        "index": 0_u64,
        "message": message,
        "logprobs": tokens,
        "finish_reason": finish_reason(&response.stop),
    };
    object! {
        "id": id_or_new(response.id, "chatcmpl-"),
        "object": "chat.completion",
        "created": request.created,
        "model": response.model.unwrap_or_else(|| request.model.clone()),
        "choices": vec![choice],
        "usage": usage(&response.usage),
    }
}

fn put_list(into: &mut Object, key: &str, list: Vec<Object>) {
    if !list.is_empty() {
        into.put(key, list);
    }
}

fn call(call: &ToolCall) -> Object {
    if call.is_freeform {
        let custom = object! { "name": &call.name, "input": &call.arguments };
        return object! { "id": &call.id, "type": "custom", "custom": custom };
    }
    let arguments = if call.arguments.is_empty() {
        "{}"
    } else {
        &call.arguments
    };
    let function = object! { "name": &call.name, "arguments": arguments };
    object! { "id": &call.id, "type": "function", "function": function }
}

/// A thought that its provider wants back; `None` for one of this format, which needs nothing more than
/// its text.
pub(super) fn detail(thought: &Thought) -> Option<Object> {
    let seal = thought.seal.as_ref()?;
    if seal.format == NAME {
        return None;
    }
    Some(if thought.text.is_empty() {
        object! { "type": "reasoning.encrypted", "data": seal.closed() }
    } else {
        object! {
            "type": "reasoning.text",
            "text": &thought.text,
            "signature": seal.closed(),
        }
    })
}

/// What belongs to the call of this id.
pub(super) fn detail_of_next(seal: &Seal, id: &str) -> Option<Object> {
    if seal.format == NAME {
        return None;
    }
    let mut detail = object! { "type": "reasoning.encrypted", "data": seal.closed() };
    if !id.is_empty() {
        detail.put("id", id);
    }
    Some(detail)
}
