//! Which API's clients ask at a path, also where the gateway has no route for it: a refusal is
//! only readable to them in the shape of their API. An `error` that is a string is a number
//! without a message in one SDK and a failure to parse in another.

use http::{HeaderMap, Response};

use percent_encoding::percent_decode_str;

use super::{anthropic_messages, bedrock, google, openai, plain};
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
const GOOGLE: [&str; 11] = [
    "v1beta",
    "v1alpha",
    "v1beta1",
    "upload",
    "projects",
    "publishers",
    "vertex",
    "gemini",
    "google",
    "tunedmodels",
    "ws",
];
/// Segments that say whose API follows, or which version of it.
const FRONT: [&str; 11] = [
    "v1",
    "v2",
    "v1beta",
    "v1alpha",
    "v1beta1",
    "openai",
    "anthropic",
    "gemini",
    "google",
    "vertex",
    "bedrock",
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
            ("api", route) if OLLAMA.contains(&route) => Self::Ollama,
            // A name in front of another API's path.
            ("api", front) if FRONT.contains(&front) => {
                Self::of_segments(&segments[1..], is_method, headers)
            }
            ("v1beta", "openai") => Self::OpenAi,
            ("anthropic" | "messages", _) | ("v1", "messages" | "complete" | "skills") => {
                Self::Anthropic
            }
            ("v1", "projects" | "publishers") => Self::Google,
            _ if GOOGLE.contains(&first) => Self::Google,
            // `models/MODEL:generateContent`
            _ if is_shared && is_method => Self::Google,
            _ if is_shared => Self::by_headers(headers).unwrap_or(Self::OpenAi),
            _ if OPENAI.contains(&first) => Self::OpenAi,
            ("api" | "aperture" | "ui" | "admin" | "healthz" | "readyz" | "metrics" | "", _) => {
                Self::Gateway
            }
            _ => Self::by_headers(headers).unwrap_or_else(|| {
                let mut rest = segments.iter().skip(1);
                match rest.position(|segment| FRONT.contains(segment)) {
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

    /// A refusal in the shape of this API.
    #[must_use]
    pub fn refuse(self, rejection: &Rejection) -> Response<Body> {
        match self {
            Self::OpenAi => openai::error::refuse(rejection),
            Self::Anthropic => anthropic_messages::refuse(rejection),
            Self::Google => google::error::refuse(rejection),
            Self::Bedrock => bedrock::error::refuse(rejection),
            Self::Ollama | Self::Gateway => plain(rejection),
        }
    }

    /// Whether a path begins as that of a client does whose base URL is set as it is meant to be.
    #[must_use]
    pub fn has_right_base(self, path: &str) -> bool {
        let mut segments = path.split('/').skip(1);
        let (first, second) = (segments.next(), segments.next().unwrap_or_default());
        let versions: &[&str] = match self {
            Self::OpenAi => &["v1", "v2"],
            Self::Anthropic => &["v1"],
            Self::Google => &["v1", "v1beta", "v1alpha", "v1beta1"],
            Self::Bedrock => &["bedrock"],
            Self::Ollama | Self::Gateway => &[],
        };
        let is_version = first.is_some_and(|first| versions.contains(&first));
        is_version && !second.is_empty() && !FRONT.contains(&second)
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
            ("/gemini/foo", "", Dialect::Google),
            ("/vertex/foo", "", Dialect::Google),
            ("/google/foo", "", Dialect::Google),
            ("/V1/chat/completions", "", Dialect::OpenAi),
            ("/V1/Messages", "", Dialect::Anthropic),
            ("/v1%2Fchat/completions", "", Dialect::OpenAi),
            ("/%76%31/messages", "", Dialect::Anthropic),
            ("//v1//files", "", Dialect::OpenAi),
            ("/proxy/v1/chat/completions", "", Dialect::OpenAi),
            ("/a/b/anthropic/v1/messages", "", Dialect::Anthropic),
            ("/proxy/v1beta/models/m:generate", "", Dialect::Google),
            ("/api/anthropic/v1/messages", "", Dialect::Anthropic),
            ("/api/bedrock/model/m/converse", "", Dialect::Bedrock),
            ("/admin/v1/x", "", Dialect::Gateway),
            ("/ui/v1", "", Dialect::Gateway),
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
