//! A model server that was found: what it is, where, and how it is written as a provider.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::json;

use super::HERE;
use crate::client::agents::Speaks;

/// Formats that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "independent answers")]
pub struct Formats {
    /// OpenAI's chat completions.
    pub chat: bool,
    /// OpenAI's responses, as Codex needs them.
    pub responses: bool,
    /// Anthropic's messages, as Claude Code needs them.
    pub messages: bool,
    /// Anthropic's count of tokens.
    pub count_tokens: bool,
    /// OpenAI's embeddings.
    pub embeddings: bool,
    /// Ollama's own API.
    pub ollama: bool,
    /// Whether each question was answered, so that asking again would say the same.
    pub is_certain: bool,
}

impl Default for Formats {
    /// What is assumed of a server that does not say.
    fn default() -> Self {
        Self {
            chat: true,
            responses: false,
            messages: false,
            count_tokens: false,
            embeddings: false,
            ollama: false,
            is_certain: false,
        }
    }
}

impl Formats {
    /// The flags of a provider's `compatibility`. Embeddings and counts of tokens have none of their
    /// own: they go with the formats of their makers.
    #[must_use]
    pub fn flags(self) -> Vec<&'static str> {
        let flags = [
            (Speaks::Chat.kind(), self.chat),
            (Speaks::Responses.kind(), self.responses),
            (Speaks::Messages.kind(), self.messages),
            (Kind::Ollama.id(), self.ollama),
        ];
        on(flags)
    }

    /// Their names for people.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        on([
            ("chat", self.chat),
            ("responses", self.responses),
            ("messages", self.messages),
            ("count_tokens", self.count_tokens),
            ("embeddings", self.embeddings),
            ("ollama", self.ollama),
        ])
    }
}

fn on<const N: usize>(all: [(&'static str, bool); N]) -> Vec<&'static str> {
    let on = all.into_iter().filter(|(_, on)| *on);
    on.map(|(name, _)| name).collect()
}

/// What serves the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    LlamaCpp,
    Vllm,
    Ollama,
    LmStudio,
}

impl Kind {
    /// Each kind with its usual port.
    pub const USUAL: [(Self, u16); 4] = [
        (Self::LlamaCpp, 8080),
        (Self::Vllm, 8000),
        (Self::Ollama, 11434),
        (Self::LmStudio, 1234),
    ];

    /// Its id as a provider.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llamacpp",
            Self::Vllm => "vllm",
            Self::Ollama => "ollama",
            Self::LmStudio => "lmstudio",
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Vllm => "vLLM",
            Self::Ollama => "Ollama",
            Self::LmStudio => "LM Studio",
        }
    }

    #[must_use]
    pub fn port(self) -> u16 {
        let usual = Self::USUAL.into_iter().find(|(kind, _)| *kind == self);
        usual.map_or(80, |(_, port)| port)
    }

    /// Who owns a model is what each kind is known by; any may listen at any port.
    pub(super) fn of_owner(owner: &str) -> Option<Self> {
        match owner {
            "llamacpp" => Some(Self::LlamaCpp),
            "vllm" => Some(Self::Vllm),
            "library" => Some(Self::Ollama),
            "organization_owner" => Some(Self::LmStudio),
            _ => None,
        }
    }
}

/// A server that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// Name or address.
    pub host: String,
    pub port: u16,
    /// What it is, as far as that is known.
    pub kind: Kind,
    /// The models that it lists.
    pub models: Vec<String>,
    /// The formats that it speaks.
    pub formats: Formats,
}

impl Server {
    /// Its URL, as it is written as a provider's.
    #[must_use]
    pub fn baseurl(&self) -> String {
        baseurl(&self.host, self.port)
    }

    /// Its name for people, which no other server has.
    #[must_use]
    pub fn name(&self) -> String {
        let place = if self.host == HERE {
            "this machine"
        } else {
            &self.host
        };
        let (kind, port) = (self.kind.name(), self.port);
        if port == self.kind.port() {
            format!("{kind} on {place}")
        } else {
            format!("{kind} on {place}, port {port}")
        }
    }

    /// It as a provider.
    #[must_use]
    pub fn provider(&self) -> serde_json::Value {
        let mut provider = json!({
            "name": self.name(),
            "baseurl": self.baseurl(),
            "models": self.models,
        });
        if let Some(compatibility) = compatibility(&self.formats.flags()) {
            provider["compatibility"] = compatibility;
        }
        provider
    }

    /// The first id that no provider has.
    #[must_use]
    pub fn free_id(&self, is_taken: impl Fn(&str) -> bool) -> String {
        let id = id_at(self.kind.id(), self.port, self.kind.port());
        free_id(&id, &self.host, is_taken)
    }
}

/// The id of a kind of server at this port.
pub fn id_at(kind: &str, port: u16, usual: u16) -> String {
    if port == usual {
        kind.to_owned()
    } else {
        format!("{kind}-{port}")
    }
}

/// The first id that no provider has, for one that would be called `id` if it were alone. It depends
/// on the provider's place before it depends on which others are there, so that a record names the
/// same server tomorrow.
pub fn free_id(id: &str, host: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let label = host.split('.').next().unwrap_or_default();
    let label = label.to_ascii_lowercase();
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    let says_more = !is_address && !label.is_empty() && label != id && label != "localhost";
    let mut ids = std::iter::once(id.to_owned())
        .chain(says_more.then(|| format!("{id}-{label}")))
        .chain((2..).map(|nth: u32| format!("{id}-{nth}")));
    ids.find(|id| !is_taken(id)).unwrap_or_default()
}

/// A provider's `compatibility`; `None` for OpenAI's chat alone, which needs none.
pub fn compatibility(flags: &[&'static str]) -> Option<serde_json::Value> {
    if flags.is_empty() || flags == [Speaks::Chat.kind()] {
        return None;
    }
    let on = flags.iter().map(|flag| ((*flag).to_owned(), true.into()));
    Some(serde_json::Value::Object(on.collect()))
}

pub(super) fn baseurl(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("http://[{host}]:{port}")
    } else {
        format!("http://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_tell_servers_apart() {
        let server = |host: &str, port| Server {
            host: host.to_owned(),
            port,
            kind: Kind::Ollama,
            models: vec!["m".to_owned()],
            formats: Formats::default(),
        };
        let usual = |host| server(host, 11434);
        let taken = |id: &str| ["ollama", "ollama-2"].contains(&id);
        assert_eq!(usual("gpu.x.ts.net").free_id(|_| false), "ollama");
        assert_eq!(usual("GPU.x.ts.net").free_id(taken), "ollama-gpu");
        assert_eq!(usual("100.64.0.1").free_id(taken), "ollama-3");
        assert_eq!(server(HERE, 8000).free_id(|_| false), "ollama-8000");
        assert_eq!(server("gpu", 8000).free_id(|_| false), "ollama-8000");
        assert_eq!(
            server("gpu", 8000).free_id(|id| id == "ollama-8000"),
            "ollama-8000-gpu"
        );
        assert_eq!(usual(HERE).name(), "Ollama on this machine");
        assert_eq!(
            server(HERE, 8000).name(),
            "Ollama on this machine, port 8000"
        );
        assert_eq!(usual("fd7a::1").baseurl(), "http://[fd7a::1]:11434");
    }

    #[test]
    fn flags_are_written_where_they_say_more_than_chat() {
        let mut server = Server {
            host: HERE.to_owned(),
            port: 8080,
            kind: Kind::LlamaCpp,
            models: vec!["m".to_owned()],
            formats: Formats::default(),
        };
        assert!(server.provider().get("compatibility").is_none());
        server.formats.messages = true;
        assert_eq!(
            server.provider()["compatibility"],
            json!({ "openai_chat": true, "anthropic_messages": true })
        );
    }
}
