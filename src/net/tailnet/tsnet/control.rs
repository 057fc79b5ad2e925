//! A control server inside this process (`go/control`), for a tailnet that exists as long as the
//! demo does: no account, no download, nothing outside loopback.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::blocking;
use super::ffi::{self, Call};
use crate::net::tailnet::Error;

/// A whole tailnet: who may join, and what its packet filter allows. There is no `Debug`: it would
/// print the keys.
#[derive(Serialize)]
pub struct Network {
    /// The `MagicDNS` suffix of every node.
    pub domain: String,
    /// The nodes that may join.
    pub nodes: Vec<Member>,
    /// Rules of the packet filter, grants included: a list of `tailcfg.FilterRule` as JSON.
    pub filter: Value,
}

/// A node that may join, and whose it is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    /// The node's name.
    pub hostname: String,
    /// What the node joins with, once.
    pub auth_key: String,
    /// Its address on the tailnet.
    pub address: Ipv4Addr,
    #[serde(flatten)]
    pub owner: Owner,
}

/// Who a node belongs to.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "PascalCase")]
pub enum Owner {
    /// A person.
    Person { login: String, name: String },
    /// Nobody: a service, by its tags.
    Tags { tags: Vec<String> },
}

/// A running control server. It ends when this is dropped.
pub struct Control {
    handle: i64,
    url: String,
}

#[derive(Deserialize)]
struct Opened {
    url: String,
}

impl Control {
    /// Starts one on free loopback ports.
    ///
    /// # Errors
    /// If no port is free, or in a build without the feature `tailnet`.
    pub async fn start(network: &Network) -> Result<Self, Error> {
        let request = serde_json::to_vec(network)?;
        let (handle, reply) = blocking(move || ffi::open(Call::ControlOpen, &request)).await?;
        let Opened { url } = serde_json::from_slice(&reply)?;
        Ok(Self { handle, url })
    }

    /// What nodes take as `control_url`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Replaces the packet filter. Every node learns of it at once.
    ///
    /// # Errors
    /// If the rules aren't a list of `tailcfg.FilterRule`.
    pub async fn set_filter(&self, filter: &Value) -> Result<(), Error> {
        let (handle, request) = (self.handle, serde_json::to_vec(filter)?);
        blocking(move || ffi::ask(Call::ControlFilter, handle, &request))
            .await
            .map(drop)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It closes its sockets and waits for nothing.
        if let Err(error) = ffi::ask(Call::ControlClose, self.handle, b"") {
            tracing::warn!(%error, "the control server did not close");
        }
    }
}
