//! What a configuration compiles to: immutable, and replaced as a whole on reload. A request takes
//! one at its start and keeps it to its end.

mod check;
mod decided;

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use self::decided::Decided;
pub use self::decided::{Asker, Question, Terms};
use crate::config::{self, Finding, Position, Severity};
use crate::exchange::guardrails::Guards;
use crate::policy::access::Access;
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
    /// What inspects it.
    pub guards: Arc<Guards>,
    /// Longest request body in bytes.
    pub request_body: usize,
    /// Longest silence while a request body arrives.
    pub body_idle: std::time::Duration,
    /// Headers by which records can be found.
    pub filterable: Filterable,
    /// The configuration itself, to show it.
    pub file: config::File,
    /// What its check found: warnings and notes.
    pub findings: Vec<Finding>,
    /// What they decide of requests that are alike.
    decided: Decided,
    /// Grows with each reload of a process.
    pub generation: u64,
}

impl Rules {
    /// Compiles a configuration. Problems across its sections join the findings.
    pub fn compile(loaded: config::Loaded, generation: u64) -> Self {
        let config::Loaded { file, mut findings } = loaded;
        let (routes, unusable) = RouteTable::compile(&file);
        for (id, problem) in unusable {
            let provider = &file.providers[&id];
            // A missing one has its finding already.
            if !provider.baseurl.is_empty() {
                let message =
                    format!("baseurl of provider {id} {problem}; nothing is routed to it");
                findings.push(warning(
                    provider.at,
                    format!("providers.{id}.baseurl"),
                    message,
                ));
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
            let hint = format!("to use the other, write \"{}/{name}\"", others[0]);
            findings.push(warning(file.providers[others[0]].at, path, message).hint(hint));
        }
        let (prices, malformed) = Prices::compile(&file);
        for (id, pattern) in malformed {
            let path = format!("providers.{id}.model_cost_map");
            let message = format!("{pattern:?} is not a valid pattern and matches nothing");
            findings.push(warning(file.providers[&id].at, path, message));
        }
        let (guards, problems) = Guards::compile(&file);
        for (name, problem) in problems {
            let path = format!("guards.{name}");
            let finding = warning(
                Position::default(),
                path,
                format!("guard {name}: {problem}"),
            );
            let hint = "until this is fixed, requests that it should inspect are refused";
            findings.push(finding.hint(hint));
        }
        findings.extend(check::across_sections(&file));
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
            decided: Decided::default(),
            generation,
        }
    }
}

/// Headers of requests and responses that are recorded, so that reports can be filtered by them.
#[derive(Debug, Default)]
pub struct Filterable(Vec<(HeaderName, bool)>);

impl Filterable {
    fn compile(file: &config::File) -> Self {
        let headers = file.database.headers.filterable.iter();
        let headers =
            headers.filter_map(|header| Some((header.name.parse().ok()?, header.redact_values)));
        Self(headers.collect())
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

fn warning(at: Position, path: String, message: String) -> Finding {
    Finding::new(Severity::Warning, at, path, message)
}

#[cfg(test)]
mod tests;
