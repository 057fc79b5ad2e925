//! The sections about records: where they are kept, where they go besides, and what they cost.

use super::Kind::{Duration, Flag, Integer, List, Map, Object, Prices, Text, Word};
use super::keys::CA;
use super::{Key, key};

pub(super) const EXPORTERS: &[Key] = &[
    key("s3", Object(S3), "Records as objects in a bucket."),
    key("otlp", Object(OTLP), "Spans and metrics of OpenTelemetry."),
];

const S3: &[Key] = &[
    key("bucket_name", Text, "Bucket; turns the exporter on.").required(),
    CA,
    key("endpoint", Text, "Server; empty for AWS.").default(r#""""#),
    key("region", Text, "Region.").default(r#""us-east-1""#),
    key(
        "prefix",
        Text,
        "In front of the objects' names, without a slash at its end.",
    )
    .default(r#""""#),
    key("access_key_id", Text, "Key id.").default(r#""""#),
    key("access_secret", Text, "Key.").default(r#""""#),
    key(
        "every",
        Integer(1, 4_294_967_295),
        "Seconds between two exports.",
    )
    .default("3600"),
    key("limit", Integer(1, 10_000), "Records an export.").default("1000"),
    key(
        "format",
        Word(&["cbor", "jsonl"]),
        "How records are written.",
    )
    .default(r#""cbor""#),
];

const OTLP: &[Key] = &[
    key(
        "endpoint",
        Text,
        "Base URL of a receiver of OTLP over HTTP, such as `http://collector:4318`.",
    )
    .required()
    .example(r#""http://collector:4318""#),
    key("headers", Map("header", &Text), "Headers of each request."),
    key("traces", Flag, "Whether spans are sent.").default("true"),
    key("metrics", Flag, "Whether metrics are sent.").default("true"),
    key("every", Duration, "Between two exports.").default(r#""30s""#),
    CA,
    key("protocol", Word(&["http/json"]), "The one that is spoken.").default(r#""http/json""#),
];

pub(super) const DATABASE: &[Key] = &[
    key(
        "url",
        Text,
        "`sqlite:PATH`, where a relative path begins in the state directory, or `postgres://…`.",
    )
    .default(r#""sqlite:iris.db""#),
    key(
        "retention",
        Object(RETENTION),
        "How long what was said is kept.",
    ),
    key(
        "save_raws",
        Flag,
        "Whether a capture holds the answer as it came, besides the one put together.",
    )
    .default("false"),
    key(
        "keep_encrypted_blobs",
        Flag,
        "Whether a capture keeps what a provider has encrypted for itself.",
    )
    .default("false"),
    key(
        "headers",
        Object(HEADERS),
        "Headers by which records can be found.",
    ),
];

const RETENTION: &[Key] = &[
    key(
        "duration",
        Text,
        "From the start of a request on: `\"30d\"`, `\"720h\"`; `\"0\"` writes nothing, `\"\"` keeps for ever.",
    )
    .default(r#""""#)
    .example(r#""30d""#),
    key("require_export", Flag, "Purge only what every exporter has taken.").default("false"),
    key("purge", List(&Word(&["captures", "tools"])), "What is purged.")
        .default(r#"["captures"]"#)
        .example(r#"["tools"]"#),
];

const HEADERS: &[Key] = &[key("filterable", List(&Object(FILTERABLE)), "Which.").default("[]")];

const FILTERABLE: &[Key] = &[
    key("name", Text, "Name of the header.").required(),
    key(
        "redact_values",
        Flag,
        "Whether only its presence is recorded.",
    )
    .default("false"),
];

pub(super) const PRICE: &[Key] = &[
    key(
        "context_window_tokens",
        Integer(0, i64::MAX),
        "Tokens that the model can read.",
    ),
    key(
        "max_output_tokens",
        Integer(0, i64::MAX),
        "Tokens that it can write.",
    ),
    key(
        "variable",
        Flag,
        "Whether the price differs from request to request.",
    )
    .default("false"),
    key("modes", Object(MODES), "Prices of other ways to ask."),
];

const MODES: &[Key] = &[
    key("batch", Prices(&[]), "Prices of batches."),
    key(
        "priority",
        Prices(&[]),
        "Prices of the service tier `priority`.",
    ),
    key("flex", Prices(&[]), "Prices of the service tier `flex`."),
];
