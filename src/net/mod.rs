//! Sockets: the host's, the tailnet's, and the listeners that hide which it is; HTTP as a server and as
//! a client.

pub mod client;
pub mod http1;
mod http2;
mod lifetime;
pub mod listen;
mod one_turn;
mod pace;
mod pass_writes;
mod sent;
pub mod serve;
pub mod socket;
pub mod tailnet;
pub mod tls;
pub mod write_timeout;

pub use lifetime::Limits;
