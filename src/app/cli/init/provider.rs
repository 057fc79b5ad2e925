//! A provider as it is written down.

use serde_json::{Value, json};

use super::key::{Credential, Key};
use super::service::{Place, Service};
use crate::client::discovery::{self, Formats, Server};
use crate::formats::BaseUrl;

/// A provider as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) id: String,
    /// For people, where the id doesn't say it.
    pub(super) name: Option<String>,
    pub(super) baseurl: String,
    pub(super) models: Vec<String>,
    pub(super) key: Option<Key>,
    /// The header for the key, where it is not the usual one.
    pub(super) authorization: Option<&'static str>,
    pub(super) region: Option<String>,
    pub(super) project: Option<String>,
    /// The formats that it speaks; empty if they are unknown, which means OpenAI's chat.
    pub(super) flags: Vec<&'static str>,
}

/// What a provider that took the key, or needs none, offers.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) models: Vec<String>,
    /// The formats that it speaks, if it was asked for them.
    pub(super) formats: Option<Formats>,
}

/// Why a provider that was asked is not complete.
#[derive(Debug)]
pub(super) enum Missing {
    /// It lists no models, and none was named.
    Models,
    /// None of its models, which are listed in the provider now, matches a pattern.
    Pattern(anyhow::Error),
    /// It refuses the request, with this response.
    Refused(String),
    /// It can't be asked, or its response can't be used: why.
    Failed(String),
}

impl Provider {
    /// One of a kind, at a URL.
    pub(super) fn new(service: &Service, baseurl: &str, key: Option<Key>) -> Self {
        let mut provider = Self {
            id: match service.place {
                Place::Anywhere => id(baseurl),
                Place::Own(usual) => discovery::id_at(service.word, port(baseurl), usual),
                _ => service.word.to_owned(),
            },
            name: None,
            baseurl: baseurl.to_owned(),
            models: Vec::new(),
            key: None,
            authorization: None,
            region: None,
            project: None,
            flags: service.flags.to_vec(),
        };
        provider.set_key(service, key);
        provider
    }

    /// One that was found on this machine.
    pub(super) fn found(server: &Server) -> Self {
        let mut provider = Self::new(Service::at("this machine"), &server.baseurl(), None);
        provider.id = server.free_id(|_| false);
        provider.name = Some(server.name());
        provider.models.clone_from(&server.models);
        provider.speaks(server.formats);
        provider
    }

    pub(super) fn set_key(&mut self, service: &Service, key: Option<Key>) {
        // AWS signs with its own keys, and takes one for Bedrock as a bearer's.
        let signs = service.credential == Credential::Aws
            && key.as_ref().is_some_and(|key| key.references.len() > 1);
        self.authorization = match key {
            Some(_) if signs => Some("aws-sigv4"),
            Some(_) => service.authorization,
            None => None,
        };
        self.key = key;
    }

    pub(super) fn speaks(&mut self, formats: Formats) {
        self.flags = formats.flags();
    }

    /// Its keys and values, in the order in which they are written.
    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        // What a server calls its models stands for nothing else.
        let plain = |text: &str| json!(text.replace("${", "$${"));
        let models = self.models.iter().map(|model| plain(model)).collect();
        let members = [
            ("name", self.name.as_deref().map(plain)),
            ("baseurl", Some(plain(&self.baseurl))),
            ("apikey", self.key.as_ref().map(|key| json!(key.text))),
            ("authorization", self.authorization.map(plain)),
            ("region", self.region.as_deref().map(plain)),
            ("project", self.project.as_deref().map(plain)),
            ("models", Some(Value::Array(models))),
            ("compatibility", discovery::compatibility(&self.flags)),
        ];
        let members = members.into_iter();
        members
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }

    /// Gives it an id that none of the others has.
    fn rename(&mut self, others: &[Self]) {
        let is_taken = |id: &str| others.iter().any(|other| other.id == id);
        self.id = discovery::free_id(&self.id, &host(&self.baseurl), is_taken);
    }

    /// The variable that its key usually is in.
    pub(super) fn usual_variable(&self) -> String {
        let is_odd = |char: char| !matches!(char, 'a'..='z' | '0'..='9');
        let id = self.id.replace(is_odd, "_").to_ascii_uppercase();
        let digit = id.starts_with(|char: char| char.is_ascii_digit());
        format!("{}{id}_API_KEY", if digit { "_" } else { "" })
    }
}

/// Adds a provider, under an id that no other one has; `None` if it is there already.
pub(super) fn adopt(providers: &mut Vec<Provider>, mut new: Provider) -> Option<&Provider> {
    let is_it = |one: &Provider| one.baseurl == new.baseurl && one.key == new.key;
    if providers.iter().any(is_it) {
        return None;
    }
    new.rename(providers);
    providers.push(new);
    providers.last()
}

fn port(baseurl: &str) -> u16 {
    BaseUrl::parse(baseurl).map_or(80, |base| base.port())
}

/// The host of a URL, without the brackets of an address.
pub(super) fn host(baseurl: &str) -> String {
    BaseUrl::parse(baseurl)
        .map(|base| base.host())
        .unwrap_or_default()
}

/// An id from the host's name: `gpu` for `gpu.example.com`, `mistral` for `api.mistral.ai`.
fn id(baseurl: &str) -> String {
    let host = host(baseurl);
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let name = host.strip_prefix("api.").unwrap_or(&host);
    let label = name.split('.').next().unwrap_or_default();
    if is_address || label.is_empty() || label == "localhost" {
        "private".to_owned()
    } else {
        label.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::tests::spec;
    use super::*;

    #[test]
    fn what_is_named_wins_over_what_a_server_says() {
        let take = |text: &str, models: &[&str]| {
            let (spec, all) = (spec(text), Formats::default());
            let offer = Offer {
                models: models.iter().map(|one| (*one).to_owned()).collect(),
                formats: Some(Formats {
                    responses: true,
                    ..all
                }),
            };
            let mut provider = spec.provider().unwrap();
            let taken = spec.complete(&mut provider, Ok(offer));
            (provider, taken)
        };
        let (provider, taken) = take("gpu:1,formats=messages,b*", &["a", "b1", "b2"]);
        taken.unwrap();
        assert_eq!(provider.flags, ["anthropic_messages"]);
        assert_eq!(provider.models, ["b1", "b2"]);
        let (provider, taken) = take("gpu:1", &["a", "b"]);
        taken.unwrap();
        assert_eq!(provider.flags, ["openai_chat", "openai_responses"]);
        assert_eq!(provider.models, ["a", "b"]);
        let (provider, taken) = take("gpu:1,c*", &["a", "b"]);
        assert!(matches!(taken, Err(Missing::Pattern(_))), "{taken:?}");
        assert_eq!(provider.models, ["a", "b"], "to choose among");
        for text in ["gpu:1", "gpu:1,c*"] {
            let (_, taken) = take(text, &[]);
            assert!(matches!(taken, Err(Missing::Models)), "{taken:?}");
        }
        assert_eq!(take("gpu:1,c", &[]).0.models, ["c"]);
    }

    #[test]
    fn one_that_is_there_is_not_added() {
        let mut all = Vec::new();
        let new = |text: &str| spec(text).provider().unwrap();
        assert_eq!(adopt(&mut all, new("http://gpu:1")).unwrap().id, "gpu");
        assert!(adopt(&mut all, new("http://gpu:1")).is_none());
        assert_eq!(adopt(&mut all, new("http://gpu:2")).unwrap().id, "gpu-2");
        // As discovery names two of a kind.
        assert_eq!(adopt(&mut all, new("ollama")).unwrap().id, "ollama");
        let second = adopt(&mut all, new("ollama,url=http://gpu.example.com:11434"));
        assert_eq!(second.unwrap().id, "ollama-gpu");
        let third = adopt(&mut all, new("ollama,url=http://gpu:8000"));
        assert_eq!(third.unwrap().id, "ollama-8000");
        let keyed = adopt(&mut all, new("http://gpu:1,key=env:K"));
        assert_eq!(keyed.unwrap().id, "gpu-3");
    }

    #[test]
    fn ids_and_variables_come_from_names() {
        for (url, expected) in [
            ("https://api.mistral.ai", "mistral"),
            ("http://gpu.example.com:80", "gpu"),
            ("http://[::1]:8080", "private"),
            ("http://localhost:1", "private"),
        ] {
            assert_eq!(id(url), expected);
        }
        let mut provider = Provider::new(Service::at("my-gpu"), "http://my-gpu:1", None);
        assert_eq!(provider.usual_variable(), "MY_GPU_API_KEY");
        provider.rename(&[provider.clone()]);
        assert_eq!(provider.id, "my-gpu-2");
    }
}
