//! This machine's own `tailscaled`, asked over its LocalAPI socket.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::net::socket;

use super::publisher::Publisher;
use super::{Certificate, Error, Listener, State, Status, Trouble, TroubleKind};
use crate::base::clock::{self, Moment};
use crate::policy::identity::{WhoIs, is_tailnet};

#[cfg(target_os = "macos")]
const SOCKET: &str = "/var/run/tailscaled.socket";
#[cfg(not(target_os = "macos"))]
const SOCKET: &str = "/var/run/tailscale/tailscaled.sock";

/// `tailscaled` looks at the client's host name, not its credentials, to tell a browser.
const LOCAL_API_HOST: &str = "local-tailscaled.sock";
/// Answers are small; the largest is a packet filter.
const MAX_ANSWER: usize = 32 << 20;
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// A certificate may have to be ordered first.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_mins(2);
/// Grants live in the packet filter, and the bus says nothing when only that changes.
const FILTER_INTERVAL: Duration = Duration::from_millis(250);
/// Whether `tailscaled` hears its control server is asked this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
/// `NotifyInitialState | NotifyPeerChanges | NotifyPeerPatches` of `ipn/backend.go`.
const BUS_MASK: u32 = 1 << 1 | 1 << 12 | 1 << 15;

pub(super) struct Host {
    api: Api,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    _guard: DropGuard,
}

#[derive(Clone)]
struct Api {
    socket: Arc<Path>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    #[serde(default)]
    backend_state: State,
    #[serde(rename = "AuthURL", default)]
    auth_url: String,
    #[serde(rename = "TailscaleIPs", default)]
    addresses: Option<Vec<IpAddr>>,
    #[serde(rename = "Self")]
    own: Option<Own>,
    current_tailnet: Option<Tailnet>,
    #[serde(default)]
    cert_domains: Option<Vec<String>>,
    /// What is wrong, in `tailscaled`'s words.
    #[serde(default)]
    health: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Own {
    #[serde(rename = "DNSName", default)]
    dns_name: String,
    #[serde(rename = "KeyExpiry")]
    key_expiry: Option<String>,
    /// Whether `tailscaled` waits for its control server's next message.
    #[serde(rename = "Online")]
    online: Option<bool>,
}

#[derive(Deserialize)]
struct Tailnet {
    #[serde(rename = "Name", default)]
    name: String,
}

impl Host {
    pub(super) async fn open(
        socket: Option<PathBuf>,
        stale_after: watch::Receiver<Duration>,
    ) -> Result<Self, Error> {
        let api = Api {
            socket: socket.unwrap_or_else(|| SOCKET.into()).into(),
        };
        // Asked once here, so that a wrong path is told at the start.
        let first = api.status(1).await?;
        let (sender, status) = watch::channel(first.clone());
        let stop = CancellationToken::new();
        let mut publisher = Publisher::new(sender, stale_after);
        publisher.publish(first.clone(), Moment::now());
        let watching = follow(api.clone(), first, publisher);
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watching => {}
                () = stopped.cancelled() => {}
            }
        });
        Ok(Self {
            api,
            status,
            _guard: stop.clone().drop_guard(),
            stop,
        })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Binds to the machine's tailnet addresses, and to no others.
    pub(super) fn listen(&self, port: u16) -> Result<Listener, Error> {
        let addresses = self.status.borrow().addresses.clone();
        if addresses.is_empty() {
            return Err(Error::Node(
                "tailscaled has no tailnet address yet".to_owned(),
            ));
        }
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.push(socket::listen(SocketAddr::new(address, port))?);
        }
        Ok(Listener::bound(listeners))
    }

    pub(super) async fn whois(&self, source: IpAddr) -> Result<Option<WhoIs>, Error> {
        self.api.whois(source).await
    }

    pub(super) async fn certificate(&self, domain: &str) -> Result<Certificate, Error> {
        let path = format!("cert/{domain}?type=pair");
        let (status, body) = self.api.get(&path, CERTIFICATE_TIMEOUT).await?;
        if status != StatusCode::OK {
            return Err(self.api.refused(status, &body));
        }
        // The key comes first, then the chain.
        let text = String::from_utf8_lossy(&body);
        let at = text
            .find("-----BEGIN CERTIFICATE")
            .ok_or_else(|| Error::Node("tailscaled sent no certificate".to_owned()))?;
        Ok(Certificate {
            chain: text[at..].to_owned(),
            key: text[..at].to_owned(),
        })
    }

    pub(super) fn close(&self) {
        self.stop.cancel();
    }
}

/// The addresses of a host that are on the tailnet, which the machine's own routes lead to. Those
/// behind a subnet router can't be told from others, and are not among them.
///
/// # Errors
/// When it has none.
pub async fn resolve_inside(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let found = socket::resolve(host, port).await?;
    let inside: Vec<SocketAddr> = found
        .iter()
        .copied()
        .filter(|address| is_tailnet(address.ip().to_canonical()))
        .collect();
    if let (true, Some(address)) = (inside.is_empty(), found.first()) {
        let address = address.ip();
        return Err(Error::Node(if address.to_string() == host {
            format!("{address} is not an address on the tailnet")
        } else {
            format!("{host:?} resolves to {address}, which is not an address on the tailnet")
        }));
    }
    Ok(inside)
}

/// Who this machine's `tailscaled` is signed in as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The login of its user; none for a tagged machine.
    pub login: Option<String>,
    /// Its control server.
    pub control_url: Option<String>,
}

/// Asks `tailscaled` who it is signed in as.
///
/// # Errors
/// When it doesn't answer, or isn't signed in.
pub(super) async fn machine(socket: Option<PathBuf>) -> Result<Machine, Error> {
    #[derive(Deserialize)]
    struct Prefs {
        #[serde(rename = "ControlURL", default)]
        control_url: String,
    }
    let api = Api {
        socket: socket.unwrap_or_else(|| SOCKET.into()).into(),
    };
    let status = api.status(1).await?;
    let Some(address) = status.addresses.first().copied() else {
        return Err(api.error("it is not signed in to a tailnet"));
    };
    let whois = api.whois(address).await?;
    let user = whois.filter(|whois| whois.tags.is_empty());
    // Who may not read these can answer the question as well.
    let prefs = match api.get("prefs", ASK_TIMEOUT).await {
        Ok((StatusCode::OK, body)) => serde_json::from_slice::<Prefs>(&body).ok(),
        _ => None,
    };
    Ok(Machine {
        login: user.and_then(|whois| whois.user).map(|user| user.login),
        control_url: prefs
            .map(|prefs| prefs.control_url)
            .filter(|url| !url.is_empty()),
    })
}

impl Api {
    async fn whois(&self, source: IpAddr) -> Result<Option<WhoIs>, Error> {
        let path = match source {
            IpAddr::V4(v4) => format!("whois?addr={v4}"),
            IpAddr::V6(v6) => format!("whois?addr={}", v6.to_string().replace(':', "%3A")),
        };
        match self.get(&path, ASK_TIMEOUT).await? {
            (StatusCode::OK, body) => WhoIs::parse(&body).map(Some),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(self.refused(status, &body)),
        }
    }

    fn error(&self, reason: impl std::fmt::Display) -> Error {
        Error::LocalApi {
            path: self.socket.display().to_string(),
            reason: reason.to_string(),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let text: String = String::from_utf8_lossy(body)
            .trim()
            .chars()
            .take(200)
            .collect();
        self.error(format!("{status}: {text}"))
    }

    async fn open(&self, path: &str) -> Result<http::Response<Incoming>, Error> {
        let socket = UnixStream::connect(&*self.socket).await.map_err(|error| {
            self.error(format!(
                "{error}; is tailscaled running, and may this user use it?"
            ))
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| self.error(error))?;
        tokio::spawn(connection);
        let request = Request::get(format!("/localapi/v0/{path}"))
            .header("host", LOCAL_API_HOST)
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.error(error))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.error(error))
    }

    async fn get(&self, path: &str, within: Duration) -> Result<(StatusCode, Bytes), Error> {
        let asked = async {
            let response = self.open(path).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            Ok((status, body.map_err(|error| self.error(error))?.to_bytes()))
        };
        tokio::time::timeout(within, asked)
            .await
            .unwrap_or_else(|_| Err(self.error(format!("no answer within {within:?}"))))
    }

    async fn status(&self, epoch: u64) -> Result<Status, Error> {
        let (status, body) = self.get("status?peers=false", ASK_TIMEOUT).await?;
        if status != StatusCode::OK {
            return Err(self.refused(status, &body));
        }
        let report: Report = serde_json::from_slice(&body)?;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        // An older one doesn't say, and then nothing is known against it.
        let in_poll = report.own.as_ref().and_then(|own| own.online) != Some(false);
        let is_well = in_poll && report.backend_state == State::Running;
        let health = report.health.unwrap_or_default().join(" ");
        let (dns_name, key_expiry) = report
            .own
            .map_or((None, None), |own| (some(own.dns_name), own.key_expiry));
        Ok(Status {
            in_poll,
            trouble: some(health).filter(|_| !is_well).map(|message| Trouble {
                kind: TroubleKind::Failed,
                message,
            }),
            heard_at: in_poll.then(clock::unix_ms),
            state: report.backend_state,
            auth_url: some(report.auth_url),
            dns_name: dns_name.map(|name| name.trim_end_matches('.').to_owned()),
            addresses: report.addresses.unwrap_or_default(),
            cert_domains: report.cert_domains.unwrap_or_default(),
            tailnet: report
                .current_tailnet
                .and_then(|tailnet| some(tailnet.name)),
            key_expiry,
            epoch,
            ..Status::default()
        })
    }

    /// A fingerprint of the packet filter; `None` where this user may not see it.
    async fn filter(&self) -> Option<u64> {
        let (status, body) = self
            .get("debug-packet-filter-rules", ASK_TIMEOUT)
            .await
            .ok()?;
        (status == StatusCode::OK).then(|| {
            let mut hasher = DefaultHasher::new();
            body.hash(&mut hasher);
            hasher.finish()
        })
    }
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
                    // Whoever can't see a change must assume one.
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
        // What happened while nobody listened is not known.
        if changes.send(()).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Peers come online and move to other endpoints all the time; that changes nobody's rights.
fn changes_identity(line: &[u8]) -> bool {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Notify<'a> {
        #[serde(borrow)]
        state: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        self_change: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        net_map: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        peers_changed: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        peers_removed: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        user_profiles: Option<&'a serde_json::value::RawValue>,
        peer_changed_patch: Vec<Patch>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Patch {
        #[serde(default)]
        key: Option<String>,
        #[serde(default)]
        key_expiry: Option<String>,
        #[serde(default)]
        cap: i64,
    }
    let Ok(notify) = serde_json::from_slice::<Notify<'_>>(line) else {
        return true;
    };
    [
        notify.state,
        notify.self_change,
        notify.net_map,
        notify.peers_changed,
        notify.peers_removed,
        notify.user_profiles,
    ]
    .iter()
    .any(Option::is_some)
        || notify
            .peer_changed_patch
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
