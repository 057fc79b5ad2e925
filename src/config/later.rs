//! Sections that are read and checked in full, and whose behaviour comes later.

use std::time::Duration;

use indexmap::IndexMap;

use super::finding::Severity;
use super::table::Item;
use crate::secret::Secret;

/// The S3 exporter.
#[derive(Clone, Debug)]
pub struct S3 {
    /// Empty for AWS.
    pub endpoint: String,
    /// Bucket.
    pub bucket_name: String,
    /// Region.
    pub region: String,
    /// In front of object names.
    pub prefix: String,
    /// Key id.
    pub access_key_id: Secret,
    /// Key.
    pub access_secret: Secret,
    /// Between two exports.
    pub every: Duration,
    /// Records an export.
    pub limit: u32,
}

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

pub(super) fn exporters(item: &Item<'_>) -> Option<S3> {
    not_yet(item, "exporters");
    let all = item.table()?;
    let table = all.table("s3")?;
    all.finish();
    let prefix = table.string("prefix").unwrap_or_default();
    if prefix.ends_with('/') {
        let message = "exporters.s3.prefix must not end with a slash";
        table
            .findings
            .warn(table.position("prefix"), &table.path, message);
    }
    let secret = |key| Secret::new(table.string(key).unwrap_or_default());
    let positive = |key, default: u32| {
        table
            .integer(key)
            .and_then(|value| u32::try_from(value).ok())
            .unwrap_or(default)
    };
    let s3 = S3 {
        endpoint: table.string("endpoint").unwrap_or_default(),
        bucket_name: table.string("bucket_name").unwrap_or_default(),
        region: table
            .string("region")
            .unwrap_or_else(|| "us-east-1".to_owned()),
        prefix,
        access_key_id: secret("access_key_id"),
        access_secret: secret("access_secret"),
        every: Duration::from_secs(positive("every", 3_600).into()),
        limit: positive("limit", 1_000).min(10_000),
    };
    table.finish();
    Some(s3)
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
    let Some(all) = item.table().and_then(|table| table.table("servers")) else {
        return IndexMap::new();
    };
    all.named()
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
