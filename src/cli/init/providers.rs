//! Providers for a first configuration: what is known of an address, and what it tells.

use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;

use super::answers::url;
use crate::cli::ask::fetch;
use crate::discover;
use crate::upstream::{Timeouts, Upstream};

/// For an answer of a server that is asked for its models.
const PATIENCE: Duration = Duration::from_secs(5);

/// A provider as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) id: String,
    pub(super) baseurl: String,
    pub(super) models: Vec<String>,
    /// The environment variable that holds its key.
    pub(super) key: Option<String>,
    /// The header for the key, where it is not the usual one.
    pub(super) authorization: Option<&'static str>,
    /// What it speaks, where that is not only OpenAI's chat format.
    pub(super) compatibility: &'static [&'static str],
}

/// A provider that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All that were found on this machine.
    Found,
    /// One at this URL, with these models, or with those that it lists.
    At(Uri, Vec<String>),
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == "found" {
            return Ok(Self::Found);
        }
        let mut parts = text.split(',').map(str::trim);
        let address = parts.next().unwrap_or_default();
        let uri = url(address).ok_or_else(|| {
            anyhow::anyhow!("{address:?} is no address of a server, such as http://gpu:8080")
        })?;
        let models = parts.filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(Self::At(uri, models.collect()))
    }
}

/// The model servers on this machine.
pub(super) async fn found() -> Vec<Provider> {
    let bounds = Timeouts {
        connect: PATIENCE,
        first_byte: PATIENCE,
        idle: PATIENCE,
        total: PATIENCE,
    };
    let servers = discover::here(&Upstream::new(None, bounds)).await;
    let provider = |server: discover::Server| Provider {
        id: server.kind.id().to_owned(),
        baseurl: server.baseurl(),
        models: server.models,
        key: None,
        authorization: None,
        compatibility: &[],
    };
    servers.into_iter().map(provider).collect()
}

/// A service whose API is known without asking.
struct Service {
    host: &'static str,
    id: &'static str,
    authorization: Option<&'static str>,
    compatibility: &'static [&'static str],
}

const SERVICES: [Service; 3] = [
    Service {
        host: "api.openai.com",
        id: "openai",
        authorization: None,
        compatibility: &["openai_chat", "openai_responses"],
    },
    Service {
        host: "api.anthropic.com",
        id: "anthropic",
        authorization: Some("x-api-key"),
        compatibility: &["anthropic_messages"],
    },
    Service {
        host: "generativelanguage.googleapis.com",
        id: "gemini",
        authorization: Some("x-goog-api-key"),
        compatibility: &["gemini_generate_content"],
    },
];

/// The providers that are wanted, each with an id of its own and with models.
///
/// # Errors
/// When one has no models and does not tell them.
pub(super) async fn reached(
    wanted: &[Wanted],
    found: &[Provider],
) -> anyhow::Result<Vec<Provider>> {
    let mut providers: Vec<Provider> = Vec::new();
    for one in wanted {
        let new = match one {
            Wanted::Found => {
                anyhow::ensure!(
                    !found.is_empty(),
                    "no model server was found on this machine; name its address"
                );
                found.to_vec()
            }
            Wanted::At(uri, models) => vec![at(uri, models).await?],
        };
        for mut provider in new {
            if providers
                .iter()
                .any(|known| known.baseurl == provider.baseurl)
            {
                continue;
            }
            let taken = |id: &str| providers.iter().any(|known| known.id == id);
            let (first, mut nth) = (provider.id.clone(), 1);
            while taken(&provider.id) {
                nth += 1;
                provider.id = format!("{first}-{nth}");
            }
            providers.push(provider);
        }
    }
    Ok(providers)
}

async fn at(uri: &Uri, models: &[String]) -> anyhow::Result<Provider> {
    let host = uri.host().unwrap_or_default();
    let baseurl = uri.to_string().trim_end_matches('/').to_owned();
    let service = SERVICES.iter().find(|service| service.host == host);
    let id = service.map_or_else(|| id(uri), |service| service.id.to_owned());
    let mut provider = Provider {
        key: service.map(|_| variable(&id)),
        id,
        models: models.to_vec(),
        authorization: service.and_then(|service| service.authorization),
        compatibility: service.map_or(&[], |service| service.compatibility),
        baseurl,
    };
    let name_them = format!("name its models: {},MODEL,MODEL", provider.baseurl);
    if service.is_some() {
        anyhow::ensure!(
            !models.is_empty(),
            "{host} lists its models only to a key; {name_them}"
        );
        return Ok(provider);
    }
    match (listed(&provider.baseurl).await, models.is_empty()) {
        (Listed::Models(listed), true) if !listed.is_empty() => provider.models = listed,
        (Listed::KeyWanted, true) => anyhow::bail!(
            "{} tells its models only to those with a key; {name_them}",
            provider.baseurl
        ),
        (Listed::KeyWanted, false) => provider.key = Some(variable(&provider.id)),
        (_, true) => anyhow::bail!(
            "{} does not tell its models to this machine; {name_them}",
            provider.baseurl
        ),
        (_, false) => {}
    }
    Ok(provider)
}

enum Listed {
    Models(Vec<String>),
    KeyWanted,
    Nothing,
}

/// An answer to `/v1/models`.
#[derive(Deserialize)]
struct List {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
}

async fn listed(baseurl: &str) -> Listed {
    let base = baseurl.trim_end_matches("/v1");
    let Ok(uri) = format!("{base}/v1/models").parse() else {
        return Listed::Nothing;
    };
    match tokio::time::timeout(PATIENCE, fetch(uri)).await {
        Ok(Ok((status, body))) if status.is_success() => {
            let list = serde_json::from_slice::<List>(&body);
            list.map_or(Listed::Nothing, |list| {
                Listed::Models(list.data.into_iter().map(|row| row.id).collect())
            })
        }
        Ok(Ok((status, _))) if matches!(status.as_u16(), 401 | 403) => Listed::KeyWanted,
        _ => Listed::Nothing,
    }
}

/// An id from the host's name: `gpu` for `gpu.example.com`, `mistral` for `api.mistral.ai`.
fn id(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let is_address = host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
    let name = host.strip_prefix("api.").unwrap_or(&host);
    let label = name.split('.').next().unwrap_or_default();
    if is_address || label.is_empty() || label == "localhost" {
        "private".to_owned()
    } else {
        label.to_owned()
    }
}

fn variable(id: &str) -> String {
    let upper = |char: char| match char {
        'a'..='z' | '0'..='9' => char.to_ascii_uppercase(),
        _ => '_',
    };
    format!("{}_API_KEY", id.chars().map(upper).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn providers(text: &str, found: &[Provider]) -> anyhow::Result<Vec<Provider>> {
        let wanted: Vec<Wanted> = text
            .split(' ')
            .map(str::parse)
            .collect::<anyhow::Result<_>>()?;
        reached(&wanted, found).await
    }

    #[tokio::test]
    async fn a_server_that_answers_tells_its_models() {
        let demo = crate::demo::Provider::start().await.unwrap();
        for address in [
            demo.address().to_string(),
            format!("http://{}/v1", demo.address()),
        ] {
            let got = providers(&address, &[]).await.unwrap();
            assert_eq!(
                (got[0].id.as_str(), got[0].models.as_slice()),
                (
                    "private",
                    &["demo", "demo-large", "demo-tools"].map(str::to_owned)[..]
                )
            );
        }
    }

    #[tokio::test]
    async fn one_that_does_not_must_have_them_named() {
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = unused.local_addr().unwrap();
        drop(unused);
        let error = providers(&silent.to_string(), &[])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with(&format!("http://{silent},MODEL,MODEL")),
            "{error}"
        );
        let got = providers(&format!("{silent},a/b:c,d"), &[]).await.unwrap();
        assert_eq!(got[0].models, ["a/b:c", "d"]);
        assert!(providers("https://api.openai.com", &[]).await.is_err());
        assert!(providers("found", &[]).await.is_err());
    }

    #[tokio::test]
    async fn what_is_known_of_a_service_is_written() {
        let got = providers("https://api.anthropic.com/,opus", &[])
            .await
            .unwrap();
        let one = &got[0];
        assert_eq!(
            (
                one.id.as_str(),
                one.key.as_deref(),
                one.authorization,
                one.compatibility
            ),
            (
                "anthropic",
                Some("ANTHROPIC_API_KEY"),
                Some("x-api-key"),
                &["anthropic_messages"][..]
            )
        );
    }

    #[tokio::test]
    async fn each_has_an_id_of_its_own() {
        let found = [Provider {
            id: "private".to_owned(),
            baseurl: "http://127.0.0.1:9".to_owned(),
            models: vec!["m".to_owned()],
            key: None,
            authorization: None,
            compatibility: &[],
        }];
        let got = providers(
            "found http://127.0.0.1:9,x http://127.0.0.2:9,y http://127.0.0.3:9,z",
            &found,
        );
        let got = got.await.unwrap();
        let ids: Vec<&str> = got.iter().map(|one| one.id.as_str()).collect();
        // The second is the first once more.
        assert_eq!(ids, ["private", "private-2", "private-3"]);
    }
}
