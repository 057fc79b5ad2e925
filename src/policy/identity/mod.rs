//! Who is calling: a tailnet address becomes a [`Caller`], or is refused.

mod caller;
mod resolve;

pub use caller::{Caller, Principal};
pub(crate) use caller::{EXTERNAL, is_reserved};
pub use resolve::{Refused, Resolver};

#[cfg(test)]
pub(crate) use caller::tests as tests_support;
