//! This machine's own `tailscaled`, asked over its LocalAPI socket.

mod local_api;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::publisher::Publisher;
use super::stream::{Accept, canonical, over_tcp};
use super::{
    Accepted, Certificate, Dial, Error, Listener, Node, State, Status, Stream, Tailnet, Trouble,
    TroubleKind,
};
use crate::base::clock::Moment;
use crate::net::socket;
use crate::policy::identity::{WhoIs, is_tailnet};
use local_api::{Api, MAX_ANSWER};

pub use local_api::{Machine, machine};

/// Grants live in the packet filter, and the bus says nothing when only that changes.
const FILTER_INTERVAL: Duration = Duration::from_millis(250);
/// Whether `tailscaled` hears its control server is asked this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
/// `NotifyInitialState | NotifyPeerChanges | NotifyPeerPatches` of `ipn/backend.go`.
const BUS_MASK: u32 = 1 << 1 | 1 << 12 | 1 << 15;

struct Host {
    api: Api,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Node {
    /// Uses this machine's `tailscaled`, over its LocalAPI socket.
    pub async fn host(socket: Option<PathBuf>) -> Result<Self, Error> {
        let (stale_after, stale_receiver) = watch::channel(Duration::ZERO);
        let api = Api::at(socket);
        // Asked once here, so that a wrong path is an error at the start.
        let first = api.status(1).await?;
        let (sender, status) = watch::channel(first.clone());
        let stop = CancellationToken::new();
        let mut publisher = Publisher::new(sender, stale_receiver);
        publisher.publish(first.clone(), Moment::now());
        let watching = follow(api.clone(), first, publisher);
        tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        let host = Host {
            api,
            status: status.clone(),
            _guard: stop.clone().drop_guard(),
            stop,
        };
        Ok(Self::new(host, status, stale_after))
    }
}

impl Tailnet for Host {
    /// Binds to the machine's tailnet addresses, and to no others.
    fn listen(&self, port: u16) -> BoxFuture<'_, Result<Listener, Error>> {
        async move {
            let addresses = self.status.borrow().addresses.clone();
            if addresses.is_empty() {
                return Err(Error::Node(
                    "tailscaled has no tailnet address yet".to_owned(),
                ));
            }
            let sockets = addresses.into_iter();
            let sockets = sockets.map(|address| socket::listen(SocketAddr::new(address, port)));
            let listeners = sockets.collect::<io::Result<_>>()?;
            let first = 0;
            Ok(Listener::new(Bound { listeners, first }))
        }
        .boxed()
    }

    /// The machine's own network reaches the tailnet.
    fn dial<'a>(&'a self, to: Dial<'a>) -> BoxFuture<'a, Result<Stream, Error>> {
        async move {
            let addresses = if to.inside {
                resolve_inside(to.host, to.port).await?
            } else {
                socket::resolve(to.host, to.port).await?
            };
            Ok(over_tcp(TcpStream::connect(&*addresses).await?))
        }
        .boxed()
    }

    fn whois(&self, source: IpAddr) -> BoxFuture<'_, Result<Option<WhoIs>, Error>> {
        self.api.whois(source).boxed()
    }

    fn certificate<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<Certificate, Error>> {
        self.api.certificate(domain).boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.stop.cancel();
        std::future::ready(Ok(())).boxed()
    }

    fn is_machine(&self) -> bool {
        true
    }
}

/// The sockets of one port, one for each of the machine's tailnet addresses.
#[derive(Debug)]
struct Bound {
    listeners: Vec<TcpListener>,
    /// Which is asked first.
    first: usize,
}

impl Accept for Bound {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let count = self.listeners.len();
        // Start at another one each time, so that none is starved.
        self.first = (self.first + 1) % count.max(1);
        for index in 0..count {
            let listener = &self.listeners[(self.first + index) % count];
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                let (stream, source) = accepted?;
                let destination = canonical(stream.local_addr()?);
                return Poll::Ready(Ok(Accepted {
                    stream: over_tcp(stream),
                    source: canonical(source),
                    destination,
                }));
            }
        }
        Poll::Pending
    }
}

/// The addresses of a host that are on the tailnet, which the machine's own routes lead to. Those
/// behind a subnet router can't be told from others, and are not among them.
///
/// # Errors
/// When it has none.
pub async fn resolve_inside(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let mut found = socket::resolve(host, port).await?;
    let first = found.first().map(SocketAddr::ip);
    found.retain(|address| is_tailnet(address.ip().to_canonical()));
    if let (true, Some(address)) = (found.is_empty(), first) {
        return Err(Error::Node(if address.to_string() == host {
            format!("{address} is not an address on the tailnet")
        } else {
            format!("{host:?} resolves to {address}, which is not an address on the tailnet")
        }));
    }
    Ok(found)
}

/// Reports each change until it is dropped.
async fn follow(api: Api, mut last: Status, mut publisher: Publisher) {
    let (sends, mut news) = mpsc::channel(64);
    let bus = follow_bus(&api, sends);
    let report = async {
        let mut filter = api.filter().await;
        let mut ticks = tokio::time::interval(FILTER_INTERVAL);
        let mut looks = tokio::time::interval(STATUS_INTERVAL);
        for ticks in [&mut ticks, &mut looks] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let epoch = last.epoch;
            let mut is_change = true;
            tokio::select! {
                _ = ticks.tick() => {
                    let now = api.filter().await;
                    // A change that can't be seen must be assumed.
                    if now.is_some() && now == filter {
                        continue;
                    }
                    filter = now;
                }
                _ = news.recv() => while news.try_recv().is_ok() {},
                _ = looks.tick() => is_change = false,
                () = publisher.changed() => is_change = false,
            }
            let epoch = epoch + u64::from(is_change);
            let heard_at = last.heard_at;
            last = match api.status(epoch).await {
                Ok(status) => status,
                Err(error) => {
                    if last.state != State::NoState {
                        tracing::warn!(%error, "tailscaled does not answer");
                    }
                    Status {
                        state: State::NoState,
                        // What it said before may hold no more.
                        epoch: epoch + u64::from(!is_change && last.state != State::NoState),
                        in_poll: false,
                        trouble: Some(Trouble {
                            kind: TroubleKind::Failed,
                            message: error.to_string(),
                        }),
                        ..last
                    }
                }
            };
            last.heard_at = last.heard_at.or(heard_at);
            publisher.publish(last.clone(), Moment::now());
        }
    };
    tokio::join!(bus, report);
}

/// Sends a word for each change of the network map or the node's own state.
async fn follow_bus(api: &Api, changes: mpsc::Sender<()>) {
    loop {
        if let Ok(mut response) = api.open(&format!("watch-ipn-bus?mask={BUS_MASK}")).await {
            let mut line = Vec::new();
            while let Some(Ok(frame)) = response.frame().await {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                for byte in data {
                    if byte != b'\n' {
                        line.push(byte);
                        continue;
                    }
                    if changes_identity(&line) && changes.send(()).await.is_err() {
                        return;
                    }
                    line.clear();
                }
                if line.len() > MAX_ANSWER {
                    break;
                }
            }
        }
        // Changes may have been missed meanwhile.
        if changes.send(()).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Peers come online and move to other endpoints all the time; that doesn't change what anyone may do.
fn changes_identity(line: &[u8]) -> bool {
    const CHANGES: [&str; 6] = [
        "State",
        "SelfChange",
        "NetMap",
        "PeersChanged",
        "PeersRemoved",
        "UserProfiles",
    ];
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Patch {
        key: Option<String>,
        key_expiry: Option<String>,
        cap: i64,
    }
    let Ok(notify) = serde_json::from_slice::<HashMap<&str, &RawValue>>(line) else {
        return true;
    };
    let patches = notify.get("PeerChangedPatch");
    let patches = patches.map_or("[]", |patches| patches.get());
    let Ok(patches) = serde_json::from_str::<Vec<Patch>>(patches) else {
        return true;
    };
    let is_there = |name| notify.get(name).is_some_and(|value| value.get() != "null");
    CHANGES.into_iter().any(is_there)
        || patches
            .iter()
            .any(|patch| patch.key.is_some() || patch.key_expiry.is_some() || patch.cap != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_only_move_change_nothing() {
        for (line, expected) in [
            (r#"{"Version":"1"}"#, false),
            (
                r#"{"PeerChangedPatch":[{"NodeID":1,"Online":true}]}"#,
                false,
            ),
            (
                r#"{"PeerChangedPatch":[{"NodeID":1,"KeyExpiry":"2026-01-01T00:00:00Z"}]}"#,
                true,
            ),
            (r#"{"State":6}"#, true),
            (r#"{"PeersChanged":[{}]}"#, true),
            ("not JSON", true),
        ] {
            assert_eq!(changes_identity(line.as_bytes()), expected, "{line}");
        }
    }
}
