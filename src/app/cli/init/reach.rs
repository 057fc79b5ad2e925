//! Asking a provider what `iris init` has to know: whether it takes the key, which models it has and
//! which formats it speaks. It is asked through the configuration that will be written and with the
//! gateway's own client, so that what works here works there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::provider::{Outcome, Provider};
use super::service::{Catalog, Service};
use crate::app::cli::harmless;
use crate::client::discovery::{self, Listed, Server};
use crate::config;
use crate::net::client::{Client, Timeouts};
use crate::policy::route;

/// For an answer of a server that is asked for its models.
const PATIENCE: Duration = Duration::from_secs(10);

/// What providers are asked with.
pub(super) struct Reach {
    runtime: Runtime,
    upstream: Client,
    /// Where the configuration will be: files that it names are found from there.
    config: PathBuf,
}

impl Reach {
    pub(super) fn new(config: PathBuf) -> anyhow::Result<Self> {
        let bounds = Timeouts::all(PATIENCE);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Ok(Self {
            runtime: runtime.enable_all().build()?,
            upstream: Client::new(None, bounds),
            config,
        })
    }

    /// The model servers on this machine.
    pub(super) fn found(&self) -> Vec<Server> {
        self.runtime.block_on(discovery::here(&self.upstream, &[]))
    }

    /// Runs something of its own.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Where the configuration will be.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    /// Asks a provider.
    pub(super) fn ask(&self, service: &Service, provider: &Provider) -> Outcome {
        match self.client(provider) {
            Ok(client) => self
                .runtime
                .block_on(self.asked(service, provider, &client)),
            Err(why) => Outcome::Failed(why),
        }
    }

    /// The provider as the gateway would have it.
    fn client(&self, provider: &Provider) -> Result<route::Provider, String> {
        if let Some(key) = &provider.key {
            let missing = key.missing(&self.config);
            if let Some(first) = missing.first() {
                return Err(match first.strip_prefix("file:") {
                    Some(path) => format!("the key file {path} cannot be read"),
                    None => format!("{} is not set", missing.join(" and ")),
                });
            }
        }
        let members = provider.members().into_iter();
        let members = members
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let text = json!({ "providers": { &provider.id: Value::Object(members) } }).to_string();
        let typed = provider.key.as_ref().map(super::key::Key::values);
        let loaded = config::check_with(&text, &self.config, &typed.unwrap_or_default());
        let file = match loaded {
            Ok(loaded) => {
                let is_about_key =
                    |one: &&config::Finding| one.subject == Some(config::Subject::Credential);
                if let Some(finding) = loaded.findings.iter().find(is_about_key) {
                    return Err(finding.message.clone());
                }
                loaded.file
            }
            Err(findings) => {
                let first = findings.into_iter().next();
                return Err(first.map(|one| one.message).unwrap_or_default());
            }
        };
        route::Provider::new(&provider.id, &file.providers[&provider.id])
    }

    async fn asked(
        &self,
        service: &Service,
        provider: &Provider,
        client: &route::Provider,
    ) -> Outcome {
        let models = match service.catalog {
            Catalog::OpenAi => self.openai(client).await,
            Catalog::OpenRouter => match self.get(client, "/v1/key").await {
                Ok(_) => self.openai(client).await,
                Err(outcome) => Err(outcome),
            },
            Catalog::Anthropic => self.anthropic(client).await,
            Catalog::Gemini => self.gemini(client).await,
            Catalog::Bedrock => self.bedrock(provider).await,
            Catalog::Vertex => self.vertex(client).await,
        };
        let models = match models {
            Ok(models) => models,
            Err(outcome) => return outcome,
        };
        let formats = if service.flags.is_empty() {
            Some(discovery::formats(&self.upstream, client, PATIENCE).await)
        } else {
            None
        };
        Outcome::Good { models, formats }
    }

    async fn openai(&self, client: &route::Provider) -> Result<Vec<String>, Outcome> {
        match discovery::models(&self.upstream, client, PATIENCE).await {
            Listed::Models(models, _) => Ok(models),
            Listed::Refused(status, says) => Err(refusal(status, &says)),
            Listed::Unreadable => Err(Outcome::Failed(
                "it answers, but not with a list of models".to_owned(),
            )),
            Listed::Unreachable(why) => Err(Outcome::Failed(why)),
        }
    }

    async fn anthropic(&self, client: &route::Provider) -> Result<Vec<String>, Outcome> {
        let list = self.get(client, "/v1/models?limit=1000").await?;
        Ok(names(&list["data"], "/id", |name| Some(name)))
    }

    async fn gemini(&self, client: &route::Provider) -> Result<Vec<String>, Outcome> {
        let mut list = self.get(client, "/v1beta/models?pageSize=1000").await?;
        if let Some(rows) = list["models"].as_array_mut() {
            let useful = |row: &Value| {
                let methods = row["supportedGenerationMethods"].as_array();
                methods.is_none_or(|methods| {
                    let is_useful =
                        |method: &Value| method == "generateContent" || method == "embedContent";
                    methods.iter().any(is_useful)
                })
            };
            rows.retain(useful);
        }
        Ok(names(&list["models"], "/name", |name| {
            name.strip_prefix("models/").or(Some(name))
        }))
    }

    /// Models that are there on demand, and profiles, by which the others are had. Another host
    /// lists them than the one that serves them.
    async fn bedrock(&self, provider: &Provider) -> Result<Vec<String>, Outcome> {
        let mut control = provider.clone();
        control.baseurl = provider.baseurl.replacen("bedrock-runtime", "bedrock", 1);
        let client = self.client(&control).map_err(Outcome::Failed)?;
        let mut list = self
            .get(&client, "/foundation-models?byInferenceType=ON_DEMAND")
            .await?;
        if let Some(rows) = list["modelSummaries"].as_array_mut() {
            rows.retain(|row| row.pointer("/modelLifecycle/status") != Some(&json!("LEGACY")));
        }
        let mut models = names(&list["modelSummaries"], "/modelId", |name| Some(name));
        // Not every key may list these.
        if let Ok(list) = self
            .get(&client, "/inference-profiles?maxResults=1000")
            .await
        {
            let profiles = &list["inferenceProfileSummaries"];
            models.extend(names(profiles, "/inferenceProfileId", |name| Some(name)));
        }
        Ok(models)
    }

    async fn vertex(&self, client: &route::Provider) -> Result<Vec<String>, Outcome> {
        let mut models = Vec::new();
        for publisher in ["google", "anthropic"] {
            let path = format!("/v1beta1/publishers/{publisher}/models?pageSize=1000");
            match self.get(client, &path).await {
                Ok(list) => models.extend(names(&list["publisherModels"], "/name", |name| {
                    name.rsplit('/').next()
                })),
                // One of them may be closed to the account.
                Err(outcome) if models.is_empty() && publisher == "anthropic" => {
                    return Err(outcome);
                }
                Err(outcome) if publisher == "google" => return Err(outcome),
                Err(_) => {}
            }
        }
        Ok(models)
    }

    /// Gets a JSON document.
    async fn get(&self, client: &route::Provider, path: &str) -> Result<Value, Outcome> {
        // Anthropic lists nothing without it, and nobody else reads it.
        let version = HeaderName::from_static("anthropic-version");
        let says = Some((version, "2023-06-01"));
        let answer = discovery::get(&self.upstream, client, path, says, PATIENCE).await;
        let (status, body) = answer.map_err(Outcome::Failed)?;
        if !status.is_success() {
            return Err(refusal(status, &discovery::reason(&body)));
        }
        serde_json::from_slice(&body)
            .map_err(|_| Outcome::Failed("it answers, but not with JSON".to_owned()))
    }
}

fn refusal(status: StatusCode, says: &str) -> Outcome {
    let says = harmless(says);
    let text = if says.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {says}")
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Refused(text),
        // Google's word for a wrong key.
        StatusCode::BAD_REQUEST if says.contains("API key") => Outcome::Refused(text),
        _ => Outcome::Failed(text),
    }
}

/// The names in a list of objects that may stand in a configuration.
fn names(list: &Value, place: &str, read: impl Fn(&str) -> Option<&str>) -> Vec<String> {
    let rows = list.as_array().into_iter().flatten();
    let names = rows.filter_map(|row| read(row.pointer(place)?.as_str()?));
    discovery::fit(names.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_told_from_a_server_that_is_down() {
        let refused =
            |status: u16, says: &str| refusal(StatusCode::from_u16(status).unwrap(), says);
        let Outcome::Refused(text) = refused(401, "Incorrect API key\u{1b}[2J") else {
            panic!("it is refused");
        };
        assert_eq!(text, "it answered 401 Unauthorized: Incorrect API key?[2J");
        assert!(matches!(
            refused(400, "API key not valid"),
            Outcome::Refused(_)
        ));
        assert!(matches!(refused(400, "bad region"), Outcome::Failed(_)));
        assert!(matches!(refused(503, ""), Outcome::Failed(_)));
    }

    #[test]
    fn a_provider_without_models_can_be_asked_whatever_it_is_called() {
        let reach = Reach::new("iris.hujson".into()).unwrap();
        let mut provider = Provider::new(Service::at("monkey"), "http://monkey:1", None);
        assert!(reach.client(&provider).is_ok());
        let key = super::super::key::Key::variable("IRIS_TEST_NOT_SET");
        provider.set_key(Service::at("monkey"), Some(key));
        let why = reach.client(&provider).unwrap_err();
        assert_eq!(why, "IRIS_TEST_NOT_SET is not set");
    }

    #[test]
    fn only_names_that_may_be_written_are_taken() {
        let list = json!([{ "name": "models/a" }, { "name": "models/${HOME}" }, { "id": 5 }]);
        assert_eq!(
            names(&list, "/name", |name| name.strip_prefix("models/")),
            ["a"]
        );
    }
}
