//! One capability object of a grant, decoded. Both sources of grants, the configuration and
//! the tailnet policy, write the same objects.

use std::time::Duration;

use http::HeaderName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ModelPattern, PathPattern, RequiredLabels};
use crate::wire::{Origin, Tokens};

/// What a caller may do besides using models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Own data only.
    User,
    /// Everyone's data, and the configuration.
    Admin,
}

impl Role {
    /// Its word in a grant.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

/// One capability object. The check of the configuration reports fields that have no effect yet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, expecting = "struct Object")]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of a grant")]
pub struct Capability {
    /// A role, if the object gives one.
    pub role: Option<Role>,
    /// Models that the object covers. Its siblings apply to these only.
    pub models: Option<ModelPattern>,
    /// Headers added before the provider's own.
    #[serde(deserialize_with = "headers")]
    pub add_headers: Vec<Header>,
    /// Whether the price list may be read. No role implies it.
    pub read_pricing: bool,
    /// Whether `/metrics` may be read. No role implies it.
    pub read_metrics: bool,
    /// Whether an admin may read what others said.
    pub read_captures: Option<bool>,
    /// Headers, in lower case, by which records may be filtered; `*` is any. No role implies it.
    #[serde(deserialize_with = "header_names")]
    pub filterable_headers: Vec<String>,
    /// Buckets that pay.
    pub quotas: Vec<BucketRef>,
    /// Labels that requests must have.
    pub require_labels: RequiredLabels,
    /// Hooks that are called.
    pub send_hooks: Vec<SendHook>,
    /// Guardrails that inspect requests.
    pub guards: Vec<String>,
    /// Whether requests for the models are translated; they are unless it says no.
    pub translate: Option<bool>,
    /// Whether responses are kept for the same request, and how.
    pub cache: Option<CacheGrant>,
    /// Whether the chat is available, if the object says so.
    #[serde(rename = "enable_chat_ui")]
    pub chat: Option<bool>,
    /// Patterns on logins of those for whom the caller may speak.
    pub may_speak_for: Vec<String>,
    /// The header in which the caller names them, if not the usual one.
    #[serde(deserialize_with = "header_name")]
    pub speaks_in: Option<HeaderName>,
    /// Whether pages of other sites may call models.
    pub set_cors: bool,
    /// The paths that they may call.
    pub cors_paths: Vec<PathPattern>,
    /// The origins of those pages.
    #[serde(rename = "Access-Control-Allow-Origin", deserialize_with = "origins")]
    pub cors_origins: Vec<Origin>,
    /// Methods that they may use.
    #[serde(rename = "Access-Control-Allow-Methods")]
    pub cors_methods: Option<Tokens>,
    /// Headers that they may send.
    #[serde(rename = "Access-Control-Allow-Headers")]
    pub cors_headers: Option<Tokens>,
    /// Paths of providers that pass as they are.
    pub direct_paths: Vec<PathPattern>,
    /// Whether an empty budget refuses requests for them.
    pub direct_budgets: bool,
    /// Whether hooks are called for them.
    pub direct_hooks: bool,
}

/// A header for the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// A hook, when it is called, and what it gets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendHook {
    /// Name of its definition.
    pub name: String,
    /// When it is called.
    #[serde(default)]
    pub events: Vec<HookEvent>,
    /// What it gets, besides what every call has.
    #[serde(default)]
    pub send: Vec<HookPart>,
    /// The only models that it is called for, if the object itself covers none.
    #[serde(default)]
    pub models: Option<ModelPattern>,
}

/// How responses are kept for the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheGrant {
    /// For how long.
    #[serde(rename = "for", deserialize_with = "duration")]
    pub lasts: Duration,
    /// Whether other callers with such a grant get them too.
    #[serde(rename = "shared", default)]
    pub is_shared: bool,
}

impl CacheGrant {
    /// What it allows where nothing is kept for longer than that.
    #[must_use]
    pub fn within(self, longest: Option<Duration>) -> Self {
        let lasts = longest.map_or(self.lasts, |longest| longest.min(self.lasts));
        Self { lasts, ..self }
    }

    /// What two grants allow together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            lasts: self.lasts.min(other.lasts),
            is_shared: self.is_shared && other.is_shared,
        }
    }
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// Before the request is sent; the hook may refuse or change it.
    PreRequest,
    /// After every request that has ended.
    EntireRequest,
    /// After a request whose response called tools.
    ToolCallEntireRequest,
    /// After a request with which a budget began to run low.
    QuotaWarning,
}

/// What a hook gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPart {
    /// Calls of tools in the response.
    Tools,
    /// The body of the request.
    RequestBody,
    /// What the user said last.
    UserMessage,
    /// The response, put together.
    ResponseBody,
    /// The events of the response, or the response.
    RawResponses,
    /// What it cost.
    EstimatedCost,
    /// Capabilities that are not the gateway's.
    Grants,
    /// The buckets that pay.
    Quotas,
}

/// A bucket that pays for what a capability object covers, and those that cover its overdraft.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketRef {
    /// Name of a definition, template included.
    pub bucket: String,
    /// Names of further definitions, in the order in which they pay.
    #[serde(default)]
    pub overdraft: Vec<String>,
}

impl BucketRef {
    /// All definitions that it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.bucket)
            .chain(&self.overdraft)
            .map(String::as_str)
    }
}

/// What holds of an object that can't be decoded. It grants nothing, but its guardrails still inspect
/// requests, its buckets still pay, and the labels that it requires are still required.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// Models that it is about; all, if it names none.
    pub models: Option<ModelPattern>,
    /// Guardrails that inspect requests.
    pub guards: Vec<String>,
    /// Buckets that pay.
    pub quotas: Vec<BucketRef>,
    /// Labels that requests must have.
    pub require_labels: RequiredLabels,
    /// Whether an empty budget refuses direct access.
    pub direct_budgets: bool,
    /// Whether hooks are called for direct access.
    pub direct_hooks: bool,
}

/// A header's name, alone or as in `database.headers.filterable`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Filterable {
    Alone(String),
    Named { name: String },
}

impl Capability {
    /// The same for a user of another tailnet, if a grant names them by a login alone: the grant
    /// may be meant for a user of this tailnet, so it gives models and at most the role `user`, and no direct
    /// access.
    #[must_use]
    pub fn for_namesake(&self) -> Self {
        Self {
            role: self.role.map(|_| Role::User),
            read_pricing: false,
            read_metrics: false,
            read_captures: None,
            filterable_headers: Vec::new(),
            set_cors: false,
            may_speak_for: Vec::new(),
            direct_paths: Vec::new(),
            ..self.clone()
        }
    }

    /// Decodes an object.
    ///
    /// # Errors
    /// The decoder's words when a field has the wrong type; the object then grants nothing.
    pub fn decode(raw: &RawValue) -> Result<Self, serde_json::Error> {
        serde_json::from_str(raw.get())
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::config::duration(&text).ok_or_else(|| {
        let expected = "expected a duration such as \"24h\"";
        D::Error::custom(format!("{text:?} is not a duration; {expected}"))
    })
}

/// Headers in `Name: value` format. The check of the configuration reports other entries.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Header>, D::Error> {
    let entries = Vec::<String>::deserialize(deserializer)?;
    let entries = entries.iter().filter_map(|entry| entry.split_once(':'));
    let headers = entries.map(|(name, value)| Header {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
    });
    Ok(headers.collect())
}

fn header_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<Filterable>::deserialize(deserializer)?.into_iter();
    let names = names.map(|(Filterable::Alone(name) | Filterable::Named { name })| name);
    Ok(names.map(|name| name.to_ascii_lowercase()).collect())
}

fn header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HeaderName>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(D::Error::custom)?;
    Ok(Some(name))
}

/// One origin, or several.
fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Origin>, D::Error> {
    /// As it is written.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        Several(Vec<String>),
    }
    let texts = match Written::deserialize(deserializer)? {
        Written::One(text) => vec![text],
        Written::Several(texts) => texts,
    };
    let origins = texts.iter().map(|text| Origin::parse(text));
    origins.collect::<Result<_, _>>().map_err(D::Error::custom)
}

impl Remains {
    /// What holds of an object that can't be decoded. An entry that isn't a name stands for a guardrail
    /// or a bucket that doesn't exist, so that requests are refused.
    pub fn of(raw: &RawValue) -> Self {
        let object: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let listed = |field: &str| match object[field].clone() {
            Value::Null => Vec::new(),
            Value::Array(entries) => entries,
            other => vec![other],
        };
        // Anything but a plain no.
        let is_set = |field: &str| !matches!(object[field], Value::Null | Value::Bool(false));
        let guards = listed("guards").into_iter();
        let quotas = listed("quotas").into_iter();
        Self {
            models: object["models"].as_str().map(|text| text.to_owned().into()),
            guards: guards
                .map(|name| name.as_str().unwrap_or_default().to_owned())
                .collect(),
            quotas: quotas
                .map(|bucket| serde_json::from_value(bucket).unwrap_or_default())
                .collect(),
            require_labels: RequiredLabels::of_broken(&listed("require_labels")),
            direct_budgets: is_set("direct_budgets"),
            direct_hooks: is_set("direct_hooks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(object: &Value) -> Result<Capability, serde_json::Error> {
        let raw = RawValue::from_string(object.to_string()).unwrap();
        Capability::decode(&raw)
    }

    #[test]
    fn what_the_reference_describes_is_decoded_and_nothing_else() {
        let empty = format!("{:?}", decoded(&serde_json::json!({})).unwrap());
        let (taken, refused) = crate::config::capabilities();
        assert!(taken.len() > 15 && refused.len() > 10);
        for object in taken {
            let capability = decoded(&object).unwrap_or_else(|error| panic!("{object}: {error}"));
            assert_ne!(format!("{capability:?}"), empty, "{object}");
        }
        for object in refused {
            assert!(decoded(&object).is_err(), "{object}");
        }
    }
}
