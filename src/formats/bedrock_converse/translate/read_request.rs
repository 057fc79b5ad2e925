//! A caller's request.

use super::{NAME, STOP_SEQUENCE_PATH, citation, media, vendor};
use crate::formats::translate::{
    CacheMark, Content, Delivery, Fields, Inbound, Item, Json, MediaKind, Object, Output, Part,
    Request, Role, Seal, SealKind, Text, Thought, Tool, ToolCall, ToolChoice, ToolResult, Turn,
    Untranslatable,
};

type Read<T> = Result<T, Untranslatable>;

/// Fields that change speed, cost or what is logged, and not the response.
const HINTS: &[&str] = &["performanceConfig", "serviceTier"];

pub(super) fn read(inbound: &Inbound<'_>) -> Read<Request> {
    let mut body = Fields::of_body(inbound.body)?;
    body.ignore(&["model", "modelId"]);
    let mut request = Request {
        model: inbound.model.to_owned(),
        ..Request::default()
    };
    if inbound.is_streamed {
        request.delivery = Delivery::Events { usage: true };
    }
    body.drop_hints(HINTS, &mut request.dropped);
    if let Some(mut config) = body.object("inferenceConfig")? {
        request.max_tokens = config.whole("maxTokens")?;
        request.temperature = config.number("temperature")?;
        request.top_p = config.number("topP")?;
        request.stop = config.texts("stopSequences")?;
        config.end()?;
    }
    let system = parts(body.list("system")?, &mut request.dropped)?;
    if !system.is_empty() {
        request.turns.push(Turn::new(Role::System, system));
    }
    for message in body.list("messages")? {
        let turn = turn(message, &mut request.dropped)?;
        request.turns.push(turn);
    }
    tools(&mut body, &mut request)?;
    vendor::read(&mut body, &mut request)?;
    output(&mut body, &mut request)?;
    for path in body.list("additionalModelResponseFieldPaths")? {
        let refusal = path.refuse("can't be translated");
        if path.text()? != STOP_SEQUENCE_PATH {
            return Err(refusal);
        }
    }
    request.metadata = match body.value("requestMetadata") {
        Some(Json::Object(metadata)) => Some(metadata),
        Some(_) => return Err(body.refuse("requestMetadata", "isn't an object")),
        None => None,
    };
    body.end()?;
    Ok(request)
}

fn turn(message: Item, dropped: &mut Vec<String>) -> Read<Turn> {
    let mut message = message.object()?;
    let role = match message.needed_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return Err(message.refuse("role", "isn't known")),
    };
    let parts = parts(message.list("content")?, dropped)?;
    message.end()?;
    Ok(Turn::new(role, parts))
}

fn parts(blocks: Vec<Item>, dropped: &mut Vec<String>) -> Read<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::with_capacity(blocks.len());
    for block in blocks {
        let empty = block.refuse("is empty");
        let mut block = block.object()?;
        let point = block.path("cachePoint");
        if let Some(mark) = cache(&mut block)? {
            match parts.last_mut() {
                Some(part) => part.cache = Some(mark),
                // What is in front of it stands elsewhere.
                None => dropped.push(point),
            }
        } else {
            let content = content(&mut block, dropped)?;
            let Some(content) = content else {
                block.end()?;
                return Err(empty);
            };
            parts.push(Part::new(content));
        }
        block.end()?;
    }
    Ok(parts)
}

/// A block's content. Each kind is a member of its own, of which a block has one; `None` if it has none
/// that can be translated.
fn content(block: &mut Fields, dropped: &mut Vec<String>) -> Read<Option<Content>> {
    if let Some(text) = block.text("text")? {
        return Ok(Some(Content::Text(Text::new(text))));
    }
    for (key, kind) in [
        ("image", MediaKind::Image),
        ("document", MediaKind::Document),
    ] {
        if let Some(medium) = block.object(key)? {
            return Ok(Some(Content::Media(media::read(medium, kind, dropped)?)));
        }
    }
    if let Some(json) = block.value("json") {
        return Ok(Some(Content::Text(Text::new(json.to_string()))));
    }
    if let Some(call) = block.object("toolUse")? {
        return tool_call(call).map(Some);
    }
    if let Some(result) = block.object("toolResult")? {
        return tool_result(result, dropped).map(Some);
    }
    if let Some(reasoning) = block.object("reasoningContent")? {
        return thought(reasoning).map(Some);
    }
    if let Some(cited) = block.object("citationsContent")? {
        return cited_text(cited).map(Some);
    }
    Ok(None)
}

fn tool_call(mut call: Fields) -> Read<Content> {
    let input = call.value("input").unwrap_or(Object::default().into());
    let content = Content::ToolCall(ToolCall {
        id: call.needed_text("toolUseId")?,
        name: call.needed_text("name")?,
        arguments: input.to_string(),
        is_freeform: false,
    });
    call.end()?;
    Ok(content)
}

fn tool_result(mut result: Fields, dropped: &mut Vec<String>) -> Read<Content> {
    let is_error = match result.text("status")?.as_deref() {
        None | Some("success") => false,
        Some("error") => true,
        Some(_) => return Err(result.refuse("status", "isn't known")),
    };
    let content = Content::ToolResult(ToolResult {
        id: result.needed_text("toolUseId")?,
        parts: parts(result.list("content")?, dropped)?,
        is_error,
        ..ToolResult::default()
    });
    result.end()?;
    Ok(content)
}

fn thought(mut reasoning: Fields) -> Read<Content> {
    let mut thought = Thought::default();
    if let Some(data) = reasoning.text("redactedContent")? {
        thought.seal = Some(Seal::of(&data, NAME, SealKind::Encrypted));
    } else if let Some(mut visible) = reasoning.object("reasoningText")? {
        thought.text = visible.text("text")?.unwrap_or_default();
        let signature = visible.text("signature")?.filter(|text| !text.is_empty());
        thought.seal = signature.map(|text| Seal::of(&text, NAME, SealKind::Signature));
        visible.end()?;
    }
    reasoning.end()?;
    Ok(Content::Reasoning(thought))
}

fn cited_text(mut cited: Fields) -> Read<Content> {
    let mut text = Text::default();
    for piece in cited.list("content")? {
        let mut piece = piece.object()?;
        text.text.push_str(&piece.text("text")?.unwrap_or_default());
        piece.end()?;
    }
    if let Some(citations) = cited.value("citations") {
        text.citations = citations.list().iter().map(citation::read).collect();
    }
    cited.end()?;
    Ok(Content::Text(text))
}

fn cache(block: &mut Fields) -> Read<Option<CacheMark>> {
    let Some(mut point) = block.object("cachePoint")? else {
        return Ok(None);
    };
    let life = point.text("ttl")?;
    point.ignore(&["type"]);
    point.end()?;
    Ok(Some(match life.as_deref() {
        Some("1h") => CacheMark::Hour,
        _ => CacheMark::Default,
    }))
}

fn tools(body: &mut Fields, request: &mut Request) -> Read<()> {
    let Some(mut config) = body.object("toolConfig")? else {
        return Ok(());
    };
    for item in config.list("tools")? {
        let empty = item.refuse("is empty");
        let mut item = item.object()?;
        let point = item.path("cachePoint");
        if let Some(mark) = cache(&mut item)? {
            match request.tools.last_mut() {
                Some(tool) => tool.cache = Some(mark),
                None => request.dropped.push(point),
            }
            item.end()?;
        } else if let Some(spec) = item.object("toolSpec")? {
            request.tools.push(tool(spec)?);
            item.end()?;
        } else {
            item.end()?;
            return Err(empty);
        }
    }
    if let Some(mut choice) = config.object("toolChoice")? {
        if choice.value("auto").is_some() {
            request.tool_choice = Some(ToolChoice::Auto);
        } else if choice.value("any").is_some() {
            request.tool_choice = Some(ToolChoice::Required);
        } else if let Some(mut tool) = choice.object("tool")? {
            request.tool_choice = Some(ToolChoice::Named(tool.needed_text("name")?));
            tool.end()?;
        }
        choice.end()?;
    }
    config.end()
}

fn tool(mut spec: Fields) -> Read<Tool> {
    let mut tool = Tool {
        name: spec.needed_text("name")?,
        description: spec.text("description")?,
        strict: spec.flag("strict")?,
        ..Tool::default()
    };
    if let Some(mut schema) = spec.object("inputSchema")? {
        tool.parameters = schema.value("json");
        schema.end()?;
    }
    spec.end()?;
    Ok(tool)
}

fn output(body: &mut Fields, request: &mut Request) -> Read<()> {
    let Some(mut config) = body.object("outputConfig")? else {
        return Ok(());
    };
    if let Some(mut format) = config.object("textFormat")? {
        if format.needed_text("type")? != "json_schema" {
            return Err(format.refuse("type", "isn't known"));
        }
        let mut structure = format.needed_object("structure")?;
        let mut definition = structure.needed_object("jsonSchema")?;
        // The API takes the schema as a text.
        let schema = definition.needed_text("schema")?;
        let schema = Json::read(schema.as_bytes());
        request.output = Output::JsonSchema {
            name: definition.text("name")?,
            description: definition.text("description")?,
            schema: schema.map_err(|_| definition.refuse("schema", "isn't JSON"))?,
            strict: Some(true),
        };
        definition.end()?;
        structure.end()?;
        format.end()?;
    }
    config.end()
}
