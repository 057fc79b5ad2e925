//! A provider as it is written down.

use http::Uri;
use serde_json::{Value, json};

use super::key::Key;
use super::service::{Credential, Service};
use crate::discover::{Formats, Server};

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
    /// What it speaks; empty for OpenAI's chat alone.
    pub(super) flags: Vec<&'static str>,
}

impl Provider {
    /// One of a kind, at a URL.
    pub(super) fn new(service: &Service, baseurl: &str, key: Option<Key>) -> Self {
        let mut provider = Self {
            id: match service.word {
                "other" => id(baseurl),
                word => word.to_owned(),
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
        if self.flags == ["openai_chat"] {
            self.flags.clear();
        }
    }

    /// Its keys and values, in the order in which they are written.
    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        // What a server calls its models stands for nothing else.
        let plain = |text: &str| json!(text.replace("${", "$${"));
        let mut members = Vec::new();
        if let Some(name) = &self.name {
            members.push(("name", plain(name)));
        }
        members.push(("baseurl", plain(&self.baseurl)));
        if let Some(key) = &self.key {
            members.push(("apikey", json!(key.text)));
        }
        for (name, text) in [
            ("authorization", self.authorization),
            ("region", self.region.as_deref()),
            ("project", self.project.as_deref()),
        ] {
            members.extend(text.map(|text| (name, plain(text))));
        }
        let models = self.models.iter().map(|model| plain(model)).collect();
        members.push(("models", Value::Array(models)));
        if !self.flags.is_empty() {
            let flags = self
                .flags
                .iter()
                .map(|flag| ((*flag).to_owned(), true.into()));
            members.push(("compatibility", Value::Object(flags.collect())));
        }
        members
    }

    /// Gives it an id that none of the others has.
    pub(super) fn rename(&mut self, others: &[Self]) {
        let (first, mut nth) = (self.id.clone(), 1);
        while others.iter().any(|other| other.id == self.id) {
            nth += 1;
            self.id = format!("{first}-{nth}");
        }
    }

    /// The variable that its key usually is in.
    pub(super) fn usual_variable(&self) -> String {
        let upper = |char: char| match char {
            'a'..='z' | '0'..='9' => char.to_ascii_uppercase(),
            _ => '_',
        };
        let id: String = self.id.chars().map(upper).collect();
        let digit = id.starts_with(|char: char| char.is_ascii_digit());
        format!("{}{id}_API_KEY", if digit { "_" } else { "" })
    }
}

/// An id from the host's name: `gpu` for `gpu.example.com`, `mistral` for `api.mistral.ai`.
fn id(baseurl: &str) -> String {
    let uri: Option<Uri> = baseurl.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let host = host.to_ascii_lowercase();
    let is_address = host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
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
    use super::*;

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
