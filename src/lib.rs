//! Iris: a private AI gateway that joins your tailnet.
//!
//! A request goes forward, once. The modules stand in the order in which it meets them, and
//! a module imports only from those above it (`tests/architecture.rs` holds them to it):
//!
//! ```text
//! tailnet ─▶ listen ─▶ identity ─▶ server ─┬─▶ gateway: api ▸ access ▸ route ▸ upstream ▸ relay ▸ ledger
//!             (host, origin)   Caller      ├─▶ pages
//!                                          └─▶ admin
//! ```

mod atomic_file;
pub mod bucket;
pub mod clock;
pub mod memory;
pub mod money;
pub mod output;
pub mod panics;
pub mod secret;
pub mod service;
pub mod socket;
pub mod wire;

pub mod config;
pub mod identity;
pub mod listen;
pub mod tailnet;

pub mod access;
pub mod api;
pub mod exporters;
pub mod hooks;
pub mod ledger;
pub mod metrics;
pub mod quota;
pub mod relay;
pub mod route;
pub mod upstream;
pub mod usage;

pub mod gateway;
pub mod rules;
pub mod warnings;

pub mod admin;
pub mod agents;
pub mod cli;
pub mod demo;
pub mod discover;
pub mod pages;
pub mod server;
