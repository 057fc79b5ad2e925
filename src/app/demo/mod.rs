//! `iris demo`: everything that Iris does, on one machine and without an account.
//!
//! The demo proper is a whole tailnet inside this process: a control server, the gateway's node,
//! two people's devices and a model server at a 100.x address. They are the real parts, as on any
//! tailnet; only the control server is smaller (`tailnet::Control`). The plain demo leaves the
//! tailnet out.

mod door;
mod network;
pub mod plain;
mod policy;
mod provider;
mod tour;

pub use network::{Network, Person};
pub use provider::{MODELS, Provider, TOOLS_MODEL};
pub use tour::{Tour, tour};
