//! Sockets: the host's, the tailnet's, and the listeners that hide which it is.

pub mod client;
pub mod listen;
pub mod socket;
pub mod tailnet;
