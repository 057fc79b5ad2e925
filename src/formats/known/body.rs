//! Keys of a body that choose more than its model does. Gateways and model servers take them
//! beside the model that a grant was checked for: other models, accounts, destinations, prices, and
//! ways to respond that can't be counted. They are found where a request is read, and judged once
//! its provider is known: a provider's `pass_keys` can allow most of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use http::StatusCode;
use percent_encoding::percent_decode_str;

use super::keys::{count, split, words};
use crate::base::quick_hash::QuickHash;
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

/// Keys with nothing but letters and digits, in small letters: `LiteLLM`, `OpenRouter`, Portkey, Vercel's gateway, vLLM,
/// `SGLang`, Azure, Groq and others document them.
const KEYS: &[(Why, &[&str])] = &[
    (
        Why::Model,
        words!(
            "
            models fallback fallbacks fallbackmodel fallbackmodels defaultfallbacks
            contextwindowfallbacks contentpolicyfallbacks contextwindowfallbackdict modelid
            modellist modelname modelinfo basemodel engine deploymentid specificdeployment
            targets preset adapterid adaptersource lorapath lorarequest safetymodel
            compoundcustom routingconfig modelconfig modelselectionconfig routersettingsoverride
            draftmodel speculativemodel speculativeconfig overrideparams modelgroup
            modelgroupalias modelalias modeloverride hfmodelname
            "
        ),
    ),
    (
        Why::Account,
        words!(
            "
            apikey apitoken virtualkey organization organizationid project credentials
            userconfig extraheaders headers defaultheaders authorization accesstoken
            proxyserverrequest secretfields
            "
        ),
    ),
    (
        Why::Destination,
        words!(
            "
            provider providers provideroptions route apibase apihost apitype baseurl customhost
            customllmprovider llmprovider endpoint proxy extrabody extraquery webhook webhookurl
            callbackurl callbacks successcallback failurecallback slackwebhookurl storageuri
            regionname s3endpointurl sagemakerbaseurl bootstraphost bootstrapport
            kvtransferparams datasources
            "
        ),
    ),
    (Why::Price, words!("performanceconfig speed")),
    (
        Why::Uncounted,
        words!("background deferred async fields fieldmask responsefields"),
    ),
];

/// Beginnings of keys, in the same form: `LiteLLM` takes dozens with them, and sends prompts to the
/// services that some of them name.
const BEGINNINGS: &[(Why, &[&str])] = &[
    (Why::Account, words!("aws azure vertex watsonx")),
    (
        Why::Destination,
        words!(
            "
            litellm arize braintrust gcsbucket gcspath humanloop langfuse langsmith lunary
            posthog
            "
        ),
    ),
    (Why::Price, words!("inputcostper outputcostper")),
    (Why::Uncounted, words!("mock")),
];

/// Keys that begin so and only say what a request belongs to.
const HARMLESS: [&str; 3] = ["litellmcallid", "litellmsessionid", "litellmtraceid"];

/// In the order of the keys.
static BY_KEY: LazyLock<Vec<(&str, Why)>> = LazyLock::new(|| {
    let mut keys: Vec<_> = each(KEYS).collect();
    keys.sort_by_key(|(key, _)| *key);
    keys
});
static BY_BEGINNING: LazyLock<Vec<(&str, Why)>> = LazyLock::new(|| each(BEGINNINGS).collect());

fn each(
    lists: &'static [(Why, &'static [&'static str])],
) -> impl Iterator<Item = (&'static str, Why)> {
    lists
        .iter()
        .flat_map(|(why, keys)| keys.iter().map(|key| (*key, *why)))
}

/// A key as the most lenient server may read it: letters and digits, in small letters. Full-width
/// letters count as the plain ones.
pub(super) fn bare(key: &str) -> String {
    if key.is_ascii() {
        let mut bare = String::with_capacity(key.len());
        let letters = key.bytes().filter(u8::is_ascii_alphanumeric);
        bare.extend(letters.map(|byte| char::from(byte.to_ascii_lowercase())));
        return bare;
    }
    let folded = key.chars().map(|char| match char {
        // Lenient decoders fold these two as well.
        'ſ' => 's',
        '\u{212a}' => 'k',
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(char) - 0xfee0).map_or(char, |char| char.to_ascii_lowercase())
        }
        char => char.to_ascii_lowercase(),
    });
    folded.filter(|char| char.is_alphanumeric()).collect()
}

/// What a key would choose, whatever its case and separators. Each thread keeps what it has found of the
/// usual ones.
fn why(key: &str) -> Option<Why> {
    /// Keys that are kept; beyond it all are forgotten.
    const MOST: usize = 256;
    /// Longer keys aren't usual.
    const LONGEST: usize = 40;
    thread_local! {
        // Callers choose the keys, but there are too few of them for one hash to matter.
        static FOUND: RefCell<HashMap<String, Option<Why>, QuickHash>> = RefCell::default();
    }
    if key.len() > LONGEST {
        return found(key);
    }
    FOUND.with_borrow_mut(|known| {
        if let Some(why) = known.get(key) {
            return *why;
        }
        if known.len() >= MOST {
            known.clear();
        }
        let why = found(key);
        known.insert(key.to_owned(), why);
        why
    })
}

fn found(key: &str) -> Option<Why> {
    let bare = bare(key);
    // `model` itself is read and replaced; another spelling of it is not.
    if bare == "model" && key != "model" {
        return Some(Why::Model);
    }
    if HARMLESS.contains(&&*bare) {
        return None;
    }
    if let Ok(nth) = BY_KEY.binary_search_by_key(&&*bare, |(key, _)| key) {
        return Some(BY_KEY[nth].1);
    }
    let mut beginnings = BY_BEGINNING.iter();
    let begins = beginnings.find(|(beginning, _)| bare.starts_with(beginning));
    begins.map(|(_, why)| *why)
}

/// What a value that chooses nothing looks like, and for a price the usual one.
fn is_nothing(value: &[u8], why: Why) -> bool {
    let usual: &[&[u8]] = match why {
        Why::Price => &[b"\"standard\"", b"\"normal\""],
        _ => &[],
    };
    is_empty(value) || usual.contains(&value)
}

/// Whether a value says nothing, whatever its key.
#[must_use]
pub fn is_empty(value: &[u8]) -> bool {
    match value {
        [b'[', inside @ .., b']'] | [b'{', inside @ .., b'}'] => inside.trim_ascii().is_empty(),
        value => matches!(value, b"null" | b"false" | b"0" | b"\"\""),
    }
}

/// The choices among the members of an object, which stands in `body`.
pub(in crate::formats) fn choices(
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

/// The choices among the members of a configuration inside a request, where `model` is one too.
pub(in crate::formats) fn inner_choices(
    body: &[u8],
    members: &[(Range<usize>, Range<usize>)],
) -> Vec<Choice> {
    let mut found = choices(body, members);
    let model = members
        .iter()
        .find(|(key, _)| &body[key.clone()] == b"\"model\"");
    let model = model.map(|(_, value)| &body[value.clone()]);
    found.extend(
        model
            .filter(|value| !is_nothing(value, Why::Model))
            .map(|value| Choice {
                key: "model".to_owned(),
                why: Why::Model,
                models: models(value),
            }),
    );
    found
}

/// `{"latency": "standard"}` of Bedrock.
fn is_standard(value: &[u8]) -> bool {
    let latency = json::scan(value, &["latency"]).ok();
    let latency = latency.filter(|fields| fields.members.len() == 1);
    let latency = latency.and_then(|fields| fields.get(0));
    latency.is_some_and(|at| &value[at] == b"\"standard\"")
}

/// The choices among the names of a form's fields.
pub(in crate::formats) fn form_choices<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Choice> {
    let found = names.filter_map(|name| {
        let decoded = percent_decode_str(name).decode_utf8_lossy();
        // Some servers read `models[]`, `models[0]` and `models.0` as lists.
        let mut steps = decoded.split(['[', ']', '.']).map(str::trim);
        let first = steps.find(|step| !step.is_empty())?;
        let is_model = first != name && bare(first) == "model";
        let why = why(first).or(is_model.then_some(Why::Model))?;
        Some(Choice {
            key: name.chars().take(60).collect(),
            why,
            models: None,
        })
    });
    found.collect()
}

/// The model of a string, or those of a list of strings or of objects with nothing but a `model`.
pub(super) fn models(value: &[u8]) -> Option<Vec<String>> {
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

/// Refuses a request whose choices were not evaluated. It goes to `model` of a provider whose
/// `pass_keys` are `passed`; `asked` is how the caller names it, where that is replaced in lists too;
/// `is_granted` says which of the provider's models a caller may use.
///
/// # Errors
/// A 400 that names the first such key.
pub fn conflict(
    choices: &[Choice],
    model: &str,
    asked: Option<&str>,
    passed: &[String],
    is_granted: &dyn Fn(&str) -> bool,
) -> Result<(), Rejection> {
    let unevaluated = choices.iter().find(|choice| {
        let named = choice.models.as_deref();
        let asked = asked.filter(|_| choice.why == Why::Model);
        let is_model = |named: &String| named == model || Some(named.as_str()) == asked;
        let is_same = named.is_some_and(|models| models.iter().all(is_model));
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
        let keys = each(KEYS).filter(|(_, one)| *one == why);
        let keys = keys.map(|(key, _)| format!("`{key}`"));
        let begin = each(BEGINNINGS).filter(|(_, one)| *one == why);
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
    out.push_str(
        "\n`litellm_session_id`, `litellm_trace_id` and `litellm_call_id` only say what a request belongs to, and pass.\n",
    );
    out
}
