//! Delivers what hooks are to be told from the queue in the ledger: each hook for itself, so that
//! one that hangs holds up nobody else, and again until it is taken.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use indexmap::IndexMap;

use super::ask;
use crate::clock;
use crate::config::Hook;
use crate::ledger::{Ledger, Queued};
use crate::route::backoff;
use crate::upstream::Upstream;

/// Deliveries to one hook at the same time.
const AT_ONCE: usize = 4;
/// Beyond its time limit, a delivery is this node's for so long before another may take it up.
const LEASE: Duration = Duration::from_secs(30);
/// Between two looks for what has become due, or was left behind by another node.
const POLL: Duration = Duration::from_secs(2);
/// Before the second try; doubled for each further one, up to [`LATEST`].
const FIRST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_mins(10);
/// Older than this, nobody wants to know any more.
const OLDEST: Duration = Duration::from_hours(24);
/// Deliveries kept for one hook; beyond it the oldest are dropped.
const KEPT: usize = 100_000;

/// Delivers until it is dropped.
pub struct Deliverer<'e> {
    upstream: &'e Upstream,
    ledger: &'e Ledger,
    in_flight: HashMap<String, usize>,
}

type Done = (Queued, Result<(StatusCode, bytes::Bytes), String>);

impl<'e> Deliverer<'e> {
    /// A deliverer for the queue of `ledger`.
    #[must_use]
    pub fn new(upstream: &'e Upstream, ledger: &'e Ledger) -> Self {
        Self {
            upstream,
            ledger,
            in_flight: HashMap::new(),
        }
    }

    /// Delivers, to the hooks that `current` names each time it is asked. Never returns.
    pub async fn run(mut self, current: impl Fn() -> IndexMap<String, Hook>) {
        // What this node had taken up before it was ended is nobody's now. Where nodes share, that
        // can't be told from what another one delivers, and leases have to end.
        if !self.ledger.is_shared()
            && let Err(error) = self.ledger.hasten().await
        {
            tracing::warn!(%error, "hooks may be told late");
        }
        let mut running = FuturesUnordered::new();
        let mut idle: HashSet<String> = HashSet::new();
        let mut look = tokio::time::interval(POLL);
        loop {
            let hooks = current();
            for (name, hook) in &hooks {
                if hook.disabled || idle.contains(name) {
                    continue;
                }
                let free = AT_ONCE - self.in_flight.get(name).copied().unwrap_or(0).min(AT_ONCE);
                if free == 0 {
                    continue;
                }
                let due = self.due(name, hook, free).await;
                if due.len() < free {
                    idle.insert(name.clone());
                }
                for queued in due {
                    *self.in_flight.entry(name.clone()).or_default() += 1;
                    let (upstream, hook) = (self.upstream, hook.clone());
                    running.push(async move {
                        let payload = bytes::Bytes::from(queued.payload.clone());
                        let said = ask::post(upstream, &hook, payload).await;
                        (queued, said)
                    });
                }
            }
            tokio::select! {
                Some(done) = running.next(), if !running.is_empty() => {
                    self.settle(done).await;
                }
                () = self.ledger.delivery() => idle.clear(),
                _ = look.tick() => {
                    idle.clear();
                    self.tidy(&hooks).await;
                }
            }
        }
    }

    async fn due(&self, name: &str, hook: &Hook, count: usize) -> Vec<Queued> {
        let lease = ask::patience(hook, self.upstream) + LEASE;
        match self.ledger.due(name, count, lease).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "what hooks are to be told cannot be read");
                Vec::new()
            }
        }
    }

    async fn settle(&mut self, (queued, said): Done) {
        if let Some(count) = self.in_flight.get_mut(&queued.hook) {
            *count = count.saturating_sub(1);
        }
        let why = match said {
            Ok((status, _)) if status.is_success() => None,
            Ok((status, _)) => Some(format!("it answered {status}")),
            Err(why) => Some(why),
        };
        let age = clock::unix_ms().saturating_sub(queued.created_at);
        let is_old = u128::try_from(age).unwrap_or(0) > OLDEST.as_millis();
        let noted = match why {
            None => self.ledger.delivered(&queued.id).await,
            Some(why) if is_old => {
                tracing::error!(
                    hook = queued.hook,
                    why,
                    "a hook was not told: it fails for a day"
                );
                self.ledger.delivered(&queued.id).await
            }
            Some(why) => {
                let wait = backoff(FIRST, queued.tries, LATEST);
                tracing::warn!(
                    hook = queued.hook,
                    why,
                    ?wait,
                    "a hook could not be told yet"
                );
                self.ledger.put_off(&queued.id, wait).await
            }
        };
        if let Err(error) = noted {
            // Its lease ends, and it is delivered once more.
            tracing::warn!(%error, "that a hook was told could not be noted");
        }
    }

    /// Forgets what nobody is to be told any more, and what is too much.
    async fn tidy(&self, hooks: &IndexMap<String, Hook>) {
        let names: Vec<String> = hooks.keys().cloned().collect();
        match self.ledger.retain_deliveries(names, KEPT).await {
            Ok(0) => {}
            Ok(dropped) => tracing::error!(
                dropped,
                "hooks were not told: too much is waiting, or they are gone"
            ),
            Err(error) => tracing::warn!(%error, "what hooks are to be told cannot be tidied"),
        }
    }
}
