//! Grants: what a caller may do. Allow-only, deny by default; the configuration's grants and
//! the tailnet policy's capabilities add up.

mod broken;
mod capability;
mod pattern;
mod permit;
mod recent;

pub use capability::{BucketRef, Capability, HookEvent, HookPart, Remains, Role, SendHook};
pub use pattern::ModelPattern;
pub use permit::{Access, NoRole, Permit};
