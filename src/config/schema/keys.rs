//! The document, and the sections that are about the gateway itself.

use super::Kind::{
    Any, Capabilities, Duration, Flag, Integer, List, Map, Object, Port, Prices, Text, Word,
};
use super::access::{CAPABILITY, LEGACY_GRANT};
use super::providers::PROVIDER;
use super::records::{DATABASE, EXPORTERS, PRICE};
use super::{Key, Kind, key};

/// A list of texts.
pub(super) const TEXTS: Kind = List(&Text);

/// The whole document, in the order of the reference.
pub(super) const DOCUMENT: &[Key] = &[
    key(
        "$schema",
        Text,
        "Where an editor finds the JSON Schema. Iris itself ignores it.",
    ),
    key(
        "tailnet",
        Object(TAILNET),
        "How the gateway is on a tailnet.",
    ),
    key("listen", Object(LISTEN), "Where it listens."),
    key(
        "providers",
        Map("id", &Object(PROVIDER)),
        "Who serves models. The id is the first part of `provider/model`, and holds no `/`, `*` or blank.",
    ),
    key(
        "grants",
        List(&Object(GRANT)),
        "Who may do what; see [GRANTS.md](GRANTS.md). Whom no grant names gets nothing.",
    )
    .default("[]"),
    key(
        "temp_grants",
        List(&Object(LEGACY_GRANT)),
        "Grants in Aperture's old form. They mean the same as today's.",
    )
    .default("[]"),
    key(
        "groups",
        Map("group:name", &TEXTS),
        "Groups of your own: logins and tags. Groups of the tailnet policy need nothing here.",
    ),
    key(
        "access",
        Object(ACCESS),
        "What being an admin does not imply; see [MANAGEMENT.md](MANAGEMENT.md).",
    ),
    key(
        "model_aliases",
        Object(ALIASES),
        "Other names for models; see [ROUTING.md](ROUTING.md).",
    ),
    key(
        "default_models",
        Object(DEFAULT_MODELS),
        "Models of requests that name none, where OpenAI's API allows that. Names as in a request.",
    ),
    key(
        "routing",
        Object(ROUTING),
        "The way among providers that could all answer; see [ROUTING.md](ROUTING.md).",
    ),
    key(
        "quotas",
        Map("bucket", &Object(QUOTA)),
        "Budgets and limits; see [BUDGETS.md](BUDGETS.md). `<user>` or `<node>` behind a colon gives each their own.",
    ),
    key(
        "guards",
        Map("name", &Any(&[Object(PATTERNS), Object(TOOLS)])),
        "What is looked for in requests without asking anybody; see [GUARDRAILS.md](GUARDRAILS.md).",
    ),
    key(
        "hooks",
        Map("name", &Object(HOOK)),
        "Webhooks that are asked before a request or told after it; see [GUARDRAILS.md](GUARDRAILS.md).",
    ),
    key(
        "exporters",
        Object(EXPORTERS),
        "Where records go besides; see [EXPORTS.md](EXPORTS.md).",
    ),
    key(
        "database",
        Object(DATABASE),
        "Where records are kept, and for how long; see [LEDGER.md](LEDGER.md).",
    ),
    key(
        "prices",
        Map("model", &Prices(PRICE)),
        "Prices that win over the built-in ones, by `model` or `provider/model`; see [PRICING.md](PRICING.md).",
    ),
    key(
        "auto_cost_basis",
        Flag,
        "Whether a provider's price list is inferred from its URL and formats.",
    )
    .default("true"),
    key(
        "chat",
        Object(CHAT),
        "How the chat is; see [DASHBOARD.md](DASHBOARD.md).",
    ),
    key(
        "chat_models",
        Any(&[
            List(&Any(&[Text, Object(CHAT_MODEL)])),
            Map("model", &Any(&[Text, Object(CHAT_LABEL)])),
        ]),
        "The models that the chat offers, in this order, and what it calls them; without it, all that one may use.",
    ),
    key(
        "discover",
        Object(DISCOVER),
        "Where model servers are looked for when an admin asks; see [DASHBOARD.md](DASHBOARD.md).",
    ),
    key("limits", Object(LIMITS), "Bounds in bytes and connections."),
    key(
        "timeouts",
        Object(TIMEOUTS),
        "Time limits; `\"0\"` turns one off.",
    ),
    key("mcp", Object(MCP), "MCP servers in Aperture's old form.").idle(),
    key("connectors", Object(CONNECTORS), "Connectors.").idle(),
    key(
        "flags",
        Map("flag", &Object(FLAG)),
        "Feature flags of Aperture.",
    )
    .idle(),
];

const TAILNET: &[Key] = &[
    key(
        "mode",
        Word(&["embedded", "host", "off"]),
        "`embedded`: a node of its own. `host`: through this machine's `tailscaled`. `off`: loopback only.",
    )
    .default(r#""embedded""#),
    key(
        "hostname",
        Text,
        "Name of the node: letters, digits and `-`, which doesn't begin or end it.",
    )
    .default(r#""ai""#),
    key(
        "auth_key",
        Text,
        "Auth key, or OAuth client secret (which needs `tags`), used when the node joins. Without one, the address to sign in at is printed.",
    )
    .default(r#""""#),
    key("control_url", Text, "A Headscale server; empty for Tailscale.").default(r#""""#),
    key("ephemeral", Flag, "Whether the node is removed when it stops.").default("false"),
    key("tags", TEXTS, "Tags to ask for.")
        .default("[]")
        .example(r#"["tag:ai"]"#),
    key("service", Text, "Tailscale Service to answer for.").default(r#""""#).idle(),
    key(
        "capabilities",
        TEXTS,
        "Names of app capabilities that count as grants, in this file and in the tailnet policy.",
    )
    .default(r#"["tailscale.com/cap/aperture"]"#),
    key("socket", Text, "Socket of `tailscaled` in `host` mode; empty for the usual place.").default(r#""""#),
    key(
        "stale_after",
        Duration,
        "How long the control server may not be heard before callers on the tailnet are refused; `0` for ever. See [GRANTS.md](GRANTS.md#when-the-control-server-is-away).",
    )
    .default(r#""0""#)
    .example(r#""15m""#),
    key(
        "stale_refuses",
        Word(&["all", "policy"]),
        "Who is refused then. `all`: every caller on the tailnet. `policy`: only what the tailnet policy grants.",
    )
    .default(r#""all""#),
];

const LISTEN: &[Key] = &[
    key("http", Port, "Port for HTTP on the tailnet; `\"\"` for none.").default(r#"":80""#),
    key(
        "https",
        Port,
        "Port for HTTPS on the tailnet, served where the tailnet has certificates; `\"\"` for none.",
    )
    .default(r#"":443""#),
    key(
        "loopback",
        Text,
        "Address for callers on this machine, such as `127.0.0.1:8088`; they are `(loopback)` in grants. Empty for none.",
    )
    .default(r#""""#)
    .example(r#""127.0.0.1:8088""#),
    key(
        "names",
        TEXTS,
        "More names under which requests may come, besides the node's own, and URLs of reverse proxies in front, such as `https://ai.example.com`; see [REVERSE-PROXY.md](REVERSE-PROXY.md).",
    )
    .default("[]"),
];

const GRANT: &[Key] = &[
    key(
        "src",
        TEXTS,
        "Logins, `group:…`, `tag:…`, `*` for every user and node of the tailnet, `(loopback)` for this machine.",
    )
    .required(),
    key(
        "app",
        Capabilities(CAPABILITY),
        "Capability objects, by the name of the capability.",
    )
    .required(),
];

const ACCESS: &[Key] = &[
    key(
        "admins_read_captures",
        Flag,
        "Whether an admin may read what others said without a grant with `read_captures`.",
    )
    .default("true"),
    key(
        "references",
        TEXTS,
        "References such as `OPENAI_KEY` or `file:/run/secrets/*` that a save through the API may add.",
    )
    .default("[]"),
];

const STRATEGIES: &[&str] = &[
    "first",
    "round_robin",
    "weighted",
    "least_busy",
    "failover",
    "",
];

const ALIASES: &[Key] = &[
    key(
        "strategy",
        Word(STRATEGIES),
        "How an alias picks among its destinations, where it does not say.",
    )
    .default(r#""first""#),
    key("models", Map("alias", &Object(ALIAS)), "Aliases by name.").required(),
];

const DEFAULT_MODELS: &[Key] = &[
    key("images", Text, "Of `/v1/images/…`.").example(r#""openai/gpt-image-1""#),
    key("moderations", Text, "Of `/v1/moderations`."),
    key("speech", Text, "Of `/v1/audio/speech`."),
    key(
        "transcriptions",
        Text,
        "Of `/v1/audio/transcriptions` and `/v1/audio/translations`.",
    ),
];

const ALIAS: &[Key] = &[
    key(
        "dst",
        List(&Any(&[Text, Object(DESTINATION)])),
        "What it stands for, as `provider/model`, in order.",
    )
    .required(),
    key(
        "strategy",
        Word(STRATEGIES),
        "How one is picked; without it as `model_aliases.strategy` says.",
    ),
];

const DESTINATION: &[Key] = &[
    key("model", Text, "As `provider/model`.").required(),
    key(
        "weight",
        Integer(0, 4_294_967_295),
        "Its share with the strategy `weighted`.",
    )
    .default("1"),
];

const ROUTING: &[Key] = &[
    key(
        "equal",
        Word(&["affinity", "least_busy", "round_robin", "first"]),
        "Among providers of equal preference. `affinity` keeps a conversation with one, for its cache.",
    )
    .default(r#""affinity""#),
    key("failover", Flag, "Whether another is asked when one fails before anything has reached the caller.")
        .default("true"),
    key("attempts", Integer(1, 10), "How many are asked for one request at most.").default("3"),
    key(
        "eject_after",
        Integer(0, 1_000),
        "Failures in a row after which a provider, or one of its models, is paused; 0 for never.",
    )
    .default("5"),
    key("eject_for", Duration, "For how long, the first time.").default(r#""10s""#),
    key("eject_at_most", Duration, "For how long at most.").default(r#""5m""#),
];

const QUOTA: &[Key] = &[
    key(
        "capacity",
        Text,
        "The most that a bucket holds: `\"$5.00\"`, `\"60 requests\"`, `\"100000 tokens\"` or `\"4 parallel\"`.",
    )
    .required()
    .example(r#""60 requests""#),
    key("rate", Text, "What flows in, such as `\"$5.00/day\"`; per `min`, `hour`, `day`, `week` or `month`.")
        .default(r#""""#)
        .example(r#""60 requests/min""#),
    key("on_exceed", Word(&["reject", ""]), "What happens when it is empty.").default(r#""reject""#),
    key("warn_below", Text, "A share (`\"20%\"`) or an amount below which answers carry a warning.")
        .example(r#""20%""#),
    key(
        "unpriced",
        Word(&["allow", "reject", ""]),
        "What happens to models without a known price.",
    )
    .default(r#""allow""#),
];

const ACTIONS: &[&str] = &["block", "redact", "strip", "report"];

const PATTERNS: &[Key] = &[
    key(
        "kind",
        Word(&["patterns"]),
        "`patterns` looks in all that is said; `tools` at the tools that are offered.",
    )
    .required(),
    key(
        "action",
        Word(ACTIONS),
        "What is done about it; `strip` is `redact`.",
    )
    .default(r#""block""#),
    key(
        "detect",
        TEXTS,
        "Names of what is known, such as `private_key` or `iban`.",
    )
    .default("[]"),
    key("patterns", TEXTS, "Regular expressions.").default("[]"),
];

const TOOLS: &[Key] = &[
    key(
        "kind",
        Word(&["tools"]),
        "`tools` looks at the tools that the client offers to the model.",
    )
    .required(),
    key(
        "action",
        Word(ACTIONS),
        "What is done about it; `strip` is `redact`.",
    )
    .default(r#""block""#),
    key(
        "allow",
        TEXTS,
        "Globs; a tool that none of them names is found.",
    )
    .default("[]"),
];

/// Of a server that is reached over TLS.
pub(super) const CA: Key = key(
    "ca",
    Text,
    "Certificates, as PEM, that the server is trusted by instead of this machine's store: of its authority, or exactly its own. The file is read again when it changes.",
)
.example(r#""${file:/etc/iris/ca.pem}""#);

const HOOK: &[Key] = &[
    key("url", Text, "Where to post.")
        .required()
        .example(r#""http://judge:8080/""#),
    key("apikey", Text, "Credential.").default(r#""""#),
    key(
        "authorization",
        Word(&[
            "bearer",
            "x-api-key",
            "x-goog-api-key",
            "hec",
            "cf-aig-authorization",
            "",
        ]),
        "The header that carries it.",
    )
    .default(r#""bearer""#),
    key(
        "timeout",
        Duration,
        "How long it may take; `\"0\"` leaves ten minutes.",
    )
    .default(r#""5s""#),
    key("disabled", Flag, "Kept, but not used.").default("false"),
    key(
        "fail_policy",
        Word(&["fail_open", "fail_closed"]),
        "Whether the request goes on when the hook has failed.",
    )
    .default(r#""fail_open""#),
    key(
        "preference",
        Integer(i64::MIN, i64::MAX),
        "Higher is asked first.",
    )
    .default("0"),
    CA,
];

const CHAT: &[Key] = &[key(
    "history",
    Word(&["browser", "ledger"]),
    "Where conversations are kept: in the browser, or beside the records, for their owner alone.",
)
.default(r#""browser""#)];

const DISCOVER: &[Key] = &[key(
    "hosts",
    TEXTS,
    "Names or addresses, besides this machine and the nodes that providers name; 32 at most.",
)
.default("[]")];

const CHAT_MODEL: &[Key] = &[
    key("model", Text, "As `model` or `provider/model`."),
    key("id", Text, "The same."),
    key("name", Text, "What people are shown instead."),
    key("label", Text, "The same."),
];

const CHAT_LABEL: &[Key] = &[
    key("name", Text, "What people are shown instead."),
    key("label", Text, "The same."),
];

const LIMITS: &[Key] = &[
    key(
        "request_body",
        Integer(1, 1 << 32),
        "Longest request body, in bytes.",
    )
    .default("67108864"),
    key(
        "request_head",
        Integer(8 << 10, 16 << 20),
        "Longest request head, in bytes.",
    )
    .default("65536"),
    key(
        "connections",
        Integer(1, 1 << 20),
        "Connections open at once, if the limit on open files suffices. A change takes a restart.",
    )
    .default("16384"),
    key(
        "capture",
        Integer(0, 64 << 20),
        "What is kept of each body, in bytes.",
    )
    .default("4194304"),
    key(
        "memory",
        Integer(16 << 20, 1 << 40),
        "What all bodies hold at once, in bytes: a request counts as three times its length. Beyond it, requests wait. Without it, half of the memory that the container or the machine has; see [CONTAINERS.md](CONTAINERS.md#memory).",
    )
    .example("536870912"),
];

const TIMEOUTS: &[Key] = &[
    key(
        "connect",
        Duration,
        "For a connection to a provider. A connection on which a provider acknowledges nothing for about as long counts as dead.",
    )
    .default(r#""20s""#),
    key(
        "head",
        Duration,
        "For a request's head, and for an idle connection of HTTP/2.",
    )
    .default(r#""1m""#),
    key(
        "body",
        Duration,
        "Between two pieces of a request's body, which has to come at 1 KiB a second at least.",
    )
    .default(r#""30s""#),
    key(
        "first_byte",
        Duration,
        "From a request to the first byte of its answer.",
    )
    .default(r#""10m""#),
    key(
        "idle",
        Duration,
        "Between two pieces of an answer, and for its caller to take one.",
    )
    .default(r#""5m""#),
    key("total", Duration, "For a whole answer.").default(r#""1h""#),
    key(
        "shutdown",
        Duration,
        "For running requests when the process stops.",
    )
    .default(r#""30s""#),
];

const MCP: &[Key] = &[
    key("servers", Map("id", &Object(MCP_SERVER)), "Servers by id."),
    key(
        "accept_registrations",
        Flag,
        "Whether servers may register themselves.",
    )
    .default("false"),
];

const MCP_SERVER: &[Key] = &[key("url", Text, "Where it is.").required()];

const CONNECTORS: &[Key] = &[key(
    "servers",
    Map("id", &Object(CONNECTOR)),
    "Connectors by id.",
)];

const CONNECTOR: &[Key] = &[
    key("protocol", Word(&["mcp", "http"]), "What it speaks.").required(),
    key("url", Text, "Where it is.").required(),
    key("provider", Text, "Registry name.").default(r#""Custom""#),
    key("category", Text, "For listings.").default(r#""""#),
    key("description", Text, "For listings.").default(r#""""#),
    key("labels", TEXTS, "For grants by label.").default("[]"),
    key(
        "auth",
        Map("key", &Any(&[Text, Flag, TEXTS])),
        "Credential; `type` says of which kind.",
    ),
];

const FLAG: &[Key] = &[key("value", Flag, "Whether it is on.").required()];
