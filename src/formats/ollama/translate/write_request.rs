//! A request for a provider, which is always asked in a chat.

use super::NAME;
use crate::formats::ollama::CHAT_PATH;
use crate::formats::translate::{
    Content, Effort, Json, Media, MediaKind, Object, Outbound, Output, Reasoning, Request, Role,
    Source, Tool, ToolCall, ToolChoice, ToolResult, Turn, Untranslatable, object,
};

pub(super) fn write(request: &Request) -> Result<Outbound, Untranslatable> {
    let mut messages = Vec::new();
    for turn in &request.turns {
        add(turn, &mut messages)?;
    }
    let mut body = object! { "model": &request.model, "messages": messages };
    // A model that is offered no tool calls none.
    if !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None) {
        let tools: Vec<Object> = request.tools.iter().map(tool).collect();
        body.put("tools", tools);
    }
    body.put_some("format", output(&request.output));
    body.put_some("think", request.reasoning.and_then(think));
    let options = options(request);
    if !options.is_empty() {
        body.put("options", options);
    }
    if let Some(top) = request.logprobs {
        body.put("logprobs", true);
        body.put("top_logprobs", top);
    }
    // Without it the response is a stream.
    body.put("stream", request.is_streamed());
    Ok(Outbound {
        path: CHAT_PATH.to_owned(),
        query: None,
        body,
        left_out: Vec::new(),
    })
}

fn options(request: &Request) -> Object {
    let mut options = Object::default();
    options.put_some("num_predict", request.max_tokens);
    options.put_some("temperature", request.temperature);
    options.put_some("top_p", request.top_p);
    options.put_some("top_k", request.top_k);
    options.put_some("seed", request.seed.clone());
    options.put_some("presence_penalty", request.presence_penalty);
    options.put_some("frequency_penalty", request.frequency_penalty);
    if !request.stop.is_empty() {
        options.put("stop", request.stop.clone());
    }
    options
}

fn output(output: &Output) -> Option<Json> {
    match output {
        Output::Text => None,
        Output::JsonObject => Some("json".into()),
        Output::JsonSchema { schema, .. } => Some(schema.clone()),
    }
}

/// Whether a model takes levels of thinking. Ollama refuses them for all others.
pub(super) fn takes_levels(model: &str) -> bool {
    model.contains("gpt-oss")
}

/// The level in the API's words. Older versions know three. Without the key a model thinks if it can;
/// `true` is an error for one that can't.
fn think(reasoning: Reasoning) -> Option<Json> {
    match (reasoning, reasoning.effort()) {
        (Reasoning::Off, _) => Some(false.into()),
        (_, None) => None,
        (_, Some(effort)) => {
            let level = effort.clamp(Effort::Low, Effort::High);
            Some(level.name().into())
        }
    }
}

fn add(turn: &Turn, messages: &mut Vec<Object>) -> Result<(), Untranslatable> {
    let role = match turn.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut said = Said::default();
    for part in &turn.parts {
        match &part.content {
            Content::ToolResult(result) => messages.push(self::result(result, &mut said)?),
            content => said.add(content)?,
        }
    }
    messages.extend(said.message(role));
    Ok(())
}

/// A tool's result. Its images follow with the user's words, because few templates show them otherwise.
fn result(result: &ToolResult, said: &mut Said) -> Result<Object, Untranslatable> {
    for media in result.media() {
        said.media(media)?;
    }
    let mut message = object! { "role": "tool", "content": result.text() };
    message.put_some("tool_name", result.name.as_ref());
    message.put_some(
        "tool_call_id",
        (!result.id.is_empty()).then_some(&result.id),
    );
    Ok(message)
}

/// What a turn says.
#[derive(Default)]
struct Said {
    texts: Vec<String>,
    thinking: String,
    images: Vec<String>,
    calls: Vec<Object>,
}

impl Said {
    fn add(&mut self, content: &Content) -> Result<(), Untranslatable> {
        match content {
            Content::Text(text) => self.texts.push(text.text.clone()),
            Content::Refusal(text) => self.texts.push(text.clone()),
            Content::Media(media) => self.media(media)?,
            Content::ToolCall(call) => self.calls.push(self::call(call)),
            Content::Reasoning(thought) => {
                let seal = thought.seal.as_ref();
                if seal.is_some_and(|seal| seal.format == NAME) {
                    self.thinking.push_str(&thought.text);
                }
            }
            Content::ToolResult(_) => {}
        }
        Ok(())
    }

    fn media(&mut self, media: &Media) -> Result<(), Untranslatable> {
        match (media.kind, &media.source) {
            (MediaKind::Image, Source::Inline(data)) => self.images.push(data.clone()),
            (MediaKind::Document, Source::Text(text)) => self.texts.push(match &media.name {
                Some(name) => format!("{name}:\n{text}"),
                None => text.clone(),
            }),
            _ => {
                let why = "has a medium that Ollama lacks";
                return Err(Untranslatable::new("messages.content", why));
            }
        }
        Ok(())
    }

    /// The message; `None` if it says nothing.
    fn message(self, role: &str) -> Option<Object> {
        let texts: Vec<String> = self
            .texts
            .into_iter()
            .filter(|one| !one.is_empty())
            .collect();
        if texts.is_empty() && self.images.is_empty() && self.calls.is_empty() {
            return None;
        }
        let mut message = object! { "role": role, "content": texts.join("\n") };
        if !self.thinking.is_empty() {
            message.put("thinking", self.thinking);
        }
        if !self.images.is_empty() {
            message.put("images", self.images);
        }
        if !self.calls.is_empty() {
            message.put("tool_calls", self.calls);
        }
        Some(message)
    }
}

/// A call, as requests and responses have it.
pub(super) fn call(call: &ToolCall) -> Object {
    let mut out = Object::default();
    out.put_some("id", (!call.id.is_empty()).then_some(&call.id));
    let function = object! { "name": &call.name, "arguments": call.input() };
    out.put("function", function);
    out
}

fn tool(tool: &Tool) -> Object {
    let mut function = object! { "name": &tool.name };
    function.put_some("description", tool.description.as_ref());
    let parameters = tool.parameters.clone();
    let none = || object! { "type": "object", "properties": Object::default() }.into();
    function.put("parameters", parameters.unwrap_or_else(none));
    object! { "type": "function", "function": function }
}
