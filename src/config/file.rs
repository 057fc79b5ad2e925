//! The document as a whole: its sections, and what only all of them together can tell.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::json;

use super::access::Access;
use super::chat::{self, Chat, ChatModel};
use super::database::Database;
use super::declare::{Kind, Setting, TEXTS, Way};
use super::discover::Discover;
use super::exporters::Exporters;
use super::grant::{self, Grant, LegacyGrant};
use super::guards::Guard;
use super::hooks::Hook;
use super::later::{Connectors, Flag, Mcp};
use super::limits::{Limits, Timeouts};
use super::listen::Listen;
use super::provider::Provider;
use super::quotas::Quota;
use super::readers::{Named, Perhaps};
use super::records::Records;
use super::routing::{Aliases, DefaultModels, Routing};
use super::section;
use super::subjects;
use super::table::{Item, Table};
use super::tailnet::Tailnet;
use super::within::{Declared, Within};
use crate::base::money::Price;

section! {
    /// A whole configuration.
    #[derive(Clone, Debug)]
    pub struct File {
        /// Where an editor finds the JSON Schema. Iris itself ignores it.
        schema as "$schema": Option<String>,
        /// How the gateway is on a tailnet.
        tailnet: Tailnet,
        /// Where it listens.
        listen: Listen,
        /// Who serves models. The id is the first part of `provider/model`, and holds no `/`, `*` or blank.
        providers: IndexMap<String, Provider> => Named("id"),
        /// Who may do what; see [GRANTS.md](GRANTS.md). Whom no grant names gets nothing.
        // Those of `temp_grants` stand here last.
        #[key(default = Some(json!([])))]
        grants: Vec<Grant> => Way::described(Vec::<Grant>::KIND),
        /// Grants in Aperture's old form. They mean the same as today's.
        temp_grants: Vec<LegacyGrant>,
        /// Groups of your own: logins and tags. Groups of the tailnet policy need nothing here.
        groups: BTreeMap<String, Vec<String>> => Way::new(Kind::Map("group:name", &TEXTS), groups),
        /// What being an admin does not imply; see [MANAGEMENT.md](MANAGEMENT.md).
        access: Access,
        /// Other names for models; see [ROUTING.md](ROUTING.md).
        model_aliases: Aliases,
        /// Models of requests that name none, where OpenAI's API allows that. Names as in a request.
        default_models: DefaultModels,
        /// The way among providers that could all answer; see [ROUTING.md](ROUTING.md).
        routing: Routing,
        /// Budgets and limits; see [BUDGETS.md](BUDGETS.md). `<user>`, `<node>` or `<label.project>` behind a colon gives each user, node or value of the label its own.
        quotas: IndexMap<String, Quota> => Named("bucket"),
        /// What is looked for in requests without asking anybody; see [GUARDRAILS.md](GUARDRAILS.md).
        guards: IndexMap<String, Guard> => Named("name"),
        /// Webhooks that are asked before a request or told after it; see [GUARDRAILS.md](GUARDRAILS.md).
        hooks: IndexMap<String, Hook> => Named("name"),
        /// Where records go besides; see [EXPORTS.md](EXPORTS.md).
        exporters: Exporters,
        /// Where records are kept, and for how long; see [LEDGER.md](LEDGER.md).
        database: Database,
        /// How records are written; see [LEDGER.md](LEDGER.md).
        records: Records,
        /// Prices that win over the built-in ones, by `model` or `provider/model`; see [PRICING.md](PRICING.md).
        prices: IndexMap<String, Price> => Named("model"),
        /// Whether a provider's price list is inferred from its URL and formats.
        auto_cost_basis: bool = true,
        /// How the chat is; see [DASHBOARD.md](DASHBOARD.md).
        chat: Chat,
        /// The models that the chat offers, in this order, and what it calls them; without it, all that one may use.
        chat_models: Option<Vec<ChatModel>> => Perhaps(Way::new(chat::MODELS, chat::models)),
        /// Where model servers are looked for when an admin asks; see [DASHBOARD.md](DASHBOARD.md).
        discover: Discover,
        /// Bounds in bytes and connections.
        limits: Limits,
        /// Time limits; `"0"` turns one off.
        timeouts: Timeouts,
        /// MCP servers in Aperture's old form.
        #[key(idle)]
        mcp: Option<Mcp>,
        /// Connectors.
        #[key(idle)]
        connectors: Connectors,
        /// Feature flags of Aperture.
        #[key(idle)]
        flags: IndexMap<String, Flag> => Named("flag"),
    }
    check: check
}

impl File {
    /// The document, from which each key below it is found.
    pub(super) fn within<'a>() -> Within<'a> {
        static DECLARED: LazyLock<Declared> = LazyLock::new(|| Declared::below(File::KIND));
        Within::of(&DECLARED)
    }
}

/// Groups of the configuration, and their members.
fn groups(item: &Item<'_>) -> Option<BTreeMap<String, Vec<String>>> {
    let table = item.table()?;
    let read = table.named().filter_map(|(name, item)| {
        if !name.starts_with("group:") {
            let message =
                format!("invalid name of a group {name:?}: it must begin with \"group:\"");
            item.error(message);
        }
        subjects::of_group(&item);
        Some((name.to_owned(), item.strings()?))
    });
    Some(read.collect())
}

/// What only the whole document can tell.
fn check(mut file: File, table: &Table<'_>) -> File {
    if let Some(item) = table.get("grants") {
        file.grants = grant::read(&item, &file.tailnet.capabilities, &file.groups);
    }
    if let Some(item) = table.get("temp_grants") {
        grant::check_legacy(&item, &file.groups);
    }
    let legacy = std::mem::take(&mut file.temp_grants);
    file.grants
        .extend(legacy.into_iter().map(LegacyGrant::modern));
    let warn = |message: &str| table.findings.warn(table.at, "", message);
    let servers = file.mcp.as_ref().is_some_and(|mcp| !mcp.servers.is_empty());
    if file.providers.is_empty() && !servers && file.connectors.servers.is_empty() {
        warn("no providers or mcp servers defined; users will not be able to access any models");
    }
    // The tailnet policy can grant as well; a custom capability name says that it does.
    let by_policy = file.tailnet.capabilities != Tailnet::default().capabilities;
    if file.grants.is_empty() && !file.providers.is_empty() && !by_policy {
        warn(
            "providers are configured but no grants or temp_grants defined; all access will be denied",
        );
    }
    if file.database.retention.require_export && !file.exporters.have_archive() {
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
    file
}
