//! What is known of each kind of provider without asking it: where it is, how it takes a key, what
//! it speaks, and where it lists its models.

use std::path::PathBuf;

use super::key::{Credential, KeyPlace};
use crate::app::cli::set;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Its word on the command line, and its id.
    pub(super) word: &'static str,
    /// Its name for people.
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) credential: Credential,
    /// The header for the key, where it is not the usual one.
    pub(super) authorization: Option<&'static str>,
    /// What it speaks; nothing for those that are asked.
    pub(super) flags: &'static [&'static str],
    pub(super) catalog: Catalog,
}

/// Where a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At this URL, for everyone.
    Public(&'static str),
    /// On your own machine, usually at this port.
    Own(u16),
    /// In a region of AWS.
    Aws,
    /// In a region of Google's cloud.
    Google,
    /// Nobody knows.
    Anywhere,
}

/// Where a provider lists its models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Catalog {
    Anthropic,
    Bedrock,
    Gemini,
    OpenAi,
    /// As `OpenAi`, for everyone: the key is tested elsewhere.
    OpenRouter,
    Vertex,
}

/// The variable of a key for Bedrock alone.
pub(super) const BEDROCK_VARIABLE: &str = "AWS_BEARER_TOKEN_BEDROCK";
/// Where Google's own programs find a key file.
pub(super) const GOOGLE_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// Any other server.
const OTHER: Service = Service {
    word: "other",
    name: "Another server that speaks OpenAI's or Anthropic's API",
    place: Place::Anywhere,
    credential: Credential::None,
    authorization: None,
    flags: &[],
    catalog: Catalog::OpenAi,
};

const fn own(word: &'static str, name: &'static str, port: u16) -> Service {
    Service {
        word,
        name,
        place: Place::Own(port),
        ..OTHER
    }
}

pub(super) const SERVICES: [Service; 11] = [
    own("ollama", "Ollama", 11434),
    own("llamacpp", "llama.cpp", 8080),
    own("vllm", "vLLM", 8000),
    own("lmstudio", "LM Studio", 1234),
    Service {
        word: "openai",
        name: "OpenAI",
        place: Place::Public("https://api.openai.com"),
        credential: Credential::Key("OPENAI_API_KEY"),
        flags: &["openai_chat", "openai_responses"],
        ..OTHER
    },
    Service {
        word: "anthropic",
        name: "Anthropic",
        place: Place::Public("https://api.anthropic.com"),
        credential: Credential::Key("ANTHROPIC_API_KEY"),
        authorization: Some("x-api-key"),
        flags: &["anthropic_messages"],
        catalog: Catalog::Anthropic,
    },
    Service {
        word: "gemini",
        name: "Gemini",
        place: Place::Public("https://generativelanguage.googleapis.com"),
        credential: Credential::Key("GEMINI_API_KEY"),
        authorization: Some("x-goog-api-key"),
        flags: &["gemini_generate_content"],
        catalog: Catalog::Gemini,
    },
    Service {
        word: "openrouter",
        name: "OpenRouter",
        place: Place::Public("https://openrouter.ai/api/v1"),
        credential: Credential::Key("OPENROUTER_API_KEY"),
        catalog: Catalog::OpenRouter,
        ..OTHER
    },
    Service {
        word: "bedrock",
        name: "Amazon Bedrock",
        place: Place::Aws,
        credential: Credential::Aws,
        authorization: None,
        flags: &["bedrock_converse", "bedrock_model_invoke"],
        catalog: Catalog::Bedrock,
    },
    Service {
        word: "vertex",
        name: "Google Vertex AI",
        place: Place::Google,
        credential: Credential::ServiceAccount,
        authorization: None,
        flags: &["google_generate_content", "google_raw_predict"],
        catalog: Catalog::Vertex,
    },
    OTHER,
];

impl Service {
    pub(super) fn named(word: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.word == word)
    }

    /// The one at a host, or any server.
    pub(super) fn at(host: &str) -> &'static Self {
        let is_there = |service: &&Self| {
            let Place::Public(url) = service.place else {
                return false;
            };
            url.split('/').nth(2) == Some(host)
        };
        let other = &SERVICES[SERVICES.len() - 1];
        SERVICES.iter().find(is_there).unwrap_or(other)
    }

    /// Its URL in a region, as far as that is known.
    pub(super) fn url(&self, region: Option<&str>) -> Option<String> {
        match self.place {
            Place::Public(url) => Some(url.to_owned()),
            Place::Own(port) => Some(format!("http://127.0.0.1:{port}")),
            Place::Aws => Some(format!("https://bedrock-runtime.{}.amazonaws.com", region?)),
            Place::Google if region? == "global" => {
                Some("https://aiplatform.googleapis.com".to_owned())
            }
            Place::Google => Some(format!("https://{}-aiplatform.googleapis.com", region?)),
            Place::Anywhere => None,
        }
    }

    pub(super) fn has_region(&self) -> bool {
        matches!(self.place, Place::Aws | Place::Google)
    }

    /// The region that its own programs would use.
    pub(super) fn usual_region(&self) -> Option<String> {
        let set = |name| set(name)?.into_string().ok();
        match self.place {
            Place::Aws => ["AWS_REGION", "AWS_DEFAULT_REGION"]
                .into_iter()
                .find_map(set),
            Place::Google => Some("global".to_owned()),
            _ => None,
        }
    }

    /// The place of the key that is used for it if none is named.
    pub(super) fn usual_key(&self) -> Option<KeyPlace> {
        match self.credential {
            Credential::None => None,
            Credential::Key(variable) => Some(KeyPlace::Env(variable.to_owned())),
            Credential::Aws if set(BEDROCK_VARIABLE).is_some() => {
                Some(KeyPlace::Env(BEDROCK_VARIABLE.to_owned()))
            }
            Credential::Aws => Some(KeyPlace::Aws),
            Credential::ServiceAccount => {
                let path = PathBuf::from(std::env::var_os(GOOGLE_VARIABLE)?);
                Some(KeyPlace::File(std::path::absolute(&path).unwrap_or(path)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_known_by_their_hosts_and_regions() {
        assert_eq!(Service::at("api.anthropic.com").word, "anthropic");
        assert_eq!(Service::at("openrouter.ai").word, "openrouter");
        assert_eq!(Service::at("gpu").word, "other");
        let url = |word: &str, region| Service::named(word).unwrap().url(region);
        assert_eq!(
            url("bedrock", Some("eu-west-1")).unwrap(),
            "https://bedrock-runtime.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            url("vertex", Some("global")).unwrap(),
            "https://aiplatform.googleapis.com"
        );
        assert_eq!(
            url("vertex", Some("europe-west1")).unwrap(),
            "https://europe-west1-aiplatform.googleapis.com"
        );
        assert_eq!((url("other", None), url("bedrock", None)), (None, None));
        assert!(Service::named("nobody").is_none());
    }
}
