//! A request for a provider.

use std::fmt::Write;

use super::model::generation;
use super::write_content;
use crate::formats::translate::{
    Delivery, Effort, Json, Object, Outbound, Output, Reasoning, Request, Tool, ToolChoice,
    Untranslatable, object,
};

/// Budgets that all models take that know budgets.
const BUDGETS: (u64, u64) = (512, 24_576);
/// The least budget of `gemini-2.5-pro`, which refuses 0.
const LEAST_OF_PRO: u64 = 128;

pub(super) fn write(request: &Request) -> Result<Outbound, Untranslatable> {
    let mut body = write_content::conversation(request)?;
    if !request.tools.is_empty() {
        let functions: Vec<Object> = request.tools.iter().map(tool).collect();
        let group = object! { "functionDeclarations": functions };
        body.put("tools", vec![group]);
        if let Some(calling) = choice(request) {
            let config = object! { "functionCallingConfig": calling };
            body.put("toolConfig", config);
        }
    }
    let config = config(request);
    if !config.is_empty() {
        body.put("generationConfig", config);
    }
    let (method, query) = match request.delivery {
        Delivery::Whole => ("generateContent", None),
        Delivery::Events { .. } | Delivery::Array => ("streamGenerateContent", Some("alt=sse")),
    };
    Ok(Outbound {
        path: format!("/v1beta/{}:{method}", resource(&request.model)),
        query,
        body,
        left_out: Vec::new(),
    })
}

/// The request for a count, which holds the whole request.
pub(super) fn count(request: &Request, mut asked: Outbound) -> Outbound {
    let model = match request.model.split_once('/') {
        Some(("tunedModels" | "models", _)) => request.model.clone(),
        _ => format!("models/{}", request.model),
    };
    asked.body.put("model", model);
    Outbound {
        path: format!("/v1beta/{}:countTokens", resource(&request.model)),
        query: None,
        body: object! { "generateContentRequest": asked.body },
        left_out: asked.left_out,
    }
}

/// The model as a resource; a tuned one has its collection in its name.
fn resource(model: &str) -> String {
    let (collection, name) = match model.split_once('/') {
        Some(("tunedModels", name)) => ("tunedModels", name),
        Some(("models", name)) => ("models", name),
        _ => ("models", model),
    };
    let mut out = format!("{collection}/");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn tool(tool: &Tool) -> Object {
    let mut function = object! { "name": &tool.name };
    function.put_some("description", tool.description.as_ref());
    // Beside `parameters`, whose dialect lacks much of JSON Schema.
    function.put_some("parametersJsonSchema", tool.parameters.clone());
    function
}

fn choice(request: &Request) -> Option<Object> {
    let is_strict = request.tools.iter().any(|tool| tool.strict == Some(true));
    let (mode, names) = match &request.tool_choice {
        None | Some(ToolChoice::Auto) if is_strict => ("VALIDATED", None),
        None => return None,
        Some(ToolChoice::Auto) => ("AUTO", None),
        Some(ToolChoice::None) => ("NONE", None),
        Some(ToolChoice::Required) => ("ANY", None),
        Some(ToolChoice::Named(name)) => ("ANY", Some(vec![name.clone()])),
        Some(ToolChoice::Allowed { names, required }) => {
            let mode = if *required { "ANY" } else { "VALIDATED" };
            (mode, Some(names.clone()))
        }
    };
    let mut calling = object! { "mode": mode };
    calling.put_some("allowedFunctionNames", names);
    Some(calling)
}

fn config(request: &Request) -> Object {
    let mut config = Object::default();
    config.put_some("maxOutputTokens", request.max_tokens);
    config.put_some("temperature", request.temperature);
    config.put_some("topP", request.top_p);
    config.put_some("topK", request.top_k);
    config.put_some("seed", request.seed.as_ref().map(seed));
    config.put_some("presencePenalty", request.presence_penalty);
    config.put_some("frequencyPenalty", request.frequency_penalty);
    if !request.stop.is_empty() {
        config.put("stopSequences", request.stop.clone());
    }
    if let Some(top) = request.logprobs {
        config.put("responseLogprobs", true);
        config.put_some("logprobs", (top > 0).then_some(top));
    }
    match &request.output {
        Output::Text => {}
        Output::JsonObject => config.put("responseMimeType", "application/json"),
        Output::JsonSchema { schema, .. } => {
            config.put("responseMimeType", "application/json");
            config.put("responseJsonSchema", schema.clone());
        }
    }
    let thinking = thinking(request);
    if !thinking.is_empty() {
        config.put("thinkingConfig", thinking);
    }
    config
}

/// The API's seeds have 32 bits and a sign.
fn seed(seed: &Json) -> Json {
    let most = u64::from(i32::MAX.unsigned_abs());
    match seed.whole() {
        Some(whole) => Json::from(whole & most),
        None => seed.clone(),
    }
}

/// Since Gemini 3, models know levels. Older ones know budgets alone, which the newer take as well.
fn thinking(request: &Request) -> Object {
    let (model, mut thinking) = (&request.model, Object::default());
    let mut shows_thoughts = request.shows_thoughts;
    match request.reasoning {
        None => {}
        Some(Reasoning::Off) => return least(model),
        Some(Reasoning::Adaptive) if knows_levels(model) => {}
        Some(Reasoning::Adaptive) => thinking.put("thinkingBudget", Json::Number((-1).into())),
        Some(Reasoning::Effort(effort)) if knows_levels(model) => {
            thinking.put("thinkingLevel", level(model, effort));
        }
        Some(reasoning @ (Reasoning::Effort(_) | Reasoning::Budget(_))) => {
            let (least, most) = BUDGETS;
            let budget = reasoning.budget().map(|budget| budget.clamp(least, most));
            thinking.put_some("thinkingBudget", budget);
        }
    }
    if request.reasoning.is_some() {
        shows_thoughts.get_or_insert(true);
    }
    thinking.put_some("includeThoughts", shows_thoughts);
    thinking
}

/// As little as the model can think. The larger models always think.
fn least(model: &str) -> Object {
    if !is_pro(model) {
        object! { "thinkingBudget": 0_u64 }
    } else if knows_levels(model) {
        object! { "thinkingLevel": level(model, Effort::Minimal) }
    } else {
        object! { "thinkingBudget": LEAST_OF_PRO }
    }
}

fn level(model: &str, effort: Effort) -> &'static str {
    match effort {
        // The larger models begin at `LOW`.
        Effort::Minimal if !is_pro(model) => "MINIMAL",
        Effort::Minimal | Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::XHigh | Effort::Max => "HIGH",
    }
}

/// Whether it is one of the larger models by its name, as `gemini-2.5-pro` is.
fn is_pro(model: &str) -> bool {
    let mut words = model.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.any(|word| word == "pro")
}

/// Whether it is Gemini 3 or later by its name.
fn knows_levels(model: &str) -> bool {
    generation(model).is_some_and(|generation| generation >= 3)
}
