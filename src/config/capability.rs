//! Capability objects, which grants of the configuration and of the tailnet policy hold. Their keys
//! have no reader here: both sources are decoded where grants are, and a document is only held
//! against what is described.

use super::declare::Kind::{Any, Flag, List, Object, Text, Word};
use super::declare::{Holds, Key, Kind, TEXTS};
use super::finding::{Finding, meant};
use super::fits;
use super::table::Item;

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
    meant(name, keys().iter().map(|key| key.name))
}

/// Looks at a field of a capability object.
pub(super) fn field(name: &str, value: &Item<'_>) -> Field {
    match keys().iter().find(|key| key.name == name) {
        None => Field::Unknown,
        Some(key) if key.idle => Field::Idle,
        Some(key) => fits::misfit(key.kind, value).map_or(Field::Sound, Field::Broken),
    }
}

fn key(name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key::new(name, kind, meaning)
}

pub(super) fn keys() -> Vec<Key> {
    vec![
        key(
            "role",
            Word(&["user", "admin"]),
            "`user`: one's own data. `admin`: everybody's, and the configuration. Without a role there is no access.",
        ),
        key(
            "models",
            Text,
            "Glob on `provider/model`: which models may be used. `*` is a part without slashes, `**` is anything. What stands beside it holds for these models only.",
        ),
        key(
            "quotas",
            List(&Object(bucket)),
            "Buckets that pay, each of them.",
        ),
        key(
            "send_hooks",
            List(&Object(send_hook)),
            "Hooks that are asked or told.",
        ),
        key("guards", TEXTS, "Guards that look."),
        key(
            "add_headers",
            TEXTS,
            "Headers for the provider, as `\"Name: value\"`.",
        )
        .holds(Holds::Headers)
        .example(r#"["X-Team: eng"]"#),
        key(
            "read_pricing",
            Flag,
            "Whether the price list may be read. No role implies it.",
        ),
        key(
            "read_metrics",
            Flag,
            "Whether `/metrics` may be read. No role implies it.",
        ),
        key(
            "read_captures",
            Flag,
            "Whether an admin may read what others said.",
        ),
        key(
            "filterable_headers",
            List(&Any(&[Text, Object(header)])),
            "Headers by which records may be filtered; `*` is any. No role implies it.",
        )
        .holds(Holds::Headers),
        key("enable_chat_ui", Flag, "Whether the chat is there."),
        key("mcp_tools", TEXTS, "Tools of MCP servers.").idle(),
        key("mcp_resources", TEXTS, "Resources of MCP servers.").idle(),
        key("mcp_templates", TEXTS, "Templates of MCP servers.").idle(),
        key("connectors", TEXTS, "Connectors.").idle(),
        key("skills", TEXTS, "Skills.").idle(),
        key(
            "direct_paths",
            TEXTS,
            "Paths that pass to a provider as they are.",
        )
        .idle(),
        key(
            "set_cors",
            Any(&[Flag, Text, TEXTS]),
            "Pages of other sites.",
        )
        .idle(),
        key("cors_paths", Any(&[Text, TEXTS]), "Paths for them.").idle(),
        key("Access-Control-Allow-Origin", Any(&[Text, TEXTS]), "Sites.").idle(),
    ]
}

fn bucket() -> Vec<Key> {
    vec![
        key("bucket", Text, "Name of a definition, template included.").required(),
        key(
            "overdraft",
            TEXTS,
            "Names of further definitions, in the order in which they help out.",
        ),
    ]
}

fn send_hook() -> Vec<Key> {
    vec![
        key("name", Text, "Name of its definition.").required(),
        key(
            "events",
            List(&Word(&[
                "pre_request",
                "entire_request",
                "tool_call_entire_request",
                "quota_warning",
            ])),
            "When.",
        ),
        key(
            "send",
            List(&Word(&[
                "tools",
                "request_body",
                "user_message",
                "response_body",
                "raw_responses",
                "estimated_cost",
                "grants",
                "quotas",
            ])),
            "What it is told, besides what is always told.",
        ),
        key(
            "models",
            Text,
            "For which models alone, where the object covers none.",
        ),
    ]
}

fn header() -> Vec<Key> {
    vec![key("name", Text, "Name of the header.").required()]
}
