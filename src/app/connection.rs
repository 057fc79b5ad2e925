//! Dispatches the requests of a connection: each passes the gate, gets its caller, and goes to a model,
//! to the API or to a page.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::Engines;
use crate::base::clock::within;
use crate::base::panics;
use crate::exchange::{AskedUrl, Verified, asked_host};
use crate::formats::{self, Dialect, Format};
use crate::net::Limits;
use crate::net::http1::Upgraded;
use crate::net::serve::Connection;
use crate::net::tailnet::Accepted;
use crate::net::write_timeout::WriteTimeout;
use crate::policy::identity::{Caller, Refused};
use crate::web::{self, Gate, api, pages};
use crate::wire::{Body, Rejection, headers};

/// The code of a refusal.
static ERROR: HeaderName = HeaderName::from_static("x-iris-error");

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
    let source = accepted.source;
    let Limits { head, idle, .. } = limits(&engines);
    let stream = WriteTimeout::new(accepted.stream, idle);
    let Some(tls) = door.tls.clone() else {
        return plain(engines, door, stream, source).await;
    };
    // Boxed, because what TLS holds is several times what a plain connection does, and that would
    // have room for it.
    let encrypted = async move {
        match within(head, tls.accept(stream)).await {
            Ok(Ok(stream)) => plain(engines, door, stream, source).await,
            Ok(Err(error)) => tracing::debug!(%source, %error, "TLS failed"),
            Err(_) => tracing::debug!(%source, "TLS took too long"),
        }
    };
    Box::pin(encrypted).await;
}

fn limits(engines: &Engines) -> Limits {
    let rules = engines.gateway.rules.borrow();
    Limits {
        head: rules.file.timeouts.head,
        idle: rules.file.timeouts.idle,
        head_bytes: rules.file.limits.request_head,
    }
}

async fn plain<S>(engines: Arc<Engines>, door: Arc<Door>, stream: S, source: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgraded = Upgraded::default();
    let limited = Arc::clone(&engines);
    let connection = Connection {
        stream,
        source,
        limits: move || limits(&limited),
        upgraded: Arc::clone(&upgraded),
        stop: engines.stop.clone(),
    };
    let peer = Arc::new(Peer {
        address: source.ip(),
        device: OnceLock::new(),
        upgraded,
    });
    let answered = move |request| {
        let (engines, door, peer) = (Arc::clone(&engines), Arc::clone(&door), Arc::clone(&peer));
        // Boxed, because it is large, and hyper keeps room for it while a response streams.
        Box::pin(async move { answer(&engines, &door, &peer, request).await })
    };
    connection.serve(answered).await;
}

/// The other end of a connection.
struct Peer {
    address: IpAddr,
    /// The device that opened it: an address can pass to another one.
    device: OnceLock<Arc<str>>,
    /// Set when it becomes a WebSocket.
    upgraded: Upgraded,
}

async fn answer(
    engines: &Arc<Engines>,
    door: &Door,
    peer: &Peer,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let mut url = AskedUrl {
        is_secure: is_secure(&request, door),
        path: None,
    };
    // Models first: that is what most requests are for. What the others mean takes longer to find out.
    let mut api = model_api(&request);
    let mut dialect = None;
    if api.is_none() {
        dialect = Some(Dialect::of(request.uri().path(), request.headers()));
        url.path = serve_as_meant(&mut request);
        api = model_api(&request);
    }
    let socket = socket_api(&request);
    let api = api.or(socket);
    let (uri, version) = (request.uri().clone(), request.version());
    // Awaited in place: a future in a variable has its room twice.
    let answered = panics::caught("a request", async {
        let who = admitted(engines, door, peer, &request, url).await?;
        if let Some(api) = socket {
            let (response, pending) = engines.gateway.open_any(api, who, request).await;
            peer.upgraded.store(pending.is_some(), Ordering::Release);
            if let Some(pending) = pending {
                // It lives on when its request is answered.
                let (engines, stop) = (Arc::clone(engines), engines.stop.clone());
                engines.tracker.clone().spawn(async move {
                    Box::pin(engines.gateway.serve_any(pending, stop)).await;
                });
            }
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
        path = uri.path(),
        status = rejection.status.as_u16(),
        code = rejection.code.0,
        "refused: {}",
        rejection.message
    );
    let mut response = match api {
        Some(api) => api.refuse(&rejection),
        None => dialect.unwrap_or(Dialect::OpenAi).refuse(&rejection),
    };
    // An oddly framed request may hide another one behind it.
    if rejection.status == StatusCode::BAD_REQUEST && version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Whether a request came over HTTPS, to this gateway or to a proxy in front.
fn is_secure<B>(request: &Request<B>, door: &Door) -> bool {
    if door.tls.is_some() {
        return true;
    }
    let gate = door.gate.borrow();
    gate.has_proxies() && gate.is_secured_by_proxy(asked_host(request.uri(), request.headers()))
}

/// The format of a request for a model.
fn model_api<B>(request: &Request<B>) -> Option<&'static Format> {
    let (method, path) = (request.method(), request.uri().path());
    let mut all = formats::ALL.into_iter();
    all.find(|api| api.recognises(method, path))
}

/// The format of a request for a WebSocket.
fn socket_api<B>(request: &Request<B>) -> Option<&'static Format> {
    if !asks_for_socket(request) {
        return None;
    }
    let mut all = formats::ALL.into_iter();
    all.find(|api| api.recognises_socket(request.uri().path()))
}

/// Gives a request the path that it means, where its client's base URL was set in another way than
/// it is meant to be. From here on it is as if it had been sent there. Returns the path that it was
/// sent to, if that is another.
fn serve_as_meant<B>(request: &mut Request<B>) -> Option<Arc<str>> {
    let (method, uri) = (request.method(), request.uri().clone());
    // A WebSocket asks with GET for what is otherwise a POST.
    let asked = match method {
        _ if asks_for_socket(request) => http::Method::POST,
        method => method.clone(),
    };
    let is_known = |format: &Format| format.recognises(&asked, uri.path());
    if formats::ALL.into_iter().any(is_known)
        || api::has_route(method, uri.path())
        || pages::owns(method, &uri, request.headers())
    {
        return None;
    }
    let deployment = formats::lenient_path::of_deployment(uri.path());
    let meant = match deployment {
        Some((path, deployment)) if asked == http::Method::POST => {
            request.extensions_mut().insert(deployment);
            path
        }
        _ => formats::lenient_path::meant(&asked, uri.path())?,
    };
    let meant = formats::lenient_path::replaced(&uri, &meant)?;
    let sent = uri.path().into();
    *request.uri_mut() = meant;
    Some(sent)
}

async fn admitted(
    engines: &Engines,
    door: &Door,
    peer: &Peer,
    request: &Request<Incoming>,
    url: AskedUrl,
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
    let caller = caller.map_err(|refused| {
        let rejection = |status, code| Rejection::new(status, code, refused.to_string());
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match refused {
            Refused::Unavailable(_) => {
                rejection(unavailable, "identity_unavailable").retry_after(Duration::from_secs(1))
            }
            Refused::Stale(_) => {
                rejection(unavailable, "tailnet_stale").retry_after(Duration::from_secs(10))
            }
            _ => rejection(StatusCode::FORBIDDEN, "no_identity"),
        }
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

async fn dispatch(
    engines: &Engines,
    api: Option<&'static Format>,
    who: Verified,
    request: Request<Incoming>,
) -> Response<Body> {
    let url = who.url.clone();
    if let Some(api) = api {
        let caller = Arc::clone(&who.caller);
        let response = engines.gateway.handle(api, who, request).await;
        let code = response.headers().get(&ERROR);
        if code.is_some_and(|code| code == "no_role") {
            let refusals = &engines.management.refusals;
            refusals.count(&caller, api.name, "no_role");
        }
        return response;
    }
    panics::point("admin");
    let web = web::Engines {
        gateway: &engines.gateway,
        management: &engines.management,
        resolver: engines.resolver.as_deref(),
        node: engines.node.as_ref(),
    };
    let (head, body) = request.into_parts();
    if pages::owns(&head.method, &head.uri, &head.headers) {
        return Box::pin(pages::handle(&web, &who.caller, &head, url.is_secure)).await;
    }
    let origin = url.origin(&head);
    let request = Request::from_parts(head, body);
    Box::pin(api::handle(&web, &who.caller, &origin, request)).await
}
