//! Which API's clients ask at a path, also where the gateway has no route for it: a refusal is
//! only readable to them in the shape of their API. An `error` that is a string is a number
//! without a message in one SDK and a failure to parse in another.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

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

/// Methods of a model that Gemini's API has.
pub(super) const METHODS: [&str; 5] = [
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
];

/// Whether a segment says whose API follows, or which version of it.
fn is_front(segment: &str) -> bool {
    is_version(segment)
        || matches!(
            segment,
            "openai" | "anthropic" | "gemini" | "google" | "vertex" | "bedrock"
        )
}

fn is_version(segment: &str) -> bool {
    matches!(segment, "v1" | "v2" | "v1beta" | "v1alpha" | "v1beta1")
}

impl Dialect {
    /// The API of a request for `path`, in whatever way it is written. Where several have the path,
    /// the headers that only one of their SDKs sends decide.
    #[must_use]
    pub fn of(path: &str, headers: &HeaderMap) -> Self {
        let path = percent_decode_str(path).decode_utf8_lossy();
        let lower = path.to_ascii_lowercase();
        let segments: Vec<&str> = lower
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        Self::of_segments(&segments, is_method(&path), headers)
    }

    fn of_segments(segments: &[&str], is_method: bool, headers: &HeaderMap) -> Self {
        let first = segments.first().copied().unwrap_or_default();
        let second = segments.get(1).copied().unwrap_or_default();
        let is_shared = matches!(first, "v1" | "v2" | "models" | "files");
        match (first, second) {
            ("bedrock" | "model" | "guardrail" | "async-invoke", _) => Self::Bedrock,
            (
                "api",
                "blobs" | "chat" | "copy" | "create" | "delete" | "embed" | "embeddings"
                | "experimental" | "generate" | "me" | "ps" | "pull" | "push" | "show" | "signout"
                | "tags" | "user" | "version",
            ) => Self::Ollama,
            // A name in front of another API's path.
            ("api", front) if is_front(front) => {
                Self::of_segments(&segments[1..], is_method, headers)
            }
            ("v1beta", "openai") => Self::OpenAi,
            ("anthropic" | "messages", _) | ("v1", "messages" | "complete" | "skills") => {
                Self::Anthropic
            }
            // The versions apart that are also OpenAI's.
            ("v1", "projects" | "publishers")
            | (
                "v1beta" | "v1alpha" | "v1beta1" | "upload" | "projects" | "publishers" | "vertex"
                | "gemini" | "google" | "tunedmodels" | "ws",
                _,
            ) => Self::Google,
            // `models/MODEL:generateContent`
            _ if is_shared && is_method => Self::Google,
            _ if is_shared => Self::by_headers(headers).unwrap_or(Self::OpenAi),
            // Clients whose base URL has no version.
            (
                "v3" | "openai" | "codex" | "chat" | "completions" | "responses" | "embeddings"
                | "images" | "audio" | "moderations" | "rerank" | "uploads" | "batches"
                | "assistants" | "threads" | "vector_stores" | "fine_tuning" | "conversations"
                | "realtime" | "videos" | "engines",
                _,
            ) => Self::OpenAi,
            ("api" | "aperture" | "ui" | "admin" | "healthz" | "readyz" | "metrics" | "", _) => {
                Self::Gateway
            }
            _ => Self::by_headers(headers).unwrap_or_else(|| {
                let mut rest = segments.iter().skip(1);
                match rest.position(|segment| is_front(segment)) {
                    Some(nth) => Self::of_segments(&segments[nth + 1..], is_method, headers),
                    None => Self::Gateway,
                }
            }),
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

    /// Whether a path begins as that of a client does whose base URL is set as it is meant to be.
    #[must_use]
    pub fn has_right_base(self, path: &str) -> bool {
        let mut segments = path.split('/').skip(1);
        let (first, second) = (segments.next(), segments.next().unwrap_or_default());
        let first = first.unwrap_or_default();
        let is_base = match self {
            Self::OpenAi => matches!(first, "v1" | "v2"),
            Self::Anthropic => first == "v1",
            Self::Google => first != "v2" && is_version(first),
            Self::Bedrock => first == "bedrock",
            Self::Ollama | Self::Gateway => false,
        };
        is_base && !second.is_empty() && !is_front(second)
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
                "models are managed at their providers, not through this gateway: {origin}/api/tags lists \
                 those that you can use, and an admin can add more"
            )),
            Self::Gateway => None,
        }
    }
}

/// Whether a path ends in a method of a model, as Google's do. Ollama's names have a colon too,
/// before a tag.
#[must_use]
pub fn is_method(path: &str) -> bool {
    path.rsplit_once(':')
        .is_some_and(|(_, method)| METHODS.contains(&method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Rejection;

    /// An API, a path, and a header of the request.
    const PATHS: &str = "
    OpenAi /v1/files
    OpenAi /v1/nothing/here
    OpenAi /openai/deployments/m/chat/completions
    OpenAi /v1beta/openai/models
    OpenAi /codex/responses
    OpenAi /chat/completion
    OpenAi /api/v1/chat/completions
    Anthropic /v1/files anthropic-version
    Anthropic /v1/models/m x-api-key
    Anthropic /v1/messages/batches
    Anthropic /v1/messages/batches x-goog-api-key
    Anthropic /anthropic/v1/messages
    Google /v1/models/m x-goog-api-key
    Google /v1/models x-goog-api-client
    Google /v1/models/m:generateContent
    Google /models/m:countTokens
    OpenAi /v1/models/tiny:latest
    Google /v1beta/files
    Google /v1/projects/p/locations/l/endpoints/e
    Google /v1beta1/publishers/google/models
    Bedrock /bedrock/guardrail/g/version/1/apply
    Bedrock /model/m/invoke-async
    Ollama /api/chat
    Ollama /api/tags
    Gateway /api/chats
    Gateway /api/nothing anthropic-version
    Gateway /aperture/config
    Gateway /
    Gateway /nowhere
    Google /gemini/foo
    Google /vertex/foo
    Google /google/foo
    OpenAi /V1/chat/completions
    Anthropic /V1/Messages
    OpenAi /v1%2Fchat/completions
    Anthropic /%76%31/messages
    OpenAi //v1//files
    OpenAi /proxy/v1/chat/completions
    Anthropic /a/b/anthropic/v1/messages
    Google /proxy/v1beta/models/m:generate
    Anthropic /api/anthropic/v1/messages
    Bedrock /api/bedrock/model/m/converse
    Gateway /admin/v1/x
    Gateway /ui/v1
    Anthropic /nowhere anthropic-version
";

    #[test]
    fn each_path_belongs_to_the_api_whose_clients_ask_there() {
        for row in PATHS.trim().lines() {
            let mut words = row.split_whitespace();
            let (expected, path) = (words.next().unwrap(), words.next().unwrap());
            let mut headers = HeaderMap::new();
            if let Some(header) = words.next() {
                let name = http::HeaderName::from_static(header);
                headers.insert(name, "x".parse().unwrap());
            }
            let found = Dialect::of(path, &headers);
            assert_eq!(format!("{found:?}"), expected, "{row}");
        }
    }

    #[test]
    fn a_base_url_is_right_or_it_is_not() {
        for (dialect, path, is_right) in [
            (Dialect::OpenAi, "/v1/files", true),
            (Dialect::OpenAi, "/v1/responses/resp_1", true),
            (Dialect::OpenAi, "/v1/v1/files", false),
            (Dialect::OpenAi, "/V1/files", false),
            (Dialect::OpenAi, "/files", false),
            (Dialect::OpenAi, "/v1", false),
            (Dialect::OpenAi, "/v1/", false),
            (Dialect::OpenAi, "/api/v1/files", false),
            (Dialect::Anthropic, "/v1/messages/batches", true),
            (Dialect::Anthropic, "/anthropic/v1/messages/batches", false),
            (Dialect::Google, "/v1beta/cachedContents", true),
            (Dialect::Google, "/v1beta/v1beta/files", false),
            (Dialect::Bedrock, "/bedrock/guardrail/g", true),
            (Dialect::Bedrock, "/guardrail/g", false),
            (Dialect::Ollama, "/api/tags", false),
        ] {
            assert_eq!(dialect.has_right_base(path), is_right, "{path}");
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
            let known = crate::formats::ALL
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
