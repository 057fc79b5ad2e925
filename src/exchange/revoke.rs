//! Whether a caller may still have what they are being given.

use std::sync::Arc;

use tokio::sync::watch;

use super::context::Asked;
use super::verified::Unverified;
use crate::exchange::relay::Watch;
use crate::exchange::rules::Rules;
use crate::policy::identity::Refused;
use crate::policy::route::Route;
use crate::wire::Rejection;

/// Resolves once the caller may no longer have it: looked at again whenever the tailnet or the
/// configuration changes.
pub(super) fn watch(mut rules: watch::Receiver<Arc<Rules>>, asked: &Asked, route: &Route) -> Watch {
    let mut who = asked.who.clone();
    let mut seen = Some(asked.rules.generation);
    let (provider, model) = (Arc::clone(&route.provider), route.model.clone());
    Box::pin(async move {
        let mut changes = who.changes.take();
        loop {
            let current = rules.borrow_and_update().clone();
            match who.verify().await {
                Ok(false) | Err(Unverified::Unknown(Refused::Unavailable(_))) => {}
                Ok(true) => seen = None,
                Err(Unverified::Unknown(_)) => {
                    return revoked("the control server has not been heard for too long");
                }
                Err(Unverified::Gone) => return revoked("this device may no longer call"),
            }
            if seen != Some(current.generation) {
                seen = Some(current.generation);
                let permit = current.access.permit(&who.caller);
                let covered = permit.is_ok_and(|permit| permit.covers(provider.subject(&model)));
                if !covered {
                    return revoked("access to this model was withdrawn");
                }
            }
            // A closed channel tells of nothing any more: the process is stopping.
            let tailnet_changed = async {
                let heard = match &mut changes {
                    Some(changes) => changes.changed().await.is_ok(),
                    None => false,
                };
                if !heard {
                    std::future::pending::<()>().await;
                }
            };
            let rules_changed = async {
                if rules.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = rules_changed => {}
                () = tailnet_changed => {}
            }
        }
    })
}

fn revoked(why: &'static str) -> Rejection {
    Rejection::new(http::StatusCode::FORBIDDEN, "revoked", why)
}
