//! The table itself: each route with its parameters, its body, and who may call it.

use super::routes::{Action, Open, Parameter, Route, Verb, many, one, required};

const LIMIT: Parameter = one("limit", "Rows of a page, 1 to 1000; 100 unless given.");
const BEFORE: Parameter = one("before", "Cursor: `next` of the page before.");
const FORMAT: Parameter = one("format", "`json` (default) or `csv`.");
const LOGIN: Parameter = one("login", "Only this caller's. A user always gets their own.");
const FROM: Parameter = one(
    "from",
    "Start of the time, RFC 3339 or a UTC date; it is included.",
);
const TO: Parameter = one(
    "to",
    "End of the time, RFC 3339 or a UTC date; it is not included.",
);

const SESSIONS: &[Parameter] = &[
    LOGIN,
    one("session", "Only this session."),
    one("model", "Only those with a request for this model."),
    one("provider", "Only those with a request to this provider."),
    one(
        "agent",
        "Only those with a request from this client program.",
    ),
    one("api", "Only those with a request in this API format."),
    one("status", "Only those with a request of this HTTP status."),
    one("outcome", "Only those with a request of this outcome."),
    one("tool", "Only those with a request that calls this tool."),
    FROM,
    TO,
    LIMIT,
    BEFORE,
    FORMAT,
];

const REQUESTS: &[Parameter] = &[
    LOGIN,
    one("node", "Only from this node, by its stable id."),
    one("session", "Only of this session."),
    one("model", "Only for this model, as the provider names it."),
    one("provider", "Only to this provider."),
    one("agent", "Only from this client program."),
    one("api", "Only in this API format."),
    one("status", "Only with this HTTP status."),
    one("outcome", "Only with this outcome."),
    one("tool", "Only those whose answer calls this tool."),
    one(
        "header",
        "Only with this header, as `name` or `name:value`; takes a grant with `filterable_headers`.",
    ),
    FROM,
    TO,
    LIMIT,
    BEFORE,
    FORMAT,
];

const USAGE: &[Parameter] = &[
    one(
        "by",
        "Dimensions to group by, with commas: day, hour, login, model, provider, agent, api, status, outcome, header.",
    ),
    many(
        "login",
        "Only these callers'. A user always gets their own.",
    ),
    many("model", "Only these models."),
    many("provider", "Only these providers."),
    many("agent", "Only these client programs."),
    many("api", "Only these API formats."),
    many("status", "Only these HTTP statuses."),
    many("outcome", "Only these outcomes."),
    one(
        "header",
        "Only with this header, as `name` or `name:value`; takes a grant with `filterable_headers`.",
    ),
    FROM,
    TO,
    FORMAT,
];

/// A route that admins do something with.
const fn act(
    verb: Verb,
    path: &'static str,
    action: Action,
    (takes, answer): (&'static str, &'static str),
    about: &'static str,
) -> Route {
    Route {
        verb,
        takes: Some(takes),
        open: Open::Admin,
        answer: Some(answer),
        ..route(path, action, about)
    }
}

const AUDIT: &[Parameter] = &[
    one("actor", "Only this caller's."),
    one("kind", "Only of this kind."),
    FROM,
    TO,
    LIMIT,
    BEFORE,
    FORMAT,
];

const WHAT_IF: &[Parameter] = &[
    required(
        "login",
        "A login, a tag or several joined by commas, or `(loopback)`.",
    ),
    one("node", "The node that the request would come from."),
    required("model", "The model, as the caller would name it."),
    one(
        "api",
        "The API format of the request; `openai_chat` unless given.",
    ),
];

const TOOLS: &[Parameter] = &[
    LOGIN,
    one("session", "Only in answers of this session."),
    one("model", "Only in answers of this model."),
    one("provider", "Only in answers of this provider."),
    one("agent", "Only in answers to this client program."),
    one("tool", "Only this tool."),
    FROM,
    TO,
];

const fn route(path: &'static str, action: Action, about: &'static str) -> Route {
    Route {
        verb: Verb::Get,
        takes: None,
        path,
        aliases: &[],
        action,
        open: Open::Role,
        about,
        parameters: &[],
        answer: None,
        csv: false,
    }
}

/// Every route that is for no model.
pub(super) const ALL: &[Route] = &[
    Route {
        open: Open::Everyone,
        ..route("/healthz", Action::Health, "Whether the process answers.")
    },
    Route {
        open: Open::Everyone,
        ..route(
            "/readyz",
            Action::Ready,
            "Whether requests can be served: 503 while they can't.",
        )
    },
    route("/", Action::Root, "A greeting."),
    Route {
        aliases: &["/models"],
        answer: Some("ModelList"),
        ..route(
            "/v1/models",
            Action::Models,
            "The models that you may use, once for each provider, and the aliases; in Anthropic's or Google's form for their SDKs.",
        )
    },
    Route {
        aliases: &["/models/{model}"],
        answer: Some("Model"),
        ..route(
            "/v1/models/{model}",
            Action::Model,
            "One model or alias that you may use, in the form that the SDK reads.",
        )
    },
    Route {
        aliases: &["/v1alpha/models"],
        answer: Some("GeminiModelList"),
        ..route(
            "/v1beta/models",
            Action::GeminiModels,
            "The models that you may use, in Gemini's form.",
        )
    },
    Route {
        aliases: &["/v1alpha/models/{model}"],
        answer: Some("GeminiModel"),
        ..route(
            "/v1beta/models/{model}",
            Action::GeminiModel,
            "One model or alias that you may use, in Gemini's form.",
        )
    },
    Route {
        answer: Some("ProviderList"),
        ..route(
            "/api/providers",
            Action::Providers,
            "The providers of models that you may use, the disabled ones included.",
        )
    },
    Route {
        answer: Some("ConnectorList"),
        ..route(
            "/api/connectors",
            Action::Connectors,
            "The connectors that you may use. Iris has none, and Aperture's clients ask.",
        )
    },
    Route {
        answer: Some("Whoami"),
        ..route("/api/whoami", Action::Whoami, "Who you are taken for.")
    },
    Route {
        answer: Some("Status"),
        ..route(
            "/api/status",
            Action::Status,
            "How the gateway is; admins see its node and the findings of its configuration.",
        )
    },
    route(
        "/api/events",
        Action::Events,
        "Server-sent events: `records` whenever there are new ones that you may see. A stream ends after ten minutes, and when the configuration changes.",
    ),
    Route {
        parameters: SESSIONS,
        answer: Some("SessionPage"),
        csv: true,
        ..route("/api/sessions", Action::Sessions, "Sessions, newest first.")
    },
    Route {
        parameters: REQUESTS,
        answer: Some("RequestPage"),
        csv: true,
        ..route("/api/requests", Action::Requests, "Requests, newest first.")
    },
    Route {
        answer: Some("Request"),
        ..route(
            "/api/requests/{id}",
            Action::Request,
            "One request, with the tools that its answer called.",
        )
    },
    Route {
        answer: Some("Capture"),
        ..route(
            "/api/requests/{id}/capture",
            Action::Capture,
            "What was said: heads without credentials, and bodies.",
        )
    },
    Route {
        answer: Some("Explanation"),
        ..route(
            "/api/requests/{id}/explain",
            Action::Explain,
            "The story of a request: who its caller was taken for, and every decision with its reason.",
        )
    },
    Route {
        open: Open::Admin,
        parameters: WHAT_IF,
        answer: Some("Verdict"),
        ..route(
            "/api/explain",
            Action::WhatIf,
            "Whether a caller would get a model, from which provider, and why. The tailnet policy counts for those who have called.",
        )
    },
    Route {
        parameters: TOOLS,
        answer: Some("ToolReport"),
        ..route(
            "/api/tools",
            Action::Tools,
            "The tools that answers called, by day; 31 days at most.",
        )
    },
    Route {
        answer: Some("QuotaList"),
        ..route(
            "/api/quotas",
            Action::Quotas,
            "The budgets and limits that pay for you, with what they hold; admins see all that were used.",
        )
    },
    Route {
        parameters: USAGE,
        answer: Some("UsageReport"),
        csv: true,
        ..route(
            "/api/usage",
            Action::Usage,
            "Requests, tokens, cost and latency, summed up by dimension and time.",
        )
    },
    act(
        Verb::Post,
        "/api/quotas/refill",
        Action::Refill,
        ("Refill", "Quota"),
        "Adds to a bucket, at most up to its capacity.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("ConfigText"),
        ..route(
            "/aperture/config",
            Action::Config,
            "The configuration without its secrets, with an `ETag`.",
        )
    },
    act(
        Verb::Put,
        "/aperture/config",
        Action::PutConfig,
        ("ConfigText", "ConfigText"),
        "Replaces the configuration that has the `ETag` in `If-Match`; placeholders stand for the secrets that are stored.",
    ),
    act(
        Verb::Post,
        "/aperture/config:validate",
        Action::Validate,
        ("ConfigText", "Validation"),
        "Checks a configuration as if it were to be saved.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("OlderConfig"),
        ..route(
            "/api/config",
            Action::OlderConfig,
            "The configuration in the form that Aperture had before.",
        )
    },
    act(
        Verb::Put,
        "/api/config",
        Action::PutOlderConfig,
        ("OlderChange", "Saved"),
        "Replaces the configuration that has `hash`.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("VersionList"),
        ..route(
            "/api/config/history",
            Action::Versions,
            "The versions of the configuration that were in force, newest first.",
        )
    },
    Route {
        open: Open::Admin,
        answer: Some("Version"),
        ..route(
            "/api/config/history/{id}",
            Action::Version,
            "One version, with what it changed and what going back to it would change.",
        )
    },
    act(
        Verb::Post,
        "/api/config/rollback",
        Action::Rollback,
        ("Rollback", "Saved"),
        "Goes back to a version; secrets are those of the file as it is now.",
    ),
    act(
        Verb::Post,
        "/api/config/dry-run",
        Action::DryRun,
        ("ConfigText", "DryRun"),
        "What a configuration would change: its text, and who would gain and lose which models.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("Discovery"),
        ..route(
            "/api/discover",
            Action::Discover,
            "Looks for model servers on this machine and on the nodes that the configuration names.",
        )
    },
    act(
        Verb::Post,
        "/api/discover",
        Action::AddProvider,
        ("Discovered", "Added"),
        "Adds a server that is found there to the providers of the configuration that has the `ETag` in `If-Match`.",
    ),
    Route {
        answer: Some("ChatList"),
        ..route(
            "/api/chats",
            Action::Chats,
            "Your conversations of the chat that are kept here, newest first; nobody else sees them.",
        )
    },
    Route {
        answer: Some("Chat"),
        ..route(
            "/api/chats/{id}",
            Action::Chat,
            "One of your conversations.",
        )
    },
    Route {
        open: Open::Role,
        ..act(
            Verb::Put,
            "/api/chats/{id}",
            Action::KeepChat,
            ("KeptChat", "ChatId"),
            "Keeps one of your conversations, where the configuration has them kept here.",
        )
    },
    Route {
        verb: Verb::Delete,
        answer: Some("ChatId"),
        ..route(
            "/api/chats/{id}",
            Action::DeleteChat,
            "Deletes one of your conversations; not the records of its requests.",
        )
    },
    Route {
        open: Open::Admin,
        parameters: AUDIT,
        answer: Some("AuditPage"),
        csv: true,
        ..route(
            "/api/audit",
            Action::Audit,
            "What admins did and looked at, and who was refused, newest first.",
        )
    },
    route(
        "/metrics",
        Action::Metrics,
        "Counters for Prometheus; takes a grant with `read_metrics`.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("ExporterList"),
        ..route(
            "/api/exporters",
            Action::Exporters,
            "How exporters do: what waits, what arrived last, and what failed.",
        )
    },
    route(
        "/aperture/openapi.json",
        Action::ApertureOpenApi,
        "The routes of Aperture's own API, in OpenAPI 3.1.",
    ),
    route(
        "/api/openapi.json",
        Action::OpenApi,
        "This description, in OpenAPI 3.1.",
    ),
];
