//! A person's way into the demo tailnet: what reaches this loopback port goes on through that
//! person's own node, as if it were typed on their device.
//!
//! It is a proxy for programs (`curl -x`), and a page for browsers, which can't resolve `http://ai`
//! here: there `Host` and `Origin` become the gateway's. A program that reaches the port acts as that
//! person, so it listens on loopback alone and takes no other `Host` for itself: a page elsewhere
//! whose name was rebound to 127.0.0.1 gets nothing.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::DropGuard;

use super::policy::Device;
use super::{response, until_dropped};
use crate::base::clock::within;
use crate::net::tailnet::{Node, Stream};
use crate::wire::{Body, body};

/// Two nodes that meet for the first time need a moment.
const PATIENCE: Duration = Duration::from_secs(20);
/// For a request's head.
const HEAD: Duration = Duration::from_secs(30);
/// What is for one connection alone (RFC 9110, section 7.6.1), and what `curl -x` adds.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// An open way in; it closes when this is dropped.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    _stop: DropGuard,
}

/// Whose node a request goes through, and where.
#[derive(Clone)]
struct Way {
    node: Node,
    /// This door's own address, as `Host` and `Origin` name it.
    own: SocketAddr,
    tailnet: &'static Tailnet,
}

/// Where a door may lead: a node dials anything else over the machine's own network.
pub(super) struct Tailnet {
    /// The node that a browser is shown.
    pub(super) gateway: &'static str,
    /// Without a dot at either end.
    pub(super) domain: &'static str,
    pub(super) devices: &'static [Device],
}

impl Tailnet {
    /// The address of the node that a host names. Names are resolved here: a node asks the
    /// machine's own resolver for what its tailnet doesn't have.
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let label = host
            .strip_suffix(self.domain)
            .and_then(|rest| rest.strip_suffix('.'));
        let is_it = |device: &&Device| {
            label.unwrap_or(&host) == device.name || host == device.address.to_string()
        };
        self.devices.iter().find(is_it).map(|device| device.address)
    }
}

impl Door {
    /// Opens one at `listener`, through a person's `node`.
    pub(super) fn open(
        listener: TcpListener,
        node: Node,
        tailnet: &'static Tailnet,
    ) -> io::Result<Self> {
        let own = listener.local_addr()?;
        let way = Way { node, own, tailnet };
        Ok(Self {
            address: own,
            _stop: until_dropped(accept(listener, way)),
        })
    }
}

async fn accept(listener: TcpListener, way: Way) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, way.clone()))),
            // Out of descriptors, most likely: some are given back soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(stream: TcpStream, way: Way) {
    let _ = stream.set_nodelay(true);
    let pass = service_fn(move |request| {
        let way = way.clone();
        async move { Ok::<_, Infallible>(pass(request, &way).await) }
    });
    // Browsers close connections whenever they like.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), pass)
        .with_upgrades()
        .await;
}

async fn pass(request: Request<Incoming>, way: &Way) -> Response<Body> {
    let passed = match *request.method() {
        Method::CONNECT => tunnel(request, way).await,
        _ => forward(request, way).await,
    };
    passed.unwrap_or_else(Refused::into_response)
}

/// A request that this door doesn't pass on.
struct Refused(StatusCode, String);

impl Refused {
    fn into_response(self) -> Response<Body> {
        response(self.0, "text/plain; charset=utf-8", format!("{}\n", self.1))
    }
}

impl Way {
    /// A door leads into the tailnet, not out of it.
    fn on_tailnet(&self, uri: &Uri) -> Result<Target, Refused> {
        let wrong = |why: &str| Refused(StatusCode::BAD_REQUEST, why.to_owned());
        let authority = uri.authority().cloned();
        let authority = authority.ok_or_else(|| wrong("CONNECT takes HOST:PORT"))?;
        if uri.scheme_str() == Some("https") {
            return Err(wrong(
                "a proxy takes http:// URLs, and a tunnel for https://",
            ));
        }
        let (host, gateway) = (authority.host(), self.tailnet.gateway);
        let elsewhere = format!("{host:?} isn't a node of the demo tailnet; try http://{gateway}");
        match self.tailnet.address(host) {
            Some(address) => Ok(Target { authority, address }),
            None => Err(Refused(StatusCode::FORBIDDEN, elsewhere)),
        }
    }

    /// A browser's request for this door itself, made one for the gateway.
    fn as_page(&self, headers: &mut HeaderMap) -> Result<Target, Refused> {
        let own = self.own.to_string();
        let named = [own.clone(), format!("localhost:{}", self.own.port())];
        let only = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            (values.next(), values.next().is_some())
        };
        let host = match only(header::HOST) {
            (Some(host), false) => named.iter().find(|name| name.as_bytes() == host.as_bytes()),
            _ => None,
        };
        let Some(host) = host else {
            let message = format!("this is http://{own}, and the request is for another host");
            return Err(Refused(StatusCode::MISDIRECTED_REQUEST, message));
        };
        let gateway = self.tailnet.gateway;
        match only(header::ORIGIN) {
            (None, _) => {}
            (Some(origin), false) if origin.as_bytes() == format!("http://{host}").as_bytes() => {
                let own = HeaderValue::try_from(format!("http://{gateway}"));
                let own = own.unwrap_or(HeaderValue::from_static("null"));
                headers.insert(header::ORIGIN, own);
            }
            // Another site's page, the gateway's own name included: here it is not this page's.
            _ => {
                let message = "requests from other sites' pages are refused".to_owned();
                return Err(Refused(StatusCode::FORBIDDEN, message));
            }
        }
        let address = self.tailnet.address(gateway);
        Ok(Target {
            authority: Authority::from_static(gateway),
            address: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        })
    }

    async fn dial(&self, to: &Target, port: u16) -> Result<TokioIo<Stream>, Refused> {
        let port = to.authority.port_u16().unwrap_or(port);
        let unreachable = |why: String| {
            let message = format!("{}:{port} can't be reached: {why}", to.authority.host());
            Refused(StatusCode::BAD_GATEWAY, message)
        };
        let address = to.address.to_string();
        let dialed = self.node.dial(&address, port);
        match within(PATIENCE, dialed).await {
            Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => {
                let seconds = PATIENCE.as_secs();
                Err(unreachable(format!("no answer within {seconds} s")))
            }
        }
    }
}

/// The node that a request is for.
struct Target {
    /// As the caller wrote it.
    authority: Authority,
    address: Ipv4Addr,
}

/// Sends a request to a host of the tailnet, on its own connection.
async fn forward(mut request: Request<Incoming>, way: &Way) -> Result<Response<Body>, Refused> {
    let to = match request.uri().authority() {
        Some(_) => way.on_tailnet(request.uri())?,
        None => way.as_page(request.headers_mut())?,
    };
    let failed = |error: hyper::Error| {
        let message = format!("{} didn't answer: {error}", to.authority);
        Refused(StatusCode::BAD_GATEWAY, message)
    };
    let io = way.dial(&to, 80).await?;
    let connected = hyper::client::conn::http1::handshake(io).await;
    let (mut sender, connection) = connected.map_err(failed)?;
    tokio::spawn(connection.with_upgrades());
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let theirs = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let request = outbound(request, &to.authority, upgrade)
        .map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    Ok(inbound(response, theirs))
}

/// The request as it goes on: without what was meant for this connection alone.
fn outbound(
    request: Request<Incoming>,
    to: &Authority,
    upgrade: Option<HeaderValue>,
) -> http::Result<Request<Incoming>> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned();
    parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        let upgrade = HeaderValue::from_static("upgrade");
        parts.headers.insert(header::UPGRADE, protocol);
        parts.headers.insert(header::CONNECTION, upgrade);
    }
    let host = HeaderValue::try_from(to.as_str())?;
    parts.headers.insert(header::HOST, host);
    Ok(Request::from_parts(parts, body))
}

/// The answer as it goes back. A WebSocket is joined to the caller's own.
fn inbound(
    mut response: Response<Incoming>,
    theirs: Option<hyper::upgrade::OnUpgrade>,
) -> Response<Body> {
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(theirs)) = (response.status(), theirs) {
        let ours = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(theirs), Ok(ours)) = tokio::join!(theirs, ours) {
                let _ =
                    copy_bidirectional(&mut TokioIo::new(theirs), &mut TokioIo::new(ours)).await;
            }
        });
        return response.map(|_| body::empty());
    }
    let (mut parts, body) = response.into_parts();
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, body.map_err(Into::into).boxed_unsync())
}

/// A tunnel for programs that ask a proxy for one, such as WebSocket clients.
async fn tunnel(mut request: Request<Incoming>, way: &Way) -> Result<Response<Body>, Refused> {
    let to = way.on_tailnet(request.uri())?;
    let mut stream = way.dial(&to, 443).await?.into_inner();
    let caller = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(caller) = caller.await {
            let _ = copy_bidirectional(&mut TokioIo::new(caller), &mut stream).await;
        }
    });
    Ok(Response::new(body::empty()))
}
