//! New rules without a restart: on SIGHUP, when the file changes, and, without a file, when
//! a model server appears or leaves. Requests keep the rules that they began with.
//!
//! New rules never wait for the database: their version is written to the history later (`unwritten`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc, watch};

use super::settings::{self, discovered};
use super::unwritten::{Unwritten, soon, write_later};
use super::{Engines, keep};
use crate::app::systemd::Manager;
use crate::base::panics;
use crate::client::discovery;
use crate::config::{self, Finding, Loaded, Severity, Subject};
use crate::exchange::rules::Rules;
use crate::records::Version;
use crate::records::outlets;
use crate::web::{Saved, api};
use crate::wire::Rejection;

/// How often model servers are looked for.
const DISCOVERY: Duration = Duration::from_secs(15);

/// Between two times that refusals are written to the audit log.
const REFUSALS: Duration = Duration::from_mins(1);

/// Where rules come from.
pub(super) struct Sources {
    pub manager: Manager,
    /// Whether a configuration was named.
    pub has_file: bool,
    /// What the file took from others.
    pub files: config::Files,
    /// Configurations that were saved through the API.
    pub saved: mpsc::Receiver<Saved>,
}

/// Keeps the rules up to date until the gateway stops.
pub(super) fn spawn(
    engines: &Arc<Engines>,
    sources: Sources,
    sender: watch::Sender<Arc<Rules>>,
) -> anyhow::Result<()> {
    keep(engines, "the audit of refusals", audit_refusals);
    let unwritten = Arc::new(Unwritten::default());
    let later = Arc::clone(&unwritten);
    keep(engines, "what the database is told later", move |engines| {
        write_later(engines, Arc::clone(&later))
    });
    let follow = Arc::new(Mutex::new(Follow {
        engines: Arc::clone(engines),
        unwritten,
        sources,
        loaded: None,
        hangup: signal(SignalKind::hangup())?,
        sender,
    }));
    keep(engines, "the reading of the configuration", move |_| {
        let follow = Arc::clone(&follow).lock_owned();
        async move { follow.await.run().await }
    });
    Ok(())
}

async fn audit_refusals(engines: Arc<Engines>) {
    loop {
        tokio::time::sleep(REFUSALS).await;
        let ledger = &engines.gateway.ledger;
        engines.management.refusals.write(ledger).await;
    }
}

/// What is followed, and what is notified.
struct Follow {
    engines: Arc<Engines>,
    unwritten: Arc<Unwritten>,
    sources: Sources,
    /// The version that was read last.
    loaded: Option<Version>,
    hangup: tokio::signal::unix::Signal,
    sender: watch::Sender<Arc<Rules>>,
}

impl Follow {
    async fn run(&mut self) {
        let mut first = None;
        if !self.sources.has_file {
            first = Some(self.servers().await);
        }
        self.sources.has_file = true;
        self.file(first).await;
    }

    /// Follows the file, of which the first version may have been saved just now.
    async fn file(&mut self, mut first: Option<Saved>) {
        let path = self.engines.management.control.path().to_owned();
        let mut watch = config::watch(&path);
        watch.follow(&self.sources.files);
        if first.is_none() {
            self.remember(self.version("start")).await;
        }
        loop {
            let saved = if first.is_some() {
                first.take()
            } else {
                tokio::select! {
                    _ = self.hangup.recv() => None,
                    () = watch.changed() => None,
                    Some(saved) = self.sources.saved.recv() => Some(saved),
                }
            };
            if saved.is_some() {
                // A save is known already and is not a change; what comes after it is.
                watch = config::watch(&path);
            }
            self.sources.manager.reloading();
            let done = panics::caught("the reading of the configuration", self.read(&path)).await;
            let done = done.unwrap_or_else(|| Err(Rejection::panicked().message.into_owned()));
            watch.follow(&self.sources.files);
            self.sources.manager.reloaded(match &done {
                Ok(()) => None,
                Err(_) => Some("the configuration file has errors, the previous one is in use"),
            });
            match saved {
                // The caller who saved it may have disconnected.
                Some(saved) => drop(saved.send(done)),
                None if done.is_ok() => self.remember(self.loaded.clone()).await,
                None => {}
            }
        }
    }

    /// Puts the file's rules in force, or says why not.
    async fn read(&mut self, path: &Path) -> Result<(), String> {
        panics::point("reload");
        let loaded = self.sources.files.load(path);
        let loaded = loaded.and_then(|loaded| self.without_new_typos(loaded));
        let loaded = loaded.map_err(|findings| {
            log_findings(Some(path), &findings);
            tracing::error!("the configuration has errors; the one before stays in force");
            config::refusal(path, &findings)
        });
        let signals = &self.engines.management.signals;
        signals.refused(loaded.as_ref().err().cloned());
        let loaded = loaded?;
        let stale = loaded.findings.iter();
        let stale = stale.filter(|finding| finding.subject == Some(Subject::Stale));
        signals.stale(stale.map(|finding| finding.message.clone()).collect());
        // Before the database is waited for: the file can change again.
        self.loaded = self.version("file");
        apply(&self.engines, path, loaded, &self.sender);
        let rules = self.sender.borrow().clone();
        if !soon(self.engines.gateway.quotas.retain(&rules.quotas)).await {
            self.unwritten.buckets();
        }
        Ok(())
    }

    /// A mistyped key at the top or in a grant would take from people what they have, and a running
    /// gateway has something better: the configuration before. A start has not, and warns.
    fn without_new_typos(&self, loaded: Loaded) -> Result<Loaded, Vec<Finding>> {
        let rules = self.sender.borrow();
        let is_new = |finding: &&Finding| {
            let is_access = !finding.path.contains('.') || finding.path.contains("grants[");
            let before = |one: &Finding| one.message == finding.message;
            finding.subject == Some(Subject::Typo)
                && is_access
                && !rules.findings.iter().any(before)
        };
        let mut typos: Vec<Finding> = loaded.findings.iter().filter(is_new).cloned().collect();
        for typo in &mut typos {
            typo.severity = Severity::Error;
        }
        if typos.is_empty() {
            Ok(loaded)
        } else {
            Err(typos)
        }
    }

    /// The version that is in the file.
    fn version(&self, how: &str) -> Option<Version> {
        let text = self.engines.management.control.text().ok().flatten();
        api::version_in_file(&text?, how)
    }

    /// Keeps a version in the history, if it is a new one.
    async fn remember(&self, version: Option<Version>) {
        let Some(version) = version else { return };
        let ledger = &self.engines.gateway.ledger;
        if !self.unwritten.remember(ledger, version).await {
            tracing::warn!("a version of the configuration will be in its history later");
        }
    }

    /// Follows the model servers on this machine, until a configuration is saved.
    async fn servers(&mut self) -> Saved {
        let mut known = None;
        loop {
            let client = &self.engines.gateway.upstream.client;
            let found = discovery::here(client, known.as_deref().unwrap_or_default()).await;
            if known.as_ref() != Some(&found) {
                for (provider, server) in discovery::named(&found) {
                    let formats = server.formats.names();
                    tracing::info!(provider, url = server.baseurl(), models = ?server.models, ?formats, "found");
                }
                if known.is_some()
                    && let Ok(loaded) = discovered(&found)
                {
                    let generation = self.sender.borrow().generation + 1;
                    let rules = Rules::compile(loaded, generation);
                    self.sender.send_replace(Arc::new(rules));
                }
                known = Some(found);
            }
            tokio::select! {
                _ = self.hangup.recv() => {}
                Some(saved) = self.sources.saved.recv() => return saved,
                () = tokio::time::sleep(DISCOVERY) => {}
            }
        }
    }
}

fn apply(engines: &Engines, path: &Path, loaded: Loaded, sender: &watch::Sender<Arc<Rules>>) {
    let generation = sender.borrow().generation + 1;
    let rules = Rules::compile(loaded, generation);
    log_findings(Some(path), &rules.findings);
    let new = &rules.file;
    let (ledger, client) = (&engines.gateway.ledger, &engines.gateway.upstream.client);
    // A database of which only the password has changed takes it for new connections.
    let _same_database = ledger.take_url(new.database.url.expose());
    for key in engines.management.warnings.awaiting_restart(new) {
        tracing::warn!("{key} has changed, which takes effect at the next restart");
    }
    client.set_timeouts(settings::timeouts(new));
    settings::set_stale(engines.resolver.as_deref(), &new.tailnet);
    settings::set_memory(new);
    ledger.set_retention(&new.database, &outlets::names(&new.exporters));
    ledger.set_acknowledge(new.records.acknowledge);
    if !ledger.policy().captures {
        let cache = Arc::clone(&engines.gateway.cache);
        tokio::task::spawn_blocking(move || cache.clear());
    }
    sender.send_replace(Arc::new(rules));
    tracing::info!(generation, "a new configuration is in force");
}

pub(super) fn log_findings(path: Option<&Path>, findings: &[Finding]) {
    let path = path.map(|path| format!("{}:", path.display()));
    let path = path.unwrap_or_default();
    for finding in findings {
        match finding.severity {
            Severity::Error => tracing::error!("{path}{finding}"),
            Severity::Warning => tracing::warn!("{path}{finding}"),
            Severity::Note => tracing::info!("{path}{finding}"),
        }
    }
}
