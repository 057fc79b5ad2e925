//! Who is calling: what the tailnet answers about an address becomes a [`Caller`], or is refused.
//! `net::tailnet` asks; nothing here has a socket.

mod caller;
mod headers;
mod principal;
mod refused;
mod whois;

pub use caller::Caller;
pub use principal::Principal;
pub(crate) use principal::{EXTERNAL, is_reserved};
pub use refused::Refused;
pub use whois::{User, WhoIs, is_tailnet};

#[cfg(test)]
pub(crate) use caller::tests as tests_support;
