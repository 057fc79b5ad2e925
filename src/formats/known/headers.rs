//! Lists of headers. A name that ends in `*` is a prefix.

use crate::wire::headers::OwnHeaders;

/// Request headers that clients of every format send, and that say nothing about whose request
/// it is: what is sent and accepted, the client's name, retries, tracing, and the conversation.
pub(super) const COMMON: &[&str] = &[
    "accept",
    "content-type",
    "idempotency-key",
    "session-id",
    "session_id",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-client-request-id",
    "x-request-id",
    "x-session-affinity",
    "x-session-id",
    "x-stainless-*",
];

/// Of OpenAI's format: its betas, the names of applications that `OpenRouter` shows, and what keeps
/// a conversation on one server at xAI and Azure.
pub(super) const OPENAI: &[&str] = &[
    "http-referer",
    "openai-beta",
    "x-grok-conv-id",
    "x-ms-client-request-id",
    "x-title",
];

/// Of Codex, which the backend of `ChatGPT` reads.
pub(super) const CODEX: &[&str] = &[
    "conversation_id",
    "originator",
    "thread-id",
    "thread_id",
    "version",
    "x-codex-*",
    "x-oai-web-search-eligible",
    "x-openai-memgen-request",
    "x-openai-subagent",
];

/// Of Anthropic's format and Claude Code.
pub(super) const ANTHROPIC: &[&str] = &[
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "x-anthropic-additional-protection",
    "x-app",
    "x-claude-code-*",
    "x-client-app",
];

/// Of Google's SDKs. `X-Goog-FieldMask` and `X-Goog-User-Project` are not among them: the first
/// leaves usage out of a response, the second chooses who pays.
pub(super) const GOOGLE: &[&str] = &["x-goog-api-client", "x-server-timeout"];

/// Of the AWS SDKs. `X-Amzn-Bedrock-PerformanceConfig-Latency` and `X-Amzn-Bedrock-Service-Tier`
/// are not among them: they choose a price.
pub(super) const BEDROCK: &[&str] = &[
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "x-amz-user-agent",
    "x-amzn-bedrock-guardrailidentifier",
    "x-amzn-bedrock-guardrailversion",
    "x-amzn-bedrock-trace",
    "x-amzn-trace-id",
];

/// A caller's own credential in OpenAI's format, Azure's included, and the account that it is for.
/// `x-openai-fedramp` is of Codex, for accounts that are served apart.
pub(super) const OWN_OPENAI: OwnHeaders = OwnHeaders {
    credentials: &["authorization", "api-key", "cf-aig-authorization"],
    account: &[
        "chatgpt-account-id",
        "openai-organization",
        "openai-project",
        "x-openai-fedramp",
    ],
};

/// In Anthropic's format.
pub(super) const OWN_ANTHROPIC: OwnHeaders = OwnHeaders {
    credentials: &["authorization", "x-api-key", "cf-aig-authorization"],
    account: &[],
};

/// In Google's.
pub(super) const OWN_GOOGLE: OwnHeaders = OwnHeaders {
    credentials: &["authorization", "x-goog-api-key", "cf-aig-authorization"],
    account: &["x-goog-user-project"],
};

/// In Bedrock's: a bearer token. A signature is for one URL, which the gateway's isn't.
pub(super) const OWN_BEDROCK: OwnHeaders = OwnHeaders {
    credentials: &["authorization", "cf-aig-authorization"],
    account: &[],
};

/// Response headers of every format: what the body is, ids to ask a provider about, limits, and
/// when to try again. `x-accel-buffering` tells a reverse proxy to pass a stream as it comes.
pub(super) const RETURNED: &[&str] = &[
    "cf-ray",
    "content-encoding",
    "content-length",
    "content-type",
    "ratelimit",
    "ratelimit-*",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-accel-buffering",
    "x-client-request-id",
    "x-ratelimit-*",
    "x-request-id",
    "x-should-retry",
];

/// Of OpenAI, Azure, and Codex. `metadata` describes vLLM's embeddings in bytes.
pub(super) const RETURNED_OPENAI: &[&str] = &[
    "apim-request-id",
    "metadata",
    "openai-model",
    "openai-processing-ms",
    "openai-version",
    "x-codex-*",
    "x-models-etag",
    "x-ms-client-request-id",
    "x-ms-region",
    "x-ms-request-id",
    "x-reasoning-included",
];

/// Of Anthropic.
pub(super) const RETURNED_ANTHROPIC: &[&str] = &["anthropic-ratelimit-*"];

/// Of Google.
pub(super) const RETURNED_GOOGLE: &[&str] = &["x-gemini-service-tier"];

/// Of Bedrock: boto3 reads the kind of an error and the id of a request from headers.
pub(super) const RETURNED_BEDROCK: &[&str] = &[
    "x-amz-id-2",
    "x-amz-request-id",
    "x-amzn-bedrock-*",
    "x-amzn-errortype",
    "x-amzn-requestid",
    "x-amzn-trace-id",
];

/// Of files.
pub(super) const RETURNED_FILE: &[&str] = &["content-disposition", "etag", "last-modified"];
