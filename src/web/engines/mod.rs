//! The engines that management reads and acts on: they live as long as the process.

mod control;
mod listeners;
mod refusals;

use std::sync::Arc;

use super::alerts::{Signals, Warning, Warnings};
use crate::exchange::Gateway;
use crate::exchange::rules::Rules;
use crate::net::tailnet::{Node, Resolver, Status};
use crate::records::outlets::Board;

pub use control::{Control, Saved};
pub(super) use control::{SaveError, hash};
pub use listeners::Listeners;
pub(super) use listeners::Room;
pub use refusals::Refusals;
pub(super) use refusals::{Actor, row};

/// The engines that only management has.
pub struct Management {
    /// The configuration's file.
    pub control: Arc<Control>,
    /// Who was refused.
    pub refusals: Refusals,
    /// How exporters do.
    pub board: Board,
    /// Alerts.
    pub warnings: Warnings,
    /// Events that alerts are computed from.
    pub signals: Signals,
    /// Held while model servers are looked for.
    pub looking: tokio::sync::Mutex<()>,
    /// Open event streams.
    pub listeners: Arc<Listeners>,
}

/// All of them, for one request.
#[derive(Clone, Copy)]
pub struct Engines<'a> {
    /// Those of the requests for models.
    pub gateway: &'a Gateway,
    /// Those of management.
    pub management: &'a Management,
    /// Knows the callers of the tailnet; `None` without one.
    pub resolver: Option<&'a Resolver>,
    /// The node; `None` without a tailnet.
    pub node: Option<&'a Node>,
}

impl Engines<'_> {
    /// The state of the node.
    pub(super) fn node_status(&self) -> Option<Status> {
        self.node.map(Node::status)
    }

    /// Alerts, for admins.
    pub(super) async fn alerts(&self, rules: &Rules) -> Vec<Warning> {
        let node = self.node_status();
        self.management.warnings.all(rules, node.as_ref()).await
    }
}
