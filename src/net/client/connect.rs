//! Connections to providers: over the tailnet node or the host's network, with TLS where the
//! URL asks for it.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::connect_error::ConnectError;
use super::proxy;
use super::trust::{self, Trust};
use crate::base::clock::within;
use crate::config::{Certificates, Environment, Network, Proxy, Proxying};
use crate::net::socket;
use crate::net::tailnet::{self, Dial, Node};
use crate::policy::identity::is_tailnet;

/// How long a server may acknowledge nothing, where connecting has no limit.
const SILENCE: Duration = Duration::from_secs(20);

/// A busy machine may be as long in asking whether the other side is there.
const SHORTEST_SILENCE: Duration = Duration::from_secs(4);

/// How long a provider may take for what; zero waits without end.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To accept a connection, TLS included.
    pub connect: Duration,
    /// From the request's end to the response's head.
    pub first_byte: Duration,
    /// Between two pieces of a response.
    pub idle: Duration,
    /// For the whole response.
    pub total: Duration,
}

impl Timeouts {
    /// The same for each part.
    #[must_use]
    pub const fn all(time: Duration) -> Self {
        Self {
            connect: time,
            first_byte: time,
            idle: time,
            total: time,
        }
    }
}

/// A bidirectional byte stream of any origin.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection to a server.
pub(super) struct Opened {
    pub(super) io: Box<dyn Io>,
    /// The server has chosen HTTP/2.
    pub(super) is_http2: bool,
    /// The proxy that forwards requests.
    pub(super) forward: Option<Forward>,
}

/// A proxy at the end of a connection takes requests with their whole URL.
#[derive(Clone)]
pub(super) struct Forward {
    /// Which it is, without its credential.
    pub(super) proxy: String,
    /// The value of `Proxy-Authorization`.
    pub(super) credential: Option<HeaderValue>,
}

/// How a server is reached.
#[derive(Clone, Copy)]
pub(crate) struct Way<'c> {
    pub network: Network,
    pub proxy: &'c Proxying,
    /// The certificates that it is trusted by, where it isn't those of this machine's store.
    pub ca: Option<&'c Certificates>,
}

/// Opens connections for the pool; without a node everything goes over the host's network.
#[derive(Clone)]
pub(crate) struct Connector {
    pub node: Option<Node>,
    pub network: Network,
    pub tls: TlsConnector,
    /// The server is trusted by certificates that the configuration names.
    pub has_own_certificates: bool,
    pub timeouts: Arc<RwLock<Timeouts>>,
    /// The proxy that is named, or those of the environment.
    pub proxying: Proxying,
    pub environment: Arc<Environment>,
}

/// The same TLS for connections that must speak HTTP/1.1, as WebSockets do.
pub(super) fn older(tls: &rustls::ClientConfig) -> rustls::ClientConfig {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls
}

/// TLS towards servers that this machine trusts, h2 preferred: its own certificate store (or
/// `SSL_CERT_FILE`), and the public authorities where it has none, as in a bare container.
#[must_use]
pub fn tls() -> rustls::ClientConfig {
    tls_with(Trust::of_machine())
}

/// The same towards servers that certificates of the configuration vouch for, and no others.
#[must_use]
pub fn tls_of(certificates: &Certificates) -> rustls::ClientConfig {
    tls_with(Trust::only(certificates.all()))
}

fn tls_with(trust: Option<Trust>) -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder();
    let mut tls = match trust {
        Some(trust) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_no_client_auth(),
        // No server is trusted.
        None => builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

impl Connector {
    /// Opens connections over the host's network, and over no proxy.
    pub(crate) fn of_host(timeouts: Timeouts) -> Self {
        Self {
            node: None,
            network: Network::Host,
            tls: Arc::new(tls()).into(),
            has_own_certificates: false,
            timeouts: Arc::new(RwLock::new(timeouts)),
            proxying: Proxying::Never,
            environment: Arc::default(),
        }
    }

    /// Whether a connection may be one of HTTP/2, which requests share.
    pub(super) fn may_share(&self, scheme: &Scheme) -> bool {
        let protocols = &self.tls.config().alpn_protocols;
        *scheme == Scheme::HTTPS && protocols.iter().any(|protocol| protocol == b"h2")
    }

    /// How long a server may acknowledge nothing before its connection counts as dead: as long as
    /// it may take to accept one.
    pub(super) fn silence(&self) -> Duration {
        let limit = self.connect_limit();
        if limit.is_zero() {
            SILENCE
        } else {
            limit.max(SHORTEST_SILENCE)
        }
    }

    fn connect_limit(&self) -> Duration {
        self.timeouts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .connect
    }

    /// Connects and hangs up, if `uri` is on the tailnet: the first contact of two nodes can take
    /// ten seconds, which no request should have to wait for.
    pub(super) async fn meet(self, uri: Uri) -> Result<(), ConnectError> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if self.over_tailnet(host)?.is_some() {
            self.open_in_time(uri).await?;
        }
        Ok(())
    }

    pub(super) async fn open_in_time(&self, uri: Uri) -> Result<Opened, ConnectError> {
        let limit = self.connect_limit();
        within(limit, self.open(uri))
            .await
            .unwrap_or(Err(ConnectError::TimedOut(limit)))
    }

    async fn open(&self, uri: Uri) -> Result<Opened, ConnectError> {
        let host = uri
            .host()
            .ok_or(ConnectError::Impossible("the URL has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let mut forward = None;
        let io = match self.proxy(secure, host, port)? {
            None => self.dial(host, port, secure).await?,
            Some(proxy) => {
                let mut io = self.to_proxy(proxy, secure).await?;
                let credential = proxy::credential(proxy);
                if secure || self.is_for_sockets() {
                    proxy::tunnel(&mut io, proxy, host, port, credential).await?;
                } else {
                    let proxy = proxy.to_string();
                    forward = Some(Forward { proxy, credential });
                }
                io
            }
        };
        if !secure {
            return Ok(Opened {
                io,
                is_http2: false,
                forward,
            });
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::Impossible("the host is no name that TLS knows"))?;
        let tls = self.tls.connect(name, io).await;
        let tls =
            tls.map_err(
                |error| match trust::explained(&error, self.has_own_certificates) {
                    Some(why) => ConnectError::Certificate(why),
                    None => error.into(),
                },
            )?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Opened {
            io: Box::new(tls),
            is_http2: http2,
            forward: None,
        })
    }

    /// A connection to a name or an address, over the network that it is on.
    async fn dial(&self, host: &str, port: u16, secure: bool) -> Result<Box<dyn Io>, ConnectError> {
        let silence = self.silence();
        let node = self.over_tailnet(host)?;
        // A name without a dot can be the host network's as well, as those of containers are.
        let inside = self.network == Network::Tailnet || host.contains(['.', ':']);
        if let Some(node) = node.filter(|node| !node.is_machine()) {
            let to = Dial {
                host,
                port,
                inside,
                silence,
            };
            return Ok(Box::new(node.dial_to(to).await?));
        }
        let room = if secure {
            socket::RECEIVE_SHARED
        } else {
            socket::RECEIVE
        };
        // The addresses of the machine's own node are reached by its network stack.
        let addresses = if node.is_some() && inside {
            tailnet::resolve_inside(host, port).await?
        } else {
            socket::resolve(host, port).await?
        };
        Ok(Box::new(socket::connect(addresses, room, silence).await?))
    }

    /// A connection to a proxy, over TLS if that is wanted.
    async fn to_proxy(&self, proxy: &Proxy, secure: bool) -> Result<Box<dyn Io>, ConnectError> {
        let unreachable = |why: String| {
            ConnectError::Proxy(format!("the proxy {proxy} cannot be reached: {why}"))
        };
        let io = self.dial(&proxy.host, proxy.port, secure).await;
        let io = io.map_err(|error| unreachable(error.to_string()))?;
        if !proxy.secure {
            return Ok(io);
        }
        let name = ServerName::try_from(proxy.host.clone())
            .map_err(|_| unreachable("TLS knows no such name".to_owned()))?;
        let tls = TlsConnector::from(Arc::new(older(self.tls.config())));
        match tls.connect(name, io).await {
            Ok(tls) => Ok(Box::new(tls)),
            Err(error) => Err(unreachable(
                trust::explained(&error, self.has_own_certificates)
                    .unwrap_or_else(|| error.to_string()),
            )),
        }
    }

    /// The proxy on the way to a server. What is on the tailnet is reached over one only where a
    /// provider names it.
    fn proxy(&self, secure: bool, host: &str, port: u16) -> Result<Option<&Proxy>, ConnectError> {
        Ok(match &self.proxying {
            Proxying::Never => None,
            Proxying::Over(proxy) => Some(proxy),
            // Looked up first, because most machines have no proxy.
            Proxying::Environment => match self.environment.proxy(secure, host, port) {
                Some(proxy) if self.over_tailnet(host)?.is_none() => Some(proxy),
                _ => None,
            },
        })
    }

    /// What a proxy that forwards requests to `uri` is sent: it can quote it in a response of its own.
    pub(super) fn forward_credential(&self, uri: &Uri) -> Option<HeaderValue> {
        if uri.scheme_str() == Some("https") || self.is_for_sockets() {
            return None;
        }
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        let proxy = self.proxy(false, host, uri.port_u16().unwrap_or(80)).ok()?;
        proxy::credential(proxy?)
    }

    /// Whether its connections are for WebSockets, which no proxy forwards but through a tunnel.
    fn is_for_sockets(&self) -> bool {
        self.tls.config().alpn_protocols == [b"http/1.1"]
    }

    /// The node, if `host` is to be reached over the tailnet: its addresses, its MagicDNS
    /// names (one label, or below the tailnet's own domain), or whatever is forced to it.
    fn over_tailnet(&self, host: &str) -> Result<Option<&Node>, ConnectError> {
        let Some(node) = &self.node else {
            return match self.network {
                Network::Tailnet => Err(ConnectError::Impossible(
                    "this gateway has joined no tailnet",
                )),
                _ => Ok(None),
            };
        };
        let inside = match self.network {
            Network::Tailnet => true,
            Network::Host => false,
            Network::Auto => match host.parse::<IpAddr>() {
                Ok(address) => is_tailnet(address),
                Err(_) if host.eq_ignore_ascii_case("localhost") => false,
                Err(_) => {
                    let own = node.status().dns_name.unwrap_or_default();
                    let domain = own.split_once('.').map_or("", |(_, domain)| domain);
                    !host.contains('.')
                        || (!domain.is_empty()
                            && host.trim_end_matches('.').ends_with(&format!(".{domain}")))
                }
            },
        };
        Ok(inside.then_some(node))
    }
}
