//! What runs on a colleague's machine: agents are set up, and model servers found.

pub mod agents;
pub mod discovery;
