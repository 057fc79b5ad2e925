//! What benches share: gateways to measure, their processes, and the load on them.

pub mod load;
pub mod peers;
pub mod process;
