//! Capability objects, which grants of the configuration and of the tailnet policy hold. Their keys
//! have no reader here: both sources are decoded where grants are, and a document is only held
//! against what is described.

use std::time::Duration;

use super::declare::{Holds, Kind, Section, Setting, TEXTS, Way};
use super::finding::{Finding, meant};
use super::fits;
use super::section;
use super::table::Item;

section! {
    /// A capability object, as it is described.
    pub(super) struct Capability {
        /// `user`: your own data. `admin`: everyone's data, and the configuration. Without a role, access is denied.
        role: () => Way::described(Kind::Word(&["user", "admin"])),
        /// Glob on `provider/model`: which models may be used. `*` is a part without slashes, `**` is anything. What stands beside it holds for these models only.
        models: Option<String>,
        /// Buckets that pay, each of them.
        quotas: Option<Vec<Bucket>>,
        /// Labels that requests must have, each as its key, or as `"project=web-*"` with a pattern for its value. Several patterns for one key are alternatives.
        #[key(example = r#"["project=web-*"]"#)]
        require_labels: Option<Vec<String>>,
        /// People of the tailnet for whom the caller may speak, as patterns on their logins: `*` is any text. Their own grants and budgets count as well. Holds for all models, also beside `models`.
        #[key(example = r#"["*@example.com"]"#)]
        may_speak_for: Option<Vec<String>>,
        /// The header in which the caller names such a person; `x-iris-user` unless given.
        #[key(example = r#""x-openwebui-user-email""#)]
        speaks_in: Option<String>,
        /// Hooks that are asked or told.
        send_hooks: Option<Vec<SendHook>>,
        /// Guards that look.
        guards: Option<Vec<String>>,
        /// Headers for the provider, as `"Name: value"`.
        #[key(holds = Holds::Headers, example = r#"["X-Team: eng"]"#)]
        add_headers: Option<Vec<String>>,
        /// Whether the price list may be read. No role implies it.
        read_pricing: Option<bool>,
        /// Whether `/metrics` may be read. No role implies it.
        read_metrics: Option<bool>,
        /// Whether an admin may read what others said.
        read_captures: Option<bool>,
        /// Headers by which records may be filtered; `*` is any. No role implies it.
        #[key(holds = Holds::Headers)]
        filterable_headers: () => Way::described(Kind::List(&Kind::Any(&[Kind::Text, Header::KIND]))),
        /// Whether requests for these models are translated for providers that don't speak their format. Has effect only in a grant with `models`.
        translate: Option<bool>,
        /// Keeps responses for the same request; see [CACHE.md](CACHE.md).
        cache: Option<Cache>,
        /// Whether the chat is there.
        enable_chat_ui: Option<bool>,
        /// Tools of MCP servers.
        #[key(idle)]
        mcp_tools: Option<Vec<String>>,
        /// Resources of MCP servers.
        #[key(idle)]
        mcp_resources: Option<Vec<String>>,
        /// Templates of MCP servers.
        #[key(idle)]
        mcp_templates: Option<Vec<String>>,
        /// Connectors.
        #[key(idle)]
        connectors: Option<Vec<String>>,
        /// Skills.
        #[key(idle)]
        skills: Option<Vec<String>>,
        /// Direct access: globs on `/PROVIDER/PATH`, which open these paths of the provider's own API at `/direct/PROVIDER/PATH`. `*` is a part without slashes, `**` is anything. See [DIRECT.md](DIRECT.md).
        #[key(example = r#"["/openai/v1/fine_tuning/**"]"#)]
        direct_paths: Option<Vec<String>>,
        /// Whether direct access is refused while one of the caller's budgets is empty. Beside `direct_paths` it holds for these paths, else for all.
        direct_budgets: Option<bool>,
        /// Whether hooks are called for direct access. Beside `direct_paths` it holds for these paths, else for all.
        direct_hooks: Option<bool>,
        /// Whether pages of other sites may call models in the caller's name (CORS). Holds for all models, also beside `models`.
        set_cors: Option<bool>,
        /// Globs on the paths that they may call, of those that call or list models. `*` is a part without slashes, `**` is anything.
        #[key(example = r#"["/v1/**"]"#)]
        cors_paths: Option<Vec<String>>,
        /// The origins of those pages, each in full, such as `"https://chat.example.com"`. `"*"` is refused.
        #[key(example = r#""https://chat.example.com""#)]
        cors_origins as "Access-Control-Allow-Origin": () => Way::described(Kind::Any(&[Kind::Text, TEXTS])),
        /// Methods that they may use, as `"GET, POST"`.
        #[key(example = r#""GET, POST""#)]
        cors_methods as "Access-Control-Allow-Methods": Option<String>,
        /// Headers that they may send, as `"Content-Type, Authorization"`.
        #[key(example = r#""Content-Type""#)]
        cors_headers as "Access-Control-Allow-Headers": Option<String>,
    }
}

section! {
    /// A bucket that pays.
    pub(super) struct Bucket {
        /// Name of a definition, template included.
        #[key(required)]
        bucket: String,
        /// Names of further definitions, in the order in which they help out.
        overdraft: Option<Vec<String>>,
    }
}

section! {
    /// A hook that is asked or told.
    pub(super) struct SendHook {
        /// Name of its definition.
        #[key(required)]
        name: String,
        /// When.
        events: () => Way::described(Kind::List(&Kind::Word(&[
            "pre_request", "entire_request", "tool_call_entire_request", "quota_warning",
        ]))),
        /// What it is told, besides what is always told.
        send: () => Way::described(Kind::List(&Kind::Word(&[
            "tools", "request_body", "user_message", "response_body", "raw_responses", "estimated_cost",
            "grants", "quotas",
        ]))),
        /// For which models alone, where the object covers none.
        models: Option<String>,
    }
}

section! {
    /// How responses are kept for the same request.
    pub(super) struct Cache {
        /// For how long.
        #[key(required, example = r#""24h""#)]
        lasts as "for": Duration,
        /// Whether other callers with such a grant get them too. Without it, each caller has their own.
        shared: Option<bool>,
    }
}

section! {
    /// A header that has a name.
    struct Header {
        /// Name of the header.
        #[key(required)]
        name: String,
    }
}

/// What an object that can't be decoded does.
pub(super) const GRANTS_NOTHING: &str = "until this is fixed, this object grants nothing";

/// What is known of a field of a capability object.
pub(super) enum Field {
    /// It acts, and its value is as described.
    Sound,
    /// It acts, and its value is not as described: in this.
    Broken(Finding),
    /// Known, and without effect so far.
    Idle,
    /// Not known.
    Unknown,
}

/// The field of a capability object that was probably meant.
pub(super) fn meant_field(name: &str) -> Option<&'static str> {
    meant(name, Capability::keys().iter().map(|key| key.name))
}

/// Looks at a field of a capability object.
pub(super) fn field(name: &str, value: &Item<'_>) -> Field {
    match Capability::keys().iter().find(|key| key.name == name) {
        None => Field::Unknown,
        Some(key) if key.idle => Field::Idle,
        Some(key) => fits::misfit(key.kind, value).map_or(Field::Sound, Field::Broken),
    }
}
