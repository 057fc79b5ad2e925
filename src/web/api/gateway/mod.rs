//! The gateway itself: who you are to it, how it is, and what it counts.

pub(super) mod events;
pub(in crate::web) mod exporters;
pub(super) mod health;
pub(super) mod metrics;
pub(super) mod root;
pub(super) mod status;
pub(super) mod whoami;
