//! Where responses were made that a later request can name: OpenAI's responses are kept at their
//! provider, and a turn that goes on with one names it instead of repeating the conversation.
//! Known is what passed since the program started, as far as there is room for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Responses that are remembered; the oldest are forgotten first.
const MOST: usize = 50_000;
/// A longer id is not one that a provider makes.
const LONGEST_ID: usize = 256;

/// What is known of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The provider that made it, by its id.
    pub provider: String,
    /// The conversation that it belongs to, as records name it.
    pub session: String,
}

/// The responses of all callers; nobody is told of another's.
#[derive(Default)]
pub struct Responses(Mutex<Known>);

/// A caller and the id of a response.
type Key = (Box<str>, Box<str>);

#[derive(Default)]
struct Known {
    made: HashMap<Key, Made>,
    order: VecDeque<Key>,
}

impl Responses {
    /// Remembers a response that `caller` was given.
    pub fn note(&self, caller: &str, id: &str, made: Made) {
        if id.is_empty() || id.len() > LONGEST_ID {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Key = (caller.into(), id.into());
        if known.made.insert(key.clone(), made).is_none() {
            known.order.push_back(key);
        }
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.made.remove(&oldest);
        }
    }

    /// What is known of a response that `caller` names.
    #[must_use]
    pub fn made(&self, caller: &str, id: &str) -> Option<Made> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.made.get(&(caller.into(), id.into())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(session: &str) -> Made {
        Made {
            provider: "p".to_owned(),
            session: session.to_owned(),
        }
    }

    #[test]
    fn a_response_is_known_to_its_caller_alone() {
        let responses = Responses::default();
        responses.note("alice", "resp_1", made("s"));
        assert_eq!(responses.made("alice", "resp_1"), Some(made("s")));
        assert_eq!(responses.made("bob", "resp_1"), None);
        responses.note("bob", "resp_1", made("t"));
        assert_eq!(responses.made("alice", "resp_1"), Some(made("s")));
        responses.note("alice", &"x".repeat(LONGEST_ID + 1), made("s"));
        assert_eq!(responses.made("alice", &"x".repeat(LONGEST_ID + 1)), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let responses = Responses::default();
        for nth in 0..=MOST {
            responses.note("alice", &nth.to_string(), made("s"));
        }
        assert_eq!(responses.made("alice", "0"), None);
        assert!(responses.made("alice", "1").is_some());
        assert!(responses.made("alice", &MOST.to_string()).is_some());
        let known = responses.0.lock().unwrap();
        assert_eq!((known.made.len(), known.order.len()), (MOST, MOST));
    }
}
