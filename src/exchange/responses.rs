//! Which conversation a response belongs to that a later request can name: a turn that goes on with one
//! of OpenAI's responses names it instead of repeating the conversation.
//! Known is what passed since the program started, as far as there is room for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Responses that are remembered; the oldest are forgotten first.
const MOST: usize = 50_000;
/// A longer id is not one that a provider makes.
const LONGEST_ID: usize = 256;

/// The responses of all callers; each caller sees only their own.
#[derive(Default)]
pub struct Responses(Mutex<Known>);

/// A caller and the id of a response.
type Key = (Box<str>, Box<str>);

#[derive(Default)]
struct Known {
    sessions: HashMap<Key, Box<str>>,
    order: VecDeque<Key>,
}

impl Responses {
    /// Remembers a response that `caller` was given.
    pub fn note(&self, caller: &str, id: &str, session: &str) {
        if id.is_empty() || id.len() > LONGEST_ID {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Key = (caller.into(), id.into());
        if known.sessions.insert(key.clone(), session.into()).is_none() {
            known.order.push_back(key);
        }
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.sessions.remove(&oldest);
        }
    }

    /// The conversation of a response that `caller` names.
    pub fn session(&self, caller: &str, id: &str) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Key = (caller.into(), id.into());
        known.sessions.get(&key).map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_known_to_its_caller_alone() {
        let responses = Responses::default();
        responses.note("alice", "resp_1", "s");
        assert_eq!(responses.session("alice", "resp_1"), Some("s".to_owned()));
        assert_eq!(responses.session("bob", "resp_1"), None);
        responses.note("bob", "resp_1", "t");
        assert_eq!(responses.session("alice", "resp_1"), Some("s".to_owned()));
        responses.note("alice", &"x".repeat(LONGEST_ID + 1), "s");
        assert_eq!(
            responses.session("alice", &"x".repeat(LONGEST_ID + 1)),
            None
        );
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let responses = Responses::default();
        for nth in 0..=MOST {
            responses.note("alice", &nth.to_string(), "s");
        }
        assert_eq!(responses.session("alice", "0"), None);
        assert!(responses.session("alice", "1").is_some());
        assert!(responses.session("alice", &MOST.to_string()).is_some());
        let known = responses.0.lock().unwrap();
        assert_eq!((known.sessions.len(), known.order.len()), (MOST, MOST));
    }
}
