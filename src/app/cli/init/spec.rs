//! `--provider`, which says all of a provider on the command line: `KIND|ADDRESS`, and then settings and
//! models, with commas between.

use std::str::FromStr;

use anyhow::Context;

use super::key::{Credential, Key, KeyPlace};
use super::provider::{Missing, Offer, Provider, host};
use super::service::{SERVICES, Service};
use crate::client::discovery::Formats;
use crate::formats::BaseUrl;

/// A provider that is asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All that were found on this machine.
    Found,
    One(Box<Spec>),
}

/// `KIND|ADDRESS[,SETTING=VALUE…][,MODEL…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) service: &'static Service,
    pub(super) url: Option<String>,
    pub(super) key: Option<KeyPlace>,
    pub(super) region: Option<String>,
    pub(super) project: Option<String>,
    pub(super) formats: Option<Formats>,
    /// Names of models, and patterns for those that are listed.
    pub(super) models: Vec<String>,
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == "found" {
            return Ok(Self::Found);
        }
        let mut parts = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let first = parts.next().unwrap_or_default();
        let (service, at) = if let Some(service) = Service::named(first) {
            (service, None)
        } else {
            // Only an address has these.
            let is_address = first.starts_with("http://") || first.starts_with("https://");
            let at = address(first).map_err(|error| {
                let words: Vec<&str> = SERVICES.iter().map(|service| service.word).collect();
                let words = words[..words.len() - 1].join(", ");
                let neither = format!(
                    "{first:?} is neither a kind of provider ({words}) nor the address of a server, \
                     such as http://gpu:8080"
                );
                if is_address { error } else { anyhow::anyhow!(neither) }
            })?;
            (Service::at(&host(&at)), Some(at))
        };
        let mut spec = Spec {
            url: at,
            ..Spec::of(service)
        };
        for part in parts {
            match part.split_once('=') {
                Some(("url", value)) => spec.url = Some(address(value)?),
                Some(("key", value)) => spec.key = Some(value.parse()?),
                Some(("region", value)) => spec.region = Some(value.to_owned()),
                Some(("project", value)) => spec.project = Some(value.to_owned()),
                Some(("formats", value)) => spec.formats = Some(formats(value)?),
                _ => spec.models.push(part.to_owned()),
            }
        }
        spec.check()?;
        Ok(Self::One(Box::new(spec)))
    }
}

/// The address of a server, as a URL; `http://` may be left out.
pub(super) fn address(text: &str) -> anyhow::Result<String> {
    let base =
        BaseUrl::typed(text).map_err(|error| anyhow::anyhow!("the address of a server {error}"))?;
    Ok(base.to_string())
}

/// `chat+responses`, or with spaces or commas between.
pub(super) fn formats(text: &str) -> anyhow::Result<Formats> {
    let mut formats = Formats {
        chat: false,
        ..Formats::default()
    };
    let separates = |char: char| char == '+' || char == ',' || char.is_whitespace();
    for word in text.split(separates).filter(|word| !word.is_empty()) {
        match word {
            "chat" => formats.chat = true,
            "responses" => formats.responses = true,
            "messages" => formats.messages = true,
            "ollama" => formats.ollama = true,
            _ => anyhow::bail!("{word:?} is not one of chat, responses, messages, ollama"),
        }
    }
    anyhow::ensure!(
        !formats.flags().is_empty(),
        "name at least one of chat, responses, messages, ollama"
    );
    Ok(formats)
}

impl Spec {
    /// One of a kind, of which nothing is said.
    pub(super) fn of(service: &'static Service) -> Self {
        Self {
            service,
            url: None,
            key: None,
            region: None,
            project: None,
            formats: None,
            models: Vec::new(),
        }
    }

    /// The models, where each is named: a pattern takes a list.
    pub(super) fn names(&self) -> Option<&[String]> {
        let is_named = |one: &String| !one.contains('*');
        let all = !self.models.is_empty() && self.models.iter().all(is_named);
        all.then_some(self.models.as_slice())
    }

    fn check(&self) -> anyhow::Result<()> {
        let (service, word) = (self.service, self.service.word);
        let has_region = service.has_region() || self.region.is_none();
        anyhow::ensure!(has_region, "{word} has no region");
        let is_account = service.credential == Credential::ServiceAccount;
        anyhow::ensure!(
            is_account || self.project.is_none(),
            "{word} has no project"
        );
        let is_aws = service.credential == Credential::Aws;
        anyhow::ensure!(
            is_aws || self.key != Some(KeyPlace::Aws),
            "key=aws is for bedrock"
        );
        anyhow::ensure!(
            service.flags.is_empty() || self.formats.is_none(),
            "what {word} speaks is known; leave out formats="
        );
        Ok(())
    }

    /// The provider, without what asking it adds. Its address must be known.
    pub(super) fn provider(&self) -> anyhow::Result<Provider> {
        let service = self.service;
        let region = self.region.clone().or_else(|| service.usual_region());
        let usual = || service.url(region.as_deref());
        let baseurl = self.url.clone().or_else(usual).with_context(|| {
            let what = if service.has_region() {
                "region="
            } else {
                "url="
            };
            let word = service.word;
            format!("where is {word}? add {what} to --provider {word}")
        })?;
        let place = self.key.clone().or_else(|| service.usual_key());
        let key = place.map(|place| Key::at(&place, service.credential));
        let mut provider = Provider::new(service, &baseurl, key);
        // Your own URL doesn't contain the region.
        provider.region = region.filter(|_| self.url.is_some());
        provider.project.clone_from(&self.project);
        if let Some(formats) = self.formats {
            provider.speaks(formats);
        }
        Ok(provider)
    }

    /// Completes a provider by what asking it has brought. What a person named wins over what it says.
    pub(super) fn complete(
        &self,
        provider: &mut Provider,
        asked: Result<Offer, Missing>,
    ) -> Result<(), Missing> {
        let Offer { models, formats } = asked?;
        if let Some(formats) = self.formats.or(formats) {
            provider.speaks(formats);
        }
        provider.models = models;
        if provider.models.is_empty() && self.names().is_none() {
            return Err(Missing::Models);
        }
        if !self.models.is_empty() {
            provider.models = chosen(&self.models, &provider.models).map_err(Missing::Pattern)?;
        }
        Ok(())
    }
}

/// Those of `listed` that are wanted, by name or pattern; a name that is not listed is taken all the
/// same, because lists are not always whole.
pub(super) fn chosen(wanted: &[String], listed: &[String]) -> anyhow::Result<Vec<String>> {
    let mut chosen: Vec<String> = Vec::new();
    for one in wanted {
        let before = chosen.len();
        if one.contains('*') {
            let matches = |model: &&String| matches_across(one, model);
            chosen.extend(listed.iter().filter(matches).cloned());
            anyhow::ensure!(
                chosen.len() > before,
                "no model is called {one:?}; there are {} models, such as {}",
                listed.len(),
                listed[..listed.len().min(3)].join(", ")
            );
        } else {
            chosen.push(one.clone());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    chosen.retain(|model| seen.insert(model.clone()));
    Ok(chosen)
}

/// Whether a name is the pattern with anything in place of its stars, slashes included.
fn matches_across(pattern: &str, name: &str) -> bool {
    let mut pieces: Vec<&str> = pattern.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    let mut rest = name;
    for (nth, piece) in pieces.into_iter().enumerate() {
        let at = rest.find(piece).filter(|at| nth > 0 || *at == 0);
        let Some(at) = at else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn spec(text: &str) -> Spec {
        match text.parse().unwrap() {
            Wanted::One(spec) => *spec,
            Wanted::Found => panic!("{text}"),
        }
    }

    #[test]
    fn what_is_known_of_a_service_is_written() {
        let spec = spec("https://api.anthropic.com/,opus");
        let provider = spec.provider().unwrap();
        assert_eq!(provider.id, "anthropic");
        assert_eq!(provider.baseurl, "https://api.anthropic.com");
        assert_eq!(provider.key.unwrap().text, "${ANTHROPIC_API_KEY}");
        assert_eq!(provider.authorization, Some("x-api-key"));
        assert_eq!(provider.flags, ["anthropic_messages"]);
        assert_eq!(spec.models, ["opus"]);
    }

    #[test]
    fn settings_stand_among_the_models() {
        let bedrock = spec("bedrock,region=eu-west-1,key=aws,a.b-v1:0, c");
        assert_eq!(bedrock.models, ["a.b-v1:0", "c"]);
        let provider = bedrock.provider().unwrap();
        assert_eq!(provider.authorization, Some("aws-sigv4"));
        assert_eq!(
            provider.baseurl,
            "https://bedrock-runtime.eu-west-1.amazonaws.com"
        );
        assert_eq!(provider.region, None, "the URL tells it");
        let bearer = spec("bedrock,region=eu-west-1,key=env:K")
            .provider()
            .unwrap();
        assert_eq!(bearer.authorization, None);
        let vertex = spec("vertex,region=europe-west1,key=file:/sa.json,project=p");
        let vertex = vertex.provider().unwrap();
        assert_eq!(vertex.key.unwrap().text, "keyfile::${file:/sa.json}");
        assert_eq!(vertex.project.as_deref(), Some("p"));
        let local = spec("gpu:8080,formats=chat+messages,x=y")
            .provider()
            .unwrap();
        assert_eq!(local.flags, ["openai_chat", "anthropic_messages"]);
        assert_eq!(local.id, "gpu");
        assert_eq!(spec("http://127.0.0.1:9").provider().unwrap().id, "private");
        assert_eq!(
            spec("ollama").provider().unwrap().baseurl,
            "http://127.0.0.1:11434"
        );
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, says) in [
            ("ftp://x", "neither a kind of provider"),
            ("openai,key=sk-1234", "key=env:NAME or key=file:PATH"),
            ("openai,region=x", "has no region"),
            ("ollama,project=x", "has no project"),
            ("openai,key=aws", "for bedrock"),
            ("anthropic,formats=chat", "leave out formats="),
            ("ollama,formats=morse", "not one of chat"),
            ("ollama,url=ftp://x", "use http or https"),
            (
                "http://gpu:8080/v1/chat/completions",
                "write \"http://gpu:8080/v1\"",
            ),
        ] {
            let error = text.parse::<Wanted>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("sk-1234"), "{error}");
        }
        let nowhere = spec("other").provider().unwrap_err();
        assert!(nowhere.to_string().contains("url="));
    }

    #[test]
    fn models_are_chosen_by_name_and_pattern() {
        let listed = ["gpt-5", "gpt-5-mini", "openai/gpt-5", "tts"].map(str::to_owned);
        let chosen = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|one| (*one).to_owned()).collect();
            chosen(&wanted, &listed)
        };
        assert_eq!(chosen(&["gpt-5*"]).unwrap(), ["gpt-5", "gpt-5-mini"]);
        assert_eq!(
            chosen(&["openai/*", "tts"]).unwrap(),
            ["openai/gpt-5", "tts"]
        );
        assert_eq!(chosen(&["*gpt-5"]).unwrap(), ["gpt-5", "openai/gpt-5"]);
        assert_eq!(chosen(&["*"]).unwrap().len(), 4);
        assert_eq!(
            chosen(&["unlisted", "tts", "t*"]).unwrap(),
            ["unlisted", "tts"]
        );
        let none = chosen(&["claude*"]).unwrap_err();
        assert!(none.to_string().contains("4 models"));
    }
}
