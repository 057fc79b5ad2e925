//! Capability objects, which grants of the configuration and of the tailnet policy hold.

use super::Kind::{Any, Flag, List, Object, Text, Word};
use super::keys::TEXTS;
use super::{Key, key};

pub(in crate::config) const CAPABILITY: &[Key] = &[
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
        List(&Object(BUCKET)),
        "Buckets that pay, each of them.",
    ),
    key(
        "send_hooks",
        List(&Object(SEND_HOOK)),
        "Hooks that are asked or told.",
    ),
    key("guards", TEXTS, "Guards that look."),
    key(
        "add_headers",
        TEXTS,
        "Headers for the provider, as `\"Name: value\"`.",
    )
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
        List(&Any(&[Text, Object(HEADER)])),
        "Headers by which records may be filtered; `*` is any. No role implies it.",
    ),
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
];

const BUCKET: &[Key] = &[
    key("bucket", Text, "Name of a definition, template included.").required(),
    key(
        "overdraft",
        TEXTS,
        "Names of further definitions, in the order in which they help out.",
    ),
];

const SEND_HOOK: &[Key] = &[
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
];

const HEADER: &[Key] = &[key("name", Text, "Name of the header.").required()];

pub(super) const LEGACY_GRANT: &[Key] = &[
    key("src", TEXTS, "As in `grants`.").required(),
    key("grants", List(&Object(LEGACY_OBJECT)), "What is granted."),
];

const LEGACY_OBJECT: &[Key] = &[
    key("role", Word(&["user", "admin"]), "As in `grants`."),
    key("providers", List(&Object(LEGACY_MODEL)), "Models."),
    key("hook", Object(LEGACY_HOOK), "A hook that is asked or told."),
];

const LEGACY_MODEL: &[Key] = &[
    key("provider", Text, "Glob on its id."),
    key("model", Text, "Glob on its name; `*` is any."),
];

const LEGACY_HOOK: &[Key] = &[
    key("match", Object(LEGACY_MATCH), "When and for what.").required(),
    key("hook", Text, "Name of its definition."),
    key("fields", TEXTS, "What it is told."),
];

const LEGACY_MATCH: &[Key] = &[
    key("providers", TEXTS, "Globs."),
    key("models", TEXTS, "Globs."),
    key("events", TEXTS, "When."),
];
