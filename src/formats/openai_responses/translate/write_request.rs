//! A request for a provider.

use std::collections::HashMap;

use super::{NAME, PLAIN, ungrouped};
use crate::formats::translate::{
    Content, Effort, Feature, Json, Media, MediaKind, Object, Outbound, Output, Part, Reasoning,
    Request, Role, SealKind, Source, Thought, Tool, ToolCall, ToolChoice, ToolResult, Turn,
    Untranslatable, fit_id, object, shorten,
};

/// The longest id that OpenAI takes, of a call, a person or a cache.
const LONGEST_ID: usize = 64;
/// The least bound on a response that OpenAI takes.
const LEAST_TOKENS: u64 = 16;

pub(super) fn write(request: &Request) -> Result<Outbound, Untranslatable> {
    let (instructions, turns) = instructions(&request.turns);
    let mut input = Vec::new();
    for turn in turns {
        add(turn, &mut input)?;
    }
    // The API refuses a thought without what it led to.
    let is_last = |turn: &Turn| turn.parts.last().is_some_and(is_thought);
    let left_out = turns.iter().any(is_last).then_some(Feature::PlainReasoning);
    let mut body = object! { "model": &request.model };
    body.put_some("instructions", instructions);
    body.put("input", input);
    let bound = request.max_tokens.map(|bound| bound.max(LEAST_TOKENS));
    body.put_some("max_output_tokens", bound);
    body.put_some("temperature", request.temperature);
    body.put_some("top_p", request.top_p);
    body.put_some("reasoning", reasoning(request));
    body.put_some("text", text(request));
    if !request.tools.is_empty() {
        body.put("tools", tools(request));
        body.put_some("tool_choice", choice(request));
        body.put_some("parallel_tool_calls", request.parallel_tool_calls);
    }
    let include = include(request);
    if !include.is_empty() {
        body.put("include", include);
    }
    body.put_some("top_logprobs", request.logprobs.filter(|top| *top > 0));
    let fit = |id: &Option<String>| Some(shorten(id.as_deref()?, LONGEST_ID).into_owned());
    body.put_some("prompt_cache_key", fit(&request.cache_key));
    body.put_some("user", fit(&request.user));
    body.put_some("metadata", request.metadata.clone());
    // Nothing is looked up at the provider later.
    body.put("store", false);
    if request.is_streamed() {
        body.put("stream", true);
    }
    Ok(Outbound {
        path: "/v1/responses".to_owned(),
        query: None,
        body,
        left_out: left_out.into_iter().collect(),
    })
}

/// The text of the system turn in front, and the turns behind it.
fn instructions(turns: &[Turn]) -> (Option<String>, &[Turn]) {
    if let Some((first, rest)) = turns.split_first()
        && first.role == Role::System
        && let Some(texts) = first
            .parts
            .iter()
            .map(Part::as_text)
            .collect::<Option<Vec<_>>>()
    {
        return (Some(texts.join("\n\n")), rest);
    }
    (None, turns)
}

/// More of a response: the API leaves it out unless it is asked for. Models that don't reason refuse to be
/// asked for encrypted reasoning.
fn include(request: &Request) -> Vec<String> {
    let is_sealed = |part: &Part| match &part.content {
        Content::Reasoning(thought) => encrypted(thought).is_some(),
        _ => false,
    };
    let reasons = match request.reasoning {
        Some(reasoning) => reasoning != Reasoning::Off,
        None => request
            .turns
            .iter()
            .flat_map(|turn| &turn.parts)
            .any(is_sealed),
    };
    let mut include = Vec::new();
    if reasons {
        include.push("reasoning.encrypted_content".to_owned());
    }
    if request.logprobs.is_some() {
        include.push("message.output_text.logprobs".to_owned());
    }
    include
}

/// Whether it is a thought, which would stand in the input.
fn is_thought(part: &Part) -> bool {
    matches!(&part.content, Content::Reasoning(thought) if reasoning_item(thought).is_some())
}

fn add(turn: &Turn, items: &mut Vec<Object>) -> Result<(), Untranslatable> {
    let mut content = Vec::new();
    for (nth, part) in turn.parts.iter().enumerate() {
        let item = match &part.content {
            Content::ToolCall(call) => self::call(call),
            Content::ToolResult(result) => self::result(result)?,
            Content::Reasoning(thought) => match reasoning_item(thought) {
                Some(item) if nth + 1 < turn.parts.len() => item,
                _ => continue,
            },
            _ => {
                content.extend(self::content(&part.content, turn.role)?);
                continue;
            }
        };
        flush(turn.role, &mut content, items);
        items.push(item);
    }
    flush(turn.role, &mut content, items);
    Ok(())
}

/// Adds a message, if there is something in it. Its content is a string where that says the same, because
/// some servers take nothing else.
fn flush(role: Role, content: &mut Vec<Object>, items: &mut Vec<Object>) {
    let mut content = std::mem::take(content);
    if content.is_empty() {
        return;
    }
    let name = match role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let texts = content.iter().map(|part| match part.members().nth(1) {
        Some(("text", text)) => text.text(),
        _ => None,
    });
    let texts: Option<Vec<&str>> = texts.collect();
    let content: Json = match texts {
        // What a model said in pieces is one text.
        Some(texts) if texts.len() == 1 || role == Role::Assistant => texts.concat().into(),
        _ => std::mem::take(&mut content).into(),
    };
    items.push(object! { "type": "message", "role": name, "content": content });
}

fn content(content: &Content, role: Role) -> Result<Option<Object>, Untranslatable> {
    Ok(match content {
        Content::Text(text) if text.text.is_empty() => None,
        Content::Text(text) if role == Role::Assistant => Some(object! {
            "type": "output_text",
            "text": &text.text,
            "annotations": Vec::<Object>::new(),
        }),
        Content::Text(text) => Some(object! { "type": "input_text", "text": &text.text }),
        Content::Refusal(text) => Some(object! { "type": "refusal", "refusal": text }),
        Content::Media(media) => Some(self::media(media)?),
        Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => None,
    })
}

fn media(media: &Media) -> Result<Object, Untranslatable> {
    Ok(match (media.kind, &media.source) {
        (MediaKind::Image, Source::Url(_) | Source::Inline(_)) => object! {
            "type": "input_image",
            "image_url": media.url(),
            "detail": media.detail.as_deref().unwrap_or("auto"),
        },
        (MediaKind::Document, Source::Text(text)) => {
            let text = match &media.name {
                Some(name) => format!("{name}:\n{text}"),
                None => text.clone(),
            };
            object! { "type": "input_text", "text": text }
        }
        (MediaKind::Document, Source::Url(url)) => {
            let mut file = object! { "type": "input_file", "file_url": url };
            file.put_some("filename", media.name.as_ref());
            file
        }
        (MediaKind::Document, Source::Inline(_)) => object! {
            "type": "input_file",
            "filename": media.name.as_deref().unwrap_or("document.pdf"),
            "file_data": media.url(),
        },
        _ => {
            let why = "is a medium that responses lack";
            return Err(Untranslatable::new("input.content", why));
        }
    })
}

fn call(call: &ToolCall) -> Object {
    let (kind, key) = call_kind(call.is_freeform);
    let mut item = object! {
        "type": kind,
        "call_id": &*fit_id(&call.id, LONGEST_ID),
        "name": &call.name,
    };
    item.put(key, arguments(call));
    item
}

/// The type of a call's item, and the key of what the tool takes.
pub(super) fn call_kind(is_freeform: bool) -> (&'static str, &'static str) {
    if is_freeform {
        ("custom_tool_call", "input")
    } else {
        ("function_call", "arguments")
    }
}

/// What a tool takes: JSON, unless it is a freeform one.
pub(super) fn arguments(call: &ToolCall) -> &str {
    if call.arguments.trim().is_empty() && !call.is_freeform {
        return "{}";
    }
    &call.arguments
}

fn result(result: &ToolResult) -> Result<Object, Untranslatable> {
    let output: Json = if result.media().next().is_none() {
        result.text().into()
    } else {
        let mut parts = Vec::new();
        for part in &result.parts {
            parts.extend(content(&part.content, Role::User)?);
        }
        parts.into()
    };
    let kind = if result.is_freeform {
        "custom_tool_call_output"
    } else {
        "function_call_output"
    };
    Ok(object! {
        "type": kind,
        "call_id": &*fit_id(&result.id, LONGEST_ID),
        "output": output,
    })
}

fn encrypted(thought: &Thought) -> Option<&str> {
    thought.seal.as_ref()?.value_for(NAME, SealKind::Encrypted)
}

/// A thought of a model of this API.
fn reasoning_item(thought: &Thought) -> Option<Object> {
    let seal = thought.seal.as_ref()?;
    let mut item = object! { "type": "reasoning" };
    item.put_some("id", seal.id.as_ref());
    let mut summary = Vec::new();
    if let Some(value) = encrypted(thought) {
        if !thought.text.is_empty() {
            summary.push(object! { "type": "summary_text", "text": &thought.text });
        }
        item.put("summary", summary);
        item.put("encrypted_content", value);
    } else if seal.value_for(NAME, SealKind::Signature) == Some(PLAIN) {
        item.put("summary", summary);
        let content = object! { "type": PLAIN, "text": &thought.text };
        item.put("content", vec![content]);
    } else {
        return None;
    }
    Some(item)
}

/// How much the model thinks. The API shows a summary of its thoughts on request alone, and refuses that
/// to some accounts: without the caller's wish, it is only requested where callers expect to read thoughts.
pub(super) fn reasoning(request: &Request) -> Option<Object> {
    let reasoning = request.reasoning?;
    let is_usual = matches!(reasoning, Reasoning::Adaptive | Reasoning::Budget(_));
    let shows = reasoning != Reasoning::Off && request.shows_thoughts.unwrap_or(is_usual);
    let mut out = Object::default();
    out.put_some("effort", effort(reasoning));
    out.put_some("summary", shows.then_some("auto"));
    (!out.is_empty()).then_some(out)
}

/// The effort in the API's words; `None` where the model decides.
pub(super) fn effort(reasoning: Reasoning) -> Option<&'static str> {
    match reasoning {
        Reasoning::Off => Some("none"),
        _ => reasoning.effort().map(Effort::name),
    }
}

fn text(request: &Request) -> Option<Object> {
    let mut text = Object::default();
    text.put_some("format", format(&request.output));
    text.put_some("verbosity", request.verbosity.as_ref());
    (!text.is_empty()).then_some(text)
}

/// What the text of a response has to be; `None` for any text.
pub(super) fn format(output: &Output) -> Option<Object> {
    Some(match output {
        Output::Text => return None,
        Output::JsonObject => object! { "type": "json_object" },
        Output::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => {
            let mut format = object! {
                "type": "json_schema",
                // The API wants a name.
                "name": name.as_deref().unwrap_or("response"),
            };
            format.put_some("description", description.as_ref());
            format.put("schema", schema.clone());
            format.put_some("strict", *strict);
            format
        }
    })
}

/// The tools, those of one group together.
pub(super) fn tools(request: &Request) -> Vec<Object> {
    let groups = request
        .tools
        .chunk_by(|one, next| one.namespace == next.namespace);
    let mut out = Vec::new();
    for group in groups {
        let tools = group.iter().map(tool);
        match group.first().and_then(|tool| tool.namespace.as_ref()) {
            None => out.extend(tools),
            Some(namespace) => out.push(object! {
                "type": "namespace",
                "name": namespace,
                // Its first tool has it.
                "description": "",
                "tools": tools.collect::<Vec<_>>(),
            }),
        }
    }
    out
}

fn tool(tool: &Tool) -> Object {
    let namespace = tool.namespace.as_deref();
    let name = namespace.map_or(&*tool.name, |namespace| ungrouped(namespace, &tool.name));
    let Some(format) = &tool.freeform else {
        let none = || object! { "type": "object", "properties": Object::default() }.into();
        let mut out = object! { "type": "function", "name": name };
        out.put_some("description", tool.description.as_ref());
        out.put("parameters", tool.parameters.clone().unwrap_or_else(none));
        // Other APIs are lenient by default; this one makes a schema strict where it can.
        out.put("strict", tool.strict.unwrap_or(false));
        return out;
    };
    let mut out = object! { "type": "custom", "name": name };
    out.put_some("description", tool.description.as_ref());
    let mut format = format.clone();
    if let Some(Json::Object(grammar)) = format.take("grammar") {
        for (key, value) in grammar.members() {
            format.put(key, value.clone());
        }
    }
    if !format.is_empty() {
        out.put("format", format);
    }
    out
}

/// Which tools may or must be called.
pub(super) fn choice(request: &Request) -> Option<Json> {
    // A caller may name as many tools as it has: searching them for each name would take too long.
    let tools: HashMap<&str, &Tool> = request
        .tools
        .iter()
        .map(|tool| (&*tool.name, tool))
        .collect();
    let named = |name: &String| {
        let tool = tools.get(&**name).copied();
        let is_freeform = tool.is_some_and(|tool| tool.freeform.is_some());
        let mut named = object! { "type": if is_freeform { "custom" } else { "function" } };
        put_name(&mut named, name, tool);
        named
    };
    Some(match request.tool_choice.as_ref()? {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => named(name).into(),
        ToolChoice::Allowed { names, required } => {
            let tools: Vec<Object> = names.iter().map(named).collect();
            object! {
                "type": "allowed_tools",
                "mode": if *required { "required" } else { "auto" },
                "tools": tools,
            }
            .into()
        }
    })
}

/// Adds the name of a tool, apart from that of its group.
pub(super) fn put_name(to: &mut Object, name: &str, tool: Option<&Tool>) {
    match tool.and_then(|tool| tool.namespace.as_deref()) {
        None => to.put("name", name),
        Some(namespace) => {
            to.put("name", ungrouped(namespace, name));
            to.put("namespace", namespace);
        }
    }
}
