//! The way of a model request, from the verified caller to its record, in stages that are types:
//!
//! ```text
//! Admitted -> Routed -> Cleared -> for each choice: Funded -> upstream.send -> relay -> settle
//! ```
//!
//! Each stage takes the one before it, and only its own module can make it, so that a check that is
//! left out doesn't compile. Requests over HTTP and frames of a WebSocket take the same way.

mod admit;
mod agent;
mod attempt;
mod attempts;
mod background;
mod batched;
mod beside;
mod blobs;
mod cache;
mod clear;
mod conclude;
mod context;
mod draft;
mod ending;
mod entry;
mod facts;
mod failure;
mod followed;
mod fund;
pub mod guardrails;
mod held;
pub mod hooks;
mod http;
pub mod jobs;
pub mod kept;
mod lists;
mod person;
mod realtime;
mod refusal;
mod relay;
mod responses;
mod revoke;
mod route;
pub mod rules;
mod served;
mod settle;
mod sockets;
mod stored;
mod translation;
pub mod upstream;
mod verified;
mod websocket;

use std::sync::Arc;

use tokio::sync::watch;

use crate::exchange::hooks::Tally;
use crate::exchange::rules::Rules;
use crate::exchange::upstream::Upstream;
use crate::policy::route::Traffic;
use crate::records::Ledger;
use crate::records::balances::Quotas;
use crate::records::metrics::Metrics;

pub use self::http::Uncounted;
pub use admit::Admitted;
pub use background::Beginnings;
pub use clear::Cleared;
pub use conclude::Room;
pub use context::{Asked, Context, Place, Surface};
pub use fund::Funded;
pub use held::Held;
pub use realtime::PendingSession;
pub use relay::rests_ended;
pub use route::Routed;
pub use sockets::PendingSocket;
pub use stored::StoredResponses;
pub use verified::{AskedUrl, Verified, asked_host};
pub use websocket::Pending;

/// The engines that a request passes through. They outlive every configuration.
pub struct Gateway {
    /// Rules in force.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Connections to providers.
    pub upstream: Upstream,
    /// What is known of providers from their traffic.
    pub traffic: Traffic,
    /// Which provider made what later requests may name.
    pub held: Held,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Balances of budgets.
    pub quotas: Quotas,
    /// What came of calls of hooks.
    pub tally: Tally,
    /// Responses that requests can go on with.
    pub responses: Arc<responses::Responses>,
    /// Responses that providers keep.
    pub stored: Arc<StoredResponses>,
    /// Requests whose responses are made in the background.
    pub beginnings: Beginnings,
    /// Providers that don't count tokens.
    pub uncounted: Uncounted,
    /// Responses that are given again.
    pub cache: Arc<kept::Store>,
    /// What this node has for files and batches.
    pub jobs: jobs::Jobs,
    /// Records.
    pub ledger: Ledger,
}
