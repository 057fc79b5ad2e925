//! Problems across the sections of a configuration: names that nothing has, providers that are this
//! gateway, and settings without effect. The reader of the configuration checks each section alone.

use std::net::IpAddr;

use serde_json::value::RawValue;

use super::warning;
use crate::config::{self, Finding, Position, Strategy};
use crate::formats::known;
use crate::policy::access::{BucketRef, Capability, PathPattern, is_named};
use crate::wire::headers::CREDENTIALS;

/// All of them.
pub(super) fn across_sections(file: &config::File) -> Vec<Finding> {
    let mut findings = Vec::new();
    own_addresses(file, &mut findings);
    never_passing(file, &mut findings);
    unknown_providers(file, &mut findings);
    unasked_directly(file, &mut findings);
    unknown_servers(file, &mut findings);
    dangling_aliases(file, &mut findings);
    aliases_of_models(file, &mut findings);
    unlisted_defaults(file, &mut findings);
    budgets_without_threshold(file, &mut findings);
    undefined_names(file, &mut findings);
    findings
}

/// The capability objects of all grants, each with its place.
fn objects(file: &config::File) -> impl Iterator<Item = (Place, &RawValue)> {
    file.grants.iter().enumerate().flat_map(|(nth, grant)| {
        let ours = grant.app.iter();
        let ours = ours.filter(|(name, _)| file.tailnet.capabilities.contains(name));
        let objects = ours.flat_map(|(_, objects)| objects);
        objects.map(move |raw| (Place { nth, at: grant.at }, &**raw))
    })
}

/// Those that can be decoded.
fn capabilities(file: &config::File) -> impl Iterator<Item = (Place, Capability)> {
    objects(file).filter_map(|(place, raw)| Some((place, Capability::decode(raw).ok()?)))
}

/// A grant of the configuration.
struct Place {
    nth: usize,
    at: Position,
}

impl Place {
    fn warning(&self, message: String) -> Finding {
        warning(self.at, format!("grants[{}]", self.nth), message)
    }
}

/// Providers that are this gateway itself, as far as the configuration shows.
fn own_addresses(file: &config::File, findings: &mut Vec<Finding>) {
    for (id, provider) in &file.providers {
        let Ok(base) = &provider.base else {
            continue;
        };
        if provider.disabled || !is_own(file, provider.network, &base.host(), base.port()) {
            continue;
        }
        let message = format!(
            "the baseurl of provider {id} leads to this gateway itself, which refuses what comes back to it"
        );
        let hint = "expected the address of a model server or of another gateway";
        let path = format!("providers.{id}.baseurl");
        findings.push(warning(provider.at, path, message).hint(hint));
    }
}

/// Whether a host and port are this gateway's: what it listens on for local callers, or its name on
/// the tailnet.
fn is_own(file: &config::File, network: config::Network, host: &str, port: u16) -> bool {
    let address = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    if let Some(own) = file.listen.loopback
        && own.port() == port
    {
        let is_local = host == "localhost"
            || address.is_some_and(|ip| ip == own.ip() || ip.is_loopback() || ip.is_unspecified());
        if is_local {
            return true;
        }
    }
    let name = host.split_once('.').map_or(host, |(name, _)| name);
    let is_full = host.contains('.');
    file.tailnet.mode == config::Mode::Embedded
        && network != config::Network::Host
        && [file.listen.http, file.listen.https].contains(&Some(port))
        && name.eq_ignore_ascii_case(&file.tailnet.hostname)
        && (!is_full || host.ends_with(".ts.net"))
}

/// Parameters and keys that never pass, whatever a provider's configuration says.
fn never_passing(file: &config::File, findings: &mut Vec<Finding>) {
    for (id, provider) in &file.providers {
        let query = provider.pass_query.iter();
        let query = query.filter(|name| !known::query_may_pass(name));
        let keys = provider.pass_keys.iter();
        let keys = keys.filter(|name| !known::key_may_pass(name));
        let named = query.map(|name| ("pass_query", name));
        let named = named.chain(keys.map(|name| ("pass_keys", name)));
        for (list, name) in named {
            let message = format!(
                "provider {id}: {list} entry {name:?} never passes: what it asks for can't be \
                 counted, or chooses a model, an account or a destination"
            );
            let finding = warning(provider.at, format!("providers.{id}.{list}"), message);
            findings.push(finding.hint("remove it from the list"));
        }
    }
}

/// Grants for providers that are not declared.
fn unknown_providers(file: &config::File, findings: &mut Vec<Finding>) {
    for (place, object) in capabilities(file) {
        let models = object
            .models
            .iter()
            .map(|pattern| ("models", pattern.text()));
        let paths = object.direct_paths.iter();
        let paths = paths.map(|pattern| ("direct_paths", pattern.text()));
        for (key, text) in models.chain(paths) {
            let below = match key {
                "models" => Some(&*text),
                // The reader of grants has a finding for any other.
                _ => text.strip_prefix('/'),
            };
            let name = below.map(|text| text.split('/').next().unwrap_or_default());
            let Some(name) = name.filter(|name| *name != "**") else {
                continue;
            };
            // Nearly every pattern names one provider: looking through all of them for each grant
            // would take the square of their number.
            if !file.providers.contains_key(name)
                && !file.providers.keys().any(|id| is_named(id, name))
            {
                findings.push(place.warning(format!(
                    "{key} pattern \"{text}\" references provider \"{name}\" which does not match any declared provider"
                )));
            }
        }
    }
}

/// Grants of direct access to providers that can't be asked directly.
fn unasked_directly(file: &config::File, findings: &mut Vec<Finding>) {
    for (place, object) in capabilities(file) {
        for text in object.direct_paths.iter().map(PathPattern::text) {
            let name = text.strip_prefix('/').unwrap_or(&text);
            let name = name.split('/').next().unwrap_or_default();
            let Some(provider) = file.providers.get(name) else {
                continue;
            };
            let (why, hint) = if provider.disabled {
                ("is disabled", "enable it, or remove the pattern")
            } else if !has_credential(provider) {
                (
                    "takes only callers' own credentials, which direct access doesn't pass on",
                    "give it an apikey, or remove the pattern",
                )
            } else {
                continue;
            };
            let message =
                format!("direct_paths pattern \"{text}\" opens nothing: provider {name} {why}");
            findings.push(place.warning(message).hint(hint));
        }
    }
}

/// Whether a provider can be asked without a credential of a caller's.
fn has_credential(provider: &config::Provider) -> bool {
    let is_credential = |(name, _): &(String, String)| {
        let mut all = CREDENTIALS.iter();
        all.any(|one| one.eq_ignore_ascii_case(name))
    };
    provider.auth_mode != config::AuthMode::Passthrough
        || !provider.apikey.is_empty()
        || provider.apikeys.iter().any(|key| !key.is_empty())
        || provider.service_account.is_some()
        || provider.add_headers.iter().any(is_credential)
}

/// Grants for MCP servers that are not declared.
fn unknown_servers(file: &config::File, findings: &mut Vec<Finding>) {
    let servers = file.mcp.iter().flat_map(|mcp| mcp.servers.keys());
    let declared: Vec<&String> = servers.chain(file.connectors.servers.keys()).collect();
    for (place, raw) in objects(file) {
        let object: serde_json::Value = serde_json::from_str(raw.get()).unwrap_or_default();
        for field in ["mcp_tools", "mcp_resources", "mcp_templates"] {
            let pattern = object[field].as_str().unwrap_or("*");
            let name = pattern.split('/').next().unwrap_or_default();
            if !matches!(name, "*" | "**") && !declared.iter().any(|id| is_named(id, name)) {
                findings.push(place.warning(format!(
                    "{field} pattern \"{pattern}\" references server \"{name}\" which does not match any declared MCP server"
                )));
            }
        }
    }
}

/// Grants that name budgets, hooks or guardrails that are not defined.
fn undefined_names(file: &config::File, findings: &mut Vec<Finding>) {
    let refuses = "until it is defined, requests under this grant are refused";
    for (place, capability) in capabilities(file) {
        let mut warn = |message: String, hint: &str| {
            findings.push(place.warning(message).hint(hint));
        };
        let quotas = capability.quotas.iter().flat_map(BucketRef::names);
        for name in quotas.filter(|name| !file.quotas.contains_key(*name)) {
            warn(
                format!("quotas references undefined quota \"{name}\""),
                refuses,
            );
        }
        let hooks = capability.send_hooks.iter().map(|hook| &hook.name);
        for name in hooks.filter(|name| !file.hooks.contains_key(*name)) {
            let message = format!("send_hooks references undefined hook \"{name}\"");
            warn(message, "until it is defined, this hook is not called");
        }
        let guards = capability.guards.iter();
        for name in guards.filter(|name| !file.guards.contains_key(*name)) {
            warn(
                format!("guards references undefined guard \"{name}\""),
                refuses,
            );
        }
    }
}

/// Aliases for models that no provider lists.
fn dangling_aliases(file: &config::File, findings: &mut Vec<Finding>) {
    for (name, alias) in &file.model_aliases.models {
        for destination in alias.dst.iter().map(|one| &one.model) {
            let known = destination.split_once('/').is_some_and(|(id, model)| {
                let is_it = |listed: &String| {
                    listed == model || listed.strip_suffix(":latest") == Some(model)
                };
                let provider = file.providers.get(id);
                provider.is_some_and(|provider| provider.models.iter().any(is_it))
            });
            if !known {
                let message = format!(
                    "the alias {name:?} stands for {destination:?}, which no provider lists"
                );
                findings.push(of_alias(name, message));
            }
        }
    }
}

/// Aliases that wait for a budget to run low, where none has a threshold.
fn budgets_without_threshold(file: &config::File, findings: &mut Vec<Finding>) {
    let mut budgets = file.quotas.values().flatten();
    if budgets.any(|budget| budget.warn_below > 0) {
        return;
    }
    for (name, alias) in &file.model_aliases.models {
        if alias.strategy == Strategy::Budget {
            let message = format!(
                "the alias {name:?} has the strategy \"budget\", but no budget in `quotas` has a `warn_below`"
            );
            let hint = "with `warn_below`, the next destination is used below that amount";
            findings.push(of_alias(name, message).hint(hint));
        }
    }
}

/// Default models that neither an alias nor a provider has.
fn unlisted_defaults(file: &config::File, findings: &mut Vec<Finding>) {
    for (endpoint, name) in file.default_models.iter() {
        let lists = |(id, provider): (&String, &config::Provider)| {
            let own = name
                .strip_prefix(id.as_str())
                .and_then(|rest| rest.strip_prefix('/'));
            let is_it = |listed: &String| {
                let bare = listed.strip_suffix(":latest").unwrap_or(listed);
                [Some(name), own]
                    .into_iter()
                    .flatten()
                    .any(|name| name == listed || name == bare)
            };
            provider.models.iter().any(is_it)
        };
        if !file.model_aliases.models.contains_key(name) && !file.providers.iter().any(lists) {
            let message =
                format!("default_models.{endpoint} names {name:?}, which no provider lists");
            let path = format!("default_models.{endpoint}");
            findings.push(warning(Position::default(), path, message));
        }
    }
}

/// Aliases with the name of a model: requests for that model go to the alias's destinations.
fn aliases_of_models(file: &config::File, findings: &mut Vec<Finding>) {
    for (name, alias) in &file.model_aliases.models {
        let lists = |(id, provider): (&String, &config::Provider)| {
            let names = |model: &String| {
                let model = model
                    .strip_suffix(":latest")
                    .filter(|bare| bare == name)
                    .unwrap_or(model);
                let qualified = name
                    .strip_prefix(id.as_str())
                    .and_then(|rest| rest.strip_prefix('/'));
                model == name || qualified == Some(model)
            };
            let listed = provider.models.iter().find(|model| names(model))?;
            let itself = format!("{id}/{listed}");
            // An alias can bring several providers of one model together under its name.
            let includes_it = alias.dst.iter().any(|one| one.model == itself);
            (!includes_it).then_some(itself)
        };
        if let Some(hidden) = file.providers.iter().find_map(lists) {
            let message = format!(
                "the alias {name:?} has the name of the model {hidden:?}, so requests for {name:?} do not \
                 reach that model"
            );
            let hint = "rename the alias, or add the model to its `dst`";
            findings.push(of_alias(name, message).hint(hint));
        }
    }
}

fn of_alias(name: &str, message: String) -> Finding {
    let path = format!("model_aliases.models.{name}");
    warning(Position::default(), path, message)
}
