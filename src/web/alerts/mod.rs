//! Alerts: what will soon need an admin. Computed here alone, for the pages, the API, the command
//! line and the log. A warning is a state, not an event: it is there for as long as its cause is.

mod disk;
mod node;
mod process;
mod signals;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::base::clock;
use crate::base::memory;
use crate::base::output;
use crate::config::Fixed;
use crate::exchange::rules::Rules;
use crate::net::tailnet::Status;
use crate::policy::route::{Health, ModelHealth, Traffic};
use crate::records::outlets::{self, Board};
use crate::records::{Ledger, Waiting};
use crate::wire::text::counted;

pub use node::{key_expires_at, words};
pub use signals::Signals;

/// An end that is nearer than this is an alert.
const SOON_DAYS: i64 = 14;
/// One that is nearer than this can't wait.
const URGENT_DAYS: i64 = 3;
const DAY_MS: i64 = 86_400_000;
/// Failures in a row after which an exporter counts as stuck.
const STUCK: u32 = 3;
/// What waits for a hook for longer than this is a backlog, in milliseconds.
const LATE_MS: i64 = 10 * 60 * 1_000;
/// So many deliveries are one, however young.
const MANY: u64 = 10_000;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or won't in a few days.
    Critical,
    /// There is time.
    Warning,
}

/// Something that an admin should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Warning {
    /// How much it matters.
    #[schemars(with = "String", extend("enum" = ["critical", "warning"]))]
    pub severity: Severity,
    /// What it is, such as `provider_down`.
    pub kind: &'static str,
    /// What it concerns: a provider, an exporter, a domain; empty for the gateway itself.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
    /// Since when it is known, in Unix milliseconds.
    pub since: i64,
}

/// The engines that are looked at.
pub struct Watched {
    /// Records.
    pub ledger: Ledger,
    /// What is known of providers.
    pub traffic: Traffic,
    /// How exporters do.
    pub board: Board,
    /// What is seen nowhere else.
    pub signals: Signals,
}

/// Looks for alerts, and remembers what it has seen. Lives as long as the process.
pub struct Warnings {
    watched: Watched,
    state_dir: PathBuf,
    /// What the process was started with.
    pub started: Fixed,
    known: Mutex<BTreeMap<(&'static str, String), i64>>,
}

impl Warnings {
    /// Looks at these engines, and at the disk of `state_dir`. The process was started as
    /// `started` says.
    #[must_use]
    pub fn new(watched: Watched, state_dir: PathBuf, started: Fixed) -> Self {
        Self {
            watched,
            state_dir,
            started,
            known: Mutex::default(),
        }
    }

    /// The keys of a configuration that wait for the next start.
    #[must_use]
    pub fn awaiting_restart(&self, file: &crate::config::File) -> Vec<String> {
        self.started.waiting(file)
    }

    /// All warnings of this moment, the gravest first. What is new, and what is over, goes to the
    /// log.
    pub async fn all(&self, rules: &Rules, node: Option<&Status>) -> Vec<Warning> {
        let now = clock::unix_ms();
        let mut found = Vec::new();
        if let Some(node) = node {
            found.extend(node::warnings(node, &rules.file.tailnet, now));
        }
        found.extend(self.watched.signals.warnings(now));
        found.extend(process::restart(&self.awaiting_restart(&rules.file)));
        found.extend(disk::warning(&self.state_dir).await);
        found.extend(process::memory_full(memory::all().usage()));
        found.extend(output::log().and_then(|log| process::lost_log(&log.loss())));
        match self.watched.ledger.misplaced() {
            Some(why) => found.push(process::misplaced(&why)),
            None => found.extend(process::backlog(
                self.watched.ledger.healthy(),
                self.watched.ledger.backlog(),
            )),
        }
        let mut folding = self.watched.ledger.folding_problems();
        // Where nothing can be written, that is what is wrong.
        folding.failing = folding
            .failing
            .filter(|_| self.watched.ledger.writable().is_ok());
        found.extend(process::folding(&folding));
        for provider in rules.routes.providers().iter().filter(|one| !one.disabled) {
            if let Some(health) = self.watched.traffic.health(provider) {
                found.extend(down(&provider.id, &health));
                found.extend(
                    health
                        .paused_models()
                        .map(|one| model_down(&provider.id, one)),
                );
                found.extend(key_refused(&provider.id, &health));
            }
        }
        found.extend(self.exporters(rules).await);
        // Where the database can't be read, the ledger's own warning says so.
        let deliveries = self.watched.ledger.deliveries_waiting().await;
        for waiting in deliveries.unwrap_or_default() {
            found.extend(late(&waiting, now));
        }
        found.sort_by(|a, b| {
            (a.severity, a.kind, &a.subject).cmp(&(b.severity, b.kind, &b.subject))
        });
        self.remember(&mut found, now);
        found
    }

    async fn exporters(&self, rules: &Rules) -> Vec<Warning> {
        let board = self.watched.board.all();
        let mut found = Vec::new();
        for name in outlets::names(&rules.file.exporters) {
            let Some(status) = board.get(name).filter(|one| one.failures >= STUCK) else {
                continue;
            };
            let waiting = self.watched.ledger.export_waiting(name).await;
            let waiting = waiting.unwrap_or_default();
            let why = status.last_error.as_deref().unwrap_or("no reason given");
            let message = format!(
                "the exporter {name} has had {} and {} waiting: {why}",
                in_a_row(status.failures),
                counted(waiting, "record")
            );
            let hint = "nothing is lost: records are sent once it works again";
            found.push(warning("exporter_stuck", message, hint).of(name));
        }
        found
    }

    /// Notes since when each is known, and logs what begins and ends.
    fn remember(&self, found: &mut [Warning], now: i64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *known);
        for one in found {
            let key = (one.kind, one.subject.clone());
            if let Some(since) = before.get(&key) {
                one.since = *since;
            } else {
                let (kind, subject, hint) = (one.kind, &one.subject, one.hint);
                tracing::warn!(kind, subject, hint, "warning: {}", one.message);
                one.since = now;
            }
            known.insert(key, one.since);
        }
        for (kind, subject) in before.keys().filter(|key| !known.contains_key(*key)) {
            tracing::info!(kind, subject, "a warning is over");
        }
    }
}

/// A warning about the gateway itself that isn't urgent; `of` and `critical` change that.
fn warning(kind: &'static str, message: String, hint: &'static str) -> Warning {
    Warning {
        severity: Severity::Warning,
        kind,
        subject: String::new(),
        message,
        hint,
        since: 0,
    }
}

impl Warning {
    fn of(self, subject: &str) -> Self {
        let subject = subject.to_owned();
        Self { subject, ..self }
    }

    fn severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    fn critical(self) -> Self {
        self.severity(Severity::Critical)
    }
}

/// A time that comes, or has passed: how much it matters, and when it is, in words.
fn ends(at: i64, now: i64) -> Option<(Severity, String)> {
    let left = at - now;
    let days = left / DAY_MS;
    let when = match (left, days) {
        (..=0, _) => "has expired".to_owned(),
        (_, 0) => format!(
            "expires in {}",
            counted((left / (DAY_MS / 24)).unsigned_abs(), "hour")
        ),
        _ => format!("expires in {}", counted(days.unsigned_abs(), "day")),
    };
    if left < URGENT_DAYS * DAY_MS {
        Some((Severity::Critical, when))
    } else if left < SOON_DAYS * DAY_MS {
        Some((Severity::Warning, when))
    } else {
        None
    }
}

fn down(provider: &str, health: &Health) -> Option<Warning> {
    let why = health.last_error.as_deref().unwrap_or("no reason given");
    let message = if health.ejected {
        format!(
            "the provider {provider} is paused after {}: {why}",
            in_a_row(health.failures)
        )
    } else if health.failed > 0 && health.last_success.is_none() {
        format!(
            "the provider {provider} has answered nothing since the start, in {}: {why}",
            counted(health.requests, "attempt")
        )
    } else {
        return None;
    };
    let hint = "check that it runs and can be reached; Iris tries it again by itself";
    Some(warning("provider_down", message, hint).of(provider))
}

fn model_down(provider: &str, health: &ModelHealth) -> Warning {
    let why = health.last_error.as_deref().unwrap_or("no reason given");
    let subject = format!("{provider}/{}", health.model);
    let failures = in_a_row(health.failures);
    let message = format!("the model {subject} is paused after {failures}: {why}");
    let hint = "the provider's other models are used; Iris tries it again by itself";
    warning("model_down", message, hint).of(&subject)
}

fn key_refused(provider: &str, health: &Health) -> Option<Warning> {
    let refused = health.keys.iter().filter(|key| key.is_refused);
    let numbers: Vec<_> = refused.map(|key| key.key.to_string()).collect();
    if numbers.is_empty() {
        return None;
    }
    let (s, numbers) = (
        if numbers.len() == 1 { "" } else { "s" },
        numbers.join(", "),
    );
    let message = format!("the provider {provider} refuses key{s} {numbers} of its configuration");
    let hint = "replace what isn't valid or has no credit any more; its other keys are used";
    Some(warning("key_refused", message, hint).of(provider))
}

fn in_a_row(failures: u32) -> String {
    format!("{} in a row", counted(failures, "failure"))
}

fn late(waiting: &Waiting, now: i64) -> Option<Warning> {
    let (hook, age) = (&waiting.hook, now - waiting.oldest);
    if age <= LATE_MS && waiting.count <= MANY {
        return None;
    }
    let deliveries = match waiting.count {
        1 => "1 delivery is".to_owned(),
        count => format!("{count} deliveries are"),
    };
    let minutes = counted((age / 60_000).max(0).unsigned_abs(), "minute");
    let message = format!("{deliveries} waiting for the hook {hook}, the oldest for {minutes}");
    let hint = "check that its server answers; deliveries are dropped after a day";
    Some(warning("hook_backlog", message, hint).of(hook))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::route::Scope;

    fn kinds(found: &[Warning]) -> Vec<(&'static str, &str, Severity)> {
        found
            .iter()
            .map(|one| (one.kind, one.subject.as_str(), one.severity))
            .collect()
    }

    #[test]
    fn deliveries_that_wait_long_are_a_backlog() {
        let waiting = |count, oldest| Waiting {
            hook: "h".to_owned(),
            count,
            oldest,
        };
        assert_eq!(late(&waiting(5, 1_000), 2_000), None);
        assert!(late(&waiting(5, 1_000), 2_000 + LATE_MS).is_some());
        assert!(late(&waiting(MANY + 1, 1_000), 2_000).is_some());
    }

    #[tokio::test]
    async fn a_warning_is_there_for_as_long_as_its_cause() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open("sqlite::memory:", dir.path()).unwrap();
        let (traffic, signals) = (Traffic::default(), Signals::default());
        let watched = Watched {
            ledger,
            traffic: traffic.clone(),
            board: Board::default(),
            signals: signals.clone(),
        };
        let text = r#"{"providers":{"gpu":{"baseurl":"http://gpu","models":["m"]}}}"#;
        let started = Fixed::of(&crate::config::parse(text, &|_| None).unwrap().file);
        let warnings = Warnings::new(watched, dir.path().to_owned(), started);
        let rules = Rules::compile(crate::config::parse(text, &|_| None).unwrap(), 1);
        let is_disk = |one: &Warning| one.kind.starts_with("disk");
        let all = async || {
            let mut all = warnings.all(&rules, None).await;
            // That of the machine that runs this may be full.
            all.retain(|one| !is_disk(one));
            all
        };
        assert_eq!(all().await, []);
        let gpu = rules.routes.providers()[0].clone();
        let elsewhere = crate::config::Provider::at("http://other");
        let other = crate::policy::route::Provider::new("other", &elsewhere).unwrap();
        let fail = |provider, model, why, scope, rules| {
            traffic.open(provider, model).failed(why, scope, rules);
        };
        let own = &rules.file.routing;
        fail(&gpu, "m", "connection refused", Scope::Provider, own);
        fail(&other, "m", "503", Scope::Model, own);
        signals.refused(Some("line 3: unknown".to_owned()));
        let both = all().await;
        assert_eq!(
            kinds(&both),
            [
                ("configuration_refused", "", Severity::Warning),
                ("provider_down", "gpu", Severity::Warning)
            ]
        );
        assert!(both[1].message.contains("connection refused"));
        assert_eq!(all().await, both, "since when stays");
        traffic.open(&gpu, "m").succeeded();
        signals.refused(None);
        assert_eq!(all().await, []);
        let rules_of_one = crate::config::Routing {
            eject_after: 1,
            ..rules.file.routing
        };
        fail(&gpu, "bad", "503", Scope::Model, &rules_of_one);
        let one = all().await;
        assert_eq!(kinds(&one), [("model_down", "gpu/bad", Severity::Warning)]);
        assert!(one[0].message.contains("paused after 1 failure in a row"));
        fail(&gpu, "m", "503", Scope::Model, &rules_of_one);
        let all = all().await;
        assert_eq!(kinds(&all), [("provider_down", "gpu", Severity::Warning)]);
        assert!(all[0].message.contains("paused after 1 failure in a row"));
    }
}
