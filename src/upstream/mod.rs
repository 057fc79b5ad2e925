//! Towards the provider: connection, credential, headers, and the wait for its first byte.

mod auth;
mod connect;
mod post;
mod send;
mod socket;
mod trust;

pub use auth::aws::sign_s3;
pub use connect::{Connector, Timeouts, tls};
pub use post::Post;
pub use send::{Failure, Upstream};
pub use socket::Socket;
