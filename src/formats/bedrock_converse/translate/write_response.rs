//! A whole response for a caller.

use super::media::format_of;
use super::{citation, is_redacted, put_stop, redacted_content, signature, usage};
use crate::formats::translate::{
    Content, Media, Object, Part, Response, Seal, Source, Text, id_or_new, object,
};

pub(super) fn whole(response: &Response) -> Object {
    let content: Vec<Object> = response.parts.iter().filter_map(block).collect();
    let message = object! { "role": "assistant", "content": content };
    let mut whole = object! { "output": object! { "message": message } };
    put_stop(&mut whole, &response.stop);
    whole.put("usage", usage(&response.usage));
    whole.put("metrics", metrics());
    whole
}

/// The API's type has them, and only its own servers could fill them in.
pub(super) fn metrics() -> Object {
    object! { "latencyMs": 0_u64 }
}

fn block(part: &Part) -> Option<Object> {
    Some(match &part.content {
        Content::Text(text) => self::text(text),
        Content::Refusal(text) => object! { "text": text },
        Content::Reasoning(thought) => {
            object! { "reasoningContent": reasoning(&thought.text, thought.seal.as_ref()) }
        }
        Content::ToolCall(call) => {
            let call = object! {
                "toolUseId": id_or_new(Some(call.id.clone()), "tooluse_"),
                "name": &call.name,
                "input": call.input(),
            };
            object! { "toolUse": call }
        }
        Content::Media(media) => {
            let (format, bytes) = picture(media)?;
            let source = object! { "bytes": bytes };
            object! { "image": object! { "format": format, "source": source } }
        }
        Content::ToolResult(_) => return None,
    })
}

fn text(text: &Text) -> Object {
    if text.citations.is_empty() {
        return object! { "text": &text.text };
    }
    let citations: Vec<Object> = text.citations.iter().map(citation::write).collect();
    let cited = object! {
        "content": vec![object! { "text": &text.text }],
        "citations": citations,
    };
    object! { "citationsContent": cited }
}

fn reasoning(text: &str, seal: Option<&Seal>) -> Object {
    if let Some(seal) = seal.filter(|seal| is_redacted(!text.is_empty(), seal)) {
        return object! { "redactedContent": redacted_content(seal) };
    }
    let mut visible = object! { "text": text };
    visible.put_some("signature", seal.map(signature));
    object! { "reasoningText": visible }
}

/// The format and the bytes of a picture; `None` for other media, which responses don't have.
pub(super) fn picture(media: &Media) -> Option<(&'static str, &str)> {
    match &media.source {
        Source::Inline(bytes) => Some((format_of(media)?, bytes)),
        Source::Text(_) | Source::Url(_) => None,
    }
}
