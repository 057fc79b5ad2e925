//! Permits of recent callers: a caller's grants, and the objects that the tailnet policy gives them, are
//! then read once for all of their requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Permit;
use crate::policy::identity::Caller;

/// Callers to remember. If there are more, all are forgotten, which costs a little time.
const MOST: usize = 4_096;

/// A caller, and the person for whom they speak.
type Who<'a> = (&'a Arc<Caller>, Option<&'a Arc<Caller>>);

/// Both are kept too, so that their addresses in memory are not used for others.
type Kept = (Arc<Caller>, Option<Arc<Caller>>, Arc<Permit>);

/// A permit holds for one response of the tailnet and for the configuration that it was made from, so
/// callers are identified by their address in memory.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<[usize; 2], Kept>>);

impl Recent {
    pub(super) fn get(&self, who: Who<'_>) -> Option<Arc<Permit>> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, _, permit) = recent.get(&place(who))?;
        Some(Arc::clone(permit))
    }

    pub(super) fn keep(&self, who: Who<'_>, permit: Arc<Permit>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MOST {
            recent.clear();
        }
        let (caller, person) = who;
        recent.insert(place(who), (Arc::clone(caller), person.cloned(), permit));
    }
}

fn place((caller, person): Who<'_>) -> [usize; 2] {
    let of = |caller: &Arc<Caller>| Arc::as_ptr(caller).addr();
    [of(caller), person.map_or(0, of)]
}

/// People whom the tailnet has not shown, by login: each is one caller in memory for all requests.
#[derive(Default)]
pub(super) struct Unseen(Mutex<HashMap<Box<str>, Arc<Caller>>>);

impl Unseen {
    pub(super) fn get(&self, login: &str) -> Arc<Caller> {
        let mut unseen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = unseen.get(login) {
            return Arc::clone(known);
        }
        if unseen.len() >= MOST {
            unseen.clear();
        }
        let caller = Arc::new(Caller::named(login));
        unseen.insert(login.into(), Arc::clone(&caller));
        caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::access::Access;

    #[test]
    fn all_are_forgotten_when_there_are_too_many() {
        let text =
            r#"{"grants":[{"src":["*"],"app":{"tailscale.com/cap/aperture":[{"role":"user"}]}}]}"#;
        let access = Access::compile(&config::parse(text, &|_| None).unwrap().file);
        let caller = |nth: usize| Arc::new(Caller::hypothetical(&format!("{nth}@x.org"), None));
        let callers: Vec<_> = (0..=MOST).map(caller).collect();
        let permit = Arc::new(access.permit(&callers[0]).unwrap());
        let recent = Recent::default();
        for caller in &callers[..MOST] {
            recent.keep((caller, None), Arc::clone(&permit));
        }
        assert!(
            callers[..MOST]
                .iter()
                .all(|one| recent.get((one, None)).is_some())
        );
        recent.keep((&callers[MOST], None), permit);
        let left = callers
            .iter()
            .filter(|one| recent.get((one, None)).is_some());
        assert_eq!(left.count(), 1);
        assert!(recent.get((&callers[MOST], None)).is_some());
    }
}
