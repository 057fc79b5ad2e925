//! What is known of providers from their traffic: how many requests are in flight, which fail, and
//! whose turn it is. It lives as long as the process; no provider is probed for it.
//!
//! It is kept for a provider as it is configured: with another URL or credential it is another
//! provider, of which nothing is known.
//!
//! It is part of the policy because choosing changes it: taking a turn, paying for a retry and
//! trying a paused provider each look and write in one step. The lock is held for those few
//! look-ups in memory, never while anything waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Provider;
use super::health::{Health, Standing, Track};
use super::in_flight::InFlight;
use super::keys::KeyFault;
use super::known::{Key, Known, State};
use crate::base::text::Text;

/// Tenths of a retry that every attempt pays into the budget of its group: one request in five
/// may be tried again, so that a storm of failures isn't answered with one of retries.
const DEPOSIT: i64 = 2;
/// What a retry takes out of it.
const RETRY: i64 = 10;
/// What a budget holds at most, and begins with: ten retries.
const MOST: i64 = 100;
/// Names whose turns and budgets are kept; beyond it all start over.
const NAMES: usize = 4_096;

/// The traffic of this process. Clones share it.
#[derive(Clone, Default)]
pub struct Traffic {
    providers: Known,
    groups: Arc<Mutex<Groups>>,
}

#[derive(Default)]
struct Groups {
    turns: HashMap<String, usize>,
    /// Tenths of retries, for each model as callers name it.
    budgets: HashMap<String, i64>,
}

impl Traffic {
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request for a model goes to a provider.
    pub fn open(&self, provider: &Provider, model: impl Into<Text>) -> InFlight {
        let model = model.into();
        let key = Key::of(provider);
        let mut providers = self.providers.lock();
        let state = providers.state(&key);
        state.in_flight += 1;
        let tries_provider = state.whole.begin();
        let track = state.models.entry(model.clone()).or_default();
        let tries_model = track.begin();
        InFlight {
            providers: self.providers.clone(),
            key,
            model,
            tries_provider,
            tries_model,
            is_judged: false,
        }
    }

    /// Whether a provider takes requests for a model.
    pub fn standing(&self, provider: &Provider, model: &str) -> Standing {
        let providers = self.providers.lock();
        let Some(state) = providers.get(provider) else {
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
    pub fn open_at(&self, provider: &Provider) -> usize {
        let providers = self.providers.lock();
        providers.get(provider).map_or(0, |state| state.in_flight)
    }

    /// Counts the turns of an alias or a model: 0, 1, 2 and so on.
    #[must_use]
    pub fn turn(&self, of: &str) -> usize {
        let mut groups = self.groups();
        bounded(&mut groups.turns, of, 0, |turn| {
            let this = *turn;
            *turn = turn.wrapping_add(1);
            this
        })
    }

    /// Pays for retries of later requests of the group.
    pub fn deposit(&self, group: &str) {
        let mut groups = self.groups();
        bounded(&mut groups.budgets, group, MOST, |budget| {
            *budget = (*budget + DEPOSIT).min(MOST);
        });
    }

    /// Whether one more try may be made in the group.
    #[must_use]
    pub fn retry(&self, group: &str) -> bool {
        let mut groups = self.groups();
        bounded(&mut groups.budgets, group, MOST, |budget| {
            let may = *budget >= RETRY;
            if may {
                *budget -= RETRY;
            }
            may
        })
    }

    /// The key, by its number, that a request goes with: in turn, but the same one for a conversation.
    pub fn key(&self, provider: &Provider, conversation: Option<&str>) -> usize {
        let count = provider.apikeys.len();
        if count < 2 {
            return 0;
        }
        let mut providers = self.providers.lock();
        let state = providers.state(&Key::of(provider));
        state.keys.choose(count, conversation)
    }

    /// Leaves out one of several keys. Returns another one that isn't left out.
    pub fn other_key(
        &self,
        provider: &Provider,
        key: usize,
        why: &str,
        fault: KeyFault,
    ) -> Option<usize> {
        let mut providers = self.providers.lock();
        let state = providers.state(&Key::of(provider));
        state.keys.leave_out(key, why, fault)
    }

    /// The provider has taken a request with one of several keys.
    pub fn key_works(&self, provider: &Provider, key: usize) {
        let mut providers = self.providers.lock();
        providers.state(&Key::of(provider)).keys.succeeded(key);
    }

    /// When the first of several keys is back that are all left out.
    pub fn soonest_key(&self, provider: &Provider) -> Option<Duration> {
        let providers = self.providers.lock();
        providers.get(provider)?.keys.soonest()
    }

    /// Whether a provider has refused a request for its `stream_options`.
    pub fn refuses_stream_options(&self, provider: &Provider) -> bool {
        let providers = self.providers.lock();
        let state = providers.get(provider);
        state.is_some_and(|state| state.refuses_stream_options)
    }

    /// Remembers that it has.
    pub fn learn_no_stream_options(&self, provider: &Provider) {
        let mut providers = self.providers.lock();
        providers.state(&Key::of(provider)).refuses_stream_options = true;
    }

    /// How a provider does; nothing where it had no request yet.
    pub fn health(&self, provider: &Provider) -> Option<Health> {
        self.providers.lock().get(provider).map(State::health)
    }
}

/// Works with the value of a name; all start over before there are too many.
fn bounded<T, R>(
    map: &mut HashMap<String, T>,
    name: &str,
    first: T,
    work: impl FnOnce(&mut T) -> R,
) -> R {
    if let Some(value) = map.get_mut(name) {
        return work(value);
    }
    if map.len() >= NAMES {
        map.clear();
    }
    work(map.entry(name.to_owned()).or_insert(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Routing;
    use crate::policy::route::Scope;

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
            |open: &mut InFlight, rules: &Routing| open.failed("500", Scope::Model, rules),
            |open: &mut InFlight, _: &Routing| open.limited("429", None),
            |open: &mut InFlight, rules: &Routing| open.failed("silent", Scope::Silence, rules),
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
