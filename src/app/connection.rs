//! Dispatches the requests of a connection: each passes the gate, gets its caller, and goes to a model,
//! to the API or to a page.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::Engines;
use crate::base::clock::within;
use crate::base::panics;
use crate::exchange::jobs;
use crate::exchange::{AskedUrl, Verified, asked_host};
use crate::formats::{self, Dialect, Format};
use crate::net::Limits;
use crate::net::http1::Upgraded;
use crate::net::serve::Connection;
use crate::net::tailnet::Accepted;
use crate::net::write_timeout::WriteTimeout;
use crate::policy::identity::{Caller, Refused};
use crate::web::{self, ForeignPage, Gate, Target, api, pages};
use crate::wire::{Body, Rejection, body, headers};

/// The code of a refusal.
static ERROR: HeaderName = HeaderName::from_static("x-iris-error");

/// Refusals of requests for models that the audit log has.
const AUDITED: [&str; 2] = ["no_role", "may_not_speak_for"];

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
    let preflight = web::preflight(&request);
    let method = preflight.as_ref().unwrap_or(request.method()).clone();
    let mut api = model_api(&method, request.uri().path());
    let place = formats::place(&method, request.uri().path());
    let mut dialect = None;
    if api.is_none() && place.is_none() {
        dialect = Some(Dialect::of(request.uri().path(), request.headers()));
        url.path = serve_as_meant(&mut request, &method);
        api = model_api(&method, request.uri().path());
    }
    let socket = socket_api(&request);
    let job = || jobs::format_of(&method, request.uri().path(), request.headers());
    let api = api.or(socket).or_else(job);
    let target = target(&request, &method, api);
    let api = api.or(place);
    let (uri, version) = (request.uri().clone(), request.version());
    // Awaited in place: a future in a variable has its room twice.
    let answered = panics::caught("a request", async {
        let (who, foreign) = admitted(engines, door, peer, &request, url, target).await?;
        if foreign.is_some() || preflight.is_some() {
            return Box::pin(cross_origin(engines, api, who, request, foreign)).await;
        }
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
fn model_api(method: &Method, path: &str) -> Option<&'static Format> {
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

/// What a request with this method is for. A WebSocket is left out of what a grant can allow other sites:
/// its answers need no permission of a browser to be read.
fn target<B>(request: &Request<B>, method: &Method, api: Option<&'static Format>) -> Target {
    let uri = request.uri();
    let is_for_models = api.is_some() || api::lists_models(method, uri.path());
    if is_for_models && !asks_for_socket(request) {
        Target::Models
    } else if pages::owns(request.method(), uri, request.headers()) {
        Target::Page
    } else {
        Target::Other
    }
}

/// Gives a request the path that it means, where its client's base URL was set in another way than
/// it is meant to be. From here on it is as if it had been sent there. Returns the path that it was
/// sent to, if that is another.
fn serve_as_meant<B>(request: &mut Request<B>, method: &Method) -> Option<Arc<str>> {
    let uri = request.uri().clone();
    // A WebSocket asks with GET for what is otherwise a POST.
    let asked = match method {
        _ if asks_for_socket(request) => &Method::POST,
        method => method,
    };
    let is_known = |format: &Format| format.recognises(asked, uri.path());
    if formats::ALL.into_iter().any(is_known)
        || api::has_route(method, uri.path())
        || pages::owns(method, &uri, request.headers())
    {
        return None;
    }
    let deployment = formats::lenient_path::of_deployment(uri.path());
    let meant = match deployment {
        Some((path, deployment)) if asked == Method::POST => {
            request.extensions_mut().insert(deployment);
            path
        }
        _ => formats::lenient_path::meant(asked, uri.path())?,
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
    target: Target,
) -> Result<(Verified, Option<ForeignPage>), Rejection> {
    panics::point("gate");
    let gate = door.gate.borrow().clone();
    let foreign = gate.check(request, door.tls.is_some(), target)?;
    let (true, Some(resolver)) = (door.tailnet, &engines.resolver) else {
        let verified = Verified {
            caller: Caller::loopback(),
            resolver: None,
            epoch: 0,
            changes: None,
            url,
        };
        return Ok((verified, foreign));
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
    let verified = Verified {
        caller,
        resolver: Some((Arc::clone(resolver), peer.address)),
        epoch,
        changes: engines.node.as_ref().map(crate::net::tailnet::Node::watch),
        url,
    };
    Ok((verified, foreign))
}

fn asks_for_socket<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    request.method() == Method::GET
        && upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers what a page of another site asks, if the caller's grants allow it, and a browser's question
/// whether they do. No provider sees the question.
async fn cross_origin(
    engines: &Engines,
    api: Option<&'static Format>,
    who: Verified,
    request: Request<Incoming>,
    foreign: Option<ForeignPage>,
) -> Result<Response<Body>, Rejection> {
    let is_preflight = web::preflight(&request).is_some();
    let Some(foreign) = foreign else {
        // A page of the gateway's own needn't ask: what it would send isn't sent.
        return Ok(dispatch(engines, None, who, request).await);
    };
    let rules = engines.gateway.rules.borrow().clone();
    let permit = rules.access.cached_permit(&who.caller);
    let permit = permit.map_err(|none| none.rejection(&who.caller))?;
    let allowed = foreign.allowed(&permit, request.uri().path())?;
    if is_preflight {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        allowed.allow_preflight(response.headers_mut());
        return Ok(response);
    }
    let mut response = dispatch(engines, api, who, request).await;
    allowed.allow(response.headers_mut());
    Ok(response)
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
        let (method, path) = (request.method(), request.uri().path());
        let is_job = jobs::format_of(method, path, request.headers()).is_some();
        let response = if is_job {
            Box::pin(engines.gateway.handle_job(api, who, request)).await
        } else {
            engines.gateway.handle(api, who, request).await
        };
        if let Some(code) = response.headers().get(&ERROR) {
            let mut audited = AUDITED.into_iter();
            if let Some(code) = audited.find(|audited| code == audited) {
                let refusals = &engines.management.refusals;
                refusals.count(&caller, api.name, code);
            }
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
