//! A node on a tailnet: it accepts and makes connections there, and says who is at the other end.
//!
//! [`Node`] is what the rest of the program uses. Behind it stands one implementation of
//! `Tailnet`, each in a folder of its own:
//!
//! - `tsnet` joins as a node of its own, with Tailscale's Go implementation linked into this process;
//! - `daemon` uses the `tailscaled` that already runs on this machine.
//!
//! A trait rather than an enum, although there are two: the enum was matched in six methods, so that a
//! third implementation would have changed all of them. Now it is a folder with a constructor. What
//! an implementation reports of itself is completed by the `publisher`, answers of `WhoIs` are read
//! in `whois`, and callers are kept by the `resolver`, all the same for each of them.

mod daemon;
mod publisher;
mod resolver;
mod stream;
mod tsnet;
mod whois;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::base::secret::Secret;
use crate::policy::identity::{WhoIs, is_tailnet};

pub use daemon::{Machine, machine, resolve_inside};
pub use resolver::Resolver;
pub use stream::{Accepted, Listener, Stream};
pub use tsnet::{Control, Member, Network, Options, Owner, wait_for_runtime};

/// A control server that has nothing to say repeats itself each minute; one that is silent for
/// longer than this is not heard.
pub const SILENCE: Duration = Duration::from_secs(75);

/// A way to take part in a tailnet. Each call may be cancelled.
trait Tailnet: Send + Sync {
    /// Listens on the node's own addresses, IPv4 and IPv6.
    fn listen(&self, port: u16) -> BoxFuture<'_, Result<Listener, Error>>;

    /// Connects to a tailnet address, a name, or anything else that the machine can reach.
    fn dial<'a>(&'a self, to: Dial<'a>) -> BoxFuture<'a, Result<Stream, Error>>;

    /// Who has a tailnet address.
    fn whois(&self, source: IpAddr) -> BoxFuture<'_, Result<Option<WhoIs>, Error>>;

    /// A certificate for a domain, which has the form of one.
    fn certificate<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<Certificate, Error>>;

    /// Leaves the tailnet, where the node is this process's own.
    fn close(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Whether it is the machine's own node, so that the machine's network reaches what it does.
    fn is_machine(&self) -> bool;
}

/// Where to connect to.
#[derive(Clone, Copy)]
pub(super) struct Dial<'a> {
    pub host: &'a str,
    pub port: u16,
    /// To what is on the tailnet, or not at all.
    pub inside: bool,
    /// An embedded node ends the connection once the other node has left the tailnet, or has not
    /// answered for about this long; zero for any time.
    pub silence: Duration,
}

/// A node on a tailnet. Clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    tailnet: Box<dyn Tailnet>,
    status: watch::Receiver<Status>,
    stale_after: watch::Sender<Duration>,
}

impl Node {
    /// A node that reports its `status`; `stale_after` is how it is told what
    /// [`Node::set_stale_after`] sets.
    fn new(
        tailnet: impl Tailnet + 'static,
        status: watch::Receiver<Status>,
        stale_after: watch::Sender<Duration>,
    ) -> Self {
        let tailnet = Box::new(tailnet);
        Self(Arc::new(Inner {
            tailnet,
            status,
            stale_after,
        }))
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
        self.0.status.clone()
    }

    /// The status as last reported.
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// Listens on the node's own addresses, IPv4 and IPv6.
    pub async fn listen(&self, port: u16) -> Result<Listener, Error> {
        self.0.tailnet.listen(port).await
    }

    /// Whether it is the machine's own node, so that the machine's network
    /// reaches what it does.
    pub fn is_machine(&self) -> bool {
        self.0.tailnet.is_machine()
    }

    /// Connects to a tailnet address, a MagicDNS name, or anything else that
    /// the machine can reach.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Stream, Error> {
        self.dial_to(Dial {
            host,
            port,
            inside: false,
            silence: Duration::ZERO,
        })
        .await
    }

    /// The same with more to say.
    pub(super) async fn dial_to(&self, to: Dial<'_>) -> Result<Stream, Error> {
        self.0.tailnet.dial(to).await
    }

    /// Who has this address; `None` if no node of the tailnet does.
    pub async fn whois(&self, source: IpAddr) -> Result<Option<WhoIs>, Error> {
        let source = source.to_canonical();
        // Others can't be nodes, and looking for them is slow.
        if !is_tailnet(source) {
            return Ok(None);
        }
        self.0.tailnet.whois(source).await
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
        self.0.tailnet.certificate(domain).await
    }

    /// Leaves the tailnet, and is removed from it if ephemeral. In host mode
    /// only the watching ends.
    pub async fn close(&self) -> Result<(), Error> {
        self.0.tailnet.close().await
    }
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
#[derive(Clone, Debug, Deserialize)]
pub struct Certificate {
    pub chain: String,
    pub key: Secret,
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
