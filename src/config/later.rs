//! Sections that are read and checked in full, and whose behaviour comes later.

use indexmap::IndexMap;

use super::declare::{Holds, Kind, TEXTS, Way};
use super::readers::{Named, Words};
use super::section;
use super::table::Table;

section! {
    /// Legacy MCP servers.
    #[derive(Clone, Debug)]
    pub struct Mcp {
        /// Servers by id.
        servers: IndexMap<String, Server> => Named("id"),
        /// Whether servers may register themselves.
        accept_registrations: bool,
    }
}

section! {
    /// An MCP server.
    #[derive(Clone, Debug)]
    pub struct Server {
        /// Where it is.
        #[key(required, holds = Holds::Webhook)]
        url: String,
    }
}

section! {
    /// Connectors.
    #[derive(Clone, Debug)]
    pub struct Connectors {
        /// Connectors by id.
        servers: IndexMap<String, Connector> => Named("id"),
    }
}

section! {
    /// A connector.
    #[derive(Clone, Debug)]
    pub struct Connector {
        /// What it speaks.
        #[key(required)]
        protocol: String => Words(&["mcp", "http"]),
        /// Where it is.
        #[key(required, holds = Holds::Webhook)]
        url: String,
        /// Registry name.
        provider: String = "Custom".to_owned(),
        /// For listings.
        category: String,
        /// For listings.
        description: String,
        /// For grants by label.
        labels: Vec<String>,
        /// Credential; `type` says of which kind.
        auth: Option<String> => Way::new(CREDENTIAL, |item| {
            item.table().map(|table| table.string("type"))
        }),
    }
    check: check_connector
}

section! {
    /// A feature flag.
    #[derive(Clone, Debug)]
    pub struct Flag {
        /// Whether it is on.
        #[key(required)]
        value: bool,
    }
}

/// An object of which only the kind is read.
const CREDENTIAL: Kind = Kind::Map("key", &Kind::Any(&[Kind::Text, Kind::Flag, TEXTS]));

fn check_connector(read: Connector, table: &Table<'_>) -> Connector {
    let id = table.name;
    let warn = |message: String| table.warn(message);
    if read.url.is_empty() {
        warn(format!("connector {id} has no url configured"));
    }
    if !matches!(read.protocol.as_str(), "mcp" | "http") {
        warn(format!("connector {id}: protocol is \"mcp\" or \"http\""));
    }
    read
}
