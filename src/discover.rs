//! Model servers nearby: on this machine, and on the nodes that the configuration names. What is
//! asked stands in the configuration, never in a request.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, Method, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::{CAPABILITY, File, PLACEHOLDER};
use crate::tailnet::is_tailnet;
use crate::upstream::{Post, Upstream};

/// This machine, as a host.
const HERE: &str = "127.0.0.1";
/// A server that listens answers at once.
const PATIENCE_HERE: Duration = Duration::from_secs(2);
/// The first contact of two nodes can take longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// For all of them together.
const PATIENCE_ALL: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 32;
const MOST_HOSTS: usize = 32;
const LONGEST_LIST: usize = 4 << 20;
const MOST_MODELS: usize = 500;
const LONGEST_MODEL: usize = 200;

/// What serves the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// llama.cpp's `llama-server`.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// Ollama.
    Ollama,
    /// LM Studio.
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

    /// Who owns a model is what each kind is known by; any may listen at any port.
    fn of_owner(owner: &str) -> Option<Self> {
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
    /// Port.
    pub port: u16,
    /// What it is, as far as that can be told.
    pub kind: Kind,
    /// The models that it lists.
    pub models: Vec<String>,
}

impl Server {
    /// Its URL, as it is written as a provider's.
    #[must_use]
    pub fn baseurl(&self) -> String {
        baseurl(&self.host, self.port)
    }

    /// It as a provider.
    #[must_use]
    pub fn provider(&self) -> serde_json::Value {
        let place = if self.host == HERE {
            "this machine"
        } else {
            &self.host
        };
        json!({
            "name": format!("{} on {place}", self.kind.name()),
            "baseurl": self.baseurl(),
            "models": self.models,
        })
    }

    /// The first id that no provider has.
    #[must_use]
    pub fn free_id(&self, is_taken: impl Fn(&str) -> bool) -> String {
        let kind = self.kind.id();
        let label = self.host.split('.').next().unwrap_or_default();
        let is_named = self.host.parse::<IpAddr>().is_err();
        let mut ids = [kind.to_owned()]
            .into_iter()
            .chain(is_named.then(|| format!("{kind}-{}", label.to_ascii_lowercase())))
            .chain((2..).map(|nth: u32| format!("{kind}-{nth}")));
        ids.find(|id| !is_taken(id)).unwrap_or_default()
    }
}

fn baseurl(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("http://[{host}]:{port}")
    } else {
        format!("http://{host}:{port}")
    }
}

/// Where to look: this machine, the hosts of `discover.hosts`, and the nodes of the tailnet that
/// providers name. Other providers are somebody else's machines. `own` is the gateway's own name
/// on its tailnet.
#[must_use]
pub fn hosts(file: &File, own: Option<&str>) -> Vec<String> {
    let providers = file.providers.values().filter_map(|provider| {
        let (host, _) = host_of(&provider.baseurl)?;
        is_node(&host, own?).then_some(host)
    });
    let named = file
        .discover
        .hosts
        .iter()
        .map(|host| host.to_ascii_lowercase());
    let mut seen = BTreeSet::new();
    [HERE.to_owned()]
        .into_iter()
        .chain(named)
        .chain(providers)
        .filter(|host| seen.insert(short(host, own).to_owned()))
        .filter(|host| own.is_none_or(|own| short(host, Some(own)) != short(own, Some(own))))
        .take(MOST_HOSTS)
        .collect()
}

/// Whether a host is a node of the gateway's tailnet, by its address or its `MagicDNS` name.
fn is_node(host: &str, own: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => is_tailnet(address),
        Err(_) if host == "localhost" => false,
        Err(_) => !short(host, Some(own)).contains('.'),
    }
}

/// A host without the tailnet's own domain. All names of this machine are one.
fn short<'h>(host: &'h str, own: Option<&str>) -> &'h str {
    if ["localhost", "::1"].contains(&host) {
        return HERE;
    }
    let domain = own.and_then(|own| own.split_once('.'));
    domain
        .and_then(|(_, domain)| host.strip_suffix(domain)?.strip_suffix('.'))
        .unwrap_or(host)
}

/// Host and port of a URL.
fn host_of(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    Some((host, uri.port_u16().unwrap_or(default)))
}

/// The provider that a server is already.
#[must_use]
pub fn covering<'f>(file: &'f File, server: &Server, own: Option<&str>) -> Option<&'f str> {
    let is_it = |url: &str| {
        host_of(url).is_some_and(|(host, port)| {
            port == server.port && short(&host, own) == short(&server.host, own)
        })
    };
    let mut providers = file.providers.iter();
    let found = providers.find(|(_, provider)| is_it(&provider.baseurl));
    found.map(|(id, _)| id.as_str())
}

/// The servers on this machine.
pub async fn here(upstream: &Upstream) -> Vec<Server> {
    servers(upstream, &[HERE.to_owned()], None).await.0
}

/// Asks the usual ports of `hosts` for their models; those that do not answer as a model server
/// would are left out, and so is `ourselves`. Tells as well whether there was time for all.
pub async fn servers(
    upstream: &Upstream,
    hosts: &[String],
    ourselves: Option<SocketAddr>,
) -> (Vec<Server>, bool) {
    let mut places = places(hosts, ourselves);
    let mut running = FuturesUnordered::new();
    for (host, kind, port) in places.by_ref().take(AT_ONCE) {
        running.push(ask(upstream, host, port, kind));
    }
    let mut found = Vec::new();
    let deadline = tokio::time::sleep(PATIENCE_ALL);
    tokio::pin!(deadline);
    let complete = loop {
        tokio::select! {
            answered = running.next() => match answered {
                Some(server) => {
                    found.extend(server);
                    if let Some((host, kind, port)) = places.next() {
                        running.push(ask(upstream, host, port, kind));
                    }
                }
                None => break true,
            },
            () = &mut deadline => break false,
        }
    };
    found.sort();
    (found, complete)
}

/// Each place that is asked: all usual ports of all hosts, but for our own.
fn places(
    hosts: &[String],
    ourselves: Option<SocketAddr>,
) -> impl Iterator<Item = (&str, Kind, u16)> {
    let is_us =
        move |host: &str, port| host == HERE && ourselves.is_some_and(|own| own.port() == port);
    hosts
        .iter()
        .flat_map(|host| Kind::USUAL.map(|(kind, port)| (host.as_str(), kind, port)))
        .filter(move |(host, _, port)| !is_us(host, *port))
}

/// The server at a URL, if it is one that would be found.
pub async fn server(
    upstream: &Upstream,
    hosts: &[String],
    ourselves: Option<SocketAddr>,
    url: &str,
) -> Option<Server> {
    let mut places = places(hosts, ourselves);
    let (host, kind, port) = places.find(|(host, _, port)| baseurl(host, *port) == url)?;
    ask(upstream, host, port, kind).await
}

#[derive(Deserialize)]
struct List {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    owned_by: String,
}

async fn ask(upstream: &Upstream, host: &str, port: u16, usual: Kind) -> Option<Server> {
    let uri = format!("{}/v1/models", baseurl(host, port));
    let get = Post {
        uri: uri.parse().ok()?,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout: if host == HERE {
            PATIENCE_HERE
        } else {
            PATIENCE
        },
        longest: LONGEST_LIST,
    };
    let (status, body) = upstream.post(Method::GET, get).await.ok()?;
    let list: List = status
        .is_success()
        .then(|| serde_json::from_slice(&body).ok())??;
    let kind = list
        .data
        .iter()
        .find_map(|row| Kind::of_owner(&row.owned_by));
    let models = list.data.into_iter().map(|row| row.id);
    let models = models.filter(|model| is_fit(model));
    let models: Vec<String> = models.take(MOST_MODELS).collect();
    (!models.is_empty()).then(|| Server {
        host: host.to_owned(),
        port,
        kind: kind.unwrap_or(usual),
        models,
    })
}

/// Whether a model's name may stand in a configuration. The server made it up: it must not be read
/// as a reference to something here, or as the placeholder of a secret.
fn is_fit(model: &str) -> bool {
    !model.is_empty()
        && model.len() <= LONGEST_MODEL
        && !model.chars().any(char::is_control)
        && !model.contains("${")
        && !model.contains(PLACEHOLDER)
}

/// A configuration that offers the servers to local callers at `loopback`.
#[must_use]
pub fn configuration(servers: &[Server], loopback: SocketAddr) -> String {
    let mut providers = serde_json::Map::new();
    for server in servers {
        let id = server.free_id(|id| providers.contains_key(id));
        providers.insert(id, server.provider());
    }
    let objects = json!([{ "role": "admin" }, { "models": "**" }]);
    json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": loopback.to_string() },
        "providers": providers,
        "grants": [{ "src": ["(loopback)"], "app": { CAPABILITY: objects } }],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::upstream::Timeouts;

    fn file(text: &str) -> File {
        parse(text, &|_| None).unwrap().file
    }

    fn upstream() -> Upstream {
        let second = Duration::from_secs(1);
        Upstream::new(
            None,
            Timeouts {
                connect: second,
                first_byte: second,
                idle: second,
                total: second,
            },
        )
    }

    #[tokio::test]
    async fn only_what_answers_is_found_and_can_be_used() {
        let demo = crate::demo::Provider::start().await.unwrap();
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = unused.local_addr().unwrap().port();
        drop(unused);
        let upstream = upstream();
        let port = demo.address().port();
        let found = ask(&upstream, HERE, port, Kind::Vllm).await.unwrap();
        assert_eq!((found.kind, found.port), (Kind::Vllm, port));
        assert_eq!(found.models[0], "demo");
        assert_eq!(ask(&upstream, HERE, silent, Kind::Vllm).await, None);
        let text = configuration(&[found], "127.0.0.1:8088".parse().unwrap());
        let loaded = parse(&text, &|_| None).unwrap();
        assert!(loaded.findings.is_empty(), "{:?}", loaded.findings);
        assert_eq!(loaded.file.providers["vllm"].models[0], "demo");
    }

    #[tokio::test]
    async fn what_the_configuration_does_not_name_is_not_asked() {
        let demo = crate::demo::Provider::start().await.unwrap();
        let url = format!("http://{}", demo.address());
        let hosts = [HERE.to_owned()];
        assert_eq!(
            server(&upstream(), &hosts, None, &url).await,
            None,
            "no usual port"
        );
        for url in [
            "http://10.0.0.1:8080",
            "http://127.0.0.1:8080/x",
            "http://localhost:8080",
        ] {
            assert_eq!(server(&upstream(), &hosts, None, url).await, None, "{url}");
        }
    }

    #[test]
    fn nodes_that_providers_name_are_looked_at_and_nobody_else() {
        let file = file(
            r#"{"discover":{"hosts":["GPU2","192.168.1.7"]},"providers":{
                "a":{"baseurl":"https://api.openai.com"},
                "b":{"baseurl":"http://gpu:8080/v1"},
                "c":{"baseurl":"http://gpu.tail1.ts.net:11434"},
                "d":{"baseurl":"http://100.64.0.9:8000"},
                "e":{"baseurl":"http://other.tail2.ts.net"},
                "f":{"baseurl":"http://10.0.0.5:8080"},
                "g":{"baseurl":"http://localhost:1234"},
                "h":{"baseurl":"http://ai.tail1.ts.net"}}}"#,
        );
        let own = Some("ai.tail1.ts.net");
        let all = ["127.0.0.1", "gpu2", "192.168.1.7", "gpu", "100.64.0.9"];
        assert_eq!(hosts(&file, own), all);
        assert_eq!(hosts(&file, None), ["127.0.0.1", "gpu2", "192.168.1.7"]);
        let covered = |host: &str, port| {
            let server = Server {
                host: host.to_owned(),
                port,
                kind: Kind::Vllm,
                models: Vec::new(),
            };
            covering(&file, &server, own)
        };
        assert_eq!(covered("gpu", 8080), Some("b"));
        assert_eq!(covered("gpu", 11434), Some("c"));
        assert_eq!(covered("127.0.0.1", 1234), Some("g"));
        assert_eq!(covered("gpu2", 8080), None);
    }

    #[test]
    fn names_that_mean_something_in_a_configuration_are_left_out() {
        for model in ["llama3.2:3b", "org/Model-7B", "$5", "[x]"] {
            assert!(is_fit(model), "{model}");
        }
        for model in ["", "${HOME}", "x${file:/etc/passwd}", "[redacted]", "a\nb"] {
            assert!(!is_fit(model), "{model}");
        }
    }

    #[test]
    fn ids_are_free_and_urls_can_be_read() {
        let server = |host: &str| Server {
            host: host.to_owned(),
            port: 11434,
            kind: Kind::Ollama,
            models: vec!["m".to_owned()],
        };
        let taken = |id: &str| ["ollama", "ollama-2"].contains(&id);
        assert_eq!(server("gpu.x.ts.net").free_id(|_| false), "ollama");
        assert_eq!(server("GPU.x.ts.net").free_id(taken), "ollama-gpu");
        assert_eq!(server("100.64.0.1").free_id(taken), "ollama-3");
        assert_eq!(server("fd7a::1").baseurl(), "http://[fd7a::1]:11434");
        assert_eq!(host_of("http://[FD7A::1]:11434/v1").unwrap().0, "fd7a::1");
    }
}
