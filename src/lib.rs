//! Iris: a private AI gateway that joins your tailnet.
//!
//! A module imports only from those above it in this list (`tests/architecture` enforces it);
//! `docs/ARCHITECTURE.md` says how a request moves through them. Those down to `records` are compiled as a package of
//! their own (`core.rs`). Without the feature `server`, only the client is built.

#[cfg(feature = "server")]
pub use iris_core::records;
pub use iris_core::{base, client, config, formats, net, policy, wire};

#[cfg(feature = "server")]
pub mod exchange;

#[cfg(feature = "server")]
pub mod web;

#[cfg(feature = "server")]
pub mod app;
