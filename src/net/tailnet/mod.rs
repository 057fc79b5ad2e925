//! A node on a tailnet: accept and make connections there, and ask who is at
//! the other end.
//!
//! There are two kinds behind one [`Node`]. [`Node::embedded`] joins as a node
//! of its own, with Tailscale's Go implementation linked into this process;
//! [`Node::host`] uses the `tailscaled` that already runs on this machine.
//!
//! # The boundary to Go
//!
//! Go is called with integers and JSON and answers with integers, JSON and
//! file descriptors (`go/abi.go`). An accepted connection arrives as one
//! message with its descriptor and both its addresses, and is an ordinary
//! local socket from then on; Go copies between it and the tailnet. Nothing
//! is called back. All calls may block and run on tokio's blocking threads.
//!
//! # Signals and processes
//!
//! As a C archive, the Go runtime installs handlers only for the signals it
//! needs itself (faults such as `SIGSEGV`, and `SIGURG` for preemption), with
//! `SA_ONSTACK`, and passes faults outside of Go on to the handler that was
//! there before. The Go code never uses `os/signal`, so `SIGINT`, `SIGTERM`,
//! `SIGHUP` and the like belong to tokio alone. After a fork without exec
//! neither runtime works: start no such child.

mod control;
mod ffi;
mod host;
mod keeper;
mod node;
mod publisher;
mod resolver;
mod stream;
mod whois;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::policy::identity::{WhoIs, is_tailnet};

pub use control::{Control, Member, Network, Owner};
pub use host::{Machine, resolve_inside};
pub use resolver::Resolver;
pub use stream::{Accepted, Listener, Stream};

/// A control server that has nothing to say repeats itself each minute; one that is silent for
/// longer than this is not heard.
pub const SILENCE: Duration = Duration::from_secs(75);

/// How an embedded node joins. There is no `Debug`: it would print the key.
#[derive(Clone, Default)]
pub struct Options {
    pub hostname: String,
    /// Where the node keeps its keys; made with mode 0700 if it isn't there.
    pub state_dir: PathBuf,
    /// An auth key or an OAuth client secret (`tskey-client-…`, which needs
    /// `tags`); without one, the status carries an address to sign in at.
    pub auth_key: Option<String>,
    pub control_url: Option<String>,
    pub ephemeral: bool,
    pub tags: Vec<String>,
    /// A soft limit for the memory of the Go runtime, in bytes.
    pub memory_limit: Option<u64>,
}

/// A node on a tailnet. Clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    kind: Kind,
    stale_after: watch::Sender<Duration>,
}

enum Kind {
    Embedded(node::Embedded),
    Host(host::Host),
}

impl Node {
    /// Starts a node of its own; [`Node::watch`] tells when it is running.
    pub async fn embedded(options: Options) -> Result<Self, Error> {
        let (stale_after, receiver) = watch::channel(Duration::ZERO);
        let kind = Kind::Embedded(node::Embedded::open(options, receiver).await?);
        Ok(Self(Arc::new(Inner { kind, stale_after })))
    }

    /// Uses this machine's `tailscaled`, over its LocalAPI socket.
    pub async fn host(socket: Option<PathBuf>) -> Result<Self, Error> {
        let (stale_after, receiver) = watch::channel(Duration::ZERO);
        let kind = Kind::Host(host::Host::open(socket, receiver).await?);
        Ok(Self(Arc::new(Inner { kind, stale_after })))
    }

    /// Sets how old the network map may get before [`Status::is_stale`]; zero for any age.
    pub fn set_stale_after(&self, limit: Duration) {
        self.0.stale_after.send_if_modified(|known| {
            let differs = *known != limit;
            *known = limit;
            differs
        });
    }

    /// The status now and at each change.
    pub fn watch(&self) -> watch::Receiver<Status> {
        match &self.0.kind {
            Kind::Embedded(node) => node.watch(),
            Kind::Host(host) => host.watch(),
        }
    }

    /// The status as last reported.
    pub fn status(&self) -> Status {
        self.watch().borrow().clone()
    }

    /// Listens on the node's own addresses, IPv4 and IPv6.
    pub async fn listen(&self, port: u16) -> Result<Listener, Error> {
        match &self.0.kind {
            Kind::Embedded(node) => node.listen(port).await,
            Kind::Host(host) => host.listen(port),
        }
    }

    /// Whether it is the machine's own node, so that the machine's network
    /// reaches what it does.
    pub fn is_machine(&self) -> bool {
        matches!(&self.0.kind, Kind::Host(_))
    }

    /// Connects to a tailnet address, a MagicDNS name, or anything else that
    /// the machine can reach.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Stream, Error> {
        self.dial_watched(host, port, false, Duration::ZERO).await
    }

    /// The same, but with `inside` to what is on the tailnet alone. An embedded
    /// node ends the connection once the other node has left the tailnet, or has
    /// not answered for about `silence`.
    pub async fn dial_watched(
        &self,
        host: &str,
        port: u16,
        inside: bool,
        silence: Duration,
    ) -> Result<Stream, Error> {
        match &self.0.kind {
            Kind::Embedded(node) => node.dial(host, port, inside, silence).await,
            Kind::Host(_) => {
                let addresses = if inside {
                    resolve_inside(host, port).await?
                } else {
                    crate::net::socket::resolve(host, port).await?
                };
                Ok(tokio::net::TcpStream::connect(&*addresses).await?.into())
            }
        }
    }

    /// Who has this address; `None` if no node of the tailnet does.
    pub async fn whois(&self, source: IpAddr) -> Result<Option<WhoIs>, Error> {
        let source = source.to_canonical();
        // Others can't be nodes, and looking for them is slow.
        if !is_tailnet(source) {
            return Ok(None);
        }
        match &self.0.kind {
            Kind::Embedded(node) => node.whois(source).await,
            Kind::Host(host) => host.whois(source).await,
        }
    }

    /// A certificate for one of [`Status::cert_domains`]; ordered if there is
    /// no valid one yet, which takes up to two minutes.
    pub async fn certificate(&self, domain: &str) -> Result<Certificate, Error> {
        // It becomes a part of a path.
        if !domain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        {
            return Err(Error::Node(format!("{domain:?} is not a domain name")));
        }
        match &self.0.kind {
            Kind::Embedded(node) => node.certificate(domain).await,
            Kind::Host(host) => host.certificate(domain).await,
        }
    }

    /// Leaves the tailnet, and is removed from it if ephemeral. In host mode
    /// only the watching ends.
    pub async fn close(&self) -> Result<(), Error> {
        match &self.0.kind {
            Kind::Embedded(node) => node.close().await,
            Kind::Host(host) => {
                host.close();
                Ok(())
            }
        }
    }
}

/// Who this machine's `tailscaled` is signed in as.
pub async fn machine(socket: Option<PathBuf>) -> Result<Machine, Error> {
    host::machine(socket).await
}

/// What a node knows about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub state: State,
    /// Where to sign in, while that is needed.
    pub auth_url: Option<String>,
    /// The full MagicDNS name, with no dot at the end.
    pub dns_name: Option<String>,
    pub addresses: Vec<IpAddr>,
    pub cert_domains: Vec<String>,
    pub tailnet: Option<String>,
    /// RFC 3339.
    pub key_expiry: Option<String>,
    /// What keeps the node from the control server's news.
    pub trouble: Option<Trouble>,
    /// Whether the node waits for the control server's next message; if not, it is cut off.
    pub in_poll: bool,
    /// When the control server said something last, in Unix milliseconds. A server that has nothing
    /// to say repeats itself each minute.
    pub heard_at: Option<i64>,
    /// Since when the node is not running, in Unix milliseconds.
    pub down_since: Option<i64>,
    /// Since when the node does not wait for the control server, in Unix milliseconds.
    pub silent_since: Option<i64>,
    /// Whether the network map is older than it may be; see [`Node::set_stale_after`].
    pub is_stale: bool,
    /// Grows with each change of who may do what; an answer of
    /// [`Node::whois`] holds for one epoch.
    pub epoch: u64,
}

impl Status {
    /// How long ago the control server said something last; `None` if it has not since the start.
    #[must_use]
    pub fn unheard_for(&self, now: i64) -> Option<Duration> {
        self.heard_at.map(|heard| since(heard, now))
    }

    /// How long the network map may differ from the control server's; `None` if that can't be
    /// known. A connection that was fresh when it broke would have brought every change until then.
    #[must_use]
    pub fn map_age(&self, now: i64) -> Option<Duration> {
        Some(map_age(self.heard_at?, self.silent_since, now))
    }
}

/// The age of a network map by what was heard last and by since when there is silence.
fn map_age(heard: i64, silent: Option<i64>, now: i64) -> Duration {
    match silent {
        Some(lost) if since(heard, lost) <= SILENCE => since(lost, now),
        _ => since(heard, now),
    }
}

fn since(then: i64, now: i64) -> Duration {
    Duration::from_millis((now - then).max(0).unsigned_abs())
}

/// What keeps a node from the control server's news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// The control server's own words, where it has any.
    pub message: String,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The control server doesn't let the node in.
    Refused,
    /// It doesn't know the node that it once let in.
    Unknown,
    /// It has another key than the one that the node learned from it.
    KeyChanged,
    /// It can't be reached, or its answer makes no sense.
    #[serde(other)]
    Failed,
}

/// The states of Tailscale's backend, by its own names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    NeedsLogin,
    NeedsMachineAuth,
    Starting,
    Running,
    Stopped,
    #[default]
    #[serde(other)]
    NoState,
}

/// A TLS certificate and its private key, both PEM.
#[derive(Clone)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this build has no embedded tailnet node (it was built without the feature `tailnet`)")]
    NotBuilt,
    #[error("tailnet: {0}")]
    Node(String),
    #[error("tailscaled at {path}: {reason}")]
    LocalApi { path: String, reason: String },
    #[error("tailnet: {0}")]
    Io(#[from] io::Error),
    #[error("tailnet: an answer that can't be read: {0}")]
    Json(#[from] serde_json::Error),
}
