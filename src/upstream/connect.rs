//! Connections to providers: over the tailnet node or the host's network, with TLS where the
//! URL asks for it.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::trust::{self, Trust};
use super::used::{Used, Watched};
use crate::clock::within;
use crate::config::Network;
use crate::socket;
use crate::tailnet::{self, Node, is_tailnet};

/// How long a provider may take for what; zero waits without end.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To accept a connection, TLS included.
    pub connect: Duration,
    /// From the request's end to the response's head.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For the whole answer.
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
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection to a provider.
pub struct Upstreamed {
    io: TokioIo<Watched<Box<dyn Io>>>,
    http2: bool,
    used: Used,
}

impl Upstreamed {
    fn new(io: Box<dyn Io>, http2: bool) -> Self {
        let used = Used::default();
        Self {
            io: TokioIo::new(Watched::new(io, used.clone())),
            http2,
            used,
        }
    }
}

/// Why there is no connection.
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
    /// Nobody answered in time.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    /// The URL has no host, or no tailnet is there to reach it over.
    #[error("{0}")]
    Impossible(&'static str),
}

/// Opens connections for the pool.
#[derive(Clone)]
pub struct Connector {
    node: Option<Node>,
    network: Network,
    tls: TlsConnector,
    timeouts: Arc<RwLock<Timeouts>>,
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
    let builder = rustls::ClientConfig::builder();
    let mut tls = match Trust::of_machine() {
        Some(trust) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_no_client_auth(),
        // Nobody is trusted.
        None => builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

impl Connector {
    /// A connector; without a node everything goes over the host's network.
    #[must_use]
    pub fn new(
        node: Option<Node>,
        network: Network,
        tls: Arc<rustls::ClientConfig>,
        timeouts: Arc<RwLock<Timeouts>>,
    ) -> Self {
        Self {
            node,
            network,
            tls: tls.into(),
            timeouts,
        }
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

    async fn open_in_time(self, uri: Uri) -> Result<Upstreamed, ConnectError> {
        let limit = self
            .timeouts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .connect;
        within(limit, self.open(uri))
            .await
            .unwrap_or(Err(ConnectError::TimedOut(limit)))
    }

    async fn open(self, uri: Uri) -> Result<Upstreamed, ConnectError> {
        let host = uri
            .host()
            .ok_or(ConnectError::Impossible("the URL has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let io: Box<dyn Io> = if let Some(node) = self.over_tailnet(host)? {
            // A name without a dot can be the host network's as well, as those of containers are.
            let is_either = self.network == Network::Auto && !host.contains(['.', ':']);
            Box::new(if is_either {
                node.dial(host, port).await?
            } else {
                node.dial_inside(host, port).await?
            })
        } else {
            let room = if secure {
                socket::RECEIVE_SHARED
            } else {
                socket::RECEIVE
            };
            let stream = socket::connect(host, port, room).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        };
        if !secure {
            return Ok(Upstreamed::new(io, false));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::Impossible("the host is no name that TLS knows"))?;
        let tls = self.tls.connect(name, io).await;
        let tls = tls.map_err(|error| match trust::explained(&error) {
            Some(why) => ConnectError::Certificate(why),
            None => error.into(),
        })?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Upstreamed::new(Box::new(tls), http2))
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

impl tower_service::Service<Uri> for Connector {
    type Response = Upstreamed;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Upstreamed, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().open_in_time(uri))
    }
}

impl Connection for Upstreamed {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.used.clone());
        if self.http2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl hyper::rt::Read for Upstreamed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Upstreamed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
