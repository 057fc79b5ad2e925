//! A caller's request.

use super::{read_content, schema, spelling};
use crate::formats::translate::{
    Delivery, Effort, Fields, Inbound, Item, Output, Reasoning, Request, Tool, ToolChoice,
    Untranslatable,
};

type Read<T> = Result<T, Untranslatable>;

/// Thresholds that block nothing, which is what other APIs do.
const OPEN_THRESHOLDS: [&str; 3] = ["BLOCK_NONE", "HARM_BLOCK_THRESHOLD_UNSPECIFIED", "OFF"];

pub(super) fn read(inbound: &Inbound<'_>) -> Read<Request> {
    let mut body = spelling::read(inbound.body)?;
    // A request for a count can hold the whole request that is to be counted.
    if inbound.path.ends_with(":countTokens")
        && let Some(counted) = body.object("generateContentRequest")?
    {
        body.end()?;
        body = counted;
    }
    // The Gemini CLI names its session.
    body.ignore(&["model", "sessionId"]);
    let mut request = Request {
        model: inbound.model.to_owned(),
        delivery: delivery(inbound),
        ..Request::default()
    };
    body.drop_hints(&["labels", "store"], &mut request.dropped);
    if let Some(tier) = body.text("serviceTier")?
        && !matches!(
            tier.to_ascii_lowercase().as_str(),
            "standard" | "unspecified"
        )
    {
        return Err(body.refuse("serviceTier", "can't be translated"));
    }
    safety(&mut body, &mut request.dropped)?;
    if let Some(mut config) = body.object("generationConfig")? {
        self::config(&mut config, &mut request)?;
        config.end()?;
    }
    read_content::read(&mut body, &mut request)?;
    for group in body.list("tools")? {
        tools(group, &mut request)?;
    }
    if let Some(mut config) = body.object("toolConfig")? {
        // Both are about Google's own tools.
        config.ignore(&["includeServerSideToolInvocations", "retrievalConfig"]);
        if let Some(calling) = config.object("functionCallingConfig")? {
            choice(calling, &mut request)?;
        }
        config.end()?;
    }
    body.end()?;
    Ok(request)
}

fn delivery(inbound: &Inbound<'_>) -> Delivery {
    let mut pairs = inbound.query.unwrap_or_default().split('&');
    if !inbound.is_streamed {
        Delivery::Whole
    } else if pairs.any(|pair| matches!(pair, "alt=sse" | "$alt=sse" | "%24alt=sse")) {
        Delivery::Events { usage: true }
    } else {
        Delivery::Array
    }
}

/// Settings of Google's filters. Other providers have none that a request could set.
fn safety(body: &mut Fields, dropped: &mut Vec<String>) -> Read<()> {
    for item in body.list("safetySettings")? {
        let mut setting = item.object()?;
        let threshold = setting.text("threshold")?.unwrap_or_default();
        if !threshold.is_empty() && !OPEN_THRESHOLDS.contains(&threshold.as_str()) {
            return Err(setting.refuse("threshold", "can't be translated: only `OFF` can"));
        }
        setting.ignore(&["category", "method"]);
        setting.end()?;
        let name = body.path("safetySettings");
        if !dropped.contains(&name) {
            dropped.push(name);
        }
    }
    Ok(())
}

fn config(config: &mut Fields, request: &mut Request) -> Read<()> {
    let is_set = |penalty: &f64| *penalty != 0.0;
    request.max_tokens = config.whole("maxOutputTokens")?;
    request.temperature = config.number("temperature")?;
    request.top_p = config.number("topP")?;
    request.top_k = config.whole("topK")?;
    request.seed = config.value("seed");
    request.stop = config.texts("stopSequences")?;
    request.presence_penalty = config.number("presencePenalty")?.filter(is_set);
    request.frequency_penalty = config.number("frequencyPenalty")?.filter(is_set);
    let top = config.whole("logprobs")?;
    if config.flag("responseLogprobs")? == Some(true) {
        request.logprobs = Some(top.unwrap_or(0));
    }
    if config
        .whole("candidateCount")?
        .is_some_and(|count| count != 1)
    {
        let why = "can't be translated: only one candidate can";
        return Err(config.refuse("candidateCount", why));
    }
    let is_text = |modality: &String| {
        matches!(
            modality.as_str(),
            "TEXT" | "Text" | "text" | "MODALITY_UNSPECIFIED"
        )
    };
    if !config.texts("responseModalities")?.iter().all(is_text) {
        let why = "can't be translated: only text can";
        return Err(config.refuse("responseModalities", why));
    }
    let hints = ["enableEnhancedCivicAnswers", "mediaResolution"];
    config.drop_hints(&hints, &mut request.dropped);
    request.output = output(config)?;
    if let Some(thinking) = config.object("thinkingConfig")? {
        self::thinking(thinking, request)?;
    }
    Ok(())
}

fn output(config: &mut Fields) -> Read<Output> {
    let own = config.value("responseSchema");
    let own = own.as_ref().map(schema::to_json_schema);
    let standard = config.value("responseJsonSchema");
    let standard = standard.or(config.value("_responseJsonSchema"));
    let mime = config.text("responseMimeType")?;
    let schema = match (own, standard) {
        (Some(_), Some(_)) => {
            return Err(config.refuse("responseSchema", "is given in two ways"));
        }
        (own, standard) => own.or(standard),
    };
    match (mime.as_deref(), schema) {
        (None | Some("" | "text/plain"), None) => Ok(Output::Text),
        (Some("application/json"), None) => Ok(Output::JsonObject),
        (None | Some("application/json"), Some(schema)) => Ok(Output::JsonSchema {
            name: None,
            description: None,
            schema,
            // What is strict elsewhere takes only some schemas.
            strict: None,
        }),
        (Some(mime), _) => {
            let why = format!("`{mime}` can't be translated");
            Err(config.refuse("responseMimeType", why))
        }
    }
}

fn thinking(mut thinking: Fields, request: &mut Request) -> Read<()> {
    request.shows_thoughts = thinking.flag("includeThoughts")?;
    let budget = thinking.value("thinkingBudget");
    let level = thinking.text("thinkingLevel")?;
    let level = level.filter(|level| level != "THINKING_LEVEL_UNSPECIFIED");
    request.reasoning = match (budget, level) {
        (Some(_), Some(_)) => {
            return Err(thinking.refuse("thinkingLevel", "can't stand beside `thinkingBudget`"));
        }
        (Some(budget), None) => Some(match (budget.whole(), budget.number()) {
            (Some(0), _) => Reasoning::Off,
            (Some(tokens), _) => Reasoning::Budget(tokens),
            (None, Some(tokens)) if tokens < 0.0 => Reasoning::Adaptive,
            _ => return Err(thinking.refuse("thinkingBudget", "isn't a whole number")),
        }),
        (None, Some(level)) => {
            let effort = Effort::named(&level.to_ascii_lowercase());
            let effort = effort.ok_or_else(|| thinking.refuse("thinkingLevel", "isn't known"))?;
            Some(Reasoning::Effort(effort))
        }
        // The models think by default. Others don't, and would have nothing to show.
        (None, None) => (request.shows_thoughts == Some(true)).then_some(Reasoning::Adaptive),
    };
    thinking.end()
}

fn tools(group: Item, request: &mut Request) -> Read<()> {
    let mut group = group.object()?;
    for item in group.list("functionDeclarations")? {
        let tool = tool(item.object()?, &mut request.dropped)?;
        request.tools.push(tool);
    }
    // What is left are Google's own tools.
    group.end()
}

fn tool(mut function: Fields, dropped: &mut Vec<String>) -> Read<Tool> {
    let own = function.value("parameters");
    let own = own.as_ref().map(schema::to_json_schema);
    let standard = function.value("parametersJsonSchema");
    if own.is_some() && standard.is_some() {
        return Err(function.refuse("parameters", "is given in two ways"));
    }
    // What a function returns is told for the model's information.
    function.drop_hints(&["response", "responseJsonSchema"], dropped);
    if let Some(behavior) = function.text("behavior")?
        && !matches!(behavior.as_str(), "BLOCKING" | "UNSPECIFIED")
    {
        return Err(function.refuse("behavior", "can't be translated"));
    }
    let tool = Tool {
        name: function.needed_text("name")?,
        description: function.text("description")?,
        parameters: own.or(standard),
        ..Tool::default()
    };
    function.end()?;
    Ok(tool)
}

fn choice(mut calling: Fields, request: &mut Request) -> Read<()> {
    let names = calling.texts("allowedFunctionNames")?;
    let mode = calling.text("mode")?.unwrap_or_default();
    // Of a function that is called, the parameters arrive whole.
    calling.ignore(&["streamFunctionCallArguments"]);
    let mode = mode.to_ascii_uppercase();
    request.tool_choice = Some(match (mode.as_str(), names.as_slice()) {
        ("" | "MODE_UNSPECIFIED", []) => return calling.end(),
        ("AUTO", []) => ToolChoice::Auto,
        ("NONE", _) => ToolChoice::None,
        ("ANY", []) => ToolChoice::Required,
        ("ANY", [name]) => ToolChoice::Named(name.clone()),
        ("ANY", _) => ToolChoice::Allowed {
            names,
            required: true,
        },
        ("VALIDATED", _) => {
            // That calls match their schemas.
            request.dropped.push(calling.path("mode"));
            if names.is_empty() {
                ToolChoice::Auto
            } else {
                ToolChoice::Allowed {
                    names,
                    required: false,
                }
            }
        }
        ("" | "MODE_UNSPECIFIED" | "AUTO", _) => {
            let why = "goes with the modes `ANY` and `VALIDATED` alone";
            return Err(calling.refuse("allowedFunctionNames", why));
        }
        _ => return Err(calling.refuse("mode", "isn't known")),
    });
    calling.end()
}
