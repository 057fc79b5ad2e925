//! What is known of providers from the traffic that they get: how many requests are open, which
//! of them fail, and whose turn it is. Lives as long as the process; nothing is asked of a
//! provider to learn it.
//!
//! It is kept for a provider as it is configured: with another URL or credential it is another
//! provider, of which nothing is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Provider;
use super::health::{Health, ModelHealth, Standing, Track};
use super::held::Held;
use crate::config::Routing;

/// Tenths of a retry that every attempt pays into the budget of its group: one request in five
/// may be tried again, so that a storm of failures isn't answered with one of retries.
const DEPOSIT: i64 = 2;
/// What a retry takes out of it.
const RETRY: i64 = 10;
/// What a budget holds at most, and begins with: ten retries.
const MOST: i64 = 100;
/// Names whose turns and budgets are kept; beyond it all start over.
const NAMES: usize = 4_096;
/// How long an earlier configuration of a provider is remembered, for requests that still have it.
const KEPT: Duration = Duration::from_mins(10);

/// The traffic of this process. Clones share it.
#[derive(Clone, Default)]
pub struct Traffic {
    inner: Arc<Mutex<Inner>>,
    held: Held,
}

#[derive(Default)]
struct Inner {
    providers: HashMap<Key, State>,
    turns: HashMap<String, usize>,
    /// Tenths of retries, for each model as callers name it.
    budgets: HashMap<String, i64>,
}

/// A provider as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    id: String,
    fingerprint: u64,
}

impl Key {
    fn of(provider: &Provider) -> Self {
        Self {
            id: provider.id.clone(),
            fingerprint: provider.fingerprint(),
        }
    }
}

#[derive(Debug)]
struct State {
    open: usize,
    /// Whether it can be reached at all.
    whole: Track,
    models: BTreeMap<String, Track>,
    /// It refuses requests with `stream_options`.
    refuses_stream_options: bool,
    used: Instant,
}

/// What a failure speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The provider: there was no connection.
    Provider,
    /// The model that was asked for: the provider has answered.
    Model,
    /// The model, as far as is known: no answer came in time.
    Silence,
}

/// A request that is open at a provider, until it is dropped.
#[must_use = "a dropped request is not open"]
pub struct Open {
    traffic: Traffic,
    key: Key,
    model: String,
    /// It is the one that tries a paused provider.
    tries_provider: bool,
    /// It is the one that tries a paused model.
    tries_model: bool,
    told: bool,
}

impl Traffic {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which provider made what later requests may name.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Notes that a request for a model goes to a provider.
    pub fn open(&self, provider: &Provider, model: &str) -> Open {
        let key = Key::of(provider);
        let mut inner = self.lock();
        let state = inner.state(&key);
        state.open += 1;
        let tries_provider = state.whole.begin();
        let track = state.models.entry(model.to_owned()).or_default();
        let tries_model = track.begin();
        Open {
            traffic: self.clone(),
            key,
            model: model.to_owned(),
            tries_provider,
            tries_model,
            told: false,
        }
    }

    /// How a provider stands for a model.
    #[must_use]
    pub fn standing(&self, provider: &Provider, model: &str) -> Standing {
        let inner = self.lock();
        let Some(state) = inner.providers.get(&Key::of(provider)) else {
            return Standing::Well;
        };
        let whole = state.whole.standing();
        let model = state
            .models
            .get(model)
            .map_or(Standing::Well, Track::standing);
        if model.rank() > whole.rank() || whole == Standing::Well {
            model
        } else {
            whole
        }
    }

    /// Requests that are open at a provider.
    #[must_use]
    pub fn open_at(&self, provider: &Provider) -> usize {
        let inner = self.lock();
        let state = inner.providers.get(&Key::of(provider));
        state.map_or(0, |state| state.open)
    }

    /// Counts the turns of an alias or a model: 0, 1, 2 and so on.
    #[must_use]
    pub fn turn(&self, of: &str) -> usize {
        let mut inner = self.lock();
        let turn = bounded(&mut inner.turns, of, 0);
        let this = *turn;
        *turn = turn.wrapping_add(1);
        this
    }

    /// Pays for retries of later requests of the group.
    pub fn deposit(&self, group: &str) {
        let mut inner = self.lock();
        let budget = bounded(&mut inner.budgets, group, MOST);
        *budget = (*budget + DEPOSIT).min(MOST);
    }

    /// Whether one more try may be made in the group.
    #[must_use]
    pub fn retry(&self, group: &str) -> bool {
        let mut inner = self.lock();
        let budget = bounded(&mut inner.budgets, group, MOST);
        let may = *budget >= RETRY;
        if may {
            *budget -= RETRY;
        }
        may
    }

    /// Whether a provider has refused a request for its `stream_options`.
    #[must_use]
    pub fn refuses_stream_options(&self, provider: &Provider) -> bool {
        let inner = self.lock();
        let state = inner.providers.get(&Key::of(provider));
        state.is_some_and(|state| state.refuses_stream_options)
    }

    /// Remembers that it has.
    pub fn learn_no_stream_options(&self, provider: &Provider) {
        let mut inner = self.lock();
        inner.state(&Key::of(provider)).refuses_stream_options = true;
    }

    /// How a provider does; nothing where it had no request yet.
    #[must_use]
    pub fn health(&self, provider: &Provider) -> Option<Health> {
        let inner = self.lock();
        let state = inner.providers.get(&Key::of(provider))?;
        Some(state.health())
    }
}

/// The value of a name; all start over before there are too many.
fn bounded<'a, T>(map: &'a mut HashMap<String, T>, name: &str, first: T) -> &'a mut T {
    if map.len() >= NAMES && !map.contains_key(name) {
        map.clear();
    }
    map.entry(name.to_owned()).or_insert(first)
}

impl Inner {
    fn state(&mut self, key: &Key) -> &mut State {
        let now = Instant::now();
        if !self.providers.contains_key(key) {
            self.providers.retain(|other, state| {
                other.id != key.id || state.open > 0 || now - state.used < KEPT
            });
        }
        let state = self.providers.entry(key.clone()).or_insert_with(|| State {
            open: 0,
            whole: Track::default(),
            models: BTreeMap::new(),
            refuses_stream_options: false,
            used: now,
        });
        state.used = now;
        state
    }

    /// What is known of the provider and of the model of an open request.
    fn of(&mut self, open: &Open) -> Option<(&mut Track, &mut Track)> {
        let state = self.providers.get_mut(&open.key)?;
        let model = state.models.get_mut(&open.model)?;
        Some((&mut state.whole, model))
    }
}

impl State {
    fn health(&self) -> Health {
        let models = self.models.values();
        let tracks = || models.clone().chain([&self.whole]);
        let all_paused = !self.models.is_empty() && models.clone().all(Track::is_paused);
        let soonest = models.clone().filter_map(Track::retry_in).min();
        let retry_in = self.whole.retry_in().or(soonest.filter(|_| all_paused));
        let last_error = tracks().filter_map(|track| track.last_error.as_ref());
        let named = self.models.iter();
        Health {
            ejected: self.whole.is_paused() || all_paused,
            retry_in: retry_in.map(|left| left.as_secs()),
            open: self.open,
            requests: self.whole.requests,
            failed: tracks().map(|track| track.failed).sum(),
            failures: tracks().map(|track| track.failures).max().unwrap_or(0),
            last_success: tracks().filter_map(|track| track.last_success).max(),
            last_error: last_error.max().map(|(_, why)| why.clone()),
            models: named
                .map(|(name, track)| ModelHealth::of(name, track))
                .collect(),
        }
    }
}

impl Open {
    /// The head of a response has come. The provider can be reached; how the model does is only
    /// known at the end of the response.
    pub fn answering(&mut self, rules: &Routing) {
        let mut inner = self.traffic.lock();
        let Some((whole, model)) = inner.of(self) else {
            return;
        };
        if whole.reached(self.tries_provider) {
            tracing::info!(provider = self.key.id, "can be reached again");
        }
        if self.tries_model {
            model.answering(rules);
        }
    }

    /// A response has come to its end.
    pub fn succeeded(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let mut inner = self.traffic.lock();
        let Some((whole, model)) = inner.of(self) else {
            return;
        };
        whole.succeeded(self.tries_provider);
        if model.succeeded(self.tries_model) {
            let (provider, model) = (&self.key.id, &self.model);
            tracing::info!(provider, model, "answers again");
        }
    }

    /// The provider or the model has failed, as `why` tells. Only the first failure counts.
    pub fn failed(&mut self, why: &str, scope: Scope, rules: &Routing) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let mut inner = self.traffic.lock();
        let Some((whole, model)) = inner.of(self) else {
            return;
        };
        if scope == Scope::Model && whole.reached(self.tries_provider) {
            tracing::info!(provider = self.key.id, "can be reached again");
        }
        let is_whole = match scope {
            Scope::Provider => true,
            Scope::Model => false,
            // A provider that is still silent is still out.
            Scope::Silence => self.tries_provider,
        };
        let (track, tries) = if is_whole {
            (whole, self.tries_provider)
        } else {
            (model, self.tries_model)
        };
        let failures = track.failures.saturating_add(1);
        if let Some(wait) = track.failed(why, tries, rules) {
            let provider = &self.key.id;
            if is_whole {
                tracing::warn!(provider, failures, ?wait, why, "paused: it fails");
            } else {
                let model = &self.model;
                tracing::warn!(provider, model, failures, ?wait, why, "paused: it fails");
            }
        }
    }

    /// The provider refuses the model for a while, because it is asked too often or is overloaded.
    /// `wait` is for how long, if it says so.
    pub fn limited(&mut self, why: &str, wait: Option<Duration>) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let mut inner = self.traffic.lock();
        if let Some((whole, model)) = inner.of(self) {
            if whole.reached(self.tries_provider) {
                tracing::info!(provider = self.key.id, "can be reached again");
            }
            let wait = model.limited(why, wait, self.tries_model);
            let (provider, model) = (&self.key.id, &self.model);
            tracing::info!(provider, model, ?wait, why, "left out: it is limited");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut inner = self.traffic.lock();
        let Some(state) = inner.providers.get_mut(&self.key) else {
            return;
        };
        state.open = state.open.saturating_sub(1);
        // Nothing was learned, for one because its caller left: the next one tries.
        if self.tries_provider {
            state.whole.untried();
        }
        if let Some(model) = state.models.get_mut(&self.model)
            && self.tries_model
        {
            model.untried();
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

    fn provider(baseurl: &str) -> Provider {
        let config = crate::config::Provider::at(baseurl);
        Provider::new("p", &config).unwrap()
    }

    fn fail(traffic: &Traffic, provider: &Provider, model: &str, scope: Scope, times: usize) {
        for _ in 0..times {
            traffic.open(provider, model).failed("503", scope, &rules());
        }
    }

    #[tokio::test]
    async fn a_model_that_fails_in_a_row_is_paused_and_then_tried_by_one() {
        let (traffic, p) = (Traffic::default(), provider("http://p"));
        fail(&traffic, &p, "m", Scope::Model, 2);
        traffic.open(&p, "m").succeeded();
        fail(&traffic, &p, "m", Scope::Model, 2);
        assert_eq!(traffic.standing(&p, "m"), Standing::Well);
        fail(&traffic, &p, "m", Scope::Model, 1);
        assert_eq!(traffic.standing(&p, "m"), Standing::Paused);
        assert!(traffic.health(&p).unwrap().ejected);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(traffic.standing(&p, "m"), Standing::OnTrial);
        let mut first = traffic.open(&p, "m");
        assert_eq!(traffic.standing(&p, "m"), Standing::Paused, "one is enough");
        first.failed("503", Scope::Model, &rules());
        drop(first);
        assert_eq!(traffic.standing(&p, "m"), Standing::Paused, "at once");
        tokio::time::sleep(Duration::from_millis(120)).await;
        drop(traffic.open(&p, "m"));
        assert_eq!(
            traffic.standing(&p, "m"),
            Standing::OnTrial,
            "the caller left"
        );
        traffic.open(&p, "m").succeeded();
        assert_eq!(traffic.standing(&p, "m"), Standing::Well);
    }

    #[tokio::test]
    async fn the_beginning_of_a_response_is_no_success() {
        let (traffic, p) = (Traffic::default(), provider("http://p"));
        for _ in 0..3 {
            let mut open = traffic.open(&p, "m");
            open.answering(&rules());
            open.failed("broke off", Scope::Model, &rules());
        }
        assert_eq!(traffic.standing(&p, "m"), Standing::Paused);
        tokio::time::sleep(Duration::from_millis(60)).await;
        let mut long = traffic.open(&p, "m");
        long.answering(&rules());
        assert_eq!(traffic.standing(&p, "m"), Standing::Paused);
        // While that response goes on, another request may try after a while.
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(traffic.standing(&p, "m"), Standing::OnTrial);
        long.succeeded();
        assert_eq!(traffic.standing(&p, "m"), Standing::Well);
    }

    #[test]
    fn a_broken_model_leaves_the_others_and_a_dead_provider_takes_all() {
        let (traffic, p) = (Traffic::default(), provider("http://p"));
        traffic.open(&p, "good").succeeded();
        fail(&traffic, &p, "bad", Scope::Model, 3);
        assert_eq!(traffic.standing(&p, "bad"), Standing::Paused);
        assert_eq!(traffic.standing(&p, "good"), Standing::Well);
        let health = traffic.health(&p).unwrap();
        assert!(!health.ejected);
        let paused: Vec<_> = health.paused_models().map(|one| &*one.model).collect();
        assert_eq!(paused, ["bad"]);
        fail(&traffic, &p, "good", Scope::Provider, 3);
        for model in ["good", "bad", "never asked for"] {
            assert_eq!(traffic.standing(&p, model), Standing::Paused, "{model}");
        }
        assert!(traffic.health(&p).unwrap().ejected);
    }

    #[tokio::test]
    async fn a_provider_that_answers_can_be_reached_whatever_it_answers() {
        let rules = rules();
        for (nth, outcome) in [
            |open: &mut Open, rules: &Routing| open.failed("500", Scope::Model, rules),
            |open: &mut Open, _: &Routing| open.limited("429", None),
            |open: &mut Open, rules: &Routing| open.failed("silent", Scope::Silence, rules),
        ]
        .iter()
        .enumerate()
        {
            let (traffic, p) = (Traffic::default(), provider("http://p"));
            fail(&traffic, &p, "m", Scope::Provider, 2);
            outcome(&mut traffic.open(&p, "m"), &rules);
            fail(&traffic, &p, "m", Scope::Provider, 1);
            let in_a_row = nth == 2;
            assert_eq!(traffic.health(&p).unwrap().ejected, in_a_row, "{nth}");
            fail(&traffic, &p, "m", Scope::Provider, 3);
            tokio::time::sleep(Duration::from_millis(200)).await;
            outcome(&mut traffic.open(&p, "m"), &rules);
            assert_eq!(traffic.health(&p).unwrap().ejected, in_a_row, "{nth}");
            let other = traffic.standing(&p, "other");
            let expected = [Standing::Well, Standing::Paused][usize::from(in_a_row)];
            assert_eq!(other, expected, "{nth}");
        }
    }

    #[test]
    fn a_limit_holds_for_its_model_and_its_time() {
        let (traffic, p) = (Traffic::default(), provider("http://p"));
        let limited = |model: &str, wait| traffic.open(&p, model).limited("429", wait);
        limited("m", Some(Duration::from_mins(1)));
        limited("m", Some(Duration::from_secs(1)));
        let Standing::Limited(left) = traffic.standing(&p, "m") else {
            panic!("not limited");
        };
        assert!(left > Duration::from_secs(58), "{left:?}");
        assert_eq!(traffic.standing(&p, "other"), Standing::Well);
        limited("week", Some(Duration::from_hours(7 * 24)));
        let week = traffic.standing(&p, "week").rank().1;
        assert!(week <= super::super::health::LONGEST_LIMIT);
        limited("now", Some(Duration::ZERO));
        assert_eq!(traffic.standing(&p, "now"), Standing::Well);
        limited("silent", None);
        assert!(!traffic.standing(&p, "silent").is_available());
    }

    #[test]
    fn what_is_known_of_a_provider_ends_with_its_configuration() {
        let (traffic, old) = (Traffic::default(), provider("http://old"));
        fail(&traffic, &old, "m", Scope::Provider, 3);
        let new = provider("http://new");
        assert_eq!(traffic.standing(&new, "m"), Standing::Well);
        assert!(traffic.health(&new).is_none());
        let again = provider("http://old");
        assert_eq!(traffic.standing(&again, "m"), Standing::Paused);
    }

    #[test]
    fn retries_are_a_share_of_the_requests_of_a_group() {
        let traffic = Traffic::default();
        let mut made = 0;
        for _ in 0..1_000 {
            traffic.deposit("m");
            made += i32::from(traffic.retry("m"));
        }
        assert!((200..=215).contains(&made), "{made}");
        assert!(!traffic.retry("m") && traffic.retry("other"));
    }

    #[test]
    fn open_requests_are_counted_until_they_are_dropped() {
        let (traffic, p) = (Traffic::default(), provider("http://p"));
        let some: Vec<_> = (0..3).map(|_| traffic.open(&p, "m")).collect();
        assert_eq!(traffic.open_at(&p), 3);
        drop(some);
        assert_eq!(traffic.open_at(&p), 0);
        assert_eq!(
            (traffic.turn("a"), traffic.turn("a"), traffic.turn("b")),
            (0, 1, 0)
        );
    }
}
