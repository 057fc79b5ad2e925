//! What is known of providers from the traffic that they get: how many requests are open, which
//! of them fail, and whose turn it is. Lives as long as the process; nothing is asked of a
//! provider to learn it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::Routing;

/// Tenths of a retry that every request pays into the budget of retries: one request in five
/// may be tried again, so that a storm of failures isn't answered with one of retries.
const DEPOSIT: i64 = 2;
/// What a retry takes out of it.
const RETRY: i64 = 10;
/// What the budget holds at most, and begins with: ten retries.
const MOST: i64 = 100;
/// Aliases whose turns are kept; beyond it all begin anew.
const TURNS: usize = 4_096;

/// The traffic of this process. Clones share it.
#[derive(Clone, Default)]
pub struct Traffic {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    providers: HashMap<String, State>,
    turns: HashMap<String, usize>,
    /// Tenths of retries.
    budget: i64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            providers: HashMap::new(),
            turns: HashMap::new(),
            budget: MOST,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// Failures in a row.
    failures: u32,
    /// Ejections in a row.
    ejections: u32,
    ejected: Option<Ejected>,
    requests: u64,
    failed: u64,
    last_success: Option<i64>,
    last_error: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Ejected {
    until: Instant,
    /// Somebody is trying whether it has recovered.
    is_tried: bool,
}

/// How a provider stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers, as far as anybody knows.
    Well,
    /// It failed, and the time has come to try it with one request.
    OnTrial,
    /// It failed and is left alone.
    Ejected,
}

/// A provider as people see it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Health {
    /// Whether it is left alone for its failures.
    pub ejected: bool,
    /// Seconds until it is tried again.
    pub retry_in: Option<u64>,
    /// Requests that are open.
    pub open: usize,
    /// Requests since the start of the process.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Unix milliseconds of the last answer.
    pub last_success: Option<i64>,
    /// What the last failure was.
    pub last_error: Option<String>,
}

/// A request that is open at a provider, until it is dropped.
#[must_use = "a dropped request is not open"]
pub struct Open {
    traffic: Traffic,
    provider: String,
    /// It is the one that tries an ejected provider.
    tries: bool,
    told: bool,
}

impl Traffic {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request goes to a provider.
    pub fn open(&self, provider: &str) -> Open {
        let mut inner = self.lock();
        inner.budget = (inner.budget + DEPOSIT).min(MOST);
        let state = inner.providers.entry(provider.to_owned()).or_default();
        state.open += 1;
        state.requests += 1;
        let now = Instant::now();
        let tries = match &mut state.ejected {
            Some(ejected) if ejected.until <= now && !ejected.is_tried => {
                ejected.is_tried = true;
                true
            }
            _ => false,
        };
        Open {
            traffic: self.clone(),
            provider: provider.to_owned(),
            tries,
            told: false,
        }
    }

    /// How a provider stands.
    #[must_use]
    pub fn standing(&self, provider: &str) -> Standing {
        let inner = self.lock();
        match inner
            .providers
            .get(provider)
            .and_then(|state| state.ejected)
        {
            None => Standing::Well,
            Some(ejected) if ejected.until <= Instant::now() && !ejected.is_tried => {
                Standing::OnTrial
            }
            Some(_) => Standing::Ejected,
        }
    }

    /// Requests that are open at a provider.
    #[must_use]
    pub fn open_at(&self, provider: &str) -> usize {
        self.lock()
            .providers
            .get(provider)
            .map_or(0, |state| state.open)
    }

    /// Counts the turns of an alias or a model: 0, 1, 2 and so on.
    #[must_use]
    pub fn turn(&self, of: &str) -> usize {
        let mut inner = self.lock();
        if inner.turns.len() >= TURNS && !inner.turns.contains_key(of) {
            inner.turns.clear();
        }
        let turn = inner.turns.entry(of.to_owned()).or_default();
        let this = *turn;
        *turn = turn.wrapping_add(1);
        this
    }

    /// Whether one more try may be made.
    #[must_use]
    pub fn retry(&self) -> bool {
        let mut inner = self.lock();
        let may = inner.budget >= RETRY;
        if may {
            inner.budget -= RETRY;
        }
        may
    }

    /// How a provider does; nothing where it had no request yet.
    #[must_use]
    pub fn health(&self, provider: &str) -> Option<Health> {
        let inner = self.lock();
        let state = inner.providers.get(provider)?;
        let left = state
            .ejected
            .map(|ejected| ejected.until.saturating_duration_since(Instant::now()));
        Some(Health {
            ejected: state.ejected.is_some(),
            retry_in: left.map(|left| left.as_secs()),
            open: state.open,
            requests: state.requests,
            failed: state.failed,
            failures: state.failures,
            last_success: state.last_success,
            last_error: state.last_error.clone(),
        })
    }
}

impl Open {
    /// The provider has answered.
    pub fn succeeded(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let mut inner = self.traffic.lock();
        let Some(state) = inner.providers.get_mut(&self.provider) else {
            return;
        };
        state.failures = 0;
        state.last_success = Some(clock::unix_ms());
        // Answers to older requests say nothing of one that was ejected since.
        if self.tries {
            state.ejected = None;
            state.ejections = 0;
            tracing::info!(provider = self.provider, "answers again");
        }
    }

    /// The provider has failed, as `why` tells.
    pub fn failed(&mut self, why: &str, rules: &Routing) {
        // A stream can break after its head has come.
        self.told = true;
        let mut inner = self.traffic.lock();
        let Some(state) = inner.providers.get_mut(&self.provider) else {
            return;
        };
        state.failed += 1;
        state.failures = state.failures.saturating_add(1);
        state.last_error = Some(why.chars().take(300).collect());
        let again = self.tries || state.ejected.is_none();
        if rules.eject_after > 0 && (self.tries || state.failures >= rules.eject_after) && again {
            let wait = backoff(rules.eject_for, state.ejections, rules.eject_at_most);
            state.ejections = state.ejections.saturating_add(1);
            state.ejected = Some(Ejected {
                until: Instant::now() + wait,
                is_tried: false,
            });
            tracing::warn!(
                provider = self.provider,
                failures = state.failures,
                ?wait,
                why,
                "fails, and is left alone for a while"
            );
        }
        self.tries = false;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut inner = self.traffic.lock();
        let Some(state) = inner.providers.get_mut(&self.provider) else {
            return;
        };
        state.open = state.open.saturating_sub(1);
        // Its caller left before anything was known: the next one tries.
        if self.tries
            && !self.told
            && let Some(ejected) = &mut state.ejected
        {
            ejected.is_tried = false;
        }
    }
}

/// Doubles with each time, up to a bound, a quarter more or less: those who wait for the same
/// thing must not come back together.
pub fn backoff(first: Duration, times: u32, most: Duration) -> Duration {
    let wait = first
        .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
        .min(most);
    let mut random = [0];
    // Without random bytes the wait is only less spread.
    let _ = getrandom::fill(&mut random);
    wait.mul_f64(0.75 + f64::from(random[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Routing {
        Routing {
            eject_after: 3,
            eject_for: Duration::from_millis(40),
            ..Routing::default()
        }
    }

    #[tokio::test]
    async fn a_provider_that_fails_in_a_row_is_left_alone_and_then_tried_by_one() {
        let traffic = Traffic::default();
        for _ in 0..2 {
            traffic.open("p").failed("503", &rules());
        }
        traffic.open("p").succeeded();
        for _ in 0..3 {
            assert_eq!(traffic.standing("p"), Standing::Well);
            traffic.open("p").failed("503", &rules());
        }
        assert_eq!(traffic.standing("p"), Standing::Ejected);
        assert!(traffic.health("p").unwrap().ejected);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(traffic.standing("p"), Standing::OnTrial);
        let mut first = traffic.open("p");
        assert_eq!(traffic.standing("p"), Standing::Ejected, "one is enough");
        first.failed("503", &rules());
        assert_eq!(traffic.standing("p"), Standing::Ejected, "at once");
        tokio::time::sleep(Duration::from_millis(120)).await;
        drop(traffic.open("p"));
        assert_eq!(
            traffic.standing("p"),
            Standing::OnTrial,
            "who left knew nothing"
        );
        traffic.open("p").succeeded();
        assert_eq!(traffic.standing("p"), Standing::Well);
    }

    #[test]
    fn retries_are_a_share_of_requests() {
        let traffic = Traffic::default();
        let mut made = 0;
        for _ in 0..1_000 {
            drop(traffic.open("p"));
            made += i32::from(traffic.retry());
        }
        assert!((200..=215).contains(&made), "{made}");
    }

    #[test]
    fn open_requests_are_counted_until_they_are_dropped() {
        let traffic = Traffic::default();
        let some: Vec<_> = (0..3).map(|_| traffic.open("p")).collect();
        assert_eq!(traffic.open_at("p"), 3);
        drop(some);
        assert_eq!(traffic.open_at("p"), 0);
        assert_eq!(
            (traffic.turn("a"), traffic.turn("a"), traffic.turn("b")),
            (0, 1, 0)
        );
    }
}
