//! Asking a provider what `iris init` needs: whether it accepts the key, which models it has and which
//! formats it speaks. It is asked through the configuration that will be written and with the gateway's
//! own client, so that what works here works there.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::provider::{Missing, Offer, Provider};
use super::service::{Catalog, Service};
use crate::app::cli::harmless;
use crate::client;
use crate::client::discovery::{self, Listed, Server};
use crate::config::{self, Finding, Subject};
use crate::net::client::{Client, Timeouts};
use crate::policy::route;

/// For an answer of a server that is asked for its models.
const PATIENCE: Duration = Duration::from_secs(10);

/// What providers are asked with.
pub(super) struct Reach {
    runtime: Runtime,
    upstream: Client,
    /// Where the configuration will be: files that it names are found from there.
    pub(super) config: PathBuf,
}

impl Reach {
    pub(super) fn new(config: PathBuf) -> anyhow::Result<Self> {
        Ok(Self {
            runtime: client::runtime()?,
            upstream: Client::new(None, Timeouts::all(PATIENCE)),
            config,
        })
    }

    /// The model servers on this machine.
    pub(super) fn found(&self) -> Vec<Server> {
        self.runtime.block_on(discovery::here(&self.upstream, &[]))
    }

    /// Waits for something else on the same runtime.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Asks a provider for what it offers.
    pub(super) fn ask(&self, service: &Service, provider: &Provider) -> Result<Offer, Missing> {
        let client = self.client(provider).map_err(Missing::Failed)?;
        self.wait(self.offer(service, provider, &client))
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
        let message = |one: Finding| one.message;
        let loaded =
            loaded.map_err(|all| all.into_iter().next().map(message).unwrap_or_default())?;
        let is_about_key = |one: &Finding| one.subject == Some(Subject::Credential);
        match loaded.findings.into_iter().find(is_about_key) {
            Some(finding) => Err(finding.message),
            None => route::Provider::new(&provider.id, &loaded.file.providers[&provider.id]),
        }
    }

    async fn offer(
        &self,
        service: &Service,
        provider: &Provider,
        client: &route::Provider,
    ) -> Result<Offer, Missing> {
        let models = match service.catalog {
            Catalog::OpenAi => self.openai(client).await?,
            Catalog::OpenRouter => {
                self.get(client, "/v1/key").await?;
                self.openai(client).await?
            }
            Catalog::Anthropic => {
                let list = self.get(client, "/v1/models?limit=1000").await?;
                names(&list["data"], "/id", |name| Some(name))
            }
            Catalog::Gemini => self.gemini(client).await?,
            Catalog::Bedrock => self.bedrock(provider).await?,
            Catalog::Vertex => self.vertex(client).await?,
        };
        let formats = if service.flags.is_empty() {
            Some(discovery::formats(&self.upstream, client, PATIENCE).await)
        } else {
            None
        };
        Ok(Offer { models, formats })
    }

    async fn openai(&self, client: &route::Provider) -> Result<Vec<String>, Missing> {
        let failed = |why: String| Err(Missing::Failed(why));
        match discovery::models(&self.upstream, client, PATIENCE).await {
            Listed::Models(models, _) => Ok(models),
            Listed::Refused(status, says) => Err(refusal(status, &says)),
            Listed::Unreadable => failed("it answers, but not with a list of models".to_owned()),
            Listed::Unreachable(why) => failed(why),
        }
    }

    async fn gemini(&self, client: &route::Provider) -> Result<Vec<String>, Missing> {
        let mut list = self.get(client, "/v1beta/models?pageSize=1000").await?;
        if let Some(rows) = list["models"].as_array_mut() {
            let is_useful =
                |method: &Value| method == "generateContent" || method == "embedContent";
            rows.retain(|row| {
                let methods = row["supportedGenerationMethods"].as_array();
                methods.is_none_or(|methods| methods.iter().any(is_useful))
            });
        }
        Ok(names(&list["models"], "/name", |name| {
            name.strip_prefix("models/").or(Some(name))
        }))
    }

    /// Models that are there on demand, and profiles, by which the others are had. Another host
    /// lists them than the one that serves them.
    async fn bedrock(&self, provider: &Provider) -> Result<Vec<String>, Missing> {
        let mut control = provider.clone();
        control.baseurl = provider.baseurl.replacen("bedrock-runtime", "bedrock", 1);
        let client = self.client(&control).map_err(Missing::Failed)?;
        let on_demand = "/foundation-models?byInferenceType=ON_DEMAND";
        let mut list = self.get(&client, on_demand).await?;
        if let Some(rows) = list["modelSummaries"].as_array_mut() {
            rows.retain(|row| row.pointer("/modelLifecycle/status") != Some(&json!("LEGACY")));
        }
        let mut models = names(&list["modelSummaries"], "/modelId", |name| Some(name));
        // Not every key may list these.
        let list = self.get(&client, "/inference-profiles?maxResults=1000");
        if let Ok(list) = list.await {
            let profiles = &list["inferenceProfileSummaries"];
            models.extend(names(profiles, "/inferenceProfileId", |name| Some(name)));
        }
        Ok(models)
    }

    async fn vertex(&self, client: &route::Provider) -> Result<Vec<String>, Missing> {
        let listed = async |publisher: &str| {
            let path = format!("/v1beta1/publishers/{publisher}/models?pageSize=1000");
            let list = self.get(client, &path).await?;
            Ok(names(&list["publisherModels"], "/name", |name| {
                name.rsplit('/').next()
            }))
        };
        let mut models = listed("google").await?;
        match listed("anthropic").await {
            Ok(more) => models.extend(more),
            Err(missing) if models.is_empty() => return Err(missing),
            // It may be closed to the account.
            Err(_) => {}
        }
        Ok(models)
    }

    async fn get(&self, client: &route::Provider, path: &str) -> Result<Value, Missing> {
        // Anthropic requires it, and others ignore it.
        let version = HeaderName::from_static("anthropic-version");
        let says = Some((version, "2023-06-01"));
        let answer = discovery::get(&self.upstream, client, path, says, PATIENCE).await;
        let (status, body) = answer.map_err(Missing::Failed)?;
        if !status.is_success() {
            return Err(refusal(status, &discovery::reason(&body)));
        }
        serde_json::from_slice(&body)
            .map_err(|_| Missing::Failed("it answers, but not with JSON".to_owned()))
    }
}

fn refusal(status: StatusCode, says: &str) -> Missing {
    let says = harmless(says);
    let text = match says.as_str() {
        "" => format!("it answered {status}"),
        says => format!("it answered {status}: {says}"),
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Missing::Refused(text),
        // Google's word for a wrong key.
        StatusCode::BAD_REQUEST if says.contains("API key") => Missing::Refused(text),
        _ => Missing::Failed(text),
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
        let Missing::Refused(text) = refused(401, "Incorrect API key\u{1b}[2J") else {
            panic!("it is refused");
        };
        assert_eq!(text, "it answered 401 Unauthorized: Incorrect API key?[2J");
        let wrong_key = refused(400, "API key not valid");
        assert!(matches!(wrong_key, Missing::Refused(_)));
        assert!(matches!(refused(400, "bad region"), Missing::Failed(_)));
        assert!(matches!(refused(503, ""), Missing::Failed(_)));
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
