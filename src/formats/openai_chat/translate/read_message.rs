//! A message of a caller's request.

use std::collections::{HashMap, HashSet};

use super::{NAME, REASONING};
use crate::formats::translate::{
    CacheMark, Content, Fields, Item, Media, MediaKind, Part, Request, Role, Seal, SealKind,
    Source, TextOrList, Thought, ToolCall, ToolResult, Turn, Untranslatable,
};

type Read<T> = Result<T, Untranslatable>;

/// Adds the turn of a message. Results of tools that follow each other are of one turn.
pub(super) fn add(mut message: Fields, request: &mut Request) -> Read<()> {
    message.drop_hints(&["name"], &mut request.dropped);
    let role = message.needed_text("role")?;
    let (role, parts) = match role.as_str() {
        "system" => (Role::System, content(&mut message)?),
        "developer" => (Role::Developer, content(&mut message)?),
        "user" => (Role::User, content(&mut message)?),
        "assistant" => (Role::Assistant, assistant(&mut message)?),
        "tool" => {
            let result = ToolResult {
                id: message.needed_text("tool_call_id")?,
                parts: content(&mut message)?,
                ..ToolResult::default()
            };
            (Role::User, vec![Part::new(Content::ToolResult(result))])
        }
        role => return Err(message.refuse("role", format!("`{role}` can't be translated"))),
    };
    message.end()?;
    let is_result = |part: &Part| matches!(part.content, Content::ToolResult(_));
    match request.turns.last_mut() {
        Some(last) if last.parts.iter().all(is_result) && parts.iter().all(is_result) => {
            last.parts.extend(parts);
        }
        _ => request.turns.push(Turn::new(role, parts)),
    }
    Ok(())
}

/// A mark on where a cache may end, as `OpenRouter` and `LiteLLM` take it.
pub(super) fn cache(of: &mut Fields) -> Read<Option<CacheMark>> {
    let Some(mut mark) = of.object("cache_control")? else {
        return Ok(None);
    };
    let life = mark.text("ttl")?;
    mark.ignore(&["type"]);
    mark.end()?;
    Ok(Some(match life.as_deref() {
        Some("1h") => CacheMark::Hour,
        _ => CacheMark::Default,
    }))
}

fn content(message: &mut Fields) -> Read<Vec<Part>> {
    let mut parts = match message.text_or_list("content")? {
        None => Vec::new(),
        Some(TextOrList::Text(text)) => vec![Part::text(text)],
        Some(TextOrList::List(list)) => list.into_iter().map(part).collect::<Read<_>>()?,
    };
    if let Some(mark) = cache(message)?
        && let Some(last) = parts.last_mut()
    {
        last.cache = Some(mark);
    }
    Ok(parts)
}

fn part(item: Item) -> Read<Part> {
    let mut part = item.object()?;
    let kind = part.needed_text("type")?;
    let content = match kind.as_str() {
        "text" => Part::text(part.needed_text("text")?).content,
        "refusal" => Content::Refusal(part.needed_text("refusal")?),
        "image_url" => {
            let mut image = part.needed_object("image_url")?;
            let mut media = Media::at(MediaKind::Image, image.needed_text("url")?);
            media.detail = image.text("detail")?;
            image.end()?;
            Content::Media(media)
        }
        "input_audio" => {
            let mut audio = part.needed_object("input_audio")?;
            let mime = format!("audio/{}", audio.needed_text("format")?);
            let data = Source::Inline(audio.needed_text("data")?);
            audio.end()?;
            Content::Media(Media::new(MediaKind::Audio, Some(mime), data))
        }
        "file" => {
            let mut file = part.needed_object("file")?;
            let mut media = Media::at(MediaKind::Document, file.needed_text("file_data")?);
            media.name = file.text("filename")?;
            file.end()?;
            Content::Media(media)
        }
        _ => return Err(part.refuse("type", format!("`{kind}` can't be translated"))),
    };
    let cache = cache(&mut part)?;
    part.end()?;
    Ok(Part { content, cache })
}

/// What a model said: its thoughts come first, then its text, then its calls. A thought that belongs to a
/// call stands before it; if several calls have one id, before the first of them.
fn assistant(message: &mut Fields) -> Read<Vec<Part>> {
    message.ignore(&["annotations"]);
    let thoughts = thoughts(message)?;
    let content = content(message)?;
    let refusal = message
        .text("refusal")?
        .map(Content::Refusal)
        .map(Part::new);
    let calls = message.list("tool_calls")?.into_iter().map(call);
    let calls = calls.collect::<Read<Vec<_>>>()?;
    let ids: HashSet<&str> = calls.iter().map(|call| call.id.as_str()).collect();
    let (mut parts, mut bound) = (Vec::new(), HashMap::<String, Vec<Thought>>::new());
    for (id, thought) in thoughts {
        match id {
            Some(id) if ids.contains(id.as_str()) => bound.entry(id).or_default().push(thought),
            _ => parts.push(Part::new(Content::Reasoning(thought))),
        }
    }
    parts.extend(content);
    parts.extend(refusal);
    for call in calls {
        // Each thought is moved, never copied: a request could name one large thought in many calls.
        let own = bound.remove(&call.id).unwrap_or_default();
        parts.extend(own.into_iter().map(Content::Reasoning).map(Part::new));
        parts.push(Part::new(Content::ToolCall(call)));
    }
    Ok(parts)
}

/// Thoughts, and the id of the call that each belongs to, if it does. The details have the text once
/// more, with what its provider wants back.
fn thoughts(message: &mut Fields) -> Read<Vec<(Option<String>, Thought)>> {
    let mut plain = None;
    for key in REASONING {
        let text = message.text(key)?.filter(|text| !text.is_empty());
        plain = plain.or(text);
    }
    let mut thoughts = Vec::new();
    for item in message.list("reasoning_details")? {
        let mut detail = item.object()?;
        let kind = detail.needed_text("type")?;
        let key = if kind == "reasoning.encrypted" {
            "data"
        } else {
            "signature"
        };
        let seal = detail.text(key)?.filter(|text| !text.is_empty());
        let fallback = if key == "data" {
            SealKind::Encrypted
        } else {
            SealKind::Signature
        };
        let text = match kind.as_str() {
            "reasoning.text" => detail.text("text")?,
            "reasoning.summary" => detail.text("summary")?,
            "reasoning.encrypted" => None,
            _ => return Err(detail.refuse("type", format!("`{kind}` can't be translated"))),
        };
        let thought = Thought {
            text: text.unwrap_or_default(),
            seal: seal.map(|seal| Seal::of(&seal, NAME, fallback)),
        };
        let id = detail.text("id")?;
        detail.ignore(&["format", "index"]);
        detail.end()?;
        thoughts.push((id, thought));
    }
    if thoughts.iter().all(|(_, thought)| thought.text.is_empty()) {
        let plain = plain.map(|text| (None, Thought { text, seal: None }));
        thoughts.splice(0..0, plain);
    }
    Ok(thoughts)
}

fn call(item: Item) -> Read<ToolCall> {
    let mut outer = item.object()?;
    outer.ignore(&["index"]);
    let id = outer.needed_text("id")?;
    let kind = outer.text("type")?;
    let is_freeform = kind.as_deref() == Some("custom");
    let (key, arguments) = match kind.as_deref() {
        None | Some("function") => ("function", "arguments"),
        Some("custom") => ("custom", "input"),
        Some(kind) => return Err(outer.refuse("type", format!("`{kind}` can't be translated"))),
    };
    let mut inner = outer.needed_object(key)?;
    let call = ToolCall {
        id,
        name: inner.needed_text("name")?,
        arguments: inner.text(arguments)?.unwrap_or_default(),
        is_freeform,
    };
    inner.end()?;
    outer.end()?;
    Ok(call)
}
