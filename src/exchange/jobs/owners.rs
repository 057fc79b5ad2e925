//! Who the lines of a batch are asked as. No credential is stored: the tailnet is asked who has the device
//! that the batch was made from, and anything but the same caller on the same device ends its access.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::detail::Device;
use crate::exchange::{AskedUrl, Verified};
use crate::net::tailnet::{Resolver, State, Status};
use crate::policy::identity::{Caller, Refused};
use crate::records::owner_key;

/// Knows the owners of batches.
pub struct Owners<'g> {
    /// Knows those of batches that were made over the tailnet.
    pub resolver: Option<&'g Arc<Resolver>>,
    /// Tells that the tailnet has changed.
    pub changes: Option<watch::Receiver<Status>>,
}

/// Whether a batch still has the owner that it was made for.
pub(super) enum Whose {
    Owner(Verified),
    /// The device is gone, or is another caller's now.
    Other,
    /// The tailnet can't be asked.
    Unknown,
}

impl Owners<'_> {
    /// Who a batch's lines are asked as: its owner, known as rows have them, with what the tailnet grants them now.
    pub(super) async fn whose(&self, owner: &str, device: &Device) -> Whose {
        let Some(address) = device.address else {
            let caller = Caller::loopback();
            return if owner_key(caller.key()) == owner {
                Whose::Owner(self.verified(caller, None, 0))
            } else {
                Whose::Other
            };
        };
        let Some(resolver) = self.resolver else {
            return Whose::Other;
        };
        // While the node is signed out or starts, it knows no device, which says nothing about this one.
        let is_up = || {
            let mut changes = self.changes.iter();
            changes.all(|changes| changes.borrow().state == State::Running)
        };
        if !is_up() {
            return Whose::Unknown;
        }
        // Before the question: what changes after it must be asked for again.
        let epoch = resolver.epoch();
        match resolver.caller(address).await {
            Ok(caller)
                if owner_key(caller.key()) == owner && caller.node_id() == device.node_id =>
            {
                let asks_again = Some((Arc::clone(resolver), address));
                Whose::Owner(self.verified(caller, asks_again, epoch))
            }
            Err(Refused::Unavailable(_) | Refused::Stale(_)) => Whose::Unknown,
            Err(_) if !is_up() => Whose::Unknown,
            _ => Whose::Other,
        }
    }

    fn verified(
        &self,
        caller: Arc<Caller>,
        resolver: Option<(Arc<Resolver>, IpAddr)>,
        epoch: u64,
    ) -> Verified {
        let changes = self.changes.clone().filter(|_| resolver.is_some());
        Verified {
            caller,
            resolver,
            epoch,
            changes,
            url: AskedUrl {
                is_secure: false,
                path: None,
            },
        }
    }
}
