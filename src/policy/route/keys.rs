//! Which of a provider's keys a request goes with: each has its turn, a conversation keeps its own, and
//! one that the provider refuses or limits is left out for a while.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::health::{KeyHealth, Standing, Track, seconds};

/// A key that isn't valid or has no credit is left out for so long: people have to see to it.
const REFUSED: Duration = Duration::from_mins(5);

/// Why a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// The provider refuses it.
    Refused,
    /// Too much was asked with it; for how long it takes no requests, if the provider says so.
    Limited(Option<Duration>),
}

/// What is known of each key of a provider that has several; empty before the first request.
#[derive(Debug, Default)]
pub(super) struct Keys {
    turn: usize,
    keys: Vec<Key>,
}

#[derive(Debug, Default)]
struct Key {
    track: Track,
    is_refused: bool,
}

impl Keys {
    /// The key for a request, among so many. Prompts are cached for each account, so a conversation
    /// stays with its key while that is well. If all are left out, the one comes that is so for the shortest
    /// time.
    pub(super) fn choose(&mut self, count: usize, conversation: Option<&str>) -> usize {
        self.keys.resize_with(count, Key::default);
        let first = if let Some(conversation) = conversation {
            let mut hasher = DefaultHasher::new();
            conversation.hash(&mut hasher);
            usize::try_from(hasher.finish() % count as u64).unwrap_or_default()
        } else {
            let turn = self.turn % count;
            self.turn = turn + 1;
            turn
        };
        let order = (first..count).chain(0..first);
        let left = |key: &usize| self.left_out(*key).unwrap_or_default();
        order.min_by_key(left).unwrap_or(first)
    }

    /// Leaves a key out, and returns another one that isn't.
    pub(super) fn leave_out(&mut self, key: usize, why: &str, fault: KeyFault) -> Option<usize> {
        let count = self.keys.len();
        let known = self.keys.get_mut(key)?;
        known.is_refused = fault == KeyFault::Refused;
        let wait = match fault {
            KeyFault::Refused => Some(REFUSED),
            KeyFault::Limited(wait) => wait,
        };
        known.track.limited(why, wait, false);
        let mut others = (key + 1..count).chain(0..key);
        others.find(|other| self.left_out(*other).is_none())
    }

    /// The provider has taken a request with a key.
    pub(super) fn succeeded(&mut self, key: usize) {
        if let Some(known) = self.keys.get_mut(key) {
            known.track.succeeded(false);
        }
    }

    /// The shortest time for which a key is left out, if all are.
    pub(super) fn soonest(&self) -> Option<Duration> {
        let left = (0..self.keys.len()).map(|key| self.left_out(key));
        left.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// The keys that are left out.
    pub(super) fn health(&self) -> Vec<KeyHealth> {
        let keys = self.keys.iter().enumerate();
        let left_out = keys.filter_map(|(nth, known)| {
            let left = self.left_out(nth)?;
            let (_, why) = known.track.last_error.clone()?;
            Some(KeyHealth {
                key: nth + 1,
                left_out_for: seconds(left),
                is_refused: known.is_refused,
                why,
            })
        });
        left_out.collect()
    }

    fn left_out(&self, key: usize) -> Option<Duration> {
        match self.keys.get(key)?.track.standing() {
            Standing::Limited(left) => Some(left),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: KeyFault = KeyFault::Limited(Some(Duration::from_mins(1)));

    #[test]
    fn each_has_its_turn_and_a_conversation_keeps_its_own() {
        let mut keys = Keys::default();
        let turns: Vec<_> = (0..5).map(|_| keys.choose(3, None)).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1]);
        let own = keys.choose(3, Some("c"));
        assert!((0..9).all(|_| keys.choose(3, Some("c")) == own));
        let others: std::collections::BTreeSet<_> = (0..40)
            .map(|nth| keys.choose(3, Some(&nth.to_string())))
            .collect();
        assert_eq!(others.len(), 3);
    }

    #[test]
    fn one_that_is_refused_is_left_out() {
        let mut keys = Keys::default();
        let own = keys.choose(3, Some("c"));
        let other = keys.leave_out(own, "it answered 429", MINUTE).unwrap();
        assert_ne!(own, other);
        assert_eq!(keys.choose(3, Some("c")), other);
        assert!((0..9).all(|_| keys.choose(3, None) != own));
        let health = keys.health();
        assert_eq!((health.len(), health[0].key), (1, own + 1));
        assert_eq!(
            (&*health[0].why, health[0].left_out_for),
            ("it answered 429", 60)
        );
        assert_eq!(keys.soonest(), None);
    }

    #[test]
    fn of_keys_that_are_all_left_out_the_one_comes_that_is_back_first() {
        let mut keys = Keys::default();
        keys.choose(2, None);
        assert_eq!(keys.leave_out(0, "401", KeyFault::Refused), Some(1));
        assert_eq!(keys.leave_out(1, "429", MINUTE), None);
        assert!((0..4).all(|_| keys.choose(2, None) == 1));
        assert!(keys.soonest().unwrap() <= Duration::from_mins(1));
    }

    #[test]
    fn a_limit_without_a_time_is_doubled_until_the_key_works() {
        let left = |works: bool| {
            let mut keys = Keys::default();
            keys.choose(2, None);
            for _ in 0..4 {
                keys.leave_out(0, "429", KeyFault::Limited(None));
                if works {
                    keys.succeeded(0);
                }
            }
            keys.left_out(0).unwrap()
        };
        assert!(left(false) > left(true) * 2);
    }
}
