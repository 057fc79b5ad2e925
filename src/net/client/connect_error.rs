//! Why a connection to a server failed.

use std::io;
use std::time::Duration;

use crate::net::tailnet;

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The network refused, or the name is unknown.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The tailnet refused.
    #[error("over the tailnet: {0}")]
    Tailnet(#[from] tailnet::Error),
    /// The server's certificate is not trusted.
    #[error("{0}")]
    Certificate(String),
    /// No connection came about in time.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    /// The proxy on the way refused, or can't be reached.
    #[error("{0}")]
    Proxy(String),
    /// What HTTP needs at its start can't be sent.
    #[error("{0}")]
    Protocol(#[source] hyper::Error),
    /// The URL has no host, or no tailnet is there to reach it over.
    #[error("{0}")]
    Impossible(&'static str),
}
