//! Iris: a private AI gateway that joins your tailnet.
//!
//! A module imports only from those above it in this list (`tests/architecture.rs` enforces it);
//! `docs/ARCHITECTURE.md` says how a request moves through them.

pub mod base;
pub mod wire;

pub mod formats;

pub mod config;

pub mod policy;

pub mod net;

pub mod records;

pub mod exchange;

pub mod web;

pub mod client;

pub mod app;

/// The exporters, whose keys `config` reads though they are further down: what composes the library
/// hands them over.
pub(crate) use records::outlets::declared as exporters;
