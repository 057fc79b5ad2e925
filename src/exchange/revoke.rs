//! Whether a caller may still have the response that is on its way.

use std::sync::Arc;

use tokio::sync::watch;

use super::Gateway;
use super::clear::Cleared;
use super::context::{Asked, covers};
use super::person;
use super::verified::Unverified;
use crate::exchange::rules::Rules;
use crate::policy::access::Permit;
use crate::policy::identity::Refused;
use crate::policy::route::Route;
use crate::wire::{Rejection, Revocation, revocation};

impl Gateway {
    /// Watches whether the caller may still have the response of the provider that was asked last.
    pub(super) fn watch(&self, cleared: &Cleared) -> Revocation {
        match cleared.draft.attempts.last() {
            Some(attempt) => watch(self.rules.clone(), cleared.asked(), &attempt.route),
            None => revocation(std::future::pending()),
        }
    }
}

/// Looks again whenever the tailnet or the configuration changes.
fn watch(mut rules: watch::Receiver<Arc<Rules>>, asked: &Asked, route: &Route) -> Revocation {
    let mut who = asked.who.clone();
    let mut seen = Some(asked.rules.generation);
    let (provider, model) = (Arc::clone(&route.provider), route.model.clone());
    let path = asked.direct_path().map(str::to_owned);
    let named = asked.named.clone();
    revocation(async move {
        let mut changes = who.changes.take();
        loop {
            let current = rules.borrow_and_update().clone();
            // Boxed, because it has next to nothing to do, and the watch would have room for all of it.
            match Box::pin(who.verify()).await {
                Ok(false) | Err(Unverified::Unknown(Refused::Unavailable(_))) => {}
                Ok(true) => seen = None,
                Err(Unverified::Unknown(_)) => {
                    return revoked("the control server has not been heard for too long");
                }
                Err(Unverified::Gone) => return revoked("this device may no longer call"),
            }
            if seen != Some(current.generation) {
                seen = Some(current.generation);
                let is_covered =
                    |permit: &Permit| covers(permit, &provider, &model, path.as_deref());
                let covered = match &named {
                    None => {
                        let permit = current.access.permit(&who.caller);
                        permit.is_ok_and(|permit| is_covered(&permit))
                    }
                    Some(named) => {
                        let asker = Box::pin(person::speaking(&current, &who, named)).await;
                        asker.is_ok_and(|asker| is_covered(&asker.permit))
                    }
                };
                if !covered {
                    return revoked("access to this model was withdrawn");
                }
            }
            tokio::select! {
                () = changed(Some(&mut rules)) => {}
                () = changed(changes.as_mut()) => {}
            }
        }
    })
}

/// Waits for a change. A closed channel has none any more: the process is stopping.
async fn changed<T>(receiver: Option<&mut watch::Receiver<T>>) {
    let is_open = match receiver {
        Some(receiver) => receiver.changed().await.is_ok(),
        None => false,
    };
    if !is_open {
        std::future::pending::<()>().await;
    }
}

fn revoked(why: &'static str) -> Rejection {
    Rejection::new(http::StatusCode::FORBIDDEN, "revoked", why)
}
