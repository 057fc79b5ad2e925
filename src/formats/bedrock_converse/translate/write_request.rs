//! A request for a provider.

use indexmap::IndexSet;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::media::MediaWriter;
use super::{NAME, STOP_SEQUENCE_PATH, citation, vendor};
use crate::formats::translate::{
    CacheMark, ClaudeSettings, Content, Feature, Object, Outbound, Output, Part, Request, Role,
    SealKind, Text, Thought, Tool, ToolCall, ToolChoice, ToolResult, Untranslatable, fit_id,
    object,
};

/// Tokens of a response beside those of thinking, where the caller sets no bound.
const MAX_TOKENS: u64 = 8_192;
/// The longest id of a call.
const LONGEST_ID: usize = 64;
/// What a path's segment has as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// Stands beside a document, because the API refuses a message that has a document and no text.
const BESIDE_DOCUMENT: &str = "The document is attached.";
/// Stands for the result of a tool that returned nothing, because the API refuses blank texts.
const NO_OUTPUT: &str = "(no output)";
/// Describes a tool that only earlier turns have. The API refuses calls without any tools.
const EARLIER_TOOL: &str = "Was used earlier and is no longer available. Don't call it.";

pub(super) fn write(request: &Request) -> Result<Outbound, Untranslatable> {
    let (system, turns) = request.with_system_in_front();
    let mut body = Object::default();
    let mut writer = Writer::default();
    let messages = writer.messages(&turns)?;
    body.put("messages", messages);
    let system = self::system(&system)?;
    if !system.is_empty() {
        body.put("system", system);
    }
    let (more, mut settings) = vendor::write(request, &turns);
    if turns
        .iter()
        .any(|(_, parts)| parts.iter().any(|part| cites_web(part)))
    {
        settings.left_out.push(Feature::EarlierCitations);
    }
    let config = inference(request, &settings);
    if !config.is_empty() {
        body.put("inferenceConfig", config);
    }
    body.put_some("toolConfig", tool_config(request, &turns)?);
    if !more.is_empty() {
        body.put("additionalModelRequestFields", more);
    }
    if !request.stop.is_empty() {
        // Models that don't say which sequence it was ignore this.
        let paths = vec![STOP_SEQUENCE_PATH.to_owned()];
        body.put("additionalModelResponseFieldPaths", paths);
    }
    body.put_some("outputConfig", output(&request.output));
    let operation = if request.is_streamed() {
        "converse-stream"
    } else {
        "converse"
    };
    Ok(Outbound {
        path: path(request, operation),
        query: None,
        body,
        left_out: settings.left_out,
    })
}

/// The path of an operation.
pub(super) fn path(request: &Request, operation: &str) -> String {
    let model = utf8_percent_encode(&request.model, SEGMENT);
    format!("/bedrock/model/{model}/{operation}")
}

/// Whether a text has a citation of the web, whose search the conversation doesn't have.
fn cites_web(part: &Part) -> bool {
    match &part.content {
        Content::Text(text) => text.citations.iter().any(|one| one.document.is_none()),
        _ => false,
    }
}

/// Whether the API would refuse a text.
fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn cache_point(mark: CacheMark) -> Object {
    let mut point = object! { "type": "default" };
    if mark == CacheMark::Hour {
        point.put("ttl", "1h");
    }
    object! { "cachePoint": point }
}

/// Adds a cache point behind blocks, unless there are none or they end in one.
fn put_cache(blocks: &mut Vec<Object>, mark: Option<CacheMark>) {
    let is_point = |block: &Object| block.members().any(|(key, _)| key == "cachePoint");
    if let Some(mark) = mark
        && blocks.last().is_some_and(|last| !is_point(last))
    {
        blocks.push(cache_point(mark));
    }
}

fn system(parts: &[&Part]) -> Result<Vec<Object>, Untranslatable> {
    let mut blocks = Vec::new();
    for part in parts {
        let Some(text) = part.as_text() else {
            let why = format!("with more than text can't be translated to {NAME}");
            return Err(Untranslatable::new("system", why));
        };
        if !is_blank(text) {
            blocks.push(object! { "text": text });
        }
        put_cache(&mut blocks, part.cache);
    }
    Ok(blocks)
}

fn inference(request: &Request, settings: &ClaudeSettings) -> Object {
    let mut config = Object::default();
    // A bound includes the budget for thinking. Without one, a model's own is the highest.
    let bound = settings
        .budget
        .map(|budget| budget.saturating_add(MAX_TOKENS));
    config.put_some("maxTokens", request.max_tokens.or(bound));
    config.put_some("temperature", settings.temperature);
    config.put_some("topP", settings.top_p);
    if !request.stop.is_empty() {
        config.put("stopSequences", request.stop.clone());
    }
    config
}

fn output(output: &Output) -> Option<Object> {
    let Output::JsonSchema {
        name,
        description,
        schema,
        ..
    } = output
    else {
        return None;
    };
    let mut definition = object! { "schema": schema.to_string() };
    definition.put_some("name", name.as_ref());
    definition.put_some("description", description.as_ref());
    let format = object! {
        "type": "json_schema",
        "structure": object! { "jsonSchema": definition },
    };
    Some(object! { "textFormat": format })
}

fn tool_config(
    request: &Request,
    turns: &[(Role, Vec<&Part>)],
) -> Result<Option<Object>, Untranslatable> {
    let used = used_tools(turns);
    if request.tools.is_empty() {
        let earlier = |name: &&str| Tool {
            name: (*name).to_owned(),
            description: Some(EARLIER_TOOL.to_owned()),
            ..Tool::default()
        };
        let tools: Vec<Object> = used.iter().map(earlier).map(|one| tool(&one)).collect();
        return Ok((!tools.is_empty()).then(|| object! { "tools": tools }));
    }
    if request.tool_choice == Some(ToolChoice::None) {
        if used.is_empty() {
            return Ok(None);
        }
        let why = "can't be `none` in bedrock_converse once a tool was called";
        return Err(Untranslatable::new("tool_choice", why));
    }
    let mut tools = Vec::new();
    for declared in &request.tools {
        tools.push(tool(declared));
        put_cache(&mut tools, declared.cache);
    }
    let mut config = object! { "tools": tools };
    config.put_some("toolChoice", choice(request));
    Ok(Some(config))
}

fn tool(tool: &Tool) -> Object {
    let mut spec = object! { "name": &tool.name };
    let description = tool.description.as_ref();
    spec.put_some("description", description.filter(|text| !text.is_empty()));
    let schema = tool.parameters.clone();
    let schema = schema.unwrap_or_else(|| object! { "type": "object" }.into());
    spec.put("inputSchema", object! { "json": schema });
    if tool.strict == Some(true) {
        spec.put("strict", true);
    }
    object! { "toolSpec": spec }
}

/// The names of the tools that the conversation has calls or results of.
fn used_tools<'a>(turns: &[(Role, Vec<&'a Part>)]) -> IndexSet<&'a str> {
    let parts = turns.iter().flat_map(|(_, parts)| parts);
    let name = |part: &&'a Part| match &part.content {
        Content::ToolCall(call) => Some(call.name.as_str()),
        Content::ToolResult(result) => Some(result.name.as_deref().unwrap_or("tool")),
        _ => None,
    };
    parts.filter_map(name).collect()
}

fn choice(request: &Request) -> Option<Object> {
    match request.tool_choice.as_ref()? {
        // With tools one at a time, the vendor's own choice says it.
        ToolChoice::Auto if request.parallel_tool_calls == Some(false) => None,
        ToolChoice::Auto
        | ToolChoice::Allowed {
            required: false, ..
        } => Some(object! { "auto": Object::default() }),
        ToolChoice::Required | ToolChoice::Allowed { required: true, .. } => {
            Some(object! { "any": Object::default() })
        }
        ToolChoice::Named(name) => Some(object! { "tool": object! { "name": name } }),
        ToolChoice::None => None,
    }
}

/// Writes the messages of one request.
#[derive(Default)]
struct Writer {
    media: MediaWriter,
}

impl Writer {
    fn messages(&mut self, turns: &[(Role, Vec<&Part>)]) -> Result<Vec<Object>, Untranslatable> {
        let mut messages: Vec<(&str, Vec<Object>)> = Vec::new();
        for (role, parts) in turns {
            let mut parts = parts.clone();
            // Results come first, right behind the calls that they answer.
            parts.sort_by_key(|part| !matches!(part.content, Content::ToolResult(_)));
            let mut content = Vec::new();
            for part in parts {
                content.extend(self.block(part)?);
                put_cache(&mut content, cache_of(part));
            }
            let role = if *role == Role::Assistant {
                "assistant"
            } else {
                "user"
            };
            // Where all of a turn was blank, those around it have one role.
            match messages.last_mut() {
                _ if content.is_empty() => {}
                Some((last, blocks)) if *last == role => blocks.append(&mut content),
                _ => messages.push((role, content)),
            }
        }
        let message = |(role, mut content): (&str, Vec<Object>)| {
            let has = |kind: &str| {
                let mut members = content.iter().flat_map(Object::members);
                members.any(|(key, _)| key == kind)
            };
            if has("document") && !has("text") {
                content.push(object! { "text": BESIDE_DOCUMENT });
            }
            object! { "role": role, "content": content }
        };
        Ok(messages.into_iter().map(message).collect())
    }

    /// A block of content; `None` for what the API doesn't take, such as a blank text.
    fn block(&mut self, part: &Part) -> Result<Option<Object>, Untranslatable> {
        Ok(match &part.content {
            Content::Text(text) => self::text(text),
            Content::Refusal(text) => (!is_blank(text)).then(|| object! { "text": text }),
            Content::Media(media) => Some(self.media.block(media)?),
            Content::ToolCall(call) => Some(self::call(call)),
            Content::ToolResult(result) => Some(self.result(result)?),
            Content::Reasoning(thought) => self::thought(thought),
        })
    }

    fn result(&mut self, result: &ToolResult) -> Result<Object, Untranslatable> {
        let mut content = Vec::new();
        for part in &result.parts {
            match &part.content {
                Content::Text(text) if is_blank(&text.text) => {}
                Content::Text(text) => content.push(object! { "text": &text.text }),
                Content::Media(media) => content.push(self.media.block(media)?),
                _ => {}
            }
        }
        if content.is_empty() {
            content.push(object! { "text": NO_OUTPUT });
        }
        let mut block = object! {
            "toolUseId": &*fit_id(&result.id, LONGEST_ID),
            "content": content,
        };
        if result.is_error {
            block.put("status", "error");
        }
        Ok(object! { "toolResult": block })
    }
}

/// The cache mark of a part. In a tool's result, only the whole can have one.
fn cache_of(part: &Part) -> Option<CacheMark> {
    let within = match &part.content {
        Content::ToolResult(result) => result.parts.iter().find_map(|part| part.cache),
        _ => None,
    };
    part.cache.or(within)
}

fn text(text: &Text) -> Option<Object> {
    if is_blank(&text.text) {
        return None;
    }
    // A citation of the web is of a search that the conversation doesn't have.
    let is_of_documents = text.citations.iter().all(|one| one.document.is_some());
    if text.citations.is_empty() || !is_of_documents {
        return Some(object! { "text": &text.text });
    }
    let citations: Vec<Object> = text.citations.iter().map(citation::write).collect();
    let cited = object! {
        "content": vec![object! { "text": &text.text }],
        "citations": citations,
    };
    Some(object! { "citationsContent": cited })
}

fn call(call: &ToolCall) -> Object {
    let block = object! {
        "toolUseId": &*fit_id(&call.id, LONGEST_ID),
        "name": &call.name,
        "input": call.input(),
    };
    object! { "toolUse": block }
}

/// A thought that the model can check or read.
fn thought(thought: &Thought) -> Option<Object> {
    let seal = thought.seal.as_ref()?;
    let content = if let Some(data) = seal.value_for(NAME, SealKind::Encrypted) {
        object! { "redactedContent": data }
    } else {
        let signature = seal.value_for(NAME, SealKind::Signature)?;
        let visible = object! { "text": &thought.text, "signature": signature };
        object! { "reasoningText": visible }
    };
    Some(object! { "reasoningContent": content })
}
