//! Sections that are read and checked in full, and whose behaviour comes later.

use indexmap::IndexMap;

use super::finding::Severity;
use super::table::{Item, Table};

/// Legacy MCP servers.
#[derive(Clone, Debug)]
pub struct Mcp {
    /// Whether servers may register themselves.
    pub accept_registrations: bool,
    /// URL by id.
    pub servers: IndexMap<String, String>,
}

/// A connector.
#[derive(Clone, Debug)]
pub struct Connector {
    /// `mcp` or `http`.
    pub protocol: String,
    /// Where it is.
    pub url: String,
    /// Registry name.
    pub provider: String,
    /// For listings.
    pub category: String,
    /// For listings.
    pub description: String,
    /// For grants by label.
    pub labels: Vec<String>,
    /// Kind of credential; empty for none.
    pub auth: String,
}

/// Notes that a section does nothing yet.
pub(super) fn not_yet(item: &Item<'_>, what: &str) {
    let message = format!("{what:?} is accepted and not yet acting");
    let finding = super::Finding::new(Severity::Note, item.node.at, &item.path, message);
    item.findings.add(finding);
}

pub(super) fn mcp(item: &Item<'_>) -> Option<Mcp> {
    not_yet(item, "mcp");
    let table = item.table()?;
    let mut servers = IndexMap::new();
    if let Some(all) = table.table("servers") {
        for (id, item) in all.named() {
            let Some(server) = item.table() else { continue };
            servers.insert(id.to_owned(), server.string("url").unwrap_or_default());
            server.finish();
        }
    }
    let accept_registrations = table.boolean("accept_registrations").unwrap_or_default();
    table.finish();
    Some(Mcp {
        accept_registrations,
        servers,
    })
}

pub(super) fn connectors(item: &Item<'_>) -> IndexMap<String, Connector> {
    not_yet(item, "connectors");
    let Some(table) = item.table() else {
        return IndexMap::new();
    };
    let all = table.table("servers");
    table.finish();
    all.iter()
        .flat_map(Table::named)
        .filter_map(|(id, item)| {
            let table = item.table()?;
            let auth = table.table("auth").and_then(|auth| auth.string("type"));
            let connector = Connector {
                protocol: table.string("protocol").unwrap_or_default(),
                url: table.string("url").unwrap_or_default(),
                provider: table
                    .string("provider")
                    .unwrap_or_else(|| "Custom".to_owned()),
                category: table.string("category").unwrap_or_default(),
                description: table.string("description").unwrap_or_default(),
                labels: table.strings("labels").unwrap_or_default(),
                auth: auth.unwrap_or_default(),
            };
            if connector.url.is_empty() {
                let message = format!("connector {id} has no url configured");
                item.findings.warn(item.node.at, &item.path, message);
            }
            if !matches!(connector.protocol.as_str(), "mcp" | "http") {
                let message = format!("connector {id}: protocol is \"mcp\" or \"http\"");
                item.findings.warn(item.node.at, &item.path, message);
            }
            table.finish();
            Some((id.to_owned(), connector))
        })
        .collect()
}
