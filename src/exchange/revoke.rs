//! Whether a caller may still have what they are being given.

use std::sync::Arc;

use tokio::sync::watch;

use super::Verified;
use crate::exchange::relay::Watch;
use crate::exchange::rules::Rules;
use crate::policy::identity::Refused;
use crate::policy::route::Route;
use crate::wire::Rejection;

/// Resolves once the caller may no longer have it: looked at again whenever the tailnet or the
/// configuration changes.
pub(super) fn watch(
    mut rules: watch::Receiver<Arc<Rules>>,
    who: Verified,
    route: Route,
    generation: u64,
) -> Watch {
    Box::pin(async move {
        let mut changes = who.changes;
        let mut seen = generation;
        let mut epoch = who.epoch;
        let mut caller = who.caller;
        loop {
            let current = rules.borrow_and_update().clone();
            if let Some((resolver, source)) = &who.resolver {
                let now = resolver.epoch();
                if now != epoch {
                    epoch = now;
                    seen = u64::MAX;
                    match resolver.caller(*source).await {
                        Ok(again) if again.is_same(&caller) => caller = again,
                        Err(Refused::Unavailable(_)) => {}
                        Err(Refused::Stale(_)) => {
                            return revoked("the control server has not been heard for too long");
                        }
                        _ => return revoked("this device may no longer call"),
                    }
                }
            }
            if current.generation != seen {
                seen = current.generation;
                let covered = current
                    .access
                    .permit(&caller)
                    .is_ok_and(|permit| permit.covers(route.subject()));
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
