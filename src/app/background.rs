//! Loops that run beside the requests until the gateway stops.

use std::sync::Arc;
use std::time::Duration;

use super::Engines;
use crate::base::clock::within;
use crate::base::panics;
use crate::exchange::hooks::Deliverer;
use crate::exchange::rules::Rules;
use crate::net::tailnet::{Node, State, Status};
use crate::records::outlets::Outlets;

/// For the node to start before the log calls it signed out.
const STARTING: Duration = Duration::from_secs(5);
/// Between two computations of alerts.
const LOOK_OUT: Duration = Duration::from_secs(30);

/// Runs a loop beside the requests until the gateway stops; a panic does not end it.
pub(super) fn keep<F>(
    engines: &Arc<Engines>,
    what: &'static str,
    mut work: impl FnMut(Arc<Engines>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let shared = Arc::clone(engines);
    let kept = panics::kept(what, move || work(Arc::clone(&shared)));
    tokio::spawn(engines.stop.clone().run_until_cancelled_owned(kept));
}

pub(super) fn start(engines: &Arc<Engines>) {
    keep(engines, "the keeping of budgets", keep_budgets);
    keep(engines, "the exporters", export);
    keep(engines, "the look for warnings", look_out);
    keep(engines, "the deliverer of hooks", deliver);
    keep(engines, "the notes of responses", note_responses);
    keep(engines, "the following of responses", follow_responses);
}

async fn keep_budgets(engines: Arc<Engines>) {
    engines.gateway.quotas.keep().await;
}

async fn note_responses(engines: Arc<Engines>) {
    let gateway = &engines.gateway;
    gateway.stored.write(&gateway.ledger).await;
}

async fn follow_responses(engines: Arc<Engines>) {
    engines.gateway.follow_responses().await;
}

async fn deliver(engines: Arc<Engines>) {
    let gateway = &engines.gateway;
    let hooks = || gateway.rules.borrow().file.hooks.clone();
    Deliverer::new(&gateway.upstream.client, &gateway.ledger, &gateway.tally)
        .run(hooks)
        .await;
}

/// Looks for alerts, so that they are logged even while no dashboard is open.
async fn look_out(engines: Arc<Engines>) {
    if let Some(node) = &engines.node {
        // Every node is signed out for a moment while it starts.
        let mut status = node.watch();
        let is_up = status.wait_for(|status| status.state == State::Running);
        let _ = within(STARTING, is_up).await.is_ok();
    }
    let mut status = engines.node.as_ref().map(Node::watch);
    loop {
        panics::point("warnings");
        let rules = engines.gateway.rules.borrow().clone();
        let node = engines.node.as_ref().map(Node::status);
        engines.management.warnings.all(&rules, node.as_ref()).await;
        let trouble = async {
            if let Some(status) = &mut status {
                let is_trouble =
                    |now: &Status| now.state != State::Running || now.trouble.is_some();
                if status.wait_for(is_trouble).await.is_ok() {
                    // Much is over after a moment.
                    tokio::time::sleep(STARTING).await;
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        let _ = within(LOOK_OUT, trouble).await;
    }
}

/// Exports; restarted when the configuration of exports changes; a batch that is cut off is taken up again.
async fn export(engines: Arc<Engines>) {
    let gateway = &engines.gateway;
    let mut rules = gateway.rules.clone();
    loop {
        let current = rules.borrow_and_update().clone();
        let outlets = Outlets {
            upstream: &gateway.upstream.client,
            ledger: &gateway.ledger,
            metrics: &gateway.metrics,
            board: &engines.management.board,
        };
        // A change of anything else would restart their pauses, of which one can be an hour.
        let differs = |new: &Arc<Rules>| new.file.exporters != current.file.exporters;
        tokio::select! {
            () = outlets.run(&current.file.exporters) => {}
            changed = rules.wait_for(differs) => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
