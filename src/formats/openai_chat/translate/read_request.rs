//! A caller's request.

use super::read_message;
use crate::formats::translate::{
    Delivery, Effort, Fields, Inbound, Item, Json, Object, Output, Reasoning, Request, Tool,
    ToolChoice, Untranslatable,
};

type Read<T> = Result<T, Untranslatable>;

/// Fields that change speed, cost or bookkeeping, but not the response.
const HINTS: &[&str] = &["prediction", "prompt_cache_retention", "safety_identifier"];

pub(super) fn read(inbound: &Inbound<'_>) -> Read<Request> {
    let mut body = Fields::of_body(inbound.body)?;
    body.ignore(&["model", "stream"]);
    let shorter = body.whole("max_tokens")?;
    let mut request = Request {
        model: inbound.model.to_owned(),
        max_tokens: body.whole("max_completion_tokens")?.or(shorter),
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        top_k: body.whole("top_k")?,
        seed: body.value("seed"),
        presence_penalty: body.number("presence_penalty")?.filter(is_set),
        frequency_penalty: body.number("frequency_penalty")?.filter(is_set),
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        verbosity: body.text("verbosity")?,
        user: body.text("user")?,
        cache_key: body.text("prompt_cache_key")?,
        ..Request::default()
    };
    if let Some(metadata) = body.value("metadata") {
        request.metadata = match metadata {
            Json::Object(metadata) => Some(metadata),
            _ => return Err(body.refuse("metadata", "isn't an object")),
        };
    }
    delivery(&mut body, inbound.is_streamed, &mut request)?;
    defaults(&mut body, &mut request)?;
    body.drop_hints(HINTS, &mut request.dropped);
    request.stop = match body.value("stop") {
        None => Vec::new(),
        Some(Json::Text(stop)) => vec![stop],
        Some(Json::List(list)) => {
            let texts = list.iter().map(|one| one.text().map(str::to_owned));
            let texts: Option<_> = texts.collect();
            texts.ok_or_else(|| body.refuse("stop", "isn't a list of strings"))?
        }
        Some(_) => return Err(body.refuse("stop", "is neither a string nor an array")),
    };
    let top = body.whole("top_logprobs")?;
    if body.flag("logprobs")? == Some(true) {
        request.logprobs = Some(top.unwrap_or(0));
    }
    if let Some(effort) = body.text("reasoning_effort")? {
        request.reasoning = Some(match (effort.as_str(), Effort::named(&effort)) {
            ("none", _) => Reasoning::Off,
            (_, Some(effort)) => Reasoning::Effort(effort),
            (_, None) => return Err(body.refuse("reasoning_effort", "isn't known")),
        });
    }
    request.output = output(&mut body)?;
    for message in body.list("messages")? {
        read_message::add(message.object()?, &mut request)?;
    }
    for item in body.list("tools")? {
        request.tools.push(tool(item)?);
    }
    request.tool_choice = choice(&mut body)?;
    body.end()?;
    Ok(request)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "`Option::filter` passes a reference"
)]
fn is_set(penalty: &f64) -> bool {
    *penalty != 0.0
}

fn delivery(body: &mut Fields, is_streamed: bool, request: &mut Request) -> Read<()> {
    let mut usage = false;
    if let Some(mut options) = body.object("stream_options")? {
        usage = options.flag("include_usage")?.unwrap_or(false);
        options.ignore(&["include_obfuscation"]);
        options.end()?;
    }
    if is_streamed {
        request.delivery = Delivery::Events { usage };
    }
    Ok(())
}

/// Fields that are taken only at the value that they have by default.
fn defaults(body: &mut Fields, request: &mut Request) -> Read<()> {
    if body.whole("n")?.is_some_and(|n| n != 1) {
        return Err(body.refuse("n", "can't be translated: only one choice can"));
    }
    if let Some(tier) = body.text("service_tier")?
        && !matches!(tier.as_str(), "auto" | "default")
    {
        return Err(body.refuse("service_tier", "can't be translated"));
    }
    if body.texts("modalities")?.iter().any(|one| one != "text") {
        return Err(body.refuse("modalities", "can't be translated: only text can"));
    }
    if body.flag("store")? == Some(true) {
        request.dropped.push(body.path("store"));
    }
    if let Some(bias) = body.object("logit_bias")? {
        bias.end()?;
    }
    Ok(())
}

fn output(body: &mut Fields) -> Read<Output> {
    let Some(mut format) = body.object("response_format")? else {
        return Ok(Output::Text);
    };
    let output = match format.needed_text("type")?.as_str() {
        "text" => Output::Text,
        "json_object" => Output::JsonObject,
        "json_schema" => {
            let mut named = format.needed_object("json_schema")?;
            let schema = named.value("schema");
            let output = Output::JsonSchema {
                name: named.text("name")?,
                description: named.text("description")?,
                schema: schema.ok_or_else(|| named.refuse("schema", "is missing"))?,
                strict: named.flag("strict")?,
            };
            named.end()?;
            output
        }
        _ => return Err(format.refuse("type", "can't be translated")),
    };
    format.end()?;
    Ok(output)
}

fn tool(item: Item) -> Read<Tool> {
    let mut outer = item.object()?;
    let cache = read_message::cache(&mut outer)?;
    let kind = outer.text("type")?;
    let tool = match kind.as_deref() {
        None | Some("function") => {
            let mut function = outer.needed_object("function")?;
            let tool = Tool {
                name: function.needed_text("name")?,
                description: function.text("description")?,
                parameters: function.value("parameters"),
                strict: function.flag("strict")?,
                namespace: None,
                freeform: None,
                cache,
            };
            function.end()?;
            tool
        }
        Some("custom") => {
            let mut custom = outer.needed_object("custom")?;
            let tool = Tool {
                name: custom.needed_text("name")?,
                description: custom.text("description")?,
                freeform: Some(match custom.value("format") {
                    Some(Json::Object(format)) => format,
                    _ => Object::default(),
                }),
                cache,
                ..Tool::default()
            };
            custom.end()?;
            tool
        }
        Some(kind) => return Err(outer.refuse("type", format!("`{kind}` can't be translated"))),
    };
    outer.end()?;
    Ok(tool)
}

fn choice(body: &mut Fields) -> Read<Option<ToolChoice>> {
    let choice = match body.value("tool_choice") {
        None => return Ok(None),
        Some(Json::Text(word)) => match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => return Err(body.refuse("tool_choice", "isn't known")),
        },
        Some(choice) => {
            let choice = named(&choice);
            choice.ok_or_else(|| body.refuse("tool_choice", "can't be translated"))?
        }
    };
    Ok(Some(choice))
}

fn named(choice: &Json) -> Option<ToolChoice> {
    let name = |of: &Json, kind: &str| of.at(kind).at("name").text().map(str::to_owned);
    let kind = choice.at("type").text()?;
    match kind {
        "function" | "custom" => Some(ToolChoice::Named(name(choice, kind)?)),
        "allowed_tools" => {
            let allowed = choice.at("allowed_tools");
            let names = allowed.at("tools").list().iter();
            let names = names.map(|tool| name(tool, tool.at("type").text()?));
            Some(ToolChoice::Allowed {
                names: names.collect::<Option<_>>()?,
                required: allowed.at("mode").text() == Some("required"),
            })
        }
        _ => None,
    }
}
