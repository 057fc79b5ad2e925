//! What is known of vendors' URLs, each from the vendor's documentation.
//!
//! In hosts, a dot in front stands for any subdomain, `*` for any text, and an empty row for any
//! host. In paths, `{v}` stands for a version, `*` for any one segment, and `*end` for one that
//! ends so.

/// A host, and the end of a path.
type Row = (&'static str, &'static [&'static str]);

/// Ends of bases below which paths have no version segment.
pub(super) const WITHOUT_VERSION: &[Row] = &[
    // `/v1`, `/api/v3`, `/api/paas/v4`, `/inference/v1`, `/compatibility/v1`, `/v1beta`.
    ("", &["{v}"]),
    // Gemini's, DeepInfra's and Novita's for OpenAI's format.
    ("", &["{v}", "openai"]),
    // GPUStack.
    ("", &["v1-openai"]),
    // Vertex's for OpenAI's format, and a model that was deployed there.
    ("", &["openapi"]),
    ("", &["projects", "*", "locations", "*", "endpoints", "*"]),
    // Databricks.
    ("", &["serving-endpoints"]),
    // GitHub Models.
    ("", &["inference"]),
    // Azure, by deployment.
    ("", &["openai", "deployments", "*"]),
    // ChatGPT's own backend.
    ("", &["codex"]),
    // Cloudflare's AI Gateway: account, gateway, and what it leads to.
    ("", &["{v}", "*", "*", "compat"]),
    ("", &["{v}", "*", "*", "openai"]),
    ("", &["{v}", "*", "*", "groq"]),
    ("", &["{v}", "*", "*", "deepseek"]),
    ("", &["{v}", "*", "*", "perplexity-ai"]),
    ("", &["{v}", "*", "*", "azure-openai", "*", "*"]),
    (".services.ai.azure.com", &["models"]),
    ("api.deepseek.com", &["beta"]),
    ("api.edenai.run", &["{v}", "llm"]),
    ("api.infomaniak.com", &["1", "ai", "*", "openai"]),
    ("api.upstage.ai", &["{v}", "solar"]),
    ("qianfan.baidubce.com", &["{v}", "coding"]),
];

/// Hosts that serve paths without a version segment at their root.
pub(super) const ROOTS_WITHOUT_VERSION: &[&str] = &[
    "api.perplexity.ai",
    // Also those of a plan: `api.business`, `api.individual`, `api.enterprise`.
    ".githubcopilot.com",
    "copilot-api.*.ghe.com",
    "models.inference.ai.azure.com",
];

/// Bases to which the table above doesn't apply.
pub(super) const WITH_VERSION: &[Row] = &[("api.fireworks.ai", &["inference"])];

/// Paths that only an endpoint has.
pub(super) const ENDPOINTS: &[&[&str]] = &[
    &["chat", "completions"],
    &["fim", "completions"],
    &["agents", "completions"],
    &["responses", "compact"],
    &["responses", "input_tokens"],
    &["messages", "count_tokens"],
    &["messages", "batches"],
    &["images", "generations"],
    &["images", "edits"],
    &["images", "variations"],
    &["audio", "speech"],
    &["audio", "transcriptions"],
    &["audio", "translations"],
    &["realtime", "sessions"],
    &["realtime", "client_secrets"],
    &["realtime", "calls"],
    &["fine_tuning", "jobs"],
];

/// Words that name an endpoint below what is known as a base.
pub(super) const SINGLE_ENDPOINTS: &[&str] = &[
    "completions",
    "responses",
    "messages",
    "complete",
    "embeddings",
    "moderations",
    "rerank",
    "models",
    "realtime",
    "files",
    "uploads",
    "batches",
    "videos",
    "conversations",
    "containers",
    "assistants",
    "threads",
    "vector_stores",
    "ocr",
];

/// Endpoints of other formats, and how many of their segments stay in a base.
pub(super) const OWN_ENDPOINTS: &[(&[&str], usize)] = &[
    // Ollama's own API.
    (&["api", "chat"], 0),
    (&["api", "generate"], 0),
    (&["api", "tags"], 0),
    (&["api", "embed"], 0),
    (&["api", "embeddings"], 0),
    // Bedrock.
    (&["model", "*", "invoke"], 0),
    (&["model", "*", "invoke-with-response-stream"], 0),
    (&["model", "*", "converse"], 0),
    (&["model", "*", "converse-stream"], 0),
    (&["model", "*", "count-tokens"], 0),
    // Databricks, and servers made for SageMaker.
    (&["serving-endpoints", "*", "invocations"], 1),
    (&["invocations"], 0),
];

/// Azure's hosts, whose API in OpenAI's format is at `/openai/v1`.
pub(super) const AZURE: &[&str] = &[
    ".openai.azure.com",
    ".services.ai.azure.com",
    ".cognitiveservices.azure.com",
    ".openai.azure.us",
];

/// Hosts whose API in OpenAI's format is below a path, and that path.
pub(super) const ROOTS: &[(&str, &str)] = &[
    ("api.groq.com", "/openai/v1"),
    ("openrouter.ai", "/api/v1"),
    ("api.fireworks.ai", "/inference/v1"),
    ("api.cohere.com", "/compatibility/v1"),
    ("api.cohere.ai", "/compatibility/v1"),
    ("api.z.ai", "/api/paas/v4"),
    ("open.bigmodel.cn", "/api/paas/v4"),
    ("models.github.ai", "/inference"),
    ("generativelanguage.googleapis.com", "/v1beta/openai"),
    (".openai.azure.com", "/openai/v1"),
    (".openai.azure.us", "/openai/v1"),
    (".services.ai.azure.com", "/openai/v1"),
    (".cognitiveservices.azure.com", "/openai/v1"),
    (".cloud.databricks.com", "/serving-endpoints"),
    (".gcp.databricks.com", "/serving-endpoints"),
    (".azuredatabricks.net", "/serving-endpoints"),
    ("api.deepinfra.com", "/v1/openai"),
    ("api.novita.ai", "/openai/v1"),
    ("api.venice.ai", "/api/v1"),
    ("api.edenai.run", "/v3/llm"),
    ("api.ai21.com", "/studio/v1"),
    ("api.llama.com", "/compat/v1"),
    ("api.longcat.chat", "/openai/v1"),
    ("dashscope*.aliyuncs.com", "/compatible-mode/v1"),
    ("qianfan.baidubce.com", "/v2"),
    ("ark.*.volces.com", "/api/v3"),
    ("ark.*.bytepluses.com", "/api/v3"),
    (".snowflakecomputing.com", "/api/v2/cortex/v1"),
];

/// Paths at which those hosts serve nothing in OpenAI's format, besides the beginnings of the path.
pub(super) const BARE: &[Row] = &[
    ("", &["{v}"]),
    // DashScope's own API.
    ("dashscope*.aliyuncs.com", &["api", "{v}"]),
];
