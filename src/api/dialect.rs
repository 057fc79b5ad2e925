//! Which API's clients ask at a path, also where the gateway has no route for it: a refusal is
//! only readable to them in the shape of their API. An `error` that is a string is a number
//! without a message in one SDK and a failure to parse in another.

use http::{HeaderMap, Response};

use super::{anthropic_messages, bedrock_error, google_error, openai_error, plain};
use crate::wire::{Body, Rejection};

/// The API that a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's, and those that copy it.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Gemini's and Vertex's.
    Google,
    /// Bedrock's.
    Bedrock,
    /// Ollama's own, whose clients read a string.
    Ollama,
    /// The gateway's own routes and pages.
    Gateway,
}

/// First segments of Google's paths, apart from the versions that are also OpenAI's.
const GOOGLE: [&str; 7] = [
    "v1beta", "v1alpha", "v1beta1", "upload", "projects", "vertex", "ws",
];
/// First segments of OpenAI's paths, for clients whose base URL has no version.
const OPENAI: [&str; 25] = [
    "v1",
    "v2",
    "v3",
    "openai",
    "codex",
    "chat",
    "completions",
    "responses",
    "embeddings",
    "images",
    "audio",
    "moderations",
    "rerank",
    "models",
    "files",
    "uploads",
    "batches",
    "assistants",
    "threads",
    "vector_stores",
    "fine_tuning",
    "conversations",
    "realtime",
    "videos",
    "engines",
];
/// What follows `/api/` in Ollama's API.
const OLLAMA: [&str; 14] = [
    "chat",
    "generate",
    "tags",
    "show",
    "embed",
    "embeddings",
    "ps",
    "pull",
    "push",
    "copy",
    "create",
    "delete",
    "blobs",
    "version",
];

impl Dialect {
    /// The API of a request for `path`. Where several have the path, the headers that only one
    /// of their SDKs sends decide.
    #[must_use]
    pub fn of(path: &str, headers: &HeaderMap) -> Self {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let first = segments.next().unwrap_or_default();
        let second = segments.next().unwrap_or_default();
        let is_shared = matches!(first, "v1" | "v2" | "models" | "files");
        match (first, second) {
            ("bedrock" | "model" | "guardrail" | "async-invoke", _) => Self::Bedrock,
            ("api", route) if OLLAMA.contains(&route) => Self::Ollama,
            ("api", "v1" | "openai") | ("v1beta", "openai") => Self::OpenAi,
            ("anthropic" | "messages", _) | ("v1", "messages" | "complete" | "skills") => {
                Self::Anthropic
            }
            ("v1", "projects" | "publishers") => Self::Google,
            _ if GOOGLE.contains(&first) => Self::Google,
            // `models/MODEL:generateContent`
            _ if is_shared && is_method(path) => Self::Google,
            _ if is_shared => Self::by_headers(headers).unwrap_or(Self::OpenAi),
            _ if OPENAI.contains(&first) => Self::OpenAi,
            ("api" | "aperture" | "ui" | "healthz" | "readyz" | "metrics" | "", _) => Self::Gateway,
            _ => Self::by_headers(headers).unwrap_or(Self::Gateway),
        }
    }

    /// The API whose SDKs send these headers, if they tell.
    #[must_use]
    pub fn by_headers(headers: &HeaderMap) -> Option<Self> {
        let has = |name: &str| headers.contains_key(name);
        // Who names a version of an API means it, whatever the key is sent in.
        if has("anthropic-version") || has("anthropic-beta") {
            Some(Self::Anthropic)
        } else if has("x-goog-api-key") || has("x-goog-api-client") {
            Some(Self::Google)
        } else if has("x-api-key") && !has("authorization") {
            // Anthropic's way to send a key; OpenAI's is a bearer token.
            Some(Self::Anthropic)
        } else {
            None
        }
    }

    /// A refusal in the shape of this API.
    #[must_use]
    pub fn refuse(self, rejection: &Rejection) -> Response<Body> {
        match self {
            Self::OpenAi => openai_error::refuse(rejection),
            Self::Anthropic => anthropic_messages::refuse(rejection),
            Self::Google => google_error::refuse(rejection),
            Self::Bedrock => bedrock_error::refuse(rejection),
            Self::Ollama | Self::Gateway => plain(rejection),
        }
    }

    /// What a client of this API has to be configured with, at a gateway that is reached as
    /// `origin`; `None` for the gateway's own routes.
    #[must_use]
    pub fn advice(self, origin: &str) -> Option<String> {
        match self {
            Self::OpenAi => Some(format!("set the client's base URL to {origin}/v1")),
            Self::Anthropic | Self::Google => {
                Some(format!("set the client's base URL to {origin}"))
            }
            Self::Bedrock => Some(format!("set the client's endpoint URL to {origin}/bedrock")),
            Self::Ollama => Some(format!(
                "Ollama's own API is not served here: use an OpenAI client with the base URL \
                 {origin}/v1"
            )),
            Self::Gateway => None,
        }
    }
}

/// Whether a path ends in a method of a model, as Google's do. Ollama's names have a colon too,
/// before a tag.
#[must_use]
pub fn is_method(path: &str) -> bool {
    let Some((_, method)) = path.rsplit_once(':') else {
        return false;
    };
    super::METHODS.contains(&method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_belongs_to_the_api_whose_clients_ask_there() {
        for (path, header, expected) in [
            ("/v1/files", "", Dialect::OpenAi),
            ("/v1/nothing/here", "", Dialect::OpenAi),
            (
                "/openai/deployments/m/chat/completions",
                "",
                Dialect::OpenAi,
            ),
            ("/v1beta/openai/models", "", Dialect::OpenAi),
            ("/codex/responses", "", Dialect::OpenAi),
            ("/chat/completion", "", Dialect::OpenAi),
            ("/api/v1/chat/completions", "", Dialect::OpenAi),
            ("/v1/files", "anthropic-version", Dialect::Anthropic),
            ("/v1/models/m", "x-api-key", Dialect::Anthropic),
            ("/v1/messages/batches", "", Dialect::Anthropic),
            ("/v1/messages/batches", "x-goog-api-key", Dialect::Anthropic),
            ("/anthropic/v1/messages", "", Dialect::Anthropic),
            ("/v1/models/m", "x-goog-api-key", Dialect::Google),
            ("/v1/models", "x-goog-api-client", Dialect::Google),
            ("/v1/models/m:generateContent", "", Dialect::Google),
            ("/models/m:countTokens", "", Dialect::Google),
            ("/v1/models/tiny:latest", "", Dialect::OpenAi),
            ("/v1beta/files", "", Dialect::Google),
            (
                "/v1/projects/p/locations/l/endpoints/e",
                "",
                Dialect::Google,
            ),
            ("/v1beta1/publishers/google/models", "", Dialect::Google),
            ("/bedrock/guardrail/g/version/1/apply", "", Dialect::Bedrock),
            ("/model/m/invoke-async", "", Dialect::Bedrock),
            ("/api/chat", "", Dialect::Ollama),
            ("/api/tags", "", Dialect::Ollama),
            ("/api/chats", "", Dialect::Gateway),
            ("/api/nothing", "anthropic-version", Dialect::Gateway),
            ("/aperture/config", "", Dialect::Gateway),
            ("/", "", Dialect::Gateway),
            ("/nowhere", "", Dialect::Gateway),
            ("/nowhere", "anthropic-version", Dialect::Anthropic),
        ] {
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                let name = http::HeaderName::from_static(header);
                headers.insert(name, "x".parse().unwrap());
            }
            assert_eq!(Dialect::of(path, &headers), expected, "{path} {header}");
        }
    }

    #[test]
    fn a_bearer_token_beside_a_key_is_openais_way() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "k".parse().unwrap());
        headers.insert("authorization", "Bearer k".parse().unwrap());
        assert_eq!(Dialect::of("/v1/models", &headers), Dialect::OpenAi);
    }

    #[test]
    fn every_formats_own_path_has_the_shape_of_its_refusals() {
        // Otherwise a refusal at the gate would look different from one behind it.
        for (path, expected) in [
            ("/v1/chat/completions", Dialect::OpenAi),
            ("/chat/completions", Dialect::OpenAi),
            ("/v1/responses", Dialect::OpenAi),
            ("/v2/rerank", Dialect::OpenAi),
            ("/v1/messages", Dialect::Anthropic),
            ("/messages/count_tokens", Dialect::Anthropic),
            ("/v1/models/m:generateContent", Dialect::Google),
            ("/v1beta/tunedModels/m:generateContent", Dialect::Google),
            (
                "/projects/p/locations/l/publishers/google/models/m:predict",
                Dialect::Google,
            ),
            ("/bedrock/model/m/converse", Dialect::Bedrock),
            ("/model/m/count-tokens", Dialect::Bedrock),
        ] {
            let found = Dialect::of(path, &HeaderMap::new());
            assert_eq!(found, expected, "{path}");
            let known = crate::api::ALL
                .iter()
                .find(|api| api.recognises(&http::Method::POST, path))
                .unwrap();
            let why = Rejection::new(http::StatusCode::FORBIDDEN, "code", "why");
            let shapes = [known.refuse(&why), found.refuse(&why)];
            let [one, other] = shapes.map(|response| response.headers().clone());
            assert_eq!(one, other, "{path}");
        }
    }
}
