//! Delivers what hooks are to be told from the queue in the ledger: each hook for itself, so that
//! one that hangs doesn't hold up the others, and again until it is taken. A hook that is down gets a
//! pause, and then one delivery as a try: much may be waiting, and each try is written down.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use indexmap::IndexMap;

use super::{Tally, What, ask};
use crate::base::clock::{self, backoff};
use crate::base::panics;
use crate::config::Hook;
use crate::net::client::Client;
use crate::records::{Ledger, Queued};

/// Deliveries to one hook at the same time.
const AT_ONCE: usize = 4;
/// Beyond its time limit, a delivery is this node's for so long before another may take it up.
const LEASE: Duration = Duration::from_secs(30);
/// Between two looks for what has become due, or was left behind by another node.
const POLL: Duration = Duration::from_secs(2);
/// Before the second try; doubled for each further one, up to [`LATEST`].
const FIRST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_mins(10);
/// The longest pause for a hook that is down.
const PAUSE: Duration = Duration::from_mins(1);
/// Older deliveries are dropped.
const OLDEST: Duration = Duration::from_hours(24);
/// Deliveries kept for one hook, and bytes of them; beyond either the oldest are dropped.
const KEPT: usize = 100_000;
const KEPT_BYTES: i64 = 1 << 30;
/// Between two looks at how much there is.
const TIDY: Duration = Duration::from_mins(1);

/// Delivers until it is dropped.
pub struct Deliverer<'e> {
    upstream: &'e Client,
    ledger: &'e Ledger,
    tally: &'e Tally,
    standings: HashMap<String, Standing>,
}

/// How a hook stands.
#[derive(Default)]
struct Standing {
    in_flight: usize,
    /// Deliveries in a row that found it down.
    failures: u32,
    /// The end of its pause.
    until: Option<Instant>,
}

impl Standing {
    /// Deliveries that it can be given.
    fn free(&self) -> usize {
        if self.until.is_some_and(|until| Instant::now() < until) {
            return 0;
        }
        let most = if self.failures > 0 { 1 } else { AT_ONCE };
        most.saturating_sub(self.in_flight)
    }
}

impl<'e> Deliverer<'e> {
    /// A deliverer for the queue of `ledger`.
    pub fn new(upstream: &'e Client, ledger: &'e Ledger, tally: &'e Tally) -> Self {
        Self {
            upstream,
            ledger,
            tally,
            standings: HashMap::new(),
        }
    }

    /// Delivers, to the hooks that `current` names each time it is asked. Never returns.
    pub async fn run(mut self, current: impl Fn() -> IndexMap<String, Hook>) {
        // What this node had taken up before it was ended is free again. If nodes share a database, that
        // can't be distinguished from what another one delivers, and leases have to end.
        if !self.ledger.is_shared()
            && let Err(error) = self.ledger.hasten().await
        {
            tracing::warn!(%error, "hooks may be told late");
        }
        let mut running = FuturesUnordered::new();
        let mut idle: HashSet<String> = HashSet::new();
        let mut look = tokio::time::interval(POLL);
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            panics::point("deliver");
            let hooks = current();
            for (name, hook) in &hooks {
                if hook.disabled || idle.contains(name) {
                    continue;
                }
                let free = self.standings.entry(name.clone()).or_default().free();
                if free == 0 {
                    continue;
                }
                let lease = ask::patience(hook, self.upstream) + LEASE;
                let due = self.ledger.due(name, free, lease).await;
                let due = due.unwrap_or_else(|error| {
                    tracing::warn!(%error, "what hooks are to be told cannot be read");
                    Vec::new()
                });
                if due.len() < free {
                    idle.insert(name.clone());
                }
                for queued in due {
                    self.standings.entry(name.clone()).or_default().in_flight += 1;
                    let (upstream, tally, hook) = (self.upstream, self.tally, hook.clone());
                    running.push(async move {
                        let payload = queued.payload.clone();
                        let response = ask::post(upstream, &hook, payload, tally).await;
                        (queued, response.map(|(status, _)| status))
                    });
                }
            }
            tokio::select! {
                Some((queued, status)) = running.next(), if !running.is_empty() => {
                    self.settle(queued, status).await;
                }
                () = self.ledger.delivery() => idle.clear(),
                _ = look.tick() => idle.clear(),
                _ = tidy.tick() => self.tidy(&hooks).await,
            }
        }
    }

    async fn settle(&mut self, queued: Queued, status: Result<StatusCode, String>) {
        let standing = self.standings.entry(queued.hook.clone()).or_default();
        standing.in_flight = standing.in_flight.saturating_sub(1);
        // One that refuses this delivery may well take others.
        let (why, is_down) = match status {
            Ok(status) if status.is_success() => (None, false),
            Ok(status) => {
                let is_down = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                (Some(format!("it answered {status}")), is_down)
            }
            Err(why) => (Some(why), true),
        };
        if is_down {
            let pause = backoff(FIRST, standing.failures, PAUSE);
            standing.until = Some(Instant::now() + pause);
            standing.failures = standing.failures.saturating_add(1);
        } else {
            *standing = Standing {
                in_flight: standing.in_flight,
                ..Standing::default()
            };
        }
        let age = clock::unix_ms().saturating_sub(queued.created_at);
        let is_old = u128::try_from(age).unwrap_or(0) > OLDEST.as_millis();
        let what = match &why {
            None => What::Delivered,
            Some(_) if is_old => What::Dropped,
            Some(_) => What::Retried,
        };
        self.tally.count(&queued.hook, what, 1);
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

    /// Forgets deliveries to hooks that are gone, and those that are too many.
    async fn tidy(&self, hooks: &IndexMap<String, Hook>) {
        let names: Vec<String> = hooks.keys().cloned().collect();
        match self.ledger.retain_deliveries(names, KEPT, KEPT_BYTES).await {
            Ok(dropped) => {
                for (hook, rows) in dropped {
                    tracing::error!(
                        hook,
                        rows,
                        "a hook was not told: too much is waiting, or it is gone"
                    );
                    self.tally.count(&hook, What::Dropped, rows);
                }
            }
            Err(error) => tracing::warn!(%error, "what hooks are to be told cannot be tidied"),
        }
    }
}
