//! Grants: what a caller may do. Allow-only, deny by default; the configuration's grants and
//! the tailnet policy's capabilities add up.

mod broken;
mod capability;
mod grants;
mod pattern;
mod permit;
mod recent;
mod subject;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use capability::{
    BucketRef, CacheGrant, Capability, Header, HookEvent, HookPart, Remains, Role, SendHook,
};
pub use grants::Access;
pub use pattern::{ModelPattern, is_named};
pub use permit::{NoRole, Permit};
pub use subject::Subject;
