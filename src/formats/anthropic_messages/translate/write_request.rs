//! A request for a provider.

use super::{NAME, citation};
use crate::formats::translate::{
    CacheMark, Claude, ClaudeSettings, Content, Effort, Feature, Json, Media, MediaKind, Object,
    Outbound, Output, Part, Reasoning, Request, Role, SealKind, Source, Text, Thought, Tool,
    ToolChoice, Untranslatable, fit_id, object,
};

/// The API needs a bound on a response: this one, where the caller sets none. All models since Claude
/// 3.5 take it.
const MAX_TOKENS: u64 = 8_192;
/// The longest id of a call.
const LONGEST_ID: usize = 64;

pub(super) fn write(request: &Request) -> Result<Outbound, Untranslatable> {
    let (system, turns) = request.with_system_in_front();
    let mut body = object! { "model": &request.model };
    let settings = match Claude::of(&request.model) {
        Some(claude) => ClaudeSettings::of(claude, request, &turns, NAME),
        None => ClaudeSettings::asked(request, &turns, NAME),
    };
    // The bound includes the budget for thinking.
    let bound = MAX_TOKENS.saturating_add(settings.budget.unwrap_or(0));
    body.put("max_tokens", request.max_tokens.unwrap_or(bound));
    let system = blocks(system.into_iter())?;
    if !system.is_empty() {
        body.put("system", system);
    }
    let mut left_out = settings.left_out;
    let is_cited = |part: &&Part| matches!(&part.content, Content::Text(text) if cites_web(text));
    if turns.iter().any(|(_, parts)| parts.iter().any(is_cited)) {
        left_out.push(Feature::EarlierCitations);
    }
    let mut messages = Vec::new();
    for (role, mut parts) in turns {
        // Results come first, right behind the calls that they answer.
        parts.sort_by_key(|part| !matches!(part.content, Content::ToolResult(_)));
        let content = blocks(parts.into_iter())?;
        if !content.is_empty() {
            let role = if role == Role::Assistant {
                "assistant"
            } else {
                "user"
            };
            messages.push(object! { "role": role, "content": content });
        }
    }
    body.put("messages", messages);
    if !request.tools.is_empty() {
        let tools: Vec<Object> = request.tools.iter().map(tool).collect();
        body.put("tools", tools);
        body.put_some("tool_choice", choice(request));
    }
    body.put_some("temperature", settings.temperature);
    body.put_some("top_p", settings.top_p);
    body.put_some("top_k", settings.top_k);
    if !request.stop.is_empty() {
        body.put("stop_sequences", request.stop.clone());
    }
    if request.reasoning == Some(Reasoning::Off) {
        body.put("thinking", object! { "type": "disabled" });
    }
    body.put_some("thinking", settings.thinking);
    let config = config(request, settings.effort);
    if !config.is_empty() {
        body.put("output_config", config);
    }
    let user = request.user.as_ref();
    body.put_some("metadata", user.map(|user| object! { "user_id": user }));
    if request.is_streamed() {
        body.put("stream", true);
    }
    Ok(Outbound {
        path: "/v1/messages".to_owned(),
        query: None,
        body,
        left_out,
    })
}

fn blocks<'a>(parts: impl Iterator<Item = &'a Part>) -> Result<Vec<Object>, Untranslatable> {
    let mut blocks = Vec::new();
    for part in parts {
        if let Some(mut block) = block(&part.content)? {
            block.put_some("cache_control", part.cache.map(mark));
            blocks.push(block);
        }
    }
    Ok(blocks)
}

/// Whether the API would refuse a text.
fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Whether a text has a citation of the web, which the API refuses without the search that it comes from.
fn cites_web(text: &Text) -> bool {
    text.citations.iter().any(|one| one.document.is_none())
}

/// A block of content; `None` for what the API doesn't take, such as a blank text.
fn block(content: &Content) -> Result<Option<Object>, Untranslatable> {
    Ok(match content {
        Content::Text(text) if is_blank(&text.text) => None,
        Content::Text(text) => {
            let mut block = object! { "type": "text", "text": &text.text };
            let citations: Vec<Object> =
                text.citations.iter().filter_map(citation::write).collect();
            if !citations.is_empty() && !cites_web(text) {
                block.put("citations", citations);
            }
            Some(block)
        }
        Content::Refusal(text) if is_blank(text) => None,
        Content::Refusal(text) => Some(object! { "type": "text", "text": text }),
        Content::Media(media) => Some(self::media(media)?),
        Content::ToolCall(call) => Some(object! {
            "type": "tool_use",
            "id": &*fit_id(&call.id, LONGEST_ID),
            "name": &call.name,
            "input": call.input(),
        }),
        Content::ToolResult(result) => {
            let mut block = object! {
                "type": "tool_result",
                "tool_use_id": &*fit_id(&result.id, LONGEST_ID),
                "content": blocks(result.parts.iter())?,
            };
            if result.is_error {
                block.put("is_error", true);
            }
            Some(block)
        }
        Content::Reasoning(thought) => self::thought(thought),
    })
}

/// A thought that the provider can check or read, which it signed.
fn thought(thought: &Thought) -> Option<Object> {
    let seal = thought.seal.as_ref()?;
    if let Some(data) = seal.value_for(NAME, SealKind::Encrypted) {
        return Some(object! { "type": "redacted_thinking", "data": data });
    }
    let signature = seal.value_for(NAME, SealKind::Signature)?;
    Some(object! {
        "type": "thinking",
        "thinking": &thought.text,
        "signature": signature,
    })
}

fn media(media: &Media) -> Result<Object, Untranslatable> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Audio | MediaKind::Video => {
            return Err(Untranslatable::new(
                "messages.content",
                "is of a kind that messages lack",
            ));
        }
    };
    let fallback = if media.kind == MediaKind::Image {
        "image/png"
    } else {
        "application/pdf"
    };
    let source = match &media.source {
        Source::Url(url) => object! { "type": "url", "url": url },
        Source::Text(text) => object! {
            "type": "text",
            "media_type": "text/plain",
            "data": text,
        },
        Source::Inline(data) => object! {
            "type": "base64",
            "media_type": media.mime.as_deref().unwrap_or(fallback),
            "data": data,
        },
    };
    let mut block = object! { "type": kind, "source": source };
    if media.kind == MediaKind::Document {
        block.put_some("title", media.name.as_ref());
        if media.citations {
            block.put("citations", object! { "enabled": true });
        }
    }
    Ok(block)
}

fn mark(mark: CacheMark) -> Object {
    match mark {
        CacheMark::Default => object! { "type": "ephemeral" },
        CacheMark::Hour => object! { "type": "ephemeral", "ttl": "1h" },
    }
}

fn tool(tool: &Tool) -> Object {
    let mut out = object! { "name": &tool.name };
    out.put_some("description", tool.description.as_ref());
    let schema = tool.parameters.clone();
    let schema = schema.unwrap_or_else(|| object! { "type": "object" }.into());
    out.put("input_schema", schema);
    if tool.strict == Some(true) {
        out.put("strict", true);
    }
    out.put_some("cache_control", tool.cache.map(mark));
    out
}

fn choice(request: &Request) -> Option<Object> {
    let is_serial = request.parallel_tool_calls == Some(false);
    let mut choice = match &request.tool_choice {
        None if !is_serial => return None,
        None
        | Some(
            ToolChoice::Auto
            | ToolChoice::Allowed {
                required: false, ..
            },
        ) => {
            object! { "type": "auto" }
        }
        Some(ToolChoice::None) => return Some(object! { "type": "none" }),
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => {
            object! { "type": "any" }
        }
        Some(ToolChoice::Named(name)) => object! { "type": "tool", "name": name },
    };
    if is_serial {
        choice.put("disable_parallel_tool_use", true);
    }
    Some(choice)
}

fn config(request: &Request, effort: Option<Effort>) -> Object {
    let mut config = Object::default();
    config.put_some("effort", effort.map(Effort::name));
    if let Output::JsonSchema { schema, .. } = &request.output {
        let schema: Json = schema.clone();
        config.put(
            "format",
            object! { "type": "json_schema", "schema": schema },
        );
    }
    config
}
