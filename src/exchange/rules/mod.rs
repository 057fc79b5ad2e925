//! What a configuration compiles to: immutable, replaced whole on reload. A request takes
//! one at its start and keeps it to its end.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::config::{self, Finding, Severity};
use crate::exchange::guardrails::Guards;
use crate::formats::known;
use crate::policy::access::{Access, BucketRef, Capability, is_named};
use crate::policy::budget::Definitions;
use crate::policy::pricing::Prices;
use crate::policy::route::{Ambiguous, RouteTable};

/// Compiled rules.
pub struct Rules {
    /// Who may do what.
    pub access: Access,
    /// Which provider serves what.
    pub routes: RouteTable,
    /// What it costs there.
    pub prices: Arc<Prices>,
    /// What pays for it.
    pub quotas: Definitions,
    /// What is looked for in it.
    pub guards: Arc<Guards>,
    /// Longest request body in bytes.
    pub request_body: usize,
    /// Longest silence while a request body arrives.
    pub body_idle: std::time::Duration,
    /// Headers by which records can be found.
    pub filterable: Filterable,
    /// The configuration itself, for those who show it.
    pub file: config::File,
    /// What its check found: warnings and notes.
    pub findings: Vec<Finding>,
    /// Grows with each reload of a process.
    pub generation: u64,
}

impl Rules {
    /// Compiles a configuration. What makes no sense across its sections joins the findings.
    #[must_use]
    pub fn compile(loaded: config::Loaded, generation: u64) -> Self {
        let config::Loaded { file, mut findings } = loaded;
        let (routes, unusable) = RouteTable::compile(&file);
        for (id, problem) in unusable {
            let provider = &file.providers[&id];
            // A missing one has its finding already.
            if !provider.baseurl.is_empty() {
                let path = format!("providers.{id}.baseurl");
                let message =
                    format!("baseurl of provider {id} {problem}; nothing is routed to it");
                findings.push(Finding::new(Severity::Warning, provider.at, path, message));
            }
        }
        for Ambiguous {
            name,
            meant,
            others,
        } in routes.ambiguous()
        {
            let message = format!(
                "{name:?} is a model of provider {meant}, and {} list{} a model by that whole name: \
                 {name:?} means the one of {meant}",
                others.join(", "),
                if others.len() == 1 { "s" } else { "" }
            );
            let path = format!("providers.{}.models", others[0]);
            let at = file.providers[others[0]].at;
            let hint = format!("to use the other, write \"{}/{name}\"", others[0]);
            findings.push(Finding::new(Severity::Warning, at, path, message).hint(hint));
        }
        let (prices, malformed) = Prices::compile(&file);
        for (id, pattern) in malformed {
            let path = format!("providers.{id}.model_cost_map");
            let message = format!("{pattern:?} is not a valid pattern and matches nothing");
            let at = file.providers[&id].at;
            findings.push(Finding::new(Severity::Warning, at, path, message));
        }
        let (guards, problems) = Guards::compile(&file);
        for (name, problem) in problems {
            let message = format!("guard {name}: {problem}");
            let at = config::Position::default();
            let path = format!("guards.{name}");
            let finding = Finding::new(Severity::Warning, at, path, message);
            let hint = "until this is fixed, requests that it should inspect are refused";
            findings.push(finding.hint(hint));
        }
        own_addresses(&file, &mut findings);
        never_passing(&file, &mut findings);
        dangling_patterns(&file, &mut findings);
        dangling_servers(&file, &mut findings);
        dangling_aliases(&file, &mut findings);
        aliases_of_models(&file, &mut findings);
        unlisted_defaults(&file, &mut findings);
        dangling_names(&file, &mut findings);
        findings.sort_by_key(|finding| finding.at);
        Self {
            access: Access::compile(&file),
            routes,
            prices: Arc::new(prices),
            quotas: Definitions::compile(&file),
            guards: Arc::new(guards),
            request_body: file.limits.request_body,
            body_idle: file.timeouts.body,
            filterable: Filterable::compile(&file),
            file,
            findings,
            generation,
        }
    }
}

/// Headers of requests and answers that are recorded, so that reports can be filtered by them.
#[derive(Debug, Default)]
pub struct Filterable(Vec<(HeaderName, bool)>);

impl Filterable {
    fn compile(file: &config::File) -> Self {
        let named = file.database.headers.filterable.iter();
        Self(
            named
                .filter_map(|header| Some((header.name.parse().ok()?, header.redact_values)))
                .collect(),
        )
    }

    /// Those among `headers`, with an empty value where only their presence is recorded.
    pub fn of<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = (String, String)> + 'a {
        self.0.iter().filter_map(|(name, redact)| {
            let value = headers.get(name)?;
            let shown = if *redact || value.is_sensitive() {
                String::new()
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            };
            Some((name.as_str().to_owned(), shown))
        })
    }
}

/// Providers that are this gateway itself, as far as the configuration tells.
fn own_addresses(file: &config::File, findings: &mut Vec<Finding>) {
    for (id, provider) in &file.providers {
        let Ok(base) = &provider.base else {
            continue;
        };
        if provider.disabled || !is_own(file, provider.network, &base.host(), base.port()) {
            continue;
        }
        let path = format!("providers.{id}.baseurl");
        let message = format!(
            "the baseurl of provider {id} leads to this gateway itself, which refuses what comes back to it"
        );
        let hint = "expected the address of a model server or of another gateway";
        findings.push(Finding::new(Severity::Warning, provider.at, path, message).hint(hint));
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

/// Parameters and keys that no provider's configuration can let through.
fn never_passing(file: &config::File, findings: &mut Vec<Finding>) {
    for (id, provider) in &file.providers {
        let query = provider.pass_query.iter();
        let query = query.filter(|name| !known::query_may_pass(name));
        let keys = provider.pass_keys.iter();
        let keys = keys.filter(|name| !known::key_may_pass(name));
        let named = query.map(|name| ("pass_query", name));
        for (list, name) in named.chain(keys.map(|name| ("pass_keys", name))) {
            let message = format!(
                "provider {id}: {list} entry {name:?} never passes: what it asks for can't be \
                 counted, or chooses a model, an account or a destination"
            );
            let path = format!("providers.{id}.{list}");
            let finding = Finding::new(Severity::Warning, provider.at, path, message);
            findings.push(finding.hint("remove it from the list"));
        }
    }
}

/// Grants for providers that are not declared.
fn dangling_patterns(file: &config::File, findings: &mut Vec<Finding>) {
    for (nth, grant) in file.grants.iter().enumerate() {
        let ours = grant
            .app
            .iter()
            .filter(|(name, _)| file.tailnet.capabilities.contains(name));
        for pattern in ours
            .flat_map(|(_, objects)| objects)
            .filter_map(|raw| Capability::decode(raw).ok()?.models)
        {
            let text = pattern.to_string();
            let name = text.split('/').next().unwrap_or_default();
            // Nearly every pattern names one provider: looking through all of them for each grant
            // would take the square of their number.
            if name != "**"
                && !file.providers.contains_key(name)
                && !file.providers.keys().any(|id| is_named(id, name))
            {
                let message = format!(
                    "models pattern \"{text}\" references provider \"{name}\" which does not match any declared provider"
                );
                let path = format!("grants[{nth}]");
                findings.push(Finding::new(Severity::Warning, grant.at, path, message));
            }
        }
    }
}

/// Grants for MCP servers that are not declared.
fn dangling_servers(file: &config::File, findings: &mut Vec<Finding>) {
    let servers = file.mcp.iter().flat_map(|mcp| mcp.servers.keys());
    let declared: Vec<&String> = servers.chain(file.connectors.servers.keys()).collect();
    for (nth, grant) in file.grants.iter().enumerate() {
        let ours = grant.app.iter();
        let ours = ours.filter(|(name, _)| file.tailnet.capabilities.contains(name));
        for raw in ours.flat_map(|(_, objects)| objects) {
            let object: serde_json::Value = serde_json::from_str(raw.get()).unwrap_or_default();
            for field in ["mcp_tools", "mcp_resources", "mcp_templates"] {
                let Some(pattern) = object[field].as_str() else {
                    continue;
                };
                let name = pattern.split('/').next().unwrap_or_default();
                if !matches!(name, "*" | "**") && !declared.iter().any(|id| is_named(id, name)) {
                    let message = format!(
                        "{field} pattern \"{pattern}\" references server \"{name}\" which does not match any declared MCP server"
                    );
                    let path = format!("grants[{nth}]");
                    findings.push(Finding::new(Severity::Warning, grant.at, path, message));
                }
            }
        }
    }
}

/// Grants that name budgets, hooks or guards that are not defined.
fn dangling_names(file: &config::File, findings: &mut Vec<Finding>) {
    for (nth, grant) in file.grants.iter().enumerate() {
        let ours = grant
            .app
            .iter()
            .filter(|(name, _)| file.tailnet.capabilities.contains(name));
        let capabilities = ours
            .flat_map(|(_, objects)| objects)
            .filter_map(|raw| Capability::decode(raw).ok());
        let mut warn = |message: String, hint: &str| {
            let path = format!("grants[{nth}]");
            let finding = Finding::new(Severity::Warning, grant.at, path, message);
            findings.push(finding.hint(hint));
        };
        let refuses = "until it is defined, requests under this grant are refused";
        for capability in capabilities {
            let quotas = capability.quotas.iter().flat_map(BucketRef::names);
            for name in quotas.filter(|name| !file.quotas.contains_key(*name)) {
                let message = format!("quotas references undefined quota \"{name}\"");
                warn(message, refuses);
            }
            let hooks = capability.send_hooks.iter().map(|hook| &hook.name);
            for name in hooks.filter(|name| !file.hooks.contains_key(*name)) {
                let message = format!("send_hooks references undefined hook \"{name}\"");
                warn(message, "until it is defined, this hook is not called");
            }
            let guards = capability.guards.iter();
            for name in guards.filter(|name| !file.guards.contains_key(*name)) {
                let message = format!("guards references undefined guard \"{name}\"");
                warn(message, refuses);
            }
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
                let path = format!("model_aliases.models.{name}");
                let at = config::Position::default();
                findings.push(Finding::new(Severity::Warning, at, path, message));
            }
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
            let at = config::Position::default();
            findings.push(Finding::new(Severity::Warning, at, path, message));
        }
    }
}

/// Aliases with the name of a model: requests for that model go to what the alias stands for.
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
            let path = format!("model_aliases.models.{name}");
            let at = config::Position::default();
            findings.push(
                Finding::new(Severity::Warning, at, path, message)
                    .hint("rename the alias, or add the model to its `dst`"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let rules = Rules::compile(config::parse(text, &|_| None).unwrap(), 1);
        rules.findings.iter().map(ToString::to_string).collect()
    }

    /// Every message of Aperture's catalogue that a document can cause: word by word, and no
    /// more than a warning unless the document can't be used at all.
    #[test]
    fn the_catalogue_of_findings_word_by_word() {
        let ok = r#""providers":{"p":{"baseurl":"http://p","models":["m"]}}"#;
        let grant = |object: &str| {
            let admin = r#"{"role":"admin"}"#;
            format!(
                r#"{{{ok},"grants":[{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[{admin},{object}]}}}}]}}"#
            )
        };
        let provider = |more: &str| format!(r#"{{"providers":{{"p":{{"models":["m"]{more}}}}}}}"#);
        for (document, message) in [
            (
                "{}".to_owned(),
                "no providers or mcp servers defined; users will not be able to access any models",
            ),
            (provider(""), "provider p has no baseurl configured"),
            (
                provider(r#","baseurl":"http://p","authorization":"basic""#),
                "provider p has invalid authorization type: basic",
            ),
            (
                r#"{"a":"${GONE}"}"#.to_owned(),
                "unsubstituted macros: [GONE]",
            ),
            (
                r#"{"quotas":{"q":{"capacity":"5"}}}"#.to_owned(),
                "quota q: capacity \"5\" is not of the form",
            ),
            (
                r#"{"grants":[],"grants":[]}"#.to_owned(),
                "duplicate config key \"grants\"",
            ),
            (r#"{"grant":[]}"#.to_owned(), "unknown config key \"grant\""),
            (
                provider(r#","baseurl":5"#),
                "cannot unmarshal number into providers.p.baseurl of type string",
            ),
            (
                provider(r#","baseurl":"http://p","add_headers":["X-A value"]"#),
                "provider p: add_headers entry \"X-A…\" must be in \"Header-Name: value\" format",
            ),
            (
                r#"{"quotas":{"q:<x>":{"capacity":"$5"}}}"#.to_owned(),
                "quota \"q:<x>\": quota name \"q:<x>\" has unsupported template \"<x>\" after colon",
            ),
            (
                grant(r#"{"modles":"**"}"#),
                "json: unknown field \"modles\"",
            ),
            (
                grant(r#"{"models":"q/**"}"#),
                "models pattern \"q/**\" references provider \"q\" which does not match any declared provider",
            ),
            (
                grant(r#"{"mcp_tools":"s/*"}"#),
                "mcp_tools pattern \"s/*\" references server \"s\" which does not match any declared MCP server",
            ),
            (
                grant(r#"{"mcp_resources":"s/*"}"#),
                "mcp_resources pattern \"s/*\" references server \"s\" which does not match any declared MCP server",
            ),
            (
                grant(r#"{"mcp_templates":"s/*"}"#),
                "mcp_templates pattern \"s/*\" references server \"s\" which does not match any declared MCP server",
            ),
            (
                grant(r#"{"send_hooks":[{"name":"h"}]}"#),
                "send_hooks references undefined hook \"h\"",
            ),
            (
                grant(r#"{"quotas":[{"bucket":"q"}]}"#),
                "quotas references undefined quota \"q\"",
            ),
            (
                grant(r#"{"quotas":[{"bucket":"q:<x>"}]}"#),
                "grants[0] grant 1 quotas[0]: bucket ref \"q:<x>\" has unsupported template \"<x>\"",
            ),
            (
                grant(r#"{"add_headers":["X-A value"]}"#),
                "add_headers entry \"X-A…\" must be in \"Header-Name: value\" format",
            ),
            (
                r#"{"hooks":{"h":{}}}"#.to_owned(),
                "hook h has no url configured",
            ),
            (
                r#"{"hooks":{"h":{"url":"ftp://x"}}}"#.to_owned(),
                "hook h has invalid URL scheme (must be http:// or https://): ftp://x",
            ),
            (
                r#"{"hooks":{"h":{"url":"http://x","authorization":"z"}}}"#.to_owned(),
                "hook h has invalid authorization type: z",
            ),
            (
                r#"{"exporters":{"s3":{"bucket_name":"b","prefix":"a/"}}}"#.to_owned(),
                "exporters.s3.prefix must not end with a slash",
            ),
            (
                format!("{{{ok}}}"),
                "no grant in grants or temp_grants assigns role:admin; nobody will be able to manage this instance",
            ),
            (
                format!("{{{ok}}}"),
                "providers are configured but no grants or temp_grants defined; all access will be denied",
            ),
        ] {
            let (findings, is_used) = match config::parse(&document, &|_| None) {
                Ok(loaded) => (Rules::compile(loaded, 1).findings, true),
                Err(findings) => (findings, false),
            };
            let found = findings.iter().find(|one| one.message.contains(message));
            let Some(found) = found else {
                panic!("{document}: {findings:?}");
            };
            let expected = if is_used {
                Severity::Warning
            } else {
                Severity::Error
            };
            assert_eq!(found.severity, expected, "{document}");
            assert_eq!(is_used, !message.starts_with("unsubstituted"), "{document}");
        }
        assert!(config::parse("{", &|_| None).is_err());
    }

    #[test]
    fn references_that_lead_nowhere_are_found() {
        let grant = |models: &str| {
            format!(
                r#"{{"providers":{{"lab-1":{{"baseurl":"http://p","models":["m"]}}}},"grants":[{{"src":["*"],
                "app":{{"tailscale.com/cap/aperture":[{{"role":"admin"}},{{"models":"{models}"}}]}}}}]}}"#
            )
        };
        for fine in ["**", "*/m", "lab-*/**", "lab-1/m"] {
            assert!(messages(&grant(fine)).is_empty(), "{fine}");
        }
        let found = messages(&grant("labs/**"));
        assert!(
            found[0].contains("references provider \"labs\""),
            "{found:?}"
        );
        let found = messages(r#"{"model_aliases":{"models":{"a":{"dst":["p/m"]}}}}"#);
        assert!(
            found.iter().any(|one| one.contains("no provider lists")),
            "{found:?}"
        );
        let alias = |dst: &str| {
            let text = format!(
                r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m:latest"]}}}},
                "model_aliases":{{"models":{{"a":{{"dst":["{dst}"]}}}}}}}}"#
            );
            let found = messages(&text);
            found.iter().any(|one| one.contains("no provider lists"))
        };
        assert!(!alias("p/m") && !alias("p/m:latest") && alias("p/m:7b"));
        let shadows = |name: &str, dst: &str| {
            let text = format!(
                r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m","other/x","tiny:latest"]}},"q":{{"baseurl":"http://q","models":["n"]}}}},
                "model_aliases":{{"models":{{"{name}":{{"dst":["{dst}"]}}}}}}}}"#
            );
            let found = messages(&text);
            found
                .iter()
                .any(|one| one.contains("has the name of the model"))
        };
        for name in ["m", "other/x", "p/m", "p/other/x", "tiny"] {
            assert!(shadows(name, "q/n"), "{name}");
        }
        for (name, dst) in [
            ("a", "p/m"),
            ("m", "p/m"),
            ("x", "q/n"),
            ("q/m", "q/n"),
            ("other/x", "p/other/x"),
        ] {
            assert!(!shadows(name, dst), "{name}");
        }
        let found = messages(r#"{"providers":{"p":{"baseurl":"localhost:1","models":["m"]}}}"#);
        assert!(
            found
                .iter()
                .any(|one| one.contains("baseurl of provider p")),
            "{found:?}"
        );
    }
}
