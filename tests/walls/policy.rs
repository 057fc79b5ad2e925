//! Who may call each route, and whose data its response may hold. A route that the gateway describes, or
//! a page that a page links to, must be listed here.

use Policy::{Admin, Everyone, Granted, One, OnlyOwners, Own, Said, Usable};

/// The kinds of routes, for their callers. A caller without a role gets 403 from all but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Every device: it says that the gateway runs.
    Everyone,
    /// Any caller with a role; nothing in it belongs to others, except for admins.
    Own,
    /// Those who are granted the model; the admin here is not.
    Usable,
    /// One thing by its id, its owner's and the admins'; 404 for others.
    One,
    /// One thing by its id, its owner's alone; 404 for everybody else.
    OnlyOwners,
    /// What was said, its owner's; 404 for others, 403 for admins whose grants say no.
    Said,
    /// Admins; 403 for others.
    Admin,
    /// Whom a grant names; no role is enough.
    Granted,
}

/// Routes for programs.
pub const ROUTES: [(&str, &str, Policy); 52] = [
    ("GET", "/healthz", Everyone),
    ("GET", "/readyz", Everyone),
    ("GET", "/", Own),
    ("GET", "/v1/models", Own),
    ("GET", "/models", Own),
    ("GET", "/v1beta/models", Own),
    ("GET", "/v1alpha/models", Own),
    ("GET", "/v1/models/{model}", Usable),
    ("GET", "/models/{model}", Usable),
    ("GET", "/v1beta/models/{model}", Usable),
    ("GET", "/v1alpha/models/{model}", Usable),
    ("GET", "/api/tags", Own),
    ("GET", "/api/ps", Own),
    ("GET", "/api/version", Own),
    ("POST", "/api/show", Usable),
    ("GET", "/api/providers", Own),
    ("GET", "/api/connectors", Own),
    ("GET", "/api/whoami", Own),
    ("GET", "/api/status", Own),
    ("GET", "/api/events", Own),
    ("GET", "/api/sessions", Own),
    ("GET", "/api/requests", Own),
    ("GET", "/api/requests/{id}", One),
    ("GET", "/api/requests/{id}/capture", Said),
    ("GET", "/api/requests/{id}/explain", One),
    ("GET", "/api/explain", Admin),
    ("GET", "/api/tools", Own),
    ("GET", "/api/quotas", Own),
    ("GET", "/api/usage", Own),
    ("POST", "/api/quotas/refill", Admin),
    ("GET", "/aperture/config", Admin),
    ("PUT", "/aperture/config", Admin),
    ("POST", "/aperture/config:validate", Admin),
    ("GET", "/api/config", Admin),
    ("PUT", "/api/config", Admin),
    ("GET", "/api/config/history", Admin),
    ("GET", "/api/config/history/{id}", Admin),
    ("POST", "/api/config/rollback", Admin),
    ("POST", "/api/config/dry-run", Admin),
    ("GET", "/api/discover", Admin),
    ("POST", "/api/discover", Admin),
    ("GET", "/api/chats", Own),
    ("GET", "/api/chats/{id}", OnlyOwners),
    // It makes one of the caller's own, whatever the id.
    ("PUT", "/api/chats/{id}", Own),
    ("DELETE", "/api/chats/{id}", OnlyOwners),
    ("GET", "/api/audit", Admin),
    ("GET", "/metrics", Granted),
    ("GET", "/api/exporters", Admin),
    ("GET", "/aperture/openapi.json", Own),
    ("GET", "/api/openapi.json", Own),
    ("GET", "/aperture/pricing", Granted),
    ("GET", "/aperture/pricing/{model}", Granted),
];

/// Pages. A star stands for one part.
pub const PAGES: [(&str, Policy); 26] = [
    ("/ui/", Own),
    ("/ui/chat", Own),
    ("/ui/models", Own),
    ("/ui/setup", Own),
    ("/ui/overview", Admin),
    ("/ui/users", Admin),
    ("/ui/users/*", Admin),
    ("/ui/agents", Admin),
    ("/ui/providers", Admin),
    ("/ui/providers/discover", Admin),
    ("/ui/sessions", Own),
    ("/ui/sessions/one", Own),
    ("/ui/requests", Own),
    ("/ui/requests/*", One),
    ("/ui/tools", Admin),
    ("/ui/grants", Admin),
    ("/ui/guardrails", Admin),
    // A user's are those that pay for them.
    ("/ui/budgets", Own),
    ("/ui/config", Admin),
    ("/ui/config/history", Admin),
    ("/ui/config/history/*", Admin),
    ("/ui/exports", Admin),
    ("/ui/audit", Admin),
    ("/ui/connection", Admin),
    ("/ui/api", Admin),
    ("/ui/assets/*", Everyone),
];

/// A path of each format.
pub const MODELS: [(&str, &str); 18] = [
    ("openai_chat", "/v1/chat/completions"),
    ("openai_responses", "/v1/responses"),
    ("anthropic_messages", "/v1/messages"),
    ("openai_completions", "/v1/completions"),
    ("openai_embeddings", "/v1/embeddings"),
    ("openai_images", "/v1/images/generations"),
    ("openai_audio", "/v1/audio/speech"),
    ("openai_moderations", "/v1/moderations"),
    ("rerank", "/v1/rerank"),
    (
        "google_raw_predict",
        "/v1/projects/p/locations/l/publishers/anthropic/models/hidden-model:rawPredict",
    ),
    (
        "gemini_generate_content",
        "/v1beta/models/hidden-model:generateContent",
    ),
    (
        "google_generate_content",
        "/v1/projects/p/locations/l/publishers/google/models/hidden-model:generateContent",
    ),
    ("bedrock_model_invoke", "/bedrock/model/hidden-model/invoke"),
    ("bedrock_converse", "/bedrock/model/hidden-model/converse"),
    (
        "bedrock_count_tokens",
        "/bedrock/model/hidden-model/count-tokens",
    ),
    ("ollama", "/api/chat"),
    ("ollama_generate", "/api/generate"),
    ("ollama_embed", "/api/embed"),
];

/// A path of each format that is spoken in sessions.
pub const SESSIONS: [(&str, &str); 3] = [
    ("openai_realtime", "/v1/realtime?model=hidden-model"),
    (
        "gemini_live",
        "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    ),
    (
        "google_live",
        "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent",
    ),
];
