//! The section `providers`.

use super::Kind::{Flag, Integer, List, Number, Object, Text, Word};
use super::keys::{CA, TEXTS};
use super::{Key, key};

pub(super) const PROVIDER: &[Key] = &[
    key(
        "baseurl",
        Text,
        "URL in front of every path. With or without `/v1` at its end is the same. Other known forms are used as they are; see [ROUTING.md](ROUTING.md#base-urls).",
    )
    .required()
    .example(r#""http://gpu:8080/v1""#),
    key(
        "path_version",
        Text,
        "The version segment between `baseurl` and each path, such as `v1`; empty for none. Without it, the form of `baseurl` decides.",
    )
    .example(r#""""#),
    key(
        "stream_options",
        Flag,
        "Whether `stream_options` is added to requests for streams, which asks for their usage. Without it, it is added until the provider refuses it.",
    ),
    key("models", TEXTS, "Models as the provider names them.").required(),
    key(
        "apikey",
        Text,
        "Credential. Better a reference than the key itself: `${NAME}`, `${file:/path}`.",
    )
    .default(r#""""#),
    key(
        "authorization",
        Word(&[
            "bearer",
            "x-api-key",
            "x-goog-api-key",
            "hec",
            "cf-aig-authorization",
            "aws-sigv4",
            "",
        ]),
        "The header that carries it, or how requests are signed with it.",
    )
    .default(r#""bearer""#),
    key(
        "auth_mode",
        Word(&["override", "passthrough", "none", ""]),
        "Whose credential goes to the provider: the configured one, the caller's (else the configured one), or none.",
    )
    .default(r#""override""#),
    key(
        "compatibility",
        Object(COMPATIBILITY),
        "Formats that it speaks; see [FORMATS.md](FORMATS.md). One that turns something on and does not mention `openai_chat` turns that off.",
    ),
    key("name", Text, "Name for people.").default(r#""""#),
    key("description", Text, "Free text.").default(r#""""#),
    CA,
    key("preference", Integer(i64::MIN, i64::MAX), "Higher wins among several for one model.").default("0"),
    key("disabled", Flag, "Kept, but not used.").default("false"),
    key(
        "add_headers",
        TEXTS,
        "Headers for every request, as `\"Name: value\"`.",
    )
    .default("[]")
    .example(r#"["X-Team: platform"]"#),
    key(
        "pass_headers",
        TEXTS,
        "Headers that pass in either direction besides those in [ALLOWED.md](ALLOWED.md). Credentials, identities and headers that Iris sets never do.",
    )
    .default("[]")
    .example(r#"["X-Tenant"]"#),
    key(
        "pass_query",
        TEXTS,
        "Query parameters that pass besides those in [ALLOWED.md](ALLOWED.md).",
    )
    .default("[]")
    .example(r#"["region"]"#),
    key(
        "pass_keys",
        TEXTS,
        "Top-level keys of requests that are allowed though Iris refuses them, or though a guardrail doesn't know them; see [ALLOWED.md](ALLOWED.md).",
    )
    .default("[]")
    .example(r#"["provider"]"#),
    key(
        "network",
        Word(&["auto", "tailnet", "host"]),
        "Which network it is reached over. `auto`: the tailnet for its addresses and names, else the host's.",
    )
    .default(r#""auto""#),
    key(
        "proxy",
        Text,
        "An HTTP proxy on the way to it, such as `http://user:password@proxy:3128`, or `none`. Without it, `HTTPS_PROXY` and its like count for public providers; see [ROUTING.md](ROUTING.md#proxies).",
    )
    .default(r#""""#),
    key("tailnet", Flag, "An older way to write `\"network\": \"tailnet\"`.").default("false"),
    key("project", Text, "Google's project, where no service account tells it."),
    key("region", Text, "The cloud's region, where the URL does not tell it."),
    key("upstream", Text, "Kind of the server, for listings.").default(r#""""#),
    key(
        "cost_basis",
        Word(&[
            "anthropic",
            "azure",
            "azure-eu",
            "bedrock",
            "bedrock-ap",
            "bedrock-eu",
            "bedrock-us",
            "google",
            "openai",
            "openrouter",
            "vercel",
            "vertex",
            "",
        ]),
        "Whose price list its models are priced by; without it, it is inferred. See [PRICING.md](PRICING.md).",
    ),
    key(
        "model_cost_map",
        List(&Object(COST_NAME)),
        "Names under which models are priced; the first that matches counts.",
    )
    .default("[]"),
];

const COMPATIBILITY: &[Key] = &[
    key(
        "openai_chat",
        Flag,
        "OpenAI chat completions and their companions.",
    )
    .default("true"),
    key("openai_responses", Flag, "OpenAI responses.").default("false"),
    key(
        "openai_responses_websocket",
        Flag,
        "The same over a WebSocket.",
    )
    .default("false"),
    key("anthropic_messages", Flag, "Anthropic messages.").default("false"),
    key("gemini_generate_content", Flag, "Gemini's developer API.").default("false"),
    key("bedrock_model_invoke", Flag, "Bedrock `InvokeModel`.").default("false"),
    key("bedrock_converse", Flag, "Bedrock `Converse`.").default("false"),
    key("google_generate_content", Flag, "Vertex, Google's models.").default("false"),
    key("google_raw_predict", Flag, "Vertex, Anthropic's models.").default("false"),
    key(
        "experimental_gemini_cli_vertex_compat",
        Flag,
        "Short model paths of the Gemini CLI for Vertex.",
    )
    .default("false"),
];

const COST_NAME: &[Key] = &[
    key("match", Text, "Glob on a model's name.").required(),
    key(
        "as",
        Text,
        "The name to look up; empty for the model's own.",
    )
    .default(r#""""#),
    key(
        "adjustment",
        Number,
        "Factor for the price, with up to nine decimals.",
    )
    .default("1")
    .example("1.1"),
];
