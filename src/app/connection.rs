//! One accepted connection: TLS, HTTP, and for each request the gate, the caller, and the
//! choice between a model and everything else.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Engines;
use super::detach::detach;
use super::first_head::{self, Again};
use super::h2_stream::{Answer, Streams};
use super::idle::Open;
use super::stalled::Stalled;
use super::strict::{OneReading, Upgraded};
use crate::base::clock::within;
use crate::base::panics;
use crate::exchange::Verified;
use crate::formats::{self, Dialect, Format};
use crate::net::listen::{Accepted, Gate, Stream};
use crate::policy::identity::{Caller, Refused};
use crate::web::api::{self, View};
use crate::web::pages;
use crate::wire::{Body, Rejection, headers};

/// Requests that one h2 connection may have open.
const H2_STREAMS: u32 = 100;

/// How long a connection without a request is waited for when the gateway stops.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Where a connection came in.
pub(super) struct Door {
    /// Names that may be called through it.
    pub gate: watch::Receiver<Arc<Gate>>,
    /// Set for HTTPS.
    pub tls: Option<TlsAcceptor>,
    /// Callers are tailnet devices; else this machine.
    pub tailnet: bool,
}

/// Serves a connection to its end.
pub(super) async fn serve(engines: Arc<Engines>, door: Arc<Door>, accepted: Accepted) {
    let Accepted {
        stream,
        source,
        destination: _,
    } = accepted;
    let limit = engines.gateway.rules.borrow().file.timeouts.head;
    match stream {
        Stream::Tailnet(stream) => secured(engines, door, stream, source, limit).await,
        Stream::Loopback(stream) => secured(engines, door, stream, source, limit).await,
    }
}

async fn secured<S>(
    engines: Arc<Engines>,
    door: Arc<Door>,
    stream: S,
    source: SocketAddr,
    limit: Duration,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let idle = engines.gateway.rules.borrow().file.timeouts.idle;
    let stream = Stalled::new(stream, idle);
    let Some(tls) = door.tls.clone() else {
        return begin(engines, door, stream, source, limit).await;
    };
    // Boxed, because what TLS holds is several times what a plain connection does, and that would
    // have room for it.
    let encrypted = async move {
        match within(limit, tls.accept(stream)).await {
            Ok(Ok(stream)) => begin(engines, door, stream, source, limit).await,
            Ok(Err(error)) => tracing::debug!(%source, %error, "TLS failed"),
            Err(_) => tracing::debug!(%source, "TLS took too long"),
        }
    };
    Box::pin(encrypted).await;
}

/// Waits for the first head.
async fn begin<S>(
    engines: Arc<Engines>,
    door: Arc<Door>,
    stream: S,
    source: SocketAddr,
    limit: Duration,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgraded = Upgraded::default();
    let mut stream = OneReading::new(stream, source, Arc::clone(&upgraded));
    let most = engines.gateway.rules.borrow().file.limits.request_head;
    let stop = engines.stop.clone();
    let stopped = async {
        stop.cancelled().await;
        // The request of a connection that was accepted just now is still on its way.
        tokio::time::sleep(FIRST_REQUEST).await;
    };
    let begun = tokio::select! {
        begun = within(limit, first_head::read(&mut stream, most)) => begun,
        () = stopped => return,
    };
    match begun {
        // Boxed, so that a connection without a request has no room for one.
        Ok(Ok(head)) => {
            let stream = Again::new(stream, head);
            Box::pin(http(engines, door, stream, (source, upgraded), limit)).await;
        }
        Ok(Err(error)) => tracing::debug!(%source, %error, "a connection broke"),
        Err(_) => tracing::debug!(%source, "a head took too long"),
    }
}

async fn http<S>(
    engines: Arc<Engines>,
    door: Arc<Door>,
    stream: Again<S>,
    (source, upgraded): (SocketAddr, Upgraded),
    limit: Duration,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (head, idle) = {
        let rules = engines.gateway.rules.borrow();
        (rules.file.limits.request_head, rules.file.timeouts.idle)
    };
    let peer = Arc::new(Peer {
        address: source.ip(),
        device: OnceLock::new(),
        upgraded,
        heard: Notify::new(),
    });
    let stop = engines.stop.clone();
    let heard = Arc::clone(&peer);
    let answered = move |request| {
        let (engines, door, peer) = (Arc::clone(&engines), Arc::clone(&door), Arc::clone(&peer));
        peer.heard.notify_one();
        // Boxed, because it is large, and hyper keeps room for it while an answer streams.
        Box::pin(async move { answer(&engines, &door, &peer, request).await })
    };
    let is_http2 = stream.is_http2();
    let stream = TokioIo::new(stream);
    // hyper-util's builder for both versions would give the parser the first 24 bytes alone, for which
    // it would then have room twice.
    let ended = if is_http2 {
        let mut builder = http2::Builder::new(Streams::new(idle));
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
            .keep_alive_interval(Duration::from_secs(30));
        let open = Open::none();
        let counted = open.clone();
        let service = service_fn(move |request| {
            let (one, answered) = (counted.one(), answered(request));
            async { Ok::<_, Infallible>(answered.await.map(|body| Answer::of(body, one))) }
        });
        let mut connection = pin!(builder.serve_connection(stream, service));
        let shut_down = http2::Connection::graceful_shutdown;
        tokio::select! {
            ended = until_stopped(connection.as_mut(), shut_down, stop, &heard) => ended,
            () = open.none_for(limit) => {
                tracing::debug!(%source, "nobody asks anything");
                shut_down(connection.as_mut());
                tokio::select! {
                    ended = connection => ended,
                    // Some of an answer may still be on its way. Who takes none of it, nor leave, is
                    // waited for no longer.
                    () = open.none_for(idle) => Ok(()),
                }
            }
        }
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .half_close(false)
            .max_buf_size(head)
            .header_read_timeout((!limit.is_zero()).then_some(limit));
        let service = service_fn(move |request| {
            let answered = answered(request);
            async { Ok::<_, Infallible>(answered.await) }
        });
        let connection = pin!(builder.serve_connection(stream, service).with_upgrades());
        until_stopped(
            connection,
            http1::UpgradeableConnection::graceful_shutdown,
            stop,
            &heard,
        )
        .await
    };
    if let Err(error) = ended {
        tracing::debug!(%source, %error, "a connection ended with an error");
    }
}

/// Waits for the end of a connection, and has it end when the gateway stops.
async fn until_stopped<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    shut_down: impl FnOnce(Pin<&mut C>),
    stop: CancellationToken,
    peer: &Peer,
) -> hyper::Result<()> {
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
    }
    tokio::select! {
        ended = connection.as_mut() => ended,
        _ = within(FIRST_REQUEST, peer.heard.notified()) => {
            shut_down(connection.as_mut());
            connection.await
        }
    }
}

/// The other end of a connection.
struct Peer {
    address: IpAddr,
    /// The device that opened it: an address can pass to another one.
    device: OnceLock<Arc<str>>,
    /// Set when it becomes a WebSocket.
    upgraded: Upgraded,
    /// A request has come.
    heard: Notify,
}

async fn answer(
    engines: &Arc<Engines>,
    door: &Door,
    peer: &Peer,
    mut request: Request<Incoming>,
) -> Response<Body> {
    detach(&mut request);
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let url = asked_url(&request, door);
    serve_as_meant(&mut request);
    let api = formats::ALL
        .into_iter()
        .find(|api| api.recognises(request.method(), request.uri().path()));
    let socket = formats::ALL
        .into_iter()
        .find(|api| asks_for_socket(&request) && api.recognises_socket(request.uri().path()));
    let api = api.or(socket);
    let (path, version) = (request.uri().path().to_owned(), request.version());
    // Awaited in place: a future in a variable has its room twice.
    let answered = panics::caught("a request", async {
        let who = admitted(engines, door, peer, (&request, url)).await?;
        if socket.is_some() {
            let (response, opened) = open_socket(engines, socket, who, request);
            peer.upgraded.store(opened, Ordering::Release);
            return Ok(response);
        }
        Ok(dispatch(engines, api, who, request).await)
    })
    .await;
    let rejection = match answered {
        Some(Ok(mut response)) => {
            headers::unbuffer(response.headers_mut());
            return response;
        }
        Some(Err(rejection)) => rejection,
        None => Rejection::panicked(),
    };
    tracing::info!(
        source = %peer.address,
        path,
        status = rejection.status.as_u16(),
        code = rejection.code.0,
        "refused: {}",
        rejection.message
    );
    let mut response = match api {
        Some(api) => api.refuse(&rejection),
        None => dialect.refuse(&rejection),
    };
    // An oddly framed request may hide another one behind it.
    if rejection.status == StatusCode::BAD_REQUEST && version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// The whole URL that a request was sent to, without its query, in which a key may stand.
fn asked_url<B>(request: &Request<B>, door: &Door) -> Arc<str> {
    let uri = request.uri();
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(http::uri::Authority::as_str));
    let host = host.unwrap_or_default();
    let secure = door.tls.is_some() || door.gate.borrow().is_secured_by_proxy(host);
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{host}{}", uri.path()).into()
}

/// Gives a request the path that it means, where its client's base URL was set in another way than
/// it is meant to be. From here on it is as if it had been sent there.
fn serve_as_meant<B>(request: &mut Request<B>) {
    let (method, uri) = (request.method(), request.uri());
    let is_known =
        api::has_route(method, uri.path()) || pages::owns(method, uri, request.headers());
    // A WebSocket asks with GET for what is otherwise a POST.
    let method = match method {
        _ if asks_for_socket(request) => &http::Method::POST,
        method => method,
    };
    if is_known
        || formats::ALL
            .iter()
            .any(|api| api.recognises(method, uri.path()))
    {
        return;
    }
    let meant = formats::base_url::meant(method, uri.path());
    let meant = meant.and_then(|path| formats::base_url::replaced(uri, &path));
    if let Some(meant) = meant {
        *request.uri_mut() = meant;
    }
}

async fn admitted(
    engines: &Engines,
    door: &Door,
    peer: &Peer,
    (request, url): (&Request<Incoming>, Arc<str>),
) -> Result<Verified, Rejection> {
    panics::point("gate");
    let gate = door.gate.borrow().clone();
    let is_page = pages::owns(request.method(), request.uri(), request.headers());
    gate.check(request, door.tls.is_some(), is_page)?;
    let (true, Some(resolver)) = (door.tailnet, &engines.resolver) else {
        return Ok(Verified {
            caller: Caller::loopback(),
            resolver: None,
            epoch: 0,
            changes: None,
            url,
        });
    };
    // Before the question: what changes after it must be asked for again.
    let epoch = resolver.epoch();
    let caller = resolver.caller(peer.address).await.and_then(|caller| {
        let device = peer.device.get_or_init(|| caller.node_id().into());
        if **device == *caller.node_id() {
            Ok(caller)
        } else {
            Err(Refused::Changed)
        }
    });
    let caller = caller.map_err(|refused| match refused {
        Refused::Unavailable(_) => Rejection::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "identity_unavailable",
            refused.to_string(),
        )
        .retry_after(Duration::from_secs(1)),
        Refused::Stale(_) => Rejection::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "tailnet_stale",
            refused.to_string(),
        )
        .retry_after(Duration::from_secs(10)),
        _ => Rejection::new(StatusCode::FORBIDDEN, "no_identity", refused.to_string()),
    })?;
    Ok(Verified {
        caller,
        resolver: Some((Arc::clone(resolver), peer.address)),
        epoch,
        changes: engines.node.as_ref().map(crate::net::tailnet::Node::watch),
        url,
    })
}

fn asks_for_socket<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    request.method() == http::Method::GET
        && upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Opens a WebSocket, which lives on when its request is answered. Says too whether it did.
fn open_socket(
    engines: &Arc<Engines>,
    api: Option<&'static Format>,
    who: Verified,
    request: Request<Incoming>,
) -> (Response<Body>, bool) {
    let Some(api) = api else {
        let none = Rejection::new(StatusCode::NOT_FOUND, "no_such_route", "no route");
        let dialect = Dialect::of(request.uri().path(), request.headers());
        return (dialect.refuse(&none), false);
    };
    let (response, pending) = engines.gateway.open_socket(api, who, request);
    if let Some(pending) = pending {
        let (engines, stop) = (Arc::clone(engines), engines.stop.clone());
        engines.tracker.clone().spawn(async move {
            Box::pin(engines.gateway.serve_socket(pending, stop)).await;
        });
        return (response, true);
    }
    (response, false)
}

/// Scheme and host of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..path]
}

async fn dispatch(
    engines: &Engines,
    api: Option<&'static Format>,
    who: Verified,
    request: Request<Incoming>,
) -> Response<Body> {
    let secure = who.url.starts_with("https://");
    if let Some(api) = api {
        let caller = Arc::clone(&who.caller);
        let response = engines.gateway.handle(api, who, request).await;
        let code = response.headers().get("x-iris-error");
        if code.is_some_and(|code| code == "no_role") {
            engines.refusals.count(&caller, api.name, "no_role");
        }
        return response;
    }
    panics::point("admin");
    let view = View {
        rules: engines.gateway.rules.borrow().clone(),
        ledger: &engines.gateway.ledger,
        quotas: &engines.gateway.quotas,
        traffic: &engines.gateway.traffic,
        control: &engines.control,
        refusals: &engines.refusals,
        metrics: &engines.gateway.metrics,
        board: &engines.board,
        warnings: &engines.warnings,
        signals: &engines.signals,
        upstream: &engines.gateway.upstream.client,
        looking: &engines.looking,
        listeners: &engines.listeners,
        origin: origin(&who.url),
        tally: &engines.gateway.tally,
        resolver: engines.resolver.as_deref(),
        node: engines.node.as_ref().map(crate::net::tailnet::Node::status),
    };
    let (head, body) = request.into_parts();
    if pages::owns(&head.method, &head.uri, &head.headers) {
        return Box::pin(pages::handle(&view, &who.caller, &head, secure)).await;
    }
    let request = Request::from_parts(head, body);
    Box::pin(api::handle(view, &who.caller, request)).await
}
