//! A request for a provider.

use super::{CONTENT, NAME, REASONING, content};
use crate::formats::translate::{
    Content, Effort, Media, MediaKind, Object, Outbound, Output, Reasoning, Request, Role,
    SealKind, Source, Tool, ToolCall, ToolChoice, Turn, Untranslatable, fit_id, object, shorten,
};

/// The longest id of a call that OpenAI takes.
const LONGEST_ID: usize = 40;
/// The longest id of a user, and the longest key of a cache.
const LONGEST_KEY: usize = 64;

pub(super) fn write(request: &Request) -> Result<Outbound, Untranslatable> {
    let mut messages = Vec::new();
    for turn in &request.turns {
        add(turn, &mut messages)?;
    }
    let mut body = object! { "model": &request.model, "messages": messages };
    // OpenAI's models that think refuse the older `max_tokens`.
    body.put_some("max_completion_tokens", request.max_tokens);
    body.put_some("temperature", request.temperature);
    body.put_some("top_p", request.top_p);
    body.put_some("seed", request.seed.clone());
    body.put_some("presence_penalty", request.presence_penalty);
    body.put_some("frequency_penalty", request.frequency_penalty);
    if !request.stop.is_empty() {
        body.put("stop", request.stop.clone());
    }
    if let Some(top) = request.logprobs {
        body.put("logprobs", true);
        if top > 0 {
            body.put("top_logprobs", top);
        }
    }
    body.put_some("reasoning_effort", effort(request));
    body.put_some("response_format", output(&request.output));
    if !request.tools.is_empty() {
        let tools: Vec<Object> = request.tools.iter().map(tool).collect();
        body.put("tools", tools);
        put_choice(&mut body, request);
        body.put_some("parallel_tool_calls", request.parallel_tool_calls);
    }
    body.put_some("verbosity", request.verbosity.as_ref());
    for (key, value) in [
        ("prompt_cache_key", &request.cache_key),
        ("user", &request.user),
    ] {
        let value = value.as_deref().map(|value| shorten(value, LONGEST_KEY));
        body.put_some(key, value.as_deref());
    }
    body.put_some("metadata", request.metadata.clone());
    if request.is_streamed() {
        // What asks for the usage is added where the format prepares a request, because some servers
        // refuse it.
        body.put("stream", true);
    }
    Ok(Outbound {
        path: "/v1/chat/completions".to_owned(),
        query: None,
        body,
        left_out: Vec::new(),
    })
}

/// The effort in the API's words.
pub(super) fn effort(request: &Request) -> Option<&'static str> {
    match request.reasoning? {
        Reasoning::Off => can_be_off(&request.model).then_some("none"),
        Reasoning::Effort(effort) => Some(effort.name()),
        // The caller named no effort, and most models refuse those further out.
        Reasoning::Budget(tokens) => {
            let effort = Effort::of_budget(tokens).clamp(Effort::Low, Effort::High);
            Some(effort.name())
        }
        Reasoning::Adaptive => None,
    }
}

/// Whether a model takes the effort `none`: OpenAI's general ones do from gpt-5.1 on, with or without a
/// date behind the version. Others refuse it, gpt-5.1-codex and gpt-5.1-chat-latest among them
/// (<https://platform.openai.com/docs/api-reference/chat/create>).
fn can_be_off(model: &str) -> bool {
    let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
    let Some(name) = name.strip_prefix("gpt-") else {
        return false;
    };
    let (version, date) = name.split_once('-').unwrap_or((name, ""));
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let (Ok(major), Ok(minor)) = (major.parse::<u8>(), minor.parse::<u8>()) else {
        return false;
    };
    // Azure's `gpt-35` is 3.5.
    let is_later = (5, 1) <= (major, minor) && major < 10;
    is_later
        && date
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_digit())
}

fn add(turn: &Turn, messages: &mut Vec<Object>) -> Result<(), Untranslatable> {
    let role = match turn.role {
        // Servers other than OpenAI's know no `developer`, and OpenAI's know both.
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => return assistant(turn, messages),
    };
    let mut parts = Vec::new();
    for part in &turn.parts {
        let Content::ToolResult(result) = &part.content else {
            parts.extend(self::part(&part.content)?);
            continue;
        };
        let id = fit_id(&result.id, LONGEST_ID);
        messages.push(object! {
            "role": "tool",
            "tool_call_id": &*id,
            "content": result.text(),
        });
        // Results have no media here: the user shows them.
        if result.media().next().is_some() {
            let label = format!("What the tool call {id} returned:");
            parts.push(object! { "type": "text", "text": label });
        }
        for media in result.media() {
            parts.push(self::media(media)?);
        }
    }
    if !parts.is_empty() {
        messages.push(object! { "role": role, "content": content(parts) });
    }
    Ok(())
}

/// Parts; a text in their place where that says the same, because some servers take nothing else.
fn content(mut parts: Vec<Object>) -> crate::formats::translate::Json {
    if let [only] = parts.as_mut_slice()
        && let Some(text) = only.take("text")
    {
        return text;
    }
    parts.into()
}

fn part(content: &Content) -> Result<Option<Object>, Untranslatable> {
    Ok(match content {
        Content::Text(text) if text.text.is_empty() => None,
        Content::Text(text) => Some(object! { "type": "text", "text": &text.text }),
        Content::Refusal(text) => Some(object! { "type": "refusal", "refusal": text }),
        Content::Media(media) => Some(self::media(media)?),
        Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => None,
    })
}

fn media(media: &Media) -> Result<Object, Untranslatable> {
    let refuse = |why: &'static str| Err(Untranslatable::new("messages.content", why));
    Ok(match (media.kind, &media.source) {
        (MediaKind::Image, _) => {
            let Some(url) = media.url() else {
                return refuse("has an image that is a text");
            };
            let mut image = object! { "url": url };
            image.put_some("detail", media.detail.as_ref());
            object! { "type": "image_url", "image_url": image }
        }
        (MediaKind::Document, Source::Text(text)) => {
            let text = match &media.name {
                Some(name) => format!("{name}:\n{text}"),
                None => text.clone(),
            };
            object! { "type": "text", "text": text }
        }
        (MediaKind::Document, Source::Inline(_)) => {
            let file = object! {
                "filename": media.name.as_deref().unwrap_or("document.pdf"),
                "file_data": media.url(),
            };
            object! { "type": "file", "file": file }
        }
        (MediaKind::Audio, Source::Inline(data)) => {
            let format = match media.mime.as_deref() {
                Some("audio/mp3" | "audio/mpeg") => "mp3",
                Some("audio/wav" | "audio/x-wav" | "audio/wave") => "wav",
                _ => return refuse("has sound that is neither mp3 nor wav"),
            };
            let audio = object! { "data": data, "format": format };
            object! { "type": "input_audio", "input_audio": audio }
        }
        _ => return refuse("has a medium that chat completions lack"),
    })
}

fn assistant(turn: &Turn, messages: &mut Vec<Object>) -> Result<(), Untranslatable> {
    let (mut parts, mut calls) = (Vec::new(), Vec::new());
    let mut message = object! { "role": "assistant" };
    let mut thoughts: Vec<(&str, String)> = Vec::new();
    for part in &turn.parts {
        match &part.content {
            Content::ToolCall(call) => calls.push(self::call(call)),
            Content::Reasoning(thought) => {
                let seal = thought.seal.as_ref();
                let key = seal.and_then(|seal| seal.value_for(NAME, SealKind::Signature));
                let mut known = REASONING.into_iter().chain([CONTENT]);
                let key = known.find(|known| Some(*known) == key);
                match (key, thoughts.last_mut()) {
                    (Some(key), Some((last, text))) if *last == key => text.push_str(&thought.text),
                    (Some(key), _) => thoughts.push((key, thought.text.clone())),
                    (None, _) => {}
                }
            }
            content => parts.extend(self::part(content)?),
        }
    }
    if parts.is_empty() && calls.is_empty() {
        return Ok(());
    }
    for (key, text) in thoughts {
        if key == CONTENT {
            parts.insert(0, content::thinking(&text));
        } else {
            message.put(key, text);
        }
    }
    let texts: Option<Vec<String>> = parts.iter_mut().map(only_text).collect();
    match texts {
        Some(texts) if texts.is_empty() => message.put("content", None::<String>),
        // Servers with templates for text alone take no list of parts here.
        Some(texts) => message.put("content", texts.concat()),
        None => message.put("content", parts),
    }
    if !calls.is_empty() {
        message.put("tool_calls", calls);
    }
    messages.push(message);
    Ok(())
}

fn only_text(part: &mut Object) -> Option<String> {
    let mut members = part.members();
    let (_, text) = members.find(|(key, _)| *key == "text")?;
    text.text().map(str::to_owned)
}

fn call(call: &ToolCall) -> Object {
    let id = fit_id(&call.id, LONGEST_ID);
    if call.is_freeform {
        let custom = object! { "name": &call.name, "input": &call.arguments };
        return object! { "id": &*id, "type": "custom", "custom": custom };
    }
    let arguments = if call.arguments.trim().is_empty() {
        "{}"
    } else {
        &call.arguments
    };
    let function = object! { "name": &call.name, "arguments": arguments };
    object! { "id": &*id, "type": "function", "function": function }
}

fn tool(tool: &Tool) -> Object {
    let mut inner = object! { "name": &tool.name };
    inner.put_some("description", tool.description.as_ref());
    if let Some(format) = &tool.freeform {
        if !format.is_empty() {
            inner.put("format", format.clone());
        }
        return object! { "type": "custom", "custom": inner };
    }
    inner.put_some("parameters", tool.parameters.clone());
    inner.put_some("strict", tool.strict);
    object! { "type": "function", "function": inner }
}

fn put_choice(body: &mut Object, request: &Request) {
    let named = |name: &String| {
        let mut tools = request.tools.iter();
        let is_freeform = tools.any(|tool| tool.name == *name && tool.freeform.is_some());
        let named = object! { "name": name };
        if is_freeform {
            object! { "type": "custom", "custom": named }
        } else {
            object! { "type": "function", "function": named }
        }
    };
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => body.put("tool_choice", "auto"),
        Some(ToolChoice::None) => body.put("tool_choice", "none"),
        Some(ToolChoice::Required) => body.put("tool_choice", "required"),
        Some(ToolChoice::Named(name)) => body.put("tool_choice", named(name)),
        Some(ToolChoice::Allowed { names, required }) => {
            let tools: Vec<Object> = names.iter().map(named).collect();
            let mode = if *required { "required" } else { "auto" };
            let allowed = object! { "mode": mode, "tools": tools };
            let choice = object! { "type": "allowed_tools", "allowed_tools": allowed };
            body.put("tool_choice", choice);
        }
    }
}

fn output(output: &Output) -> Option<Object> {
    Some(match output {
        Output::Text => return None,
        Output::JsonObject => object! { "type": "json_object" },
        Output::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => {
            // The API wants a name.
            let mut named = object! { "name": name.as_deref().unwrap_or("response") };
            named.put_some("description", description.as_ref());
            named.put("schema", schema.clone());
            named.put_some("strict", *strict);
            object! { "type": "json_schema", "json_schema": named }
        }
    })
}
