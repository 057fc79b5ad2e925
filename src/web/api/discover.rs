//! Model servers nearby, and one of them as a provider: the configuration is edited in its text
//! and saved as any other change is.

use http::{HeaderMap, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Asked, View, config as saved};
use crate::client::discovery::{self, Kind, Server};
use crate::config;
use crate::wire::{Body, Rejection};

/// A server that an admin wants as a provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Discovered {
    baseurl: String,
}

/// What was found, and where it was looked for.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// Names and addresses.
    pub hosts: Vec<String>,
    /// Of each of them.
    pub ports: Vec<u16>,
    /// Whether there was time for all.
    pub complete: bool,
    /// In the order of the hosts' names.
    pub servers: Vec<Row>,
}

/// A server.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What it is.
    pub kind: Kind,
    /// For people.
    pub name: &'static str,
    /// Its URL.
    pub baseurl: String,
    /// What it lists.
    pub models: Vec<String>,
    /// What it speaks.
    pub formats: Vec<&'static str>,
    /// The provider that covers it already.
    pub provider: Option<String>,
}

/// Where is looked: hosts, and ports of each.
pub(crate) fn places(view: &View<'_>) -> (Vec<String>, Vec<u16>) {
    let hosts = discovery::hosts(&view.rules.file, own_name(view));
    (hosts, Kind::USUAL.map(|(_, port)| port).to_vec())
}

fn own_name<'v>(view: &'v View<'_>) -> Option<&'v str> {
    view.node.as_ref()?.dns_name.as_deref()
}

/// Looks, one after the other.
pub(crate) async fn look(view: &View<'_>) -> Found {
    let _one = view.looking.lock().await;
    let (hosts, ports) = places(view);
    let file = &view.rules.file;
    let (servers, complete) = discovery::servers(view.upstream, &hosts, file.listen.loopback).await;
    let row = |server: Server| Row {
        kind: server.kind,
        name: server.kind.name(),
        baseurl: server.baseurl(),
        provider: discovery::covering(file, &server, own_name(view)).map(str::to_owned),
        formats: server.formats.names(),
        models: server.models,
    };
    Found {
        hosts,
        ports,
        complete,
        servers: servers.into_iter().map(row).collect(),
    }
}

/// `GET /api/discover`.
pub(super) async fn discover(view: &View<'_>, _: &Asked<'_>) -> Result<Response<Body>, Rejection> {
    let found = look(view).await;
    Ok(super::json(
        &serde_json::to_value(found).unwrap_or_default(),
    ))
}

/// `POST /api/discover`.
pub(super) async fn add(
    view: &View<'_>,
    asked: &Asked<'_>,
    headers: &HeaderMap,
    wanted: &Discovered,
) -> Result<Response<Body>, Rejection> {
    let expected = saved::if_match(view, headers)?;
    let (hosts, _) = places(view);
    let ourselves = view.rules.file.listen.loopback;
    // Asked once more: what is written down is what is there.
    let found = discovery::server(view.upstream, &hosts, ourselves, &wanted.baseurl).await;
    let Some(server) = found else {
        return Err(Rejection::new(
            StatusCode::NOT_FOUND,
            "no_such_server",
            "no model server is found there; look again",
        ));
    };
    let file = &view.rules.file;
    if let Some(provider) = discovery::covering(file, &server, own_name(view)) {
        return Err(Rejection::new(
            StatusCode::CONFLICT,
            "already_provider",
            format!("the provider {provider} is this server already"),
        ));
    }
    let id = server.free_id(|id| file.providers.contains_key(id));
    let (text, _) = saved::shown(view)?;
    let text = config::with_provider(&text, &id, &server.provider())
        .map_err(|finding| saved::invalid(&[finding]))?;
    let tag = saved::save(view, asked, &expected, &text, saved::How::Saved).await?;
    Ok(super::json(&json!({ "provider": id, "hash": tag })))
}
