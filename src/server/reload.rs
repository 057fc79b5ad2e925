//! New rules without a restart: on SIGHUP, when the file changes, and, without a file, when
//! a model server appears or leaves. Requests keep the rules that they began with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Engines, timeouts};
use crate::config::{self, Finding, Loaded, Severity};
use crate::discover;
use crate::rules::Rules;

/// How often model servers are looked for.
const DISCOVERY: Duration = Duration::from_secs(15);

/// Keeps the rules up to date until the gateway stops.
pub(super) fn spawn(
    engines: &Arc<Engines>,
    path: Option<PathBuf>,
    sender: watch::Sender<Arc<Rules>>,
) -> anyhow::Result<()> {
    let hangup = signal(SignalKind::hangup())?;
    let stop = engines.stop.clone();
    let engines = Arc::clone(engines);
    let follow = async move {
        match path {
            Some(path) => follow_file(&engines, &path, hangup, &sender).await,
            None => follow_servers(hangup, &sender).await,
        }
    };
    tokio::spawn(stop.run_until_cancelled_owned(follow));
    Ok(())
}

async fn follow_file(
    engines: &Engines,
    path: &Path,
    mut hangup: tokio::signal::unix::Signal,
    sender: &watch::Sender<Arc<Rules>>,
) {
    let mut watch = config::watch(path);
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = watch.changed() => {}
        }
        match config::load(path) {
            Ok(loaded) => {
                apply(engines, path, loaded, sender);
                let rules = sender.borrow().clone();
                engines.gateway.quotas.retain(&rules.quotas).await;
            }
            Err(findings) => {
                tell(Some(path), &findings);
                tracing::error!("the configuration has errors; the one before stays in force");
            }
        }
    }
}

fn apply(engines: &Engines, path: &Path, loaded: Loaded, sender: &watch::Sender<Arc<Rules>>) {
    let before = sender.borrow().clone();
    let rules = Rules::compile(loaded, before.generation + 1);
    tell(Some(path), &rules.findings);
    let (old, new) = (&before.file, &rules.file);
    // The capabilities that count are looked at for each request.
    let node = config::Tailnet {
        capabilities: old.tailnet.capabilities.clone(),
        ..new.tailnet.clone()
    };
    let doors = |file: &config::File| (file.listen.http, file.listen.https, file.listen.loopback);
    let fixed = [
        ("tailnet", old.tailnet == node),
        ("listen", doors(old) == doors(new)),
        ("database.url", old.database.url == new.database.url),
        (
            "limits.connections",
            old.limits.connections == new.limits.connections,
        ),
    ];
    for (what, same) in fixed {
        if !same {
            tracing::warn!("{what} has changed, which takes effect at the next start");
        }
    }
    engines.gateway.upstream.set_timeouts(timeouts(new));
    let ledger = &engines.gateway.ledger;
    ledger.set_retention(&new.database, exporters(new));
    let generation = rules.generation;
    sender.send_replace(Arc::new(rules));
    tracing::info!(generation, "a new configuration is in force");
}

/// The exporters for which a purge may have to wait.
pub(super) fn exporters(file: &config::File) -> &'static [&'static str] {
    if file.s3.is_some() { &["s3"] } else { &[] }
}

async fn follow_servers(
    mut hangup: tokio::signal::unix::Signal,
    sender: &watch::Sender<Arc<Rules>>,
) {
    let mut known = None;
    loop {
        let found = discover::servers(&discover::USUAL).await;
        if known.as_ref() != Some(&found) {
            for server in &found {
                tracing::info!(provider = server.id, port = server.port, models = ?server.models, "found");
            }
            if known.is_some()
                && let Ok(loaded) = discovered(&found)
            {
                let generation = sender.borrow().generation + 1;
                sender.send_replace(Arc::new(Rules::compile(loaded, generation)));
            }
            known = Some(found);
        }
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(DISCOVERY) => {}
        }
    }
}

/// The configuration for servers that were found.
pub(super) fn discovered(servers: &[discover::Server]) -> anyhow::Result<Loaded> {
    let text = discover::configuration(servers, super::LOOPBACK.parse()?);
    config::parse(&text, &|_| None).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(lines.join("\n"))
    })
}

/// Puts findings into the log.
pub(super) fn tell(path: Option<&Path>, findings: &[Finding]) {
    let path = path
        .map(|path| format!("{}:", path.display()))
        .unwrap_or_default();
    for finding in findings {
        match finding.severity {
            Severity::Error => tracing::error!("{path}{finding}"),
            Severity::Warning => tracing::warn!("{path}{finding}"),
            Severity::Note => tracing::info!("{path}{finding}"),
        }
    }
}
