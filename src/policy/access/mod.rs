//! Grants: what a caller may do. Allow-only, deny by default; the configuration's grants and
//! the tailnet policy's capabilities add up.

mod broken;
mod capability;
mod cors;
mod direct;
mod grants;
mod labels;
mod pattern;
mod permit;
mod recent;
mod speaking;
mod subject;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use capability::{
    BucketRef, CacheGrant, Capability, Header, HookEvent, HookPart, Remains, Role, SendHook,
};
pub use cors::AllowedOrigin;
pub use direct::{DirectChecks, DirectGrant};
pub use grants::Access;
pub use labels::RequiredLabels;
pub use pattern::{ModelPattern, PathPattern, is_named};
pub use permit::{NoRole, Permit, Person};
pub use speaking::{USER, login_in};
pub use subject::Subject;
