//! The section `listen`: where the gateway listens, and under which names it is asked for.

use std::net::SocketAddr;

use super::address;
use super::declare::{Kind, Setting, TEXTS, Way};
use super::section;

/// Where local callers find a gateway off any tailnet unless the configuration says otherwise.
pub const LOOPBACK: &str = "127.0.0.1:8088";

section! {
    /// Where the gateway listens.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Listen {
        /// Port for HTTP on the tailnet; `""` for none.
        #[key(start)]
        http: Option<u16> = Some(80) => PORT,
        /// Port for HTTPS on the tailnet, served where the tailnet has certificates; `""` for none.
        #[key(start)]
        https: Option<u16> = Some(443) => PORT,
        /// Address for callers on this machine, such as `127.0.0.1:8088`; they are `(loopback)` in grants. Empty for none.
        #[key(start, example = r#""127.0.0.1:8088""#)]
        loopback: Option<SocketAddr> => ADDRESS,
        /// More names under which requests may come, besides the node's own, and URLs of reverse proxies in front, such as `https://ai.example.com`; see [REVERSE-PROXY.md](REVERSE-PROXY.md).
        names: Vec<String> => NAMES,
    }
}

/// A port such as `":80"`, or none.
const PORT: Way<Option<u16>> = Way::new(Kind::Port, |item| {
    let text = item.string()?;
    let port = text.strip_prefix(':').and_then(|port| port.parse().ok());
    if !text.is_empty() && port.is_none_or(|port: u16| port == 0) {
        let message = format!("invalid port {text:?}; write it as in \":80\", or \"\" for none");
        item.error_of_parent(message);
    }
    Some(port)
})
.json(|port| {
    Some(
        port.map_or_else(String::new, |port| format!(":{port}"))
            .into(),
    )
});

/// An address of this machine that nobody else reaches, or none.
const ADDRESS: Way<Option<SocketAddr>> = Way::new(Kind::Text, |item| {
    let text = item.string()?;
    let address: Option<SocketAddr> = text.parse().ok();
    if !text.is_empty() && address.is_none_or(|address| !address.ip().is_loopback()) {
        let message =
            format!("{text:?} is not a loopback address; write it as in \"127.0.0.1:8080\"");
        item.error_of_parent(message);
    }
    Some(address)
})
.json(|address| {
    Some(
        address
            .map_or_else(String::new, |address| address.to_string())
            .into(),
    )
});

/// Names under which requests may come. One that can't be a name would never match.
const NAMES: Way<Vec<String>> = Way::new(TEXTS, |item| {
    let read = item.items()?.filter_map(|item| {
        let name = item.string()?.trim();
        if let Some(problem) = address::name_problem(name) {
            let shown = address::shown_name(name);
            item.error(format!("invalid name {shown:?}: it {problem}"));
        }
        Some(name.to_owned())
    });
    Some(read.collect())
})
.json(Setting::json);
