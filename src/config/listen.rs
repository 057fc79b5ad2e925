//! The section `listen`: where the gateway listens, and under which names it is asked for.

use std::net::SocketAddr;

use serde_json::Value;

use super::address;
use super::declare::{Kind, Reader, Setting, TEXTS};
use super::section;
use super::table::Item;

/// Where local callers find a gateway off any tailnet unless the configuration says otherwise.
pub const LOOPBACK: &str = "127.0.0.1:8088";

section! {
    /// Where the gateway listens.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Listen {
        /// Port for HTTP on the tailnet; `""` for none.
        #[key(start)]
        http: Option<u16> = Some(80) => Port,
        /// Port for HTTPS on the tailnet, served where the tailnet has certificates; `""` for none.
        #[key(start)]
        https: Option<u16> = Some(443) => Port,
        /// Address for callers on this machine, such as `127.0.0.1:8088`; they are `(loopback)` in grants. Empty for none.
        #[key(start, example = r#""127.0.0.1:8088""#)]
        loopback: Option<SocketAddr> => Loopback,
        /// More names under which requests may come, besides the node's own, and URLs of reverse proxies in front, such as `https://ai.example.com`; see [REVERSE-PROXY.md](REVERSE-PROXY.md).
        names: Vec<String> => Names,
    }
}

/// A port such as `":80"`, or none.
struct Port;

impl Reader<Option<u16>> for Port {
    fn kind(&self) -> Kind {
        Kind::Port
    }

    fn read(&self, item: &Item<'_>) -> Option<Option<u16>> {
        let text = item.string()?;
        let port = text.strip_prefix(':').and_then(|port| port.parse().ok());
        if !text.is_empty() && port.is_none_or(|port: u16| port == 0) {
            let message =
                format!("invalid port {text:?}; write it as in \":80\", or \"\" for none");
            item.findings.error(item.node.at, item.parent(), message);
        }
        Some(port)
    }

    fn json(&self, port: &Option<u16>) -> Option<Value> {
        Some(
            port.map_or_else(String::new, |port| format!(":{port}"))
                .into(),
        )
    }
}

/// An address of this machine that nobody else reaches, or none.
struct Loopback;

impl Reader<Option<SocketAddr>> for Loopback {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn read(&self, item: &Item<'_>) -> Option<Option<SocketAddr>> {
        let text = item.string()?;
        let address: Option<SocketAddr> = text.parse().ok();
        if !text.is_empty() && address.is_none_or(|address| !address.ip().is_loopback()) {
            let message =
                format!("{text:?} is not a loopback address; write it as in \"127.0.0.1:8080\"");
            item.findings.error(item.node.at, item.parent(), message);
        }
        Some(address)
    }

    fn json(&self, address: &Option<SocketAddr>) -> Option<Value> {
        Some(
            address
                .map_or_else(String::new, |address| address.to_string())
                .into(),
        )
    }
}

/// Names under which requests may come. One that can't be a name would never match.
struct Names;

impl Reader<Vec<String>> for Names {
    fn kind(&self) -> Kind {
        TEXTS
    }

    fn read(&self, item: &Item<'_>) -> Option<Vec<String>> {
        let read = item.items()?.filter_map(|item| {
            let name = item.string()?.trim();
            if let Some(problem) = address::name_problem(name) {
                let message = format!("invalid name {:?}: it {problem}", address::shown_name(name));
                item.findings.error(item.node.at, &item.path, message);
            }
            Some(name.to_owned())
        });
        Some(read.collect())
    }

    fn json(&self, names: &Vec<String>) -> Option<Value> {
        names.json()
    }
}
