//! The conversation of a request for a provider.

use super::model::generation;
use super::{NAME, read_content, signature};
use crate::formats::translate::{
    Content, Json, Media, MediaKind, Object, Part, Request, Role, SealKind, Source, Thought,
    ToolCall, ToolResult, Untranslatable, object,
};

/// `contents` and `systemInstruction`.
pub(super) fn conversation(request: &Request) -> Result<Object, Untranslatable> {
    let (system, turns) = request.with_system_in_front();
    let mut instruction = Vec::new();
    for part in system {
        match &part.content {
            Content::Text(text) if text.text.is_empty() => {}
            Content::Text(text) => instruction.push(object! { "text": &text.text }),
            _ => return Err(Untranslatable::new("system", "has more than text")),
        }
    }
    let mut contents = Vec::new();
    for (role, parts) in turns {
        let (role, parts) = match role {
            Role::Assistant => ("model", said(request, &parts)),
            _ => ("user", asked(&parts)?),
        };
        if !parts.is_empty() {
            contents.push(object! { "role": role, "parts": parts });
        }
    }
    let mut body = Object::default();
    if contents.is_empty() {
        // The API wants something to respond to.
        contents.push(object! { "role": "user", "parts": std::mem::take(&mut instruction) });
    }
    if !instruction.is_empty() {
        body.put("systemInstruction", object! { "parts": instruction });
    }
    body.put("contents", contents);
    Ok(body)
}

/// What the user says. Results come first and in one piece, because the API counts them against the
/// calls; their media follow, because not all models take them inside.
fn asked(parts: &[&Part]) -> Result<Vec<Object>, Untranslatable> {
    let (mut results, mut shown, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        match &part.content {
            Content::ToolResult(result) => {
                results.push(self::result(result)?);
                if result.media().next().is_some() {
                    let label = format!("What the function call {} returned:", result.id);
                    shown.push(object! { "text": label });
                }
                for media in result.media() {
                    shown.push(self::media(media));
                }
            }
            content => others.extend(plain(content)),
        }
    }
    results.extend(shown);
    results.extend(others);
    Ok(results)
}

/// What the model has said, with its signatures where they were.
fn said(request: &Request, parts: &[&Part]) -> Vec<Object> {
    let (mut out, mut next) = (Vec::new(), None::<&str>);
    let mut has_calls = false;
    for part in parts {
        let mut written = match &part.content {
            Content::Reasoning(thought) => {
                let seal = thought.seal.as_ref();
                match seal.and_then(|seal| seal.value_for(NAME, SealKind::Next)) {
                    Some(value) => out.extend(next.replace(value).map(lone)),
                    None => out.extend(self::thought(thought)),
                }
                continue;
            }
            Content::ToolCall(call) => {
                // Gemini 3 wants a signature on the first call of a turn. One that was made by another
                // model, or whose caller has lost the signature, has none.
                let is_first = !std::mem::replace(&mut has_calls, true);
                let is_older = generation(&request.model).is_some_and(|generation| generation < 3);
                if is_first && !is_older {
                    next.get_or_insert(signature::NONE);
                }
                self::call(call)
            }
            content => match plain(content) {
                Some(part) => part,
                None => continue,
            },
        };
        written.put_some("thoughtSignature", next.take());
        out.push(written);
    }
    out.extend(next.map(lone));
    out
}

/// A signature that came in a part of its own, at the end of a stream.
fn lone(signature: &str) -> Object {
    object! { "text": "", "thoughtSignature": signature }
}

/// A thought of one of Google's models.
fn thought(thought: &Thought) -> Option<Object> {
    let value = thought
        .seal
        .as_ref()?
        .value_for(NAME, SealKind::Signature)?;
    Some(object! { "text": &thought.text, "thought": true, "thoughtSignature": value })
}

fn call(call: &ToolCall) -> Object {
    let mut function = Object::default();
    function.put_some("id", (!call.id.is_empty()).then_some(&call.id));
    function.put("name", &call.name);
    function.put("args", call.input());
    object! { "functionCall": function }
}

fn result(result: &ToolResult) -> Result<Object, Untranslatable> {
    let Some(name) = &result.name else {
        let why = format!("answers no call: `{}`", result.id);
        return Err(Untranslatable::new("tool result", why));
    };
    let text = result.text();
    // What is an object anyway stays one.
    let value = match Json::read(text.as_bytes()) {
        Ok(value @ (Json::Object(_) | Json::List(_))) => value,
        _ => text.into(),
    };
    let mut response = Object::default();
    response.put(if result.is_error { "error" } else { "output" }, value);
    let mut function = Object::default();
    function.put_some("id", (!result.id.is_empty()).then_some(&result.id));
    function.put("name", name);
    function.put("response", response);
    Ok(object! { "functionResponse": function })
}

/// A text or a medium; `None` for what says nothing.
fn plain(content: &Content) -> Option<Object> {
    match content {
        Content::Text(text) => (!text.text.is_empty()).then(|| object! { "text": &text.text }),
        Content::Refusal(text) => (!text.is_empty()).then(|| object! { "text": text }),
        Content::Media(media) => Some(self::media(media)),
        Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => None,
    }
}

fn media(media: &Media) -> Object {
    let fallback = match media.kind {
        MediaKind::Audio => "audio/wav",
        MediaKind::Document => "application/pdf",
        MediaKind::Image => "image/jpeg",
        MediaKind::Video => "video/mp4",
    };
    let mime = media.mime.as_deref();
    match &media.source {
        // A document of text is a text to the model. The API takes no names beside data.
        Source::Text(text) => {
            let text = match &media.name {
                Some(name) => format!("{name}:\n{text}"),
                None => text.clone(),
            };
            object! { "text": text }
        }
        Source::Inline(data) => {
            let data = object! { "mimeType": mime.unwrap_or(fallback), "data": data };
            object! { "inlineData": data }
        }
        Source::Url(url) => {
            let mime = mime.or_else(|| read_content::type_of(url));
            let file = object! { "mimeType": mime.unwrap_or(fallback), "fileUri": url };
            object! { "fileData": file }
        }
    }
}
