//! Why an address is refused.

/// Why an address may not call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The address belongs to no node: a subnet router, Funnel or the host's own network.
    #[error("the source of this connection is not a tailnet device")]
    NotANode,
    /// The node has neither a user nor tags.
    #[error("this device has neither a user nor a tag")]
    Nobody,
    /// The node exists and may not act.
    #[error("this device may not be used: {0}")]
    Unusable(&'static str),
    /// The gateway's own address.
    #[error("the gateway does not call itself")]
    Oneself,
    /// The address now belongs to another node than the one that opened the connection.
    #[error("this address now belongs to another device")]
    Changed,
    /// The control server was not heard for longer than the configuration allows.
    #[error(
        "the control server has not been heard for {0}, and tailnet.stale_after refuses callers until it is"
    )]
    Stale(String),
    /// The tailnet could not be asked.
    #[error("the tailnet cannot tell who this is: {0}")]
    Unavailable(String),
}
