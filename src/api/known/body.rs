//! Keys of a body that choose more than its model does. Gateways and model servers take them
//! beside the model that a grant was checked for: other models, accounts, destinations, prices, and
//! ways to respond that can't be counted. They are found where a request is read, and judged once
//! its provider is known: a provider's `pass_keys` can allow most of them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use http::StatusCode;

use crate::wire::{Rejection, json};

/// What a key would choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another model.
    Model,
    /// The model of a tool that the provider runs.
    ToolModel,
    /// Another account, or a credential.
    Account,
    /// Another server or vendor.
    Destination,
    /// Another price.
    Price,
    /// A response that can't be counted.
    Uncounted,
}

impl Why {
    fn sentence(self) -> &'static str {
        match self {
            Self::Model => "names a model beside the one that your grant was checked for",
            Self::ToolModel => "names a model that none of your grants covers",
            Self::Account => "chooses another account",
            Self::Destination => "chooses where the request goes",
            Self::Price => "chooses another price",
            Self::Uncounted => "asks for a response that this gateway can't count",
        }
    }

    /// Whether a provider's `pass_keys` can allow it.
    fn is_passable(self) -> bool {
        !matches!(self, Self::Uncounted | Self::ToolModel)
    }
}

/// A key of a request that chooses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The key, as it was written.
    pub key: String,
    /// What it chooses.
    pub why: Why,
    /// The models that it names, if it names nothing else.
    pub models: Option<Vec<String>>,
}

/// Keys without `_` and `-`, in small letters: `LiteLLM`, `OpenRouter`, Portkey, Vercel's gateway, vLLM,
/// `SGLang`, Azure, Groq and others document them.
const KEYS: &[(&str, Why)] = &[
    ("models", Why::Model),
    ("fallback", Why::Model),
    ("fallbacks", Why::Model),
    ("fallbackmodel", Why::Model),
    ("fallbackmodels", Why::Model),
    ("defaultfallbacks", Why::Model),
    ("contextwindowfallbacks", Why::Model),
    ("contentpolicyfallbacks", Why::Model),
    ("contextwindowfallbackdict", Why::Model),
    ("modelid", Why::Model),
    ("modellist", Why::Model),
    ("modelname", Why::Model),
    ("modelinfo", Why::Model),
    ("basemodel", Why::Model),
    ("engine", Why::Model),
    ("deploymentid", Why::Model),
    ("specificdeployment", Why::Model),
    ("targets", Why::Model),
    ("preset", Why::Model),
    ("adapterid", Why::Model),
    ("adaptersource", Why::Model),
    ("lorapath", Why::Model),
    ("lorarequest", Why::Model),
    ("safetymodel", Why::Model),
    ("compoundcustom", Why::Model),
    ("routingconfig", Why::Model),
    ("modelconfig", Why::Model),
    ("modelselectionconfig", Why::Model),
    ("apikey", Why::Account),
    ("apitoken", Why::Account),
    ("virtualkey", Why::Account),
    ("organization", Why::Account),
    ("organizationid", Why::Account),
    ("project", Why::Account),
    ("credentials", Why::Account),
    ("userconfig", Why::Account),
    ("extraheaders", Why::Account),
    ("headers", Why::Account),
    ("defaultheaders", Why::Account),
    ("provider", Why::Destination),
    ("providers", Why::Destination),
    ("provideroptions", Why::Destination),
    ("route", Why::Destination),
    ("apibase", Why::Destination),
    ("apihost", Why::Destination),
    ("apitype", Why::Destination),
    ("baseurl", Why::Destination),
    ("customhost", Why::Destination),
    ("customllmprovider", Why::Destination),
    ("llmprovider", Why::Destination),
    ("endpoint", Why::Destination),
    ("proxy", Why::Destination),
    ("extrabody", Why::Destination),
    ("extraquery", Why::Destination),
    ("webhook", Why::Destination),
    ("webhookurl", Why::Destination),
    ("callbackurl", Why::Destination),
    ("bootstraphost", Why::Destination),
    ("bootstrapport", Why::Destination),
    ("kvtransferparams", Why::Destination),
    ("datasources", Why::Destination),
    ("performanceconfig", Why::Price),
    ("speed", Why::Price),
    ("background", Why::Uncounted),
    ("deferred", Why::Uncounted),
    ("async", Why::Uncounted),
    ("fields", Why::Uncounted),
    ("fieldmask", Why::Uncounted),
    ("responsefields", Why::Uncounted),
];

/// Beginnings of keys, in the same form: `LiteLLM` takes dozens with them.
const BEGINNINGS: &[(&str, Why)] = &[
    ("aws", Why::Account),
    ("azure", Why::Account),
    ("vertex", Why::Account),
    ("watsonx", Why::Account),
    ("litellm", Why::Destination),
    ("inputcostper", Why::Price),
    ("outputcostper", Why::Price),
    ("mock", Why::Uncounted),
];

static BY_KEY: LazyLock<HashMap<&str, Why>> = LazyLock::new(|| KEYS.iter().copied().collect());

/// What a key would choose, whatever its case and separators.
fn why(key: &str) -> Option<Why> {
    let kept = key.chars().filter(|char| !matches!(char, '_' | '-'));
    let bare: String = kept
        .map(|char| match char {
            // Lenient decoders fold these two as well.
            'ſ' => 's',
            '\u{212a}' => 'k',
            char => char.to_ascii_lowercase(),
        })
        .collect();
    let begins = || {
        let mut known = BEGINNINGS.iter();
        known.find(|(beginning, _)| bare.starts_with(beginning))
    };
    BY_KEY
        .get(&*bare)
        .copied()
        .or_else(|| begins().map(|(_, why)| *why))
}

/// What a value that chooses nothing looks like, and for a price the usual one.
fn is_nothing(value: &[u8], why: Why) -> bool {
    let usual: &[&[u8]] = match why {
        Why::Price => &[b"\"standard\"", b"\"normal\""],
        _ => &[],
    };
    matches!(value, b"null" | b"false" | b"[]" | b"{}") || usual.contains(&value)
}

/// The choices among the members of an object, which stands in `body`.
pub(in crate::api) fn choices(
    body: &[u8],
    members: &[(Range<usize>, Range<usize>)],
) -> Vec<Choice> {
    let found = members.iter().filter_map(|(key, value)| {
        let key = json::string(&body[key.clone()])?;
        let why = why(&key)?;
        let value = &body[value.clone()];
        let standard = why == Why::Price && is_standard(value);
        (!is_nothing(value, why) && !standard).then(|| Choice {
            key: key.chars().take(60).collect(),
            why,
            models: (why == Why::Model).then(|| models(value)).flatten(),
        })
    });
    found.collect()
}

/// `{"latency": "standard"}` of Bedrock.
fn is_standard(value: &[u8]) -> bool {
    let latency = json::scan(value, &["latency"]).ok();
    let latency = latency.filter(|fields| fields.members.len() == 1);
    let latency = latency.and_then(|fields| fields.get(0));
    latency.is_some_and(|at| &value[at] == b"\"standard\"")
}

/// The choices among the names of a form's fields.
pub(in crate::api) fn form_choices<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Choice> {
    let found = names.filter_map(|name| {
        // Some servers read `models[]` and `models[0]` as lists.
        let why = why(name.split('[').next()?.trim())?;
        Some(Choice {
            key: name.chars().take(60).collect(),
            why,
            models: None,
        })
    });
    found.collect()
}

/// The model of a string, or those of a list of strings or of objects with nothing but a `model`.
fn models(value: &[u8]) -> Option<Vec<String>> {
    let name = |value: &[u8]| {
        if let Some(name) = json::string(value) {
            return Some(name.into_owned());
        }
        let fields = json::scan(value, &["model"]).ok()?;
        let at = fields.get(0).filter(|_| fields.members.len() == 1)?;
        json::string(&value[at]).map(std::borrow::Cow::into_owned)
    };
    if let Some(name) = json::string(value) {
        return Some(vec![name.into_owned()]);
    }
    let elements = json::elements(value, 100)?;
    elements.into_iter().map(|at| name(&value[at])).collect()
}

/// Schemas and examples of a caller's own functions, which name no model.
const OF_FUNCTIONS: [&str; 8] = [
    "function",
    "functionDeclarations",
    "function_declarations",
    "input_examples",
    "input_schema",
    "inputSchema",
    "parametersJsonSchema",
    "toolSpec",
];
/// How deep a provider's own tool is looked into.
const DEEPEST: usize = 8;

/// The models that tools and plugins of the provider's own name: OpenAI's images, Anthropic's
/// advisor, Google's ranking, plugins of `OpenRouter`.
pub(in crate::api) fn models_of_tools(
    body: &[u8],
    members: &[(Range<usize>, Range<usize>)],
) -> Vec<Choice> {
    let mut found = Vec::new();
    for (key, value) in members {
        let key = json::string(&body[key.clone()]);
        let list = key.and_then(|key| json::variant(&key, &["tools", "plugins"]));
        if let Some(list) = list {
            models_of(&body[value.clone()], list, &mut found);
        }
    }
    found
}

fn models_of(list: &[u8], name: &str, found: &mut Vec<Choice>) {
    let elements = json::elements(list, 10_000).unwrap_or_default();
    let named = elements.into_iter().filter_map(|at| {
        let tool = &list[at];
        let fields = json::scan(tool, &["type", "name"]).ok()?;
        let is_own = match fields.get(0).map(|at| &tool[at]) {
            Some(kind) => matches!(kind, b"\"function\"" | b"\"custom\""),
            None => fields.get(1).is_some(),
        };
        let mut models = Vec::new();
        if !is_own {
            models_in(tool, DEEPEST, &mut models);
        }
        (!models.is_empty()).then(|| Choice {
            key: format!("{name}[].model"),
            why: Why::ToolModel,
            models: Some(models),
        })
    });
    found.extend(named);
}

/// The models that an object names, or one inside it.
fn models_in(object: &[u8], depth: usize, models: &mut Vec<String>) {
    for (key, value) in json::members(object).unwrap_or_default() {
        let (Some(key), value) = (json::string(&object[key]), &object[value]) else {
            continue;
        };
        let bare = key.replace(['_', '-'], "").to_ascii_lowercase();
        let names_one = ["model", "models", "modelname", "modelid"];
        if OF_FUNCTIONS.contains(&&*key) || depth == 0 {
            continue;
        }
        match value.first() {
            Some(b'{') => models_in(value, depth - 1, models),
            Some(b'[' | b'"') if names_one.iter().any(|name| bare.ends_with(name)) => {
                models.extend(self::models(value).unwrap_or_default());
            }
            Some(b'[') => {
                for element in json::elements(value, 1_000).unwrap_or_default() {
                    models_in(&value[element], depth - 1, models);
                }
            }
            _ => {}
        }
    }
}

/// Refuses a request whose choices were not evaluated. It goes to `model` of a provider whose
/// `pass_keys` are `passed`; `is_granted` says which of the provider's models a caller may use.
///
/// # Errors
/// A 400 that names the first such key.
pub fn conflict(
    choices: &[Choice],
    model: &str,
    passed: &[String],
    is_granted: &dyn Fn(&str) -> bool,
) -> Result<(), Rejection> {
    let unevaluated = choices.iter().find(|choice| {
        let named = choice.models.as_deref();
        let is_same = named.is_some_and(|models| models.iter().all(|named| named == model));
        let is_granted = choice.why == Why::ToolModel
            && named.is_some_and(|models| models.iter().all(|named| is_granted(named)));
        let is_passed = choice.why.is_passable() && passed.contains(&choice.key);
        !(is_same || is_granted || is_passed)
    });
    let Some(Choice { key, why, .. }) = unevaluated else {
        return Ok(());
    };
    let advice = if why.is_passable() {
        "remove it, or have an admin list it in the provider's `pass_keys`"
    } else {
        "remove it"
    };
    Err(Rejection::new(
        StatusCode::BAD_REQUEST,
        "key_not_allowed",
        format!("the key {key:?} {}: {advice}", why.sentence()),
    ))
}

/// Whether a provider's `pass_keys` may name a key.
#[must_use]
pub fn is_passable(key: &str) -> bool {
    why(key).is_none_or(Why::is_passable)
}

/// The lists of this file, for `docs/ALLOWED.md`.
#[cfg(test)]
pub(super) fn page() -> String {
    let mut out = String::from("| keys | refused because each |\n|---|---|\n");
    for why in [
        Why::Model,
        Why::Account,
        Why::Destination,
        Why::Price,
        Why::Uncounted,
    ] {
        let keys = KEYS.iter().filter(|(_, one)| *one == why);
        let keys = keys.map(|(key, _)| format!("`{key}`"));
        let begin = BEGINNINGS.iter().filter(|(_, one)| *one == why);
        let begin = begin.map(|(key, _)| format!("`{key}…`"));
        let all: Vec<String> = keys.chain(begin).collect();
        let passable = if why.is_passable() {
            ""
        } else {
            ". `pass_keys` doesn't allow these"
        };
        let row = format!("| {} | {}{passable} |\n", all.join(", "), why.sentence());
        out.push_str(&row);
    }
    out
}
