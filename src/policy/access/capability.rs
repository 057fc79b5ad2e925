//! One capability object of a grant, decoded. Both sources of grants, the configuration and
//! the tailnet policy, write the same objects.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ModelPattern;

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
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

/// One capability object. Fields whose behaviour comes later are left to the configuration
/// check, which lists them.
#[derive(Clone, Debug)]
pub struct Capability {
    /// A role, if the object gives one.
    pub role: Option<Role>,
    /// Models that the object covers. Its siblings apply to these only.
    pub models: Option<ModelPattern>,
    /// Headers put in front of the provider's own.
    pub add_headers: Vec<Header>,
    /// Whether the price list may be read. No role implies it.
    pub read_pricing: bool,
    /// Whether `/metrics` may be read. No role implies it.
    pub read_metrics: bool,
    /// Whether an admin may read what others said.
    pub read_captures: Option<bool>,
    /// Headers, in lower case, by which records may be filtered; `*` is any. No role implies it.
    pub filterable_headers: Vec<String>,
    /// Buckets that pay.
    pub quotas: Vec<BucketRef>,
    /// Hooks that are called.
    pub send_hooks: Vec<SendHook>,
    /// Guards that look at requests.
    pub guards: Vec<String>,
    /// Whether the chat is there, if the object says so.
    pub chat: Option<bool>,
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
    /// When.
    #[serde(default)]
    pub events: Vec<HookEvent>,
    /// What it gets, besides what every call has.
    #[serde(default)]
    pub send: Vec<HookPart>,
    /// For which models alone, where the object itself covers none.
    #[serde(default)]
    pub models: Option<ModelPattern>,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// Before the provider is asked; it may refuse the request, or change it.
    PreRequest,
    /// After every request that has ended.
    EntireRequest,
    /// After a request whose answer called tools.
    ToolCallEntireRequest,
    /// After a request with which a budget began to run low.
    QuotaWarning,
}

/// What a hook gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPart {
    /// Calls of tools in the answer.
    Tools,
    /// The body of the request.
    RequestBody,
    /// What the user said last.
    UserMessage,
    /// The answer, put together.
    ResponseBody,
    /// The events of the answer, or the answer.
    RawResponses,
    /// What it cost.
    EstimatedCost,
    /// Capabilities that are not the gateway's.
    Grants,
    /// The buckets that pay.
    Quotas,
}

/// A bucket that pays for what a capability object covers, and those that help it out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketRef {
    /// Name of a definition, template included.
    pub bucket: String,
    /// Names of further definitions, in the order in which they help out.
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

/// What holds of an object that can't be decoded.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// Models that it is about; all, if it names none.
    pub models: Option<ModelPattern>,
    /// Guards that look.
    pub guards: Vec<String>,
    /// Buckets that pay.
    pub quotas: Vec<BucketRef>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    models: Option<String>,
    #[serde(default)]
    add_headers: Vec<String>,
    #[serde(default)]
    read_pricing: bool,
    #[serde(default)]
    read_metrics: bool,
    #[serde(default)]
    read_captures: Option<bool>,
    #[serde(default)]
    filterable_headers: Vec<HeaderName>,
    #[serde(default)]
    quotas: Vec<BucketRef>,
    #[serde(default)]
    send_hooks: Vec<SendHook>,
    #[serde(default)]
    guards: Vec<String>,
    #[serde(default)]
    enable_chat_ui: Option<bool>,
}

/// A header's name, alone or as it stands in `database.headers.filterable`.
#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderName {
    Alone(String),
    Named { name: String },
}

impl From<HeaderName> for String {
    fn from(header: HeaderName) -> Self {
        let (HeaderName::Alone(name) | HeaderName::Named { name }) = header;
        name.to_ascii_lowercase()
    }
}

impl Capability {
    /// What holds of an object that can't be decoded. It grants nothing, but its guards must still
    /// look, and its buckets still pay. An entry that isn't a name stands for a guard or a bucket
    /// that doesn't exist, so that requests are refused.
    #[must_use]
    pub fn remains(raw: &RawValue) -> Remains {
        let Ok(object) = serde_json::from_str::<serde_json::Value>(raw.get()) else {
            return Remains::default();
        };
        let listed = |field: &str| match &object[field] {
            serde_json::Value::Null => Vec::new(),
            serde_json::Value::Array(entries) => entries.clone(),
            other => vec![other.clone()],
        };
        let guards = listed("guards").into_iter();
        let quotas = listed("quotas").into_iter();
        Remains {
            models: object["models"].as_str().map(ModelPattern::new),
            guards: guards
                .map(|name| name.as_str().unwrap_or_default().to_owned())
                .collect(),
            quotas: quotas
                .map(|bucket| {
                    serde_json::from_value(bucket).unwrap_or_else(|_| BucketRef {
                        bucket: String::new(),
                        overdraft: Vec::new(),
                    })
                })
                .collect(),
        }
    }

    /// The same for a user of another tailnet whom a grant names by a login alone: the grant
    /// may be meant for a user of this tailnet, so it gives models and at most the role `user`.
    #[must_use]
    pub fn for_namesake(&self) -> Self {
        Self {
            role: self.role.map(|_| Role::User),
            read_pricing: false,
            read_metrics: false,
            read_captures: None,
            filterable_headers: Vec::new(),
            ..self.clone()
        }
    }

    /// Decodes an object.
    ///
    /// # Errors
    /// The decoder's words when a field has the wrong type; the object then grants nothing.
    pub fn decode(raw: &RawValue) -> Result<Self, serde_json::Error> {
        let object: Object = serde_json::from_str(raw.get())?;
        let add_headers = object
            .add_headers
            .iter()
            .filter_map(|entry| entry.split_once(':'))
            .map(|(name, value)| Header {
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
            })
            .collect();
        Ok(Self {
            role: object.role,
            models: object.models.as_deref().map(ModelPattern::new),
            add_headers,
            read_pricing: object.read_pricing,
            read_metrics: object.read_metrics,
            read_captures: object.read_captures,
            filterable_headers: object
                .filterable_headers
                .into_iter()
                .map(String::from)
                .collect(),
            quotas: object.quotas,
            send_hooks: object.send_hooks,
            guards: object.guards,
            chat: object.enable_chat_ui,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(object: &serde_json::Value) -> Result<Capability, serde_json::Error> {
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
