//! What each format is known to consist of: request headers, query parameters, response headers and
//! top-level keys. What is on a list passes. An unknown header or parameter is dropped, because some
//! server gives it a meaning that wasn't evaluated here: another account, another destination, another
//! shape of the response. An unknown key passes, because local servers have extensions that people
//! need; where a guardrail has to judge the request it is refused. `docs/ALLOWED.md` shows the lists.

mod body;
mod headers;
mod keys;
mod query;
mod tools;

use crate::wire::headers::OwnHeaders;

pub use body::is_passable as key_may_pass;
pub use body::{Choice, Why, conflict, is_empty as says_nothing};
pub(super) use body::{choices, form_choices, inner_choices};
pub use query::{
    check as check_query, is_passable as query_may_pass, passed as passed_query,
    without_credentials as direct_query,
};
pub(super) use tools::models_of_tools;

/// The lists of one format.
#[derive(Debug)]
pub struct Known {
    /// Request headers that go on to a provider. One that ends in `*` is a prefix.
    pub request: &'static [&'static [&'static str]],
    /// Request headers that go on with a caller's own credential.
    pub own: &'static OwnHeaders,
    /// Response headers that go back to the caller.
    pub response: &'static [&'static [&'static str]],
    /// Query parameters that go on to a provider.
    pub query: &'static [Parameter],
    /// Top-level keys of a request, those of common servers' extensions included.
    pub keys: &'static [&'static [&'static str]],
    /// Keys whose members are judged like those at the top, and their lists.
    pub inside: &'static [(&'static str, &'static [&'static [&'static str]])],
}

/// A query parameter that passes.
#[derive(Debug)]
pub struct Parameter {
    /// Its name, as it must be written.
    pub name: &'static str,
    /// The values that it may have; if the list is empty, any.
    pub values: &'static [&'static str],
}

impl Known {
    /// Whether a top-level key is one of the format's.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        self.keys.iter().any(|list| list.contains(&key))
    }
}

/// Chat completions.
pub(super) const CHAT: Known = Known {
    request: &[headers::COMMON, headers::OPENAI],
    own: &headers::OWN_OPENAI,
    response: &[headers::RETURNED, headers::RETURNED_OPENAI],
    query: query::OPENAI,
    keys: &[keys::CHAT, keys::SERVERS],
    inside: &[],
};

/// The older completions.
pub(super) const COMPLETIONS: Known = Known {
    keys: &[keys::COMPLETIONS, keys::SERVERS],
    ..CHAT
};

/// Responses.
pub(super) const RESPONSES: Known = Known {
    request: &[headers::COMMON, headers::OPENAI, headers::CODEX],
    keys: &[keys::RESPONSES, keys::SERVERS],
    ..CHAT
};

/// The companions of OpenAI's chat, whose fields are few enough for one list.
pub(super) const COMPANIONS: Known = Known {
    keys: &[keys::COMPANIONS],
    ..CHAT
};

/// Anthropic's messages.
pub(super) const MESSAGES: Known = Known {
    request: &[headers::COMMON, headers::ANTHROPIC],
    own: &headers::OWN_ANTHROPIC,
    response: &[headers::RETURNED, headers::RETURNED_ANTHROPIC],
    query: query::ANTHROPIC,
    keys: &[keys::MESSAGES, keys::SERVERS],
    inside: &[],
};

/// Gemini's developer API, and Google's models on Vertex.
pub(super) const GOOGLE: Known = Known {
    request: &[headers::COMMON, headers::GOOGLE],
    own: &headers::OWN_GOOGLE,
    response: &[headers::RETURNED, headers::RETURNED_GOOGLE],
    query: query::GOOGLE,
    keys: &[keys::GOOGLE],
    inside: &[],
};

/// Anthropic's models on Vertex.
pub(super) const RAW_PREDICT: Known = Known {
    request: &[headers::COMMON, headers::ANTHROPIC, headers::GOOGLE],
    own: &headers::OWN_GOOGLE,
    response: &[
        headers::RETURNED,
        headers::RETURNED_ANTHROPIC,
        headers::RETURNED_GOOGLE,
    ],
    query: query::GOOGLE,
    keys: &[keys::MESSAGES],
    inside: &[],
};

/// Bedrock's `Converse`.
pub(super) const CONVERSE: Known = Known {
    request: &[headers::COMMON, headers::BEDROCK],
    own: &headers::OWN_BEDROCK,
    response: &[headers::RETURNED, headers::RETURNED_BEDROCK],
    query: &[],
    keys: &[keys::CONVERSE],
    inside: &[(
        "additionalModelRequestFields",
        &[keys::MESSAGES, keys::CHAT, keys::INVOKE, keys::VENDOR],
    )],
};

/// Bedrock's `InvokeModel`, whose bodies are those of the models' vendors.
pub(super) const INVOKE: Known = Known {
    keys: &[keys::MESSAGES, keys::CHAT, keys::INVOKE],
    inside: &[],
    ..CONVERSE
};

/// Bedrock's `CountTokens`.
pub(super) const COUNT_TOKENS: Known = Known {
    keys: &[keys::COUNT_TOKENS],
    inside: &[],
    ..CONVERSE
};

/// Ollama's own API.
pub(super) const OLLAMA: Known = Known {
    request: &[headers::COMMON],
    own: &headers::OWN_OPENAI,
    response: &[headers::RETURNED],
    query: &[],
    keys: &[keys::OLLAMA],
    inside: &[],
};

/// OpenAI's realtime API: messages of a session.
pub(super) const REALTIME: Known = Known {
    keys: &[keys::REALTIME],
    inside: &[
        ("session", &[keys::SESSION]),
        ("response", &[keys::SESSION]),
    ],
    ..CHAT
};

/// Gemini's live API: messages of a session.
pub(super) const LIVE: Known = Known {
    keys: &[keys::LIVE],
    inside: &[("setup", &[keys::SETUP])],
    ..GOOGLE
};

/// Responses by their id.
pub(super) const STORED_RESPONSES: Known = Known {
    query: query::STORED_RESPONSES,
    keys: &[],
    ..RESPONSES
};

/// Direct access: what is known of any format, and nothing of bodies.
pub(super) const DIRECT: Known = Known {
    request: &[
        headers::COMMON,
        headers::OPENAI,
        headers::CODEX,
        headers::ANTHROPIC,
        headers::GOOGLE,
        headers::BEDROCK,
    ],
    own: &headers::OWN_OPENAI,
    response: &[
        headers::RETURNED,
        headers::RETURNED_OPENAI,
        headers::RETURNED_ANTHROPIC,
        headers::RETURNED_GOOGLE,
        headers::RETURNED_BEDROCK,
        headers::RETURNED_FILE,
    ],
    query: &[],
    keys: &[],
    inside: &[],
};

#[cfg(test)]
mod tests;
