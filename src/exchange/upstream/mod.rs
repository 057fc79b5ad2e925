//! Towards the provider: connection, credential, headers, and the wait for its first byte.

mod auth;
mod connect;
mod limits;
mod pool;
mod post;
mod proxy;
mod send;
mod socket;
mod trust;
mod used;

pub use auth::aws::sign_s3;
pub use connect::{Connector, Timeouts, tls, tls_of};
pub use limits::asked_wait;
pub use pool::{Received, Reuse};
pub use post::Post;
pub use send::{Failure, Upstream};
pub use socket::{Handshake, Socket};
