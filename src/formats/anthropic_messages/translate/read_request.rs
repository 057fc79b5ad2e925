//! A caller's request.

use super::{NAME, citation};
use crate::formats::translate::{
    CacheMark, Claude, Content, Delivery, Effort, Fields, Inbound, Item, Json, Media, MediaKind,
    Object, Output, Part, Reasoning, Request, Role, Seal, SealKind, Source, Text, TextOrList,
    Thought, Tool, ToolCall, ToolChoice, ToolResult, Turn, Untranslatable,
};

type Read<T> = Result<T, Untranslatable>;

/// Fields that the API calls optional help for itself.
const HINTS: &[&str] = &["cache_control", "context_management", "diagnostics"];

pub(super) fn read(inbound: &Inbound<'_>) -> Read<Request> {
    let mut body = Fields::of_body(inbound.body)?;
    body.ignore(&["model", "stream", "betas", "anthropic_version"]);
    let mut request = Request {
        model: inbound.model.to_owned(),
        max_tokens: body.whole("max_tokens")?,
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        top_k: body.whole("top_k")?,
        stop: body.texts("stop_sequences")?,
        ..Request::default()
    };
    if inbound.is_streamed {
        request.delivery = Delivery::Events { usage: true };
    }
    body.drop_hints(HINTS, &mut request.dropped);
    if let Some(tier) = body.text("service_tier")?
        && !matches!(tier.as_str(), "auto" | "standard_only")
    {
        return Err(body.refuse("service_tier", "can't be translated"));
    }
    if let Some(mut metadata) = body.object("metadata")? {
        request.user = metadata.text("user_id")?;
        metadata.end()?;
    }
    let system = match body.text_or_list("system")? {
        None => Vec::new(),
        Some(TextOrList::Text(text)) => vec![Part::text(text)],
        Some(TextOrList::List(blocks)) => parts(blocks, &mut request.dropped)?,
    };
    if !system.is_empty() {
        request.turns.push(Turn::new(Role::System, system));
    }
    for message in body.list("messages")? {
        let turn = turn(message, &mut request.dropped)?;
        request.turns.push(turn);
    }
    for item in body.list("tools")? {
        let tool = tool(item, &mut request.dropped)?;
        request.tools.push(tool);
    }
    choice(&mut body, &mut request)?;
    thinking(&mut body, &mut request)?;
    body.end()?;
    Ok(request)
}

fn turn(message: Item, dropped: &mut Vec<String>) -> Read<Turn> {
    let mut message = message.object()?;
    let role = match message.needed_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(message.refuse("role", "isn't known")),
    };
    let parts = match message.text_or_list("content")? {
        None => return Err(message.refuse("content", "is missing")),
        Some(TextOrList::Text(text)) => vec![Part::text(text)],
        Some(TextOrList::List(blocks)) => parts(blocks, dropped)?,
    };
    message.end()?;
    Ok(Turn::new(role, parts))
}

fn parts(blocks: Vec<Item>, dropped: &mut Vec<String>) -> Read<Vec<Part>> {
    let mut parts = Vec::with_capacity(blocks.len());
    for block in blocks {
        parts.push(part(block.object()?, dropped)?);
    }
    Ok(parts)
}

fn part(mut block: Fields, dropped: &mut Vec<String>) -> Read<Part> {
    let kind = block.needed_text("type")?;
    let content = match kind.as_str() {
        "text" => Content::Text(text(&mut block)?),
        "image" => Content::Media(media(&mut block, MediaKind::Image)?),
        "document" => Content::Media(document(&mut block, dropped)?),
        "tool_use" => {
            block.ignore(&["caller"]);
            Content::ToolCall(ToolCall {
                id: block.needed_text("id")?,
                name: block.needed_text("name")?,
                arguments: block
                    .value("input")
                    .unwrap_or(Object::default().into())
                    .to_string(),
                is_freeform: false,
            })
        }
        "tool_result" => Content::ToolResult(ToolResult {
            id: block.needed_text("tool_use_id")?,
            is_error: block.flag("is_error")?.unwrap_or(false),
            parts: match block.text_or_list("content")? {
                None => Vec::new(),
                Some(TextOrList::Text(text)) => vec![Part::text(text)],
                Some(TextOrList::List(blocks)) => parts(blocks, dropped)?,
            },
            ..ToolResult::default()
        }),
        "thinking" => {
            let signature = block.text("signature")?.filter(|text| !text.is_empty());
            Content::Reasoning(Thought {
                text: block.text("thinking")?.unwrap_or_default(),
                seal: signature.map(|text| Seal::of(&text, NAME, SealKind::Signature)),
            })
        }
        "redacted_thinking" => Content::Reasoning(Thought {
            text: String::new(),
            seal: Some(Seal::of(
                &block.needed_text("data")?,
                NAME,
                SealKind::Encrypted,
            )),
        }),
        _ => return Err(block.refuse("type", format!("`{kind}` can't be translated"))),
    };
    let cache = cache(&mut block)?;
    block.end()?;
    Ok(Part { content, cache })
}

fn text(block: &mut Fields) -> Read<Text> {
    let citations = match block.value("citations") {
        Some(Json::List(list)) => list.iter().map(citation::read).collect(),
        _ => Vec::new(),
    };
    Ok(Text {
        text: block.needed_text("text")?,
        citations,
        logprobs: Vec::new(),
    })
}

fn media(block: &mut Fields, kind: MediaKind) -> Read<Media> {
    let mut source = block.needed_object("source")?;
    let from = source.needed_text("type")?;
    let mime = source.text("media_type")?;
    let bytes = match from.as_str() {
        "base64" => Source::Inline(source.needed_text("data")?),
        "url" => Source::Url(source.needed_text("url")?),
        "text" => Source::Text(source.needed_text("data")?),
        _ => return Err(source.refuse("type", format!("`{from}` can't be translated"))),
    };
    source.end()?;
    Ok(Media::new(kind, mime, bytes))
}

fn document(block: &mut Fields, dropped: &mut Vec<String>) -> Read<Media> {
    let mut document = media(block, MediaKind::Document)?;
    document.name = block.text("title")?;
    if let Some(mut citations) = block.object("citations")? {
        document.citations = citations.flag("enabled")?.unwrap_or(false);
        citations.end()?;
    }
    block.drop_hints(&["context"], dropped);
    Ok(document)
}

fn cache(of: &mut Fields) -> Read<Option<CacheMark>> {
    let Some(mut mark) = of.object("cache_control")? else {
        return Ok(None);
    };
    let life = mark.text("ttl")?;
    mark.ignore(&["type", "scope"]);
    mark.end()?;
    Ok(Some(match life.as_deref() {
        Some("1h") => CacheMark::Hour,
        _ => CacheMark::Default,
    }))
}

fn tool(item: Item, dropped: &mut Vec<String>) -> Read<Tool> {
    let mut tool = item.object()?;
    if let Some(kind) = tool.text("type")?
        && kind != "custom"
    {
        return Err(tool.refuse("type", format!("`{kind}` can't be translated")));
    }
    tool.drop_hints(&["input_examples", "eager_input_streaming"], dropped);
    let read = Tool {
        name: tool.needed_text("name")?,
        description: tool.text("description")?,
        parameters: tool.value("input_schema"),
        strict: tool.flag("strict")?,
        namespace: None,
        freeform: None,
        cache: cache(&mut tool)?,
    };
    tool.end()?;
    Ok(read)
}

fn choice(body: &mut Fields, request: &mut Request) -> Read<()> {
    let Some(mut choice) = body.object("tool_choice")? else {
        return Ok(());
    };
    request.tool_choice = Some(match choice.needed_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.needed_text("name")?),
        _ => return Err(choice.refuse("type", "isn't known")),
    });
    let is_serial = choice.flag("disable_parallel_tool_use")?;
    request.parallel_tool_calls = is_serial.map(|is_serial| !is_serial);
    choice.end()
}

/// How much the model thinks, and what its response has to be.
fn thinking(body: &mut Fields, request: &mut Request) -> Read<()> {
    if let Some(mut thinking) = body.object("thinking")? {
        let display = thinking.text("display")?;
        request.reasoning = Some(match thinking.needed_text("type")?.as_str() {
            "enabled" => Reasoning::Budget(
                thinking
                    .whole("budget_tokens")?
                    .ok_or_else(|| thinking.refuse("budget_tokens", "is missing"))?,
            ),
            "adaptive" => Reasoning::Adaptive,
            "disabled" => Reasoning::Off,
            _ => return Err(thinking.refuse("type", "isn't known")),
        });
        let claude = Claude::of(&request.model);
        request.shows_thoughts = match display {
            Some(display) => Some(display == "summarized"),
            None if request.reasoning == Some(Reasoning::Off) => None,
            // Since 4.7, Claude hides them unless asked.
            None => claude.is_none_or(Claude::shows_thoughts).then_some(true),
        };
        thinking.end()?;
    }
    if let Some(mut config) = body.object("output_config")? {
        if let Some(name) = config.text("effort")? {
            let effort = Effort::named(&name);
            let effort = effort.ok_or_else(|| config.refuse("effort", "isn't known"))?;
            // Effort is about all tokens: alone it doesn't turn thinking on.
            if request.reasoning == Some(Reasoning::Adaptive) {
                request.reasoning = Some(Reasoning::Effort(effort));
            } else {
                request.dropped.push(config.path("effort"));
            }
        }
        format(&mut config, "format", request)?;
        config.end()?;
    }
    format(body, "output_format", request)
}

fn format(of: &mut Fields, key: &str, request: &mut Request) -> Read<()> {
    let Some(mut format) = of.object(key)? else {
        return Ok(());
    };
    if format.needed_text("type")? != "json_schema" {
        return Err(format.refuse("type", "isn't known"));
    }
    let schema = format.value("schema");
    request.output = Output::JsonSchema {
        name: None,
        description: None,
        schema: schema.ok_or_else(|| format.refuse("schema", "is missing"))?,
        strict: Some(true),
    };
    format.end()
}
