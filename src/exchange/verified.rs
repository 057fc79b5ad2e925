//! A caller, and whether they still are who they were.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::net::tailnet::{Resolver, Status};
use crate::policy::identity::{Caller, Refused};

/// A caller with the means to see whether they still are who they were.
#[derive(Clone)]
pub struct Verified {
    /// Who it is.
    pub caller: Arc<Caller>,
    /// Asks again; `None` for loopback, which cannot change.
    pub resolver: Option<(Arc<Resolver>, IpAddr)>,
    /// The network map's epoch for which `caller` was true.
    pub epoch: u64,
    /// Tells that the tailnet has changed.
    pub changes: Option<watch::Receiver<Status>>,
    /// The whole URL that was asked for, without its query.
    pub url: Arc<str>,
}

/// Why nobody knows whether a caller still is the same device.
pub(super) enum Unverified {
    /// It is not.
    Gone,
    /// The tailnet could not be asked, or was not heard for too long.
    Unknown(Refused),
}

impl Verified {
    /// Sees that the caller still is the same device with the same owner, if the tailnet has changed
    /// since that was last known. Answers whether it has.
    pub(super) async fn verify(&mut self) -> Result<bool, Unverified> {
        let Some((resolver, source)) = &self.resolver else {
            return Ok(false);
        };
        let epoch = resolver.epoch();
        if epoch == self.epoch {
            return Ok(false);
        }
        match resolver.caller(*source).await {
            Ok(again) if again.is_same(&self.caller) => {
                self.caller = again;
                self.epoch = epoch;
                Ok(true)
            }
            Err(why @ (Refused::Unavailable(_) | Refused::Stale(_))) => {
                Err(Unverified::Unknown(why))
            }
            _ => Err(Unverified::Gone),
        }
    }
}
