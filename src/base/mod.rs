//! What every module may use, and which knows nothing of gateways: time, secrets, money, memory.

pub mod atomic_file;
pub mod bucket;
pub mod clock;
pub mod labels;
pub mod lock;
pub mod memory;
pub mod money;
pub mod output;
pub mod panics;
pub mod quick_hash;
pub mod reasons;
pub mod secret;
pub mod text;
