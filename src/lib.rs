//! Iris: a private AI gateway that joins your tailnet.

pub mod clock;
pub mod wire;
pub mod api;
