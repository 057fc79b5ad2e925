//! What the gateway is made of, below the pipeline of a request; `lib.rs` has the rest.
//!
//! A module imports only from those above it in this list (`tests/architecture` enforces it). It is a package of its
//! own so that a change further down compiles a third of the program. Without the feature `server`, only the client
//! is built.
#![cfg_attr(
    not(feature = "server"),
    expect(
        dead_code,
        unused_imports,
        reason = "the client needs a part of the modules that it shares with the server"
    )
)]

pub mod base;
pub mod wire;

pub mod formats;

pub mod config;

pub mod policy;

pub mod net;

pub mod client;

#[cfg(feature = "server")]
pub mod records;

/// The exporters, whose keys `config` reads though they are further down: what composes the library
/// hands them over. The client has none.
pub(crate) fn exporters() -> Vec<config::Exporter> {
    #[cfg(feature = "server")]
    return records::outlets::declared();
    #[cfg(not(feature = "server"))]
    return Vec::new();
}
