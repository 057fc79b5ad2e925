//! An item of a caller's input.

use super::{NAME, citation_of, grouped, read_tools};
use crate::formats::translate::{
    CacheMark, Content, Fields, Item, Json, Media, MediaKind, Part, Request, Role, Seal, SealKind,
    Source, Text, TextOrList, Thought, ToolCall, ToolResult, Turn, Untranslatable, note,
};

type Read<T> = Result<T, Untranslatable>;

/// Members of items that say nothing: what the API adds in a response, and what Codex keeps for itself.
const IGNORED: &[&str] = &["id", "status", "internal_chat_message_metadata_passthrough"];

/// Adds an item to the turn that it belongs to. What a model said between two inputs is one turn, and so
/// are results of tools that follow each other.
pub(super) fn add(mut item: Fields, request: &mut Request) -> Read<()> {
    let kind = item.text("type")?;
    item.ignore(IGNORED);
    match kind.as_deref() {
        None | Some("message") => message(item, request),
        Some("function_call" | "custom_tool_call") => {
            let is_freeform = kind.as_deref() == Some("custom_tool_call");
            let call = call(item, is_freeform)?;
            push(request, Role::Assistant, vec![Part::new(call)]);
            Ok(())
        }
        Some("function_call_output" | "custom_tool_call_output") => {
            let is_freeform = kind.as_deref() == Some("custom_tool_call_output");
            let result = result(item, is_freeform)?;
            push(request, Role::User, vec![Part::new(result)]);
            Ok(())
        }
        Some("reasoning") => {
            let thought = reasoning(item)?.map(Content::Reasoning).map(Part::new);
            push(request, Role::Assistant, thought.into_iter().collect());
            Ok(())
        }
        Some("additional_tools") => {
            item.ignore(&["role"]);
            for tool in item.list("tools")? {
                read_tools::tools(tool, request)?;
            }
            item.end()
        }
        Some(kind) => Err(item.refuse("type", format!("`{kind}` can't be translated"))),
    }
}

fn push(request: &mut Request, role: Role, parts: Vec<Part>) {
    if parts.is_empty() {
        return;
    }
    let is_result = |part: &Part| matches!(part.content, Content::ToolResult(_));
    match request.turns.last_mut() {
        Some(last)
            if last.role == role
                && (role == Role::Assistant || last.parts.iter().all(is_result)) =>
        {
            last.parts.extend(parts);
        }
        _ => request.turns.push(Turn::new(role, parts)),
    }
}

fn message(mut message: Fields, request: &mut Request) -> Read<()> {
    let role = match message.needed_text("role")?.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        role => return Err(message.refuse("role", format!("`{role}` can't be translated"))),
    };
    let parts = match message.text_or_list("content")? {
        None => return Err(message.refuse("content", "is missing")),
        Some(TextOrList::Text(text)) => vec![Part::text(text)],
        Some(TextOrList::List(list)) => list.into_iter().map(part).collect::<Read<_>>()?,
    };
    if message.text("phase")?.is_some() {
        note(&mut request.dropped, &message.path("phase"));
    }
    message.ignore(&["end_turn"]);
    message.end()?;
    let begins = role != Role::Assistant || request.turns.last().is_some_and(is_said);
    if begins && !parts.is_empty() {
        request.turns.push(Turn::new(role, parts));
    } else {
        push(request, role, parts);
    }
    Ok(())
}

/// Whether a message of a model is whole without the one that follows. One with calls is not: their
/// results come behind all that the model said.
fn is_said(turn: &Turn) -> bool {
    let has = |is: fn(&Content) -> bool| turn.parts.iter().any(|part| is(&part.content));
    has(|content| matches!(content, Content::Text(_) | Content::Refusal(_)))
        && !has(|content| matches!(content, Content::ToolCall(_)))
}

fn part(item: Item) -> Read<Part> {
    let mut part = item.object()?;
    let kind = part.needed_text("type")?;
    let content = match kind.as_str() {
        "input_text" => Part::text(part.needed_text("text")?).content,
        "output_text" => {
            let citations = match part.value("annotations") {
                Some(Json::List(list)) => list.iter().filter_map(citation_of).collect(),
                _ => Vec::new(),
            };
            part.ignore(&["logprobs"]);
            Content::Text(Text {
                text: part.needed_text("text")?,
                citations,
                logprobs: Vec::new(),
            })
        }
        "refusal" => Content::Refusal(part.needed_text("refusal")?),
        "input_image" => {
            let url = part.text("image_url")?;
            let url = url.ok_or_else(|| no_bytes(&part, "image_url"))?;
            Content::Media(Media::at(MediaKind::Image, url))
        }
        "input_file" => Content::Media(file(&mut part)?),
        "input_audio" => {
            let mut audio = part.needed_object("input_audio")?;
            let mime = format!("audio/{}", audio.needed_text("format")?);
            let data = Source::Inline(audio.needed_text("data")?);
            audio.end()?;
            Content::Media(Media::new(MediaKind::Audio, Some(mime), data))
        }
        _ => return Err(part.refuse("type", format!("`{kind}` can't be translated"))),
    };
    // `auto` is what the API does without it.
    let detail = part.text("detail")?.filter(|detail| detail != "auto");
    let content = match content {
        Content::Media(media) => Content::Media(Media { detail, ..media }),
        content => content,
    };
    let cache = part.object("prompt_cache_breakpoint")?.is_some();
    let cache = cache.then_some(CacheMark::Default);
    part.end()?;
    Ok(Part { content, cache })
}

/// The refusal of a medium that is not in the request.
fn no_bytes(part: &Fields, key: &str) -> Untranslatable {
    if part.has("file_id") {
        return part.refuse(
            "file_id",
            "can't be translated: the provider has no such file",
        );
    }
    part.refuse(key, "is missing")
}

fn file(part: &mut Fields) -> Read<Media> {
    let name = part.text("filename")?;
    let (data, url) = (part.text("file_data")?, part.text("file_url")?);
    let media = match (data, url) {
        (Some(data), None) if data.starts_with("data:") => Media::at(MediaKind::Document, data),
        (Some(data), None) => {
            // Bare Base64, of which only the name says what it is.
            let extension = name.as_deref().and_then(|name| name.rsplit_once('.'));
            if extension.is_some_and(|(_, extension)| !extension.eq_ignore_ascii_case("pdf")) {
                let why = "has no content type: send a `data:` URL";
                return Err(part.refuse("file_data", why));
            }
            let mime = "application/pdf";
            let data = Source::Inline(data);
            Media::new(MediaKind::Document, Some(mime.to_owned()), data)
        }
        (None, Some(url)) => Media::at(MediaKind::Document, url),
        (Some(_), Some(_)) => return Err(part.refuse("file_url", "stands beside `file_data`")),
        (None, None) => return Err(no_bytes(part, "file_data")),
    };
    Ok(Media { name, ..media })
}

fn call(mut item: Fields, is_freeform: bool) -> Read<Content> {
    of_caller(&mut item)?;
    let key = if is_freeform { "input" } else { "arguments" };
    let call = ToolCall {
        id: item.needed_text("call_id")?,
        name: name(&mut item)?.ok_or_else(|| item.refuse("name", "is missing"))?,
        arguments: item.needed_text(key)?,
        is_freeform,
    };
    item.end()?;
    Ok(Content::ToolCall(call))
}

fn result(mut item: Fields, is_freeform: bool) -> Read<Content> {
    of_caller(&mut item)?;
    let result = ToolResult {
        id: item.needed_text("call_id")?,
        name: name(&mut item)?,
        parts: match item.text_or_list("output")? {
            None => return Err(item.refuse("output", "is missing")),
            Some(TextOrList::Text(text)) => vec![Part::text(text)],
            Some(TextOrList::List(list)) => list.into_iter().map(part).collect::<Read<_>>()?,
        },
        is_error: false,
        is_freeform,
    };
    item.end()?;
    Ok(Content::ToolResult(result))
}

/// The name of a tool, with that of its group in front.
fn name(item: &mut Fields) -> Read<Option<String>> {
    let (name, namespace) = (item.text("name")?, item.text("namespace")?);
    Ok(match (name, namespace) {
        (Some(name), Some(namespace)) => Some(grouped(&namespace, &name)),
        (name, _) => name,
    })
}

/// Calls of a program that the provider runs can't be translated.
fn of_caller(item: &mut Fields) -> Read<()> {
    let Some(mut caller) = item.object("caller")? else {
        return Ok(());
    };
    if caller.needed_text("type")? != "direct" {
        return Err(caller.refuse("type", "can't be translated"));
    }
    caller.end()
}

/// A thought; `None` for one with nothing but an id, because the provider that will be asked doesn't keep it.
fn reasoning(mut item: Fields) -> Read<Option<Thought>> {
    let texts = |key: &str, kinds: &[&str], item: &mut Fields| {
        let texts = item.list(key)?.into_iter().map(|part| {
            let mut part = part.object()?;
            let kind = part.needed_text("type")?;
            if !kinds.contains(&kind.as_str()) {
                return Err(part.refuse("type", format!("`{kind}` can't be translated")));
            }
            let text = part.needed_text("text")?;
            part.end()?;
            Ok(text)
        });
        texts.collect::<Read<Vec<_>>>()
    };
    let summary = texts("summary", &["summary_text"], &mut item)?;
    let content = texts("content", &["reasoning_text", "text"], &mut item)?;
    let sealed = item.text("encrypted_content")?;
    item.end()?;
    let sealed = sealed.filter(|sealed| !sealed.is_empty());
    let thought = Thought {
        text: if summary.is_empty() { content } else { summary }.join("\n\n"),
        seal: sealed.map(|sealed| Seal::of(&sealed, NAME, SealKind::Encrypted)),
    };
    let is_empty = thought.text.is_empty() && thought.seal.is_none();
    Ok((!is_empty).then_some(thought))
}
