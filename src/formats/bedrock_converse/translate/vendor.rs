//! What models of some vendors can be asked for beyond what all have. It stands in
//! `additionalModelRequestFields`, and becomes members of the vendor's own request.

use super::NAME;
use crate::formats::translate::{
    Claude, ClaudeSettings, Effort, Feature, Fields, Object, Part, Reasoning, Request, Role,
    ToolChoice, Untranslatable, object,
};

/// Whose words a model understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vendor {
    /// Anthropic's Claude.
    Claude(Claude),
    /// Amazon's Nova 2.
    Nova2,
    /// Amazon's first Nova, which doesn't think.
    Nova,
    /// The open models of `OpenAI`.
    GptOss,
    /// Any other.
    Other,
}

/// Parts of models' ids, the most special first.
const NAMES: [(&str, Vendor); 4] = [
    ("nova-2", Vendor::Nova2),
    ("nova", Vendor::Nova),
    ("gpt-oss", Vendor::GptOss),
    // An account's own profile doesn't name its model. Most are Claude's.
    (
        "application-inference-profile",
        Vendor::Claude(Claude::UNKNOWN),
    ),
];

impl Vendor {
    fn of(model: &str) -> Self {
        if let Some(claude) = Claude::of(model) {
            return Self::Claude(claude);
        }
        let model = model.to_ascii_lowercase();
        let mut names = NAMES.into_iter();
        let known = names.find(|(name, _)| model.contains(name));
        known.map_or(Self::Other, |(_, vendor)| vendor)
    }
}

/// What only Claude has.
const SHARED: &[Feature] = &[Feature::SerialTools, Feature::DocumentCitations];
/// What models of other vendors than Anthropic and Amazon lack besides.
const SIMPLE: &[Feature] = &[
    Feature::TopK,
    Feature::CacheMarks,
    Feature::ResultError,
    Feature::HiddenThoughts,
];

/// What a request's model can't be asked for, of all that `Converse` can express.
pub(super) fn lacks(request: &Request) -> Vec<Feature> {
    match Vendor::of(&request.model) {
        Vendor::Claude(claude) => claude.lacks(request),
        Vendor::Nova2 => [SHARED, &[Feature::HiddenThoughts]].concat(),
        Vendor::Nova => [SHARED, &[Feature::Reasoning, Feature::HiddenThoughts]].concat(),
        Vendor::GptOss => {
            let mut lacks = [SHARED, SIMPLE].concat();
            // It always thinks, and knows nothing but efforts.
            if request.reasoning.and_then(Reasoning::effort).is_none() {
                lacks.push(Feature::Reasoning);
            }
            lacks
        }
        Vendor::Other => [SHARED, SIMPLE, &[Feature::Reasoning]].concat(),
    }
}

/// Reads a caller's further fields, whichever vendor they are for.
pub(super) fn read(body: &mut Fields, request: &mut Request) -> Result<(), Untranslatable> {
    let Some(mut more) = body.object("additionalModelRequestFields")? else {
        return Ok(());
    };
    // The first of them is what Claude's own API calls it.
    for key in ["thinking", "reasoning_config"] {
        if let Some(thinking) = more.object(key)? {
            read_thinking(thinking, request)?;
        }
    }
    if let Some(mut config) = more.object("output_config")? {
        if let Some(effort) = effort_of(&mut config, "effort")? {
            // Effort is about all tokens: alone it doesn't turn thinking on.
            if request.reasoning == Some(Reasoning::Adaptive) {
                request.reasoning = Some(Reasoning::Effort(effort));
            } else {
                request.dropped.push(config.path("effort"));
            }
        }
        config.end()?;
    }
    if let Some(mut config) = more.object("reasoningConfig")? {
        let effort = effort_of(&mut config, "maxReasoningEffort")?;
        request.reasoning = Some(match config.needed_text("type")?.as_str() {
            "enabled" => effort.map_or(Reasoning::Adaptive, Reasoning::Effort),
            "disabled" => Reasoning::Off,
            _ => return Err(config.refuse("type", "isn't known")),
        });
        config.end()?;
    }
    if let Some(effort) = effort_of(&mut more, "reasoning_effort")? {
        request.reasoning = Some(Reasoning::Effort(effort));
    }
    request.top_k = more.whole("top_k")?;
    if let Some(mut config) = more.object("inferenceConfig")? {
        request.top_k = config.whole("topK")?.or(request.top_k);
        config.end()?;
    }
    if let Some(choice) = more.object("tool_choice")? {
        read_choice(choice, request)?;
    }
    more.end()
}

fn effort_of(of: &mut Fields, key: &str) -> Result<Option<Effort>, Untranslatable> {
    let Some(name) = of.text(key)? else {
        return Ok(None);
    };
    let effort = Effort::named(&name);
    Ok(Some(effort.ok_or_else(|| of.refuse(key, "isn't known"))?))
}

fn read_thinking(mut thinking: Fields, request: &mut Request) -> Result<(), Untranslatable> {
    let display = thinking.text("display")?;
    request.shows_thoughts = display.map(|display| display == "summarized");
    let budget = thinking.whole("budget_tokens")?;
    request.reasoning = Some(match thinking.needed_text("type")?.as_str() {
        "enabled" => {
            let budget = budget.ok_or_else(|| thinking.refuse("budget_tokens", "is missing"))?;
            Reasoning::Budget(budget)
        }
        "adaptive" => Reasoning::Adaptive,
        "disabled" => Reasoning::Off,
        _ => return Err(thinking.refuse("type", "isn't known")),
    });
    thinking.end()
}

/// Claude's own choice of tools, which can do more than that of `toolConfig`.
fn read_choice(mut choice: Fields, request: &mut Request) -> Result<(), Untranslatable> {
    let kind = choice.text("type")?;
    request.tool_choice = match kind.as_deref() {
        None => request.tool_choice.take(),
        Some("auto") => Some(ToolChoice::Auto),
        Some("any") => Some(ToolChoice::Required),
        Some("none") => Some(ToolChoice::None),
        Some("tool") => Some(ToolChoice::Named(choice.needed_text("name")?)),
        Some(_) => return Err(choice.refuse("type", "isn't known")),
    };
    let is_serial = choice.flag("disable_parallel_tool_use")?;
    request.parallel_tool_calls = is_serial.map(|is_serial| !is_serial);
    choice.end()
}

/// The further fields of a request, in the words of its model's vendor, and the settings that the model
/// takes.
pub(super) fn write(request: &Request, turns: &[(Role, Vec<&Part>)]) -> (Object, ClaudeSettings) {
    let vendor = Vendor::of(&request.model);
    let mut more = Object::default();
    let mut settings = ClaudeSettings::sampling(request);
    match vendor {
        Vendor::Claude(claude) => {
            settings = ClaudeSettings::of(claude, request, turns, NAME);
            more.put_some("thinking", settings.thinking.take());
            let effort = settings.effort.map(Effort::name);
            more.put_some(
                "output_config",
                effort.map(|effort| object! { "effort": effort }),
            );
        }
        Vendor::Nova2 => more.put_some("reasoningConfig", nova_reasoning(request)),
        Vendor::GptOss => {
            let effort = request.reasoning.and_then(Reasoning::effort);
            let word = effort.map(|effort| effort.clamp(Effort::Low, Effort::High).name());
            more.put_some("reasoning_effort", word);
        }
        Vendor::Nova | Vendor::Other => {}
    }
    match vendor {
        Vendor::Nova | Vendor::Nova2 => {
            let config = settings.top_k.map(|top_k| object! { "topK": top_k });
            more.put_some("inferenceConfig", config);
        }
        _ => more.put_some("top_k", settings.top_k),
    }
    let has_tools = !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None);
    if request.parallel_tool_calls == Some(false) && has_tools {
        let mut choice = Object::default();
        // Where `toolConfig` forces a call, a type here would contradict it.
        if matches!(request.tool_choice, None | Some(ToolChoice::Auto)) {
            choice.put("type", "auto");
        }
        choice.put("disable_parallel_tool_use", true);
        more.put("tool_choice", choice);
    }
    (more, settings)
}

fn nova_reasoning(request: &Request) -> Option<Object> {
    let effort = match request.reasoning? {
        Reasoning::Off => return Some(object! { "type": "disabled" }),
        reasoning => reasoning.effort().unwrap_or(Effort::Medium),
    };
    // With a high effort, Nova takes neither a bound nor parameters of sampling.
    let is_bound =
        request.max_tokens.is_some() || request.temperature.is_some() || request.top_p.is_some();
    let most = if is_bound {
        Effort::Medium
    } else {
        Effort::High
    };
    let effort = effort.clamp(Effort::Low, most).name();
    Some(object! { "type": "enabled", "maxReasoningEffort": effort })
}
