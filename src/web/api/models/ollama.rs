//! Models for Ollama's clients: what the API says besides chats, completions and embeddings
//! (<https://github.com/ollama/ollama/blob/main/docs/api.md>). What the gateway doesn't know, such as the
//! size of a model's file, has the value that Ollama itself writes for it.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::list::{first, listed, of_form};
use crate::formats::Dialect;
use crate::net::client::Errand;
use crate::policy::route::{Fit, ListedModel, Route};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::web::api::json as respond;
use crate::web::reader::Reader;
use crate::wire::{Rejection, hops};

/// The version of Ollama's API that is served: some clients compare it with the one that they need.
const API_VERSION: &str = "0.17.4";
/// The time that Ollama writes where there is none.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// What a provider is asked for of a model.
const SHOW_PATH: &str = "/api/show";
/// For so long a provider is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest description of a model: some contain licenses and a list of all tokens.
const LONGEST: usize = 8 << 20;
/// Members of a provider's description that say something of the model, and nothing of the machine.
const SHOWN: [&str; 9] = [
    "capabilities",
    "details",
    "license",
    "model_info",
    "modified_at",
    "parameters",
    "projector_info",
    "system",
    "template",
];

pub(in crate::web::api) const TAGS: Endpoint = Endpoint {
    path: "/api/tags",
    name: "OllamaModels",
    about: "The models that you may use through Ollama's API, in its form.",
    answer: json_of::<Tags>(),
    handler: Handler::Role(|call| Box::pin(async move { Ok(respond(&tags(call.reader))) })),
    ..Endpoint::GET
};

pub(in crate::web::api) const SHOW: Endpoint = Endpoint {
    method: &Method::POST,
    path: SHOW_PATH,
    name: "OllamaModel",
    about: "One model that you may use through Ollama's API: what its provider says of it, or what is known.",
    body: Some(taken::<Show>()),
    answer: json_of::<Shown>(),
    refusals: &[(
        "404",
        "The model does not exist, or you have no access to it.",
    )],
    handler: Handler::Role(|call| Box::pin(show(call))),
    ..Endpoint::GET
};

pub(in crate::web::api) const RUNNING: Endpoint = Endpoint {
    path: "/api/ps",
    name: "OllamaRunning",
    about: "The models in memory in Ollama's form: always an empty list, because only providers know.",
    answer: json_of::<Tags>(),
    handler: Handler::Role(|_| Box::pin(async { Ok(respond(&Tags { models: Vec::new() })) })),
    ..Endpoint::GET
};

pub(in crate::web::api) const VERSION: Endpoint = Endpoint {
    path: "/api/version",
    name: "OllamaVersion",
    about: "The version of Ollama's API that is served.",
    answer: json_of::<Version>(),
    handler: Handler::Role(|_| {
        let version = Version {
            version: API_VERSION,
        };
        Box::pin(async move { Ok(respond(&version)) })
    }),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OllamaVersionNumber")]
struct Version {
    version: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OllamaModelList")]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OllamaModelRow")]
struct Tag {
    name: String,
    model: String,
    /// The model as its provider names it.
    remote_model: String,
    modified_at: &'static str,
    size: u64,
    digest: String,
    details: Details,
}

/// Details of a model's file, which the gateway doesn't have.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "OllamaModelDetails")]
struct Details {
    parent_model: &'static str,
    format: &'static str,
    family: &'static str,
    #[schemars(with = "Vec<String>")]
    families: [&'static str; 0],
    parameter_size: &'static str,
    quantization_level: &'static str,
}

/// A model that a client asks for.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OllamaModelName")]
struct Show {
    /// The model.
    #[serde(default)]
    model: Option<String>,
    /// The same for older clients.
    #[serde(default)]
    name: Option<String>,
}

/// What is said of a model.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OllamaModelDescription")]
struct Shown {
    remote_model: String,
    modified_at: &'static str,
    details: Details,
    model_info: Map<String, Value>,
    #[schemars(with = "Vec<String>")]
    capabilities: [&'static str; 2],
    template: &'static str,
    parameters: &'static str,
    modelfile: &'static str,
}

fn tags(reader: &Reader<'_>) -> Tags {
    let row = |(name, found): (&str, ListedModel<'_>)| Tag {
        name: name.to_owned(),
        model: name.to_owned(),
        remote_model: found.model.to_owned(),
        modified_at: NEVER,
        size: 0,
        digest: digest(&found.provider.id, found.model),
        details: Details::default(),
    };
    Tags {
        models: listed(reader, Dialect::Ollama)
            .into_iter()
            .map(row)
            .collect(),
    }
}

/// By what clients tell models apart. Ollama's is of the model's file.
fn digest(provider: &str, model: &str) -> String {
    let hash = Sha256::digest(format!("{provider}/{model}"));
    hash.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

async fn show(call: Call<'_>) -> Reply {
    let asked: Show = call.body()?;
    let name = asked.model.or(asked.name).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        let status = StatusCode::BAD_REQUEST;
        Rejection::new(status, "model_required", "model is required")
    })?;
    let reader = call.reader;
    // A model without a grant looks like one that doesn't exist.
    let Some(route) = first(reader, Dialect::Ollama, &name) else {
        let mut formats = of_form(Dialect::Ollama);
        let words = formats.find_map(|format| format.refusals.missing_model);
        let shown: String = name.chars().take(200).collect();
        let why = words.map_or_else(String::new, |words| words(&shown));
        return Err(Rejection::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            why,
        ));
    };
    // A gateway's question isn't asked on: gateways could be each other's providers.
    if !hops::is_onward(&call.head.headers)
        && let Some(told) = told(reader, &route).await
    {
        return Ok(respond(&told));
    }
    Ok(respond(&known(reader, &route)))
}

/// What a provider that speaks Ollama's API says of the model of a route.
async fn told(reader: &Reader<'_>, route: &Route) -> Option<Map<String, Value>> {
    let provider = &route.provider;
    let mut formats = of_form(Dialect::Ollama);
    if !formats.any(|format| provider.fit(format) == Some(Fit::Native)) {
        return None;
    }
    let uri = provider.url(SHOW_PATH, &route.model, None).ok()?;
    let question = json!({ "model": route.model.as_str() })
        .to_string()
        .into_bytes();
    let errand = Errand::json(uri, question, PATIENCE, LONGEST).to(provider);
    let errand = errand.says(header::VIA, hops::own());
    let client = &reader.engines.gateway.upstream.client;
    let told = client.errand(errand).await.ok()?;
    if !told.status().is_success() {
        return None;
    }
    let mut told: Map<String, Value> = serde_json::from_slice(told.body()).ok()?;
    told.retain(|key, _| SHOWN.contains(&key.as_str()));
    told.insert("remote_model".to_owned(), route.model.as_str().into());
    Some(told)
}

/// What is known of the model of a route whose provider can't be asked.
fn known(reader: &Reader<'_>, route: &Route) -> Shown {
    let quote = reader.rules.prices.quote(&route.provider.id, &route.model);
    let window = quote.price.as_ref().and_then(|price| price.context_window);
    let mut model_info = Map::new();
    if let Some(window) = window {
        // Clients find the key by the name of the architecture.
        model_info.insert("general.architecture".to_owned(), "unknown".into());
        model_info.insert("unknown.context_length".to_owned(), window.into());
    }
    Shown {
        remote_model: route.model.to_string(),
        modified_at: NEVER,
        details: Details::default(),
        model_info,
        // Those of the APIs into which requests are translated. A model may lack them, and its provider
        // says so then.
        capabilities: ["completion", "tools"],
        template: "",
        parameters: "",
        modelfile: "",
    }
}
