//! Permits of recent callers: a caller's grants, and the objects that the tailnet policy gives them, are
//! then read once for all of their requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Permit;
use crate::policy::identity::Caller;

/// Callers to remember. If there are more, all are forgotten, which costs a little time.
const MOST: usize = 4_096;

/// The caller is kept too, so that the address in memory is not used for another one.
type Kept = (Arc<Caller>, Arc<Permit>);

/// A permit holds for one response of the tailnet and for the configuration that it was made from, so
/// callers are identified by their address in memory.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<usize, Kept>>);

impl Recent {
    pub(super) fn get(&self, caller: &Arc<Caller>) -> Option<Arc<Permit>> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, permit) = recent.get(&place(caller))?;
        Some(Arc::clone(permit))
    }

    pub(super) fn keep(&self, caller: &Arc<Caller>, permit: Arc<Permit>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MOST {
            recent.clear();
        }
        recent.insert(place(caller), (Arc::clone(caller), permit));
    }
}

fn place(caller: &Arc<Caller>) -> usize {
    Arc::as_ptr(caller).addr()
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
            recent.keep(caller, Arc::clone(&permit));
        }
        assert!(callers[..MOST].iter().all(|one| recent.get(one).is_some()));
        recent.keep(&callers[MOST], permit);
        let left = callers.iter().filter(|one| recent.get(one).is_some());
        assert_eq!(left.count(), 1);
        assert!(recent.get(&callers[MOST]).is_some());
    }
}
