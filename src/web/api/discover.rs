//! `/api/discover`: model servers nearby, and one of them as a provider. The configuration is
//! edited in its text and saved as any other change is.

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config as saved;
use super::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::client::discovery::{self, Kind, Server};
use crate::config;
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(super) const GET: Endpoint = Endpoint {
    path: "/api/discover",
    name: "Discover",
    about: "Looks for model servers on this machine and on the nodes that the configuration names.",
    answer: json_of::<Discovery>(),
    handler: Handler::Admin(|call| {
        Box::pin(async move { Ok(super::json(&look(call.reader).await)) })
    }),
    ..Endpoint::GET
};

pub(super) const POST: Endpoint = Endpoint {
    method: &Method::POST,
    path: "/api/discover",
    name: "AddProvider",
    about: "Adds a server that is found there to the providers of the configuration that has the `ETag` in `If-Match`.",
    body: Some(taken::<Discovered>()),
    answer: json_of::<Added>(),
    handler: Handler::Admin(|call| Box::pin(add(call))),
    ..saved::CHANGE_BY_TAG
};

/// A server that an admin wants as a provider.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Discovered {
    /// As it was found.
    baseurl: String,
}

#[derive(Serialize, JsonSchema)]
struct Added {
    /// Its id.
    provider: String,
    hash: String,
}

/// What was found, and where it was looked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct Discovery {
    /// Names and addresses.
    pub hosts: Vec<String>,
    /// Of each of them.
    pub ports: Vec<u16>,
    /// False when the time was over before every host had answered.
    pub complete: bool,
    /// In the order of the hosts' names.
    pub servers: Vec<Row>,
}

/// A server.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::web) struct Row {
    /// What it is.
    #[schemars(with = "String")]
    pub kind: Kind,
    /// For people.
    pub name: &'static str,
    /// Its URL.
    pub baseurl: String,
    /// What it lists.
    pub models: Vec<String>,
    /// chat, responses, messages, `count_tokens`, embeddings, ollama.
    pub formats: Vec<&'static str>,
    /// The provider that covers it already.
    pub provider: Option<String>,
}

/// Where servers are looked for: hosts, and ports of each.
pub(in crate::web) fn places(reader: &Reader<'_>) -> (Vec<String>, Vec<u16>) {
    let hosts = discovery::hosts(&reader.rules.file, own_name(reader).as_deref());
    (hosts, Kind::USUAL.map(|(_, port)| port).to_vec())
}

fn own_name(reader: &Reader<'_>) -> Option<String> {
    reader.engines.node_status()?.dns_name
}

/// Looks, one after the other.
pub(in crate::web) async fn look(reader: &Reader<'_>) -> Discovery {
    let _one = reader.engines.management.looking.lock().await;
    let (hosts, ports) = places(reader);
    let file = &reader.rules.file;
    let (client, ourselves) = (
        &reader.engines.gateway.upstream.client,
        file.listen.loopback,
    );
    let (servers, complete) = discovery::servers(client, &hosts, ourselves, &[]).await;
    let own_name = own_name(reader);
    let row = |server: Server| Row {
        kind: server.kind,
        name: server.kind.name(),
        baseurl: server.baseurl(),
        provider: discovery::covering(file, &server, own_name.as_deref()).map(str::to_owned),
        formats: server.formats.names(),
        models: server.models,
    };
    Discovery {
        hosts,
        ports,
        complete,
        servers: servers.into_iter().map(row).collect(),
    }
}

async fn add(call: Call<'_>) -> Reply {
    let wanted: Discovered = call.body()?;
    let reader = call.reader;
    let expected = saved::if_match(reader, &call.head.headers)?;
    let (hosts, _) = places(reader);
    let file = &reader.rules.file;
    let (client, ourselves) = (
        &reader.engines.gateway.upstream.client,
        file.listen.loopback,
    );
    // Asked once more: what is written down is what is there.
    let found = discovery::server(client, &hosts, ourselves, &wanted.baseurl).await;
    let Some(server) = found else {
        let why = "no model server is found there; look again";
        return Err(Rejection::new(StatusCode::NOT_FOUND, "no_such_server", why));
    };
    if let Some(provider) = discovery::covering(file, &server, own_name(reader).as_deref()) {
        let why = format!("the provider {provider} is this server already");
        let status = StatusCode::CONFLICT;
        return Err(Rejection::new(status, "already_provider", why));
    }
    let id = server.free_id(|id| file.providers.contains_key(id));
    let (text, _) = saved::shown(reader)?;
    let text = config::with_provider(&text, &id, &server.provider())
        .map_err(|finding| saved::invalid(&[finding]))?;
    let how = saved::How::Saved;
    let hash = saved::save(reader, &expected, &text, how).await?;
    Ok(super::json(&Added { provider: id, hash }))
}
