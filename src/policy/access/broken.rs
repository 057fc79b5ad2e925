//! Which capability objects of the tailnet policy can't be read, so that each is logged when it
//! appears rather than with every request.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::policy::identity::Caller;

/// Callers to remember. If there are more, all are forgotten, and what was logged is logged again.
const MOST: usize = 4_096;

/// What was logged, and who has it.
#[derive(Default)]
pub(super) struct Broken(Mutex<Known>);

#[derive(Default)]
struct Known {
    logged: HashSet<u64>,
    by_caller: HashMap<Box<str>, HashSet<u64>>,
}

impl Broken {
    /// Takes a caller's objects that can't be read, each with its name and text. Returns the places
    /// of those that no caller had before.
    pub(super) fn new_among(&self, caller: &Caller, objects: &[(&str, &str)]) -> Vec<usize> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        if objects.is_empty() && !known.by_caller.contains_key(caller.key()) {
            return Vec::new();
        }
        let hashes: Vec<u64> = objects.iter().map(hash).collect();
        if known.by_caller.len() >= MOST {
            *known = Known::default();
        }
        let now: HashSet<u64> = hashes.iter().copied().collect();
        let before = if now.is_empty() {
            known.by_caller.remove(caller.key())
        } else {
            known.by_caller.insert(caller.key().into(), now.clone())
        };
        let before = before.unwrap_or_default();
        // If it comes back, that is another change.
        for gone in before.difference(&now) {
            known.logged.remove(gone);
        }
        let mut is_new = |hash: u64| !before.contains(&hash) && known.logged.insert(hash);
        let places = hashes.into_iter().enumerate();
        places
            .filter_map(|(place, hash)| is_new(hash).then_some(place))
            .collect()
    }
}

fn hash(object: &(&str, &str)) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_new_once_for_each_change() {
        let broken = Broken::default();
        let (ada, bob) = (
            Caller::hypothetical("ada@x.org", None),
            Caller::hypothetical("bob@x.org", None),
        );
        let (one, two) = (("cap", "1"), ("cap", "2"));
        assert_eq!(broken.new_among(&ada, &[]), Vec::<usize>::new());
        assert_eq!(broken.new_among(&ada, &[one]), [0]);
        assert!(broken.new_among(&ada, &[one]).is_empty());
        assert!(broken.new_among(&bob, &[one]).is_empty(), "the same object");
        assert_eq!(broken.new_among(&ada, &[one, two]), [1]);
        assert_eq!(broken.new_among(&bob, &[("other", "1")]), [0]);
        // It is fixed, and broken again.
        assert!(broken.new_among(&ada, &[]).is_empty());
        assert_eq!(broken.new_among(&ada, &[one]), [0]);
    }

    #[test]
    fn callers_are_forgotten_when_there_are_too_many() {
        let broken = Broken::default();
        for nth in 0..=MOST {
            let caller = Caller::hypothetical(&format!("{nth}@x.org"), None);
            broken.new_among(&caller, &[("cap", "1")]);
        }
        let known = broken.0.lock().unwrap();
        assert!(known.by_caller.len() <= MOST);
    }
}
