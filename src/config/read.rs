//! From the tree to [`File`], section by section.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::file::{File, Limits, Listen, Tailnet, Timeouts};
use super::table::{Item, Table};
use super::{
    access, address, chat, database, discover, exporters, grant, hooks, later, prices, provider,
    quotas, routing, subjects, tailnet,
};
use crate::base::memory;

pub(super) fn file(root: &Item<'_>) -> File {
    let Some(table) = root.table() else {
        return File::default();
    };
    let mut read = File {
        auto_cost_basis: true,
        tailnet: table
            .table("tailnet")
            .map(tailnet::read)
            .unwrap_or_default(),
        access: access::section(&table),
        ..File::default()
    };
    if let Some(item) = table.get("providers")
        && let Some(providers) = item.table()
    {
        for (id, item) in providers.named() {
            read.providers
                .extend(provider::read(id, &item).map(|read| (id.to_owned(), read)));
        }
    }
    read.groups = table
        .get("groups")
        .map(|item| groups(&item))
        .unwrap_or_default();
    if let Some(item) = table.get("grants") {
        read.grants = grant::read(&item, &read.tailnet.capabilities, &read.groups);
    }
    if let Some(item) = table.get("temp_grants") {
        let more = grant::read_legacy(&item, &read.groups);
        read.grants.extend(more);
    }
    read.listen = section(&table, "listen", listen);
    read.model_aliases = section(&table, "model_aliases", routing::aliases);
    read.default_models = section(&table, "default_models", routing::default_models);
    read.routing = section(&table, "routing", routing::read);
    read.limits = section(&table, "limits", limits);
    read.timeouts = section(&table, "timeouts", timeouts);
    if let Some(section) = table.table("database") {
        read.database = database::read(&section);
        section.finish();
    }
    read.quotas = table
        .get("quotas")
        .map(|item| quotas::read(&item))
        .unwrap_or_default();
    read.hooks = table
        .get("hooks")
        .map(|item| hooks::hooks(&item))
        .unwrap_or_default();
    read.guards = table
        .get("guards")
        .map(|item| hooks::guards(&item))
        .unwrap_or_default();
    read.exporters = table
        .get("exporters")
        .map(|item| exporters::read(&item))
        .unwrap_or_default();
    read.mcp = table.get("mcp").and_then(|item| later::mcp(&item));
    read.connectors = table
        .get("connectors")
        .map(|item| later::connectors(&item))
        .unwrap_or_default();
    read.prices = table
        .get("prices")
        .map(|item| prices::read(&item))
        .unwrap_or_default();
    if let Some(item) = table.get("auto_cost_basis") {
        read.auto_cost_basis = item.boolean().unwrap_or(true);
    }
    if let Some(item) = table.get("flags") {
        later::not_yet(&item, "flags");
        read.flags = flags(&item);
    }
    read.discover = section(&table, "discover", discover::read);
    read.chat = section(&table, "chat", chat::section);
    read.chat_models = table.get("chat_models").map(|item| chat::models(&item));
    // Where an editor finds the schema.
    table.string("$schema");
    whole(&table, &read);
    table.finish();
    read
}

/// A section that is an object, or the default without one.
fn section<'a, T: Default>(
    table: &Table<'a>,
    key: &'static str,
    read: impl FnOnce(Table<'a>) -> T,
) -> T {
    table.table(key).map(read).unwrap_or_default()
}

/// What only the whole document can tell.
fn whole(table: &Table<'_>, file: &File) {
    let warn = |message: &str| table.findings.warn(table.at, "", message);
    let servers = file.mcp.as_ref().is_some_and(|mcp| !mcp.servers.is_empty());
    if file.providers.is_empty() && !servers && file.connectors.is_empty() {
        warn("no providers or mcp servers defined; users will not be able to access any models");
    }
    // The tailnet policy can grant as well; a capability name of one's own says that it does.
    let by_policy = file.tailnet.capabilities != Tailnet::default().capabilities;
    if file.grants.is_empty() && !file.providers.is_empty() && !by_policy {
        warn(
            "providers are configured but no grants or temp_grants defined; all access will be denied",
        );
    }
    if file.database.retention.require_export && file.exporters.s3.is_none() {
        table.findings.warn(
            table.position("database"),
            "database.retention.require_export",
            "no exporter is configured, so nothing is ever purged",
        );
    }
    let is_admin = |raw: &serde_json::value::RawValue| {
        serde_json::from_str::<serde_json::Value>(raw.get())
            .is_ok_and(|object| object["role"] == "admin")
    };
    let some_admin = file.grants.iter().any(|grant| {
        let ours = grant
            .app
            .iter()
            .filter(|(name, _)| file.tailnet.capabilities.contains(name));
        ours.flat_map(|(_, objects)| objects)
            .any(|raw| is_admin(raw))
    });
    if !some_admin && !by_policy {
        warn(
            "no grant in grants or temp_grants assigns role:admin; nobody will be able to manage this instance",
        );
    }
}

fn listen(table: Table<'_>) -> Listen {
    let default = Listen::default();
    let port = |key: &'static str, default: Option<u16>| {
        let Some(text) = table.string(key) else {
            return default;
        };
        if text.is_empty() {
            return None;
        }
        let port = text.strip_prefix(':').and_then(|port| port.parse().ok());
        if port.is_none_or(|port: u16| port == 0) {
            let message =
                format!("invalid port {text:?}; write it as in \":80\", or \"\" for none");
            table
                .findings
                .error(table.position(key), &table.path, message);
        }
        port
    };
    let read = Listen {
        http: port("http", default.http),
        https: port("https", default.https),
        loopback: table
            .string("loopback")
            .filter(|text| !text.is_empty())
            .and_then(|text| {
                let address: Option<SocketAddr> = text.parse().ok();
                if address.is_none_or(|address| !address.ip().is_loopback()) {
                    let message = format!(
                        "{text:?} is not a loopback address; write it as in \"127.0.0.1:8080\""
                    );
                    table
                        .findings
                        .error(table.position("loopback"), &table.path, message);
                }
                address
            }),
        names: names(&table),
    };
    table.finish();
    read
}

/// Names under which requests may come. One that can't be a name would never match.
fn names(table: &Table<'_>) -> Vec<String> {
    let Some(items) = table.get("names").and_then(|item| item.items()) else {
        return Vec::new();
    };
    let read = items.filter_map(|item| {
        let name = item.string()?.trim();
        if let Some(problem) = address::name_problem(name) {
            let message = format!("invalid name {:?}: it {problem}", address::shown_name(name));
            item.findings.error(item.node.at, &item.path, message);
        }
        Some(name.to_owned())
    });
    read.collect()
}

fn groups(item: &Item<'_>) -> BTreeMap<String, Vec<String>> {
    let Some(table) = item.table() else {
        return BTreeMap::new();
    };
    table
        .named()
        .filter_map(|(name, item)| {
            if !name.starts_with("group:") {
                let message =
                    format!("invalid name of a group {name:?}: it must begin with \"group:\"");
                item.findings.error(item.node.at, &item.path, message);
            }
            subjects::of_group(&item);
            Some((name.to_owned(), item.strings()?))
        })
        .collect()
}

fn limits(table: Table<'_>) -> Limits {
    let default = Limits::default();
    let count = |key, default, range: std::ops::RangeInclusive<usize>| {
        let Some(item) = table.get(key) else {
            return default;
        };
        match item.integer().map(usize::try_from) {
            Some(Ok(value)) if range.contains(&value) => value,
            _ => {
                let message = format!("this is a number from {} to {}", range.start(), range.end());
                item.findings.error(item.node.at, &item.path, message);
                default
            }
        }
    };
    let read = Limits {
        request_body: count("request_body", default.request_body, 1..=1 << 32),
        // hyper needs 8 KiB to work with.
        request_head: count("request_head", default.request_head, 8 << 10..=16 << 20),
        connections: count("connections", default.connections, 1..=1 << 20),
        capture: count("capture", default.capture, 0..=64 << 20),
        memory: table
            .get("memory")
            .map(|_| count("memory", memory::LEAST, memory::LEAST..=1 << 40)),
    };
    table.finish();
    read
}

fn timeouts(table: Table<'_>) -> Timeouts {
    let default = Timeouts::default();
    let read = Timeouts {
        connect: table.duration("connect").unwrap_or(default.connect),
        head: table.duration("head").unwrap_or(default.head),
        body: table.duration("body").unwrap_or(default.body),
        first_byte: table.duration("first_byte").unwrap_or(default.first_byte),
        idle: table.duration("idle").unwrap_or(default.idle),
        total: table.duration("total").unwrap_or(default.total),
        shutdown: table.duration("shutdown").unwrap_or(default.shutdown),
    };
    table.finish();
    read
}

fn flags(item: &Item<'_>) -> BTreeMap<String, bool> {
    let Some(table) = item.table() else {
        return BTreeMap::new();
    };
    table
        .named()
        .filter_map(|(name, item)| {
            let flag = item.table()?;
            let value = flag.boolean("value")?;
            flag.finish();
            Some((name.to_owned(), value))
        })
        .collect()
}
