//! Model servers nearby: on this machine, and on the nodes that the configuration names. What is
//! asked stands in the configuration, never in a request.

mod probe;
mod server;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::json;

pub use probe::{Listed, fit, formats, get, models, reason};
use server::baseurl;
pub use server::{Formats, Kind, Server};
pub use server::{compatibility, free_id, id_at};

use crate::config::{self, CAPABILITY, File};
use crate::net::client::Client;
use crate::policy::identity::is_tailnet;
use crate::policy::route::Provider;

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
const MOST_MODELS: usize = 500;

/// Where to look: this machine, the hosts of `discover.hosts`, and the nodes of the tailnet that
/// providers name. Other providers are machines of other people. `own` is the gateway's own name
/// on its tailnet.
#[must_use]
pub fn hosts(file: &File, own: Option<&str>) -> Vec<String> {
    let providers = file.providers.values().filter_map(|provider| {
        let host = provider.base.as_ref().ok()?.host();
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

/// The provider that a server is already.
#[must_use]
pub fn covering<'f>(file: &'f File, server: &Server, own: Option<&str>) -> Option<&'f str> {
    let is_it = |provider: &config::Provider| {
        provider.base.as_ref().is_ok_and(|base| {
            base.port() == server.port && short(&base.host(), own) == short(&server.host, own)
        })
    };
    let mut providers = file.providers.iter();
    let found = providers.find(|(_, provider)| is_it(provider));
    found.map(|(id, _)| id.as_str())
}

/// The servers on this machine. A `known` one whose list of models hasn't changed is not asked for its
/// formats once more: each such question is a line in a server's log.
pub async fn here(upstream: &Client, known: &[Server]) -> Vec<Server> {
    let hosts = [HERE.to_owned()];
    servers(upstream, &hosts, None, known).await.0
}

/// Asks the usual ports of `hosts` for their models, and those that have some for their formats.
/// What does not answer as a model server would is left out, and so is `ourselves`. Says too whether
/// there was time for all.
pub async fn servers(
    upstream: &Client,
    hosts: &[String],
    ourselves: Option<SocketAddr>,
    known: &[Server],
) -> (Vec<Server>, bool) {
    let asked = places(hosts, ourselves).map(|place| ask(upstream, place, known));
    let asked: Vec<_> = asked.collect();
    let mut answers = stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut found = Vec::new();
    let all = async {
        while let Some(server) = answers.next().await {
            found.extend(server);
        }
    };
    let is_complete = tokio::time::timeout(PATIENCE_ALL, all).await.is_ok();
    found.sort();
    (found, is_complete)
}

/// A place that is asked.
struct Place<'h> {
    host: &'h str,
    port: u16,
    /// What usually listens there.
    usual: Kind,
}

/// All usual ports of all hosts, but for our own.
fn places(hosts: &[String], ourselves: Option<SocketAddr>) -> impl Iterator<Item = Place<'_>> {
    let own = ourselves.map(|own| own.port());
    let all = hosts
        .iter()
        .flat_map(|host| Kind::USUAL.map(|(usual, port)| Place { host, port, usual }));
    all.filter(move |place| place.host != HERE || own != Some(place.port))
}

/// The server at a URL, if it is one that would be found.
pub async fn server(
    upstream: &Client,
    hosts: &[String],
    ourselves: Option<SocketAddr>,
    url: &str,
) -> Option<Server> {
    let mut places = places(hosts, ourselves);
    let place = places.find(|place| baseurl(place.host, place.port) == url)?;
    ask(upstream, place, &[]).await
}

/// A server at a URL as a provider without a credential, or what is wrong with the URL.
pub(crate) fn at(url: &str) -> Result<Provider, String> {
    Provider::new("discovered", &config::Provider::at(url))
}

async fn ask(upstream: &Client, place: Place<'_>, known: &[Server]) -> Option<Server> {
    let Place { host, port, usual } = place;
    let patience = if host == HERE {
        PATIENCE_HERE
    } else {
        PATIENCE
    };
    let provider = at(&baseurl(host, port)).ok()?;
    let Listed::Models(mut models, kind) = models(upstream, &provider, patience).await else {
        return None;
    };
    models.truncate(MOST_MODELS);
    if models.is_empty() {
        return None;
    }
    let mut server = Server {
        host: host.to_owned(),
        port,
        kind: kind.unwrap_or(usual),
        models,
        formats: Formats::default(),
    };
    let of_known = |known: &Server| {
        let formats = known.formats;
        let asked = Server {
            formats,
            ..server.clone()
        };
        (*known == asked && formats.is_certain).then_some(formats)
    };
    server.formats = match known.iter().find_map(of_known) {
        Some(formats) => formats,
        None => formats(upstream, &provider, patience).await,
    };
    Some(server)
}

/// Servers with the ids that they have as providers.
#[must_use]
pub fn named(servers: &[Server]) -> Vec<(String, &Server)> {
    let mut named: Vec<(String, &Server)> = Vec::new();
    for server in servers {
        let id = server.free_id(|id| named.iter().any(|(taken, _)| taken == id));
        named.push((id, server));
    }
    named
}

/// A configuration that offers the servers to local callers at `loopback`.
#[must_use]
pub fn configuration(servers: &[Server], loopback: SocketAddr) -> String {
    let mut providers = serde_json::Map::new();
    for (id, server) in named(servers) {
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
    use support::provider::Received;

    use super::*;
    use crate::config::parse;
    use crate::net::client::Timeouts;

    fn file(text: &str) -> File {
        parse(text, &|_| None).unwrap().file
    }

    fn upstream() -> Client {
        Client::new(None, Timeouts::all(Duration::from_secs(1)))
    }

    /// A model server with one model.
    async fn model_server() -> SocketAddr {
        let answers = |request: &Received| match &*request.target() {
            "GET /v1/models" => (
                "200 OK",
                r#"{"object":"list","data":[{"id":"demo"}]}"#.into(),
            ),
            _ => ("404 Not Found", "{}".into()),
        };
        support::provider::server("127.0.0.1:0", answers).await.0
    }

    #[tokio::test]
    async fn only_what_answers_is_found_and_can_be_used() {
        let port = model_server().await.port();
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = unused.local_addr().unwrap().port();
        drop(unused);
        let upstream = upstream();
        let place = |port| Place {
            host: HERE,
            port,
            usual: Kind::Vllm,
        };
        let found = ask(&upstream, place(port), &[]).await.unwrap();
        assert_eq!((found.kind, found.port), (Kind::Vllm, port));
        assert_eq!(found.models[0], "demo");
        assert_eq!(ask(&upstream, place(silent), &[]).await, None);
        let text = configuration(&[found], "127.0.0.1:8088".parse().unwrap());
        let loaded = parse(&text, &|_| None).unwrap();
        assert!(loaded.findings.is_empty(), "{:?}", loaded.findings);
        let id = format!("vllm-{port}");
        assert_eq!(loaded.file.providers[&id].models[0], "demo");
    }

    #[tokio::test]
    async fn what_the_configuration_does_not_name_is_not_asked() {
        let url = format!("http://{}", model_server().await);
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
                formats: Formats::default(),
            };
            covering(&file, &server, own)
        };
        assert_eq!(covered("gpu", 8080), Some("b"));
        assert_eq!(covered("gpu", 11434), Some("c"));
        assert_eq!(covered("127.0.0.1", 1234), Some("g"));
        assert_eq!(covered("gpu2", 8080), None);
    }

    #[test]
    fn names_of_hosts_are_compared_in_one_form() {
        use crate::formats::BaseUrl;

        let base = BaseUrl::parse("http://[FD7A::1]:11434/v1").unwrap();
        assert_eq!(base.host(), "fd7a::1");
    }

    #[test]
    fn two_servers_with_one_model_are_two_providers() {
        let server = |port| Server {
            host: HERE.to_owned(),
            port,
            kind: Kind::LlamaCpp,
            models: vec!["m".to_owned()],
            formats: Formats::default(),
        };
        let text = configuration(
            &[server(8000), server(8080)],
            "127.0.0.1:8088".parse().unwrap(),
        );
        let providers = parse(&text, &|_| None).unwrap().file.providers;
        let names = providers
            .iter()
            .map(|(id, provider)| (id.as_str(), provider.name.as_str()));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                ("llamacpp", "llama.cpp on this machine"),
                ("llamacpp-8000", "llama.cpp on this machine, port 8000")
            ]
        );
    }
}
