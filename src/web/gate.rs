//! What a request must be before anyone looks at its path. A browser on a tailnet device
//! brings that device's identity with it, whatever page it shows: the exact `Host` is the
//! only defence against DNS rebinding over plain HTTP, and a foreign `Origin` that against
//! a page that spends its visitor's budget.

use std::net::IpAddr;
use std::sync::OnceLock;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};

use crate::policy::access::{AllowedOrigin, Permit};
use crate::wire::Rejection;

/// The names under which this gateway may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Lower-case names.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Port that a `Host` without one means, and the only one that it may name.
    pub port: u16,
    /// Servers in front that pass requests on under the name by which they are called themselves.
    pub proxies: Vec<Proxy>,
    usual: Usual,
}

/// The `Host` of the first request that was accepted, and whether that came over HTTPS. It says nothing that
/// the gate's other fields don't, so it doesn't count when gates are compared.
#[derive(Clone, Debug, Default)]
struct Usual(OnceLock<(bool, HeaderValue)>);

impl PartialEq for Usual {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Usual {}

/// What a request is for, as far as the gate treats it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A page that people read. A link on another site may lead to it.
    Page,
    /// A call of a model, or a list of models. A grant can allow pages of other sites to ask for it.
    Models,
    /// Anything else.
    Other,
}

/// A request for [`Target::Models`] from a page of another site, which is refused unless a grant allows it.
#[must_use]
#[derive(Debug)]
pub struct ForeignPage(HeaderValue);

impl ForeignPage {
    /// Sees whether the caller's grants allow the page to ask for a path.
    ///
    /// # Errors
    /// 403, the same as for any page of another site.
    pub fn allowed(&self, permit: &Permit, path: &str) -> Result<AllowedOrigin, Rejection> {
        let allowed = permit.allowed_origin(&self.0, path);
        allowed.ok_or_else(cross_origin)
    }
}

/// The method that a browser asks about before a page of another site may send a request
/// (fetch.spec.whatwg.org, "CORS-preflight fetch").
#[must_use]
pub fn preflight<B>(request: &Request<B>) -> Option<Method> {
    let headers = request.headers();
    if request.method() != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

fn cross_origin() -> Rejection {
    let why = "requests from other sites' pages are refused";
    Rejection::new(StatusCode::FORBIDDEN, "cross_origin", why)
}

/// The URL of a server in front: `https://ai.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    secure: bool,
    authority: Authority,
}

/// Whose name a request names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Gateway,
    /// It is the gateway's but for the port.
    OtherPort,
    Another,
}

impl Proxy {
    /// A URL of a scheme, a host and maybe a port.
    fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        Some(Self {
            secure: scheme.eq_ignore_ascii_case("https"),
            authority: rest.trim_end_matches('/').parse().ok()?,
        })
    }

    /// Whether an authority is this one; a port that the scheme implies may be left out.
    fn is(&self, other: &Authority) -> bool {
        let default = if self.secure { "443" } else { "80" };
        let port = |of: &Authority| {
            of.port()
                .map_or(default.to_owned(), |port| port.as_str().to_owned())
        };
        self.authority.host().eq_ignore_ascii_case(other.host())
            && port(&self.authority) == port(other)
    }
}

impl Gate {
    /// The gate of a port, with names of its own and `more` of the configuration: names, and URLs of
    /// servers in front.
    #[must_use]
    pub fn new(mut names: Vec<String>, addresses: Vec<IpAddr>, port: u16, more: &[String]) -> Self {
        let (urls, plain): (Vec<&String>, Vec<&String>) =
            more.iter().partition(|name| name.contains("://"));
        names.extend(plain.into_iter().cloned());
        Self {
            names,
            addresses,
            port,
            proxies: urls.into_iter().filter_map(|url| Proxy::of(url)).collect(),
            usual: Usual::default(),
        }
    }

    /// Whether there are servers in front.
    #[must_use]
    pub fn has_proxies(&self) -> bool {
        !self.proxies.is_empty()
    }

    /// Whether a request under this name came to a server in front by HTTPS.
    #[must_use]
    pub fn is_secured_by_proxy(&self, host: &str) -> bool {
        let Ok(host) = host.parse() else { return false };
        let mut proxies = self.proxies.iter();
        proxies.any(|proxy| proxy.secure && proxy.is(&host))
    }

    /// Checks a request's authority, origin and method. Returns the page of another site that asks for
    /// models, about which the caller's grants decide.
    ///
    /// # Errors
    /// 400 for a request without exactly one host, 421 for another's host, 403 for another
    /// site's page, 405 for methods that no route has.
    pub fn check<B>(
        &self,
        request: &Request<B>,
        secure: bool,
        target: Target,
    ) -> Result<Option<ForeignPage>, Rejection> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            let (status, why) = (StatusCode::METHOD_NOT_ALLOWED, "this method is not offered");
            return Err(Rejection::new(status, "method_not_allowed", why));
        }
        let headers = request.headers();
        unambiguous_framing(headers)?;
        if !self.is_usual(request, secure) {
            self.check_host(request, secure)?;
        }
        let is_link = target == Target::Page && is_followed_link(request);
        let is_foreign = is_from_elsewhere(headers) && !is_link;
        let origins = headers.get_all(header::ORIGIN);
        let is_own = |origin: &HeaderValue| {
            let origin = origin.to_str();
            origin.is_ok_and(|origin| self.is_own_page(origin, secure))
        };
        if !is_foreign && origins.iter().all(is_own) {
            return Ok(None);
        }
        let mut origins = origins.iter();
        match (target, origins.next(), origins.next()) {
            (Target::Models, Some(origin), None) => Ok(Some(ForeignPage(origin.clone()))),
            _ => Err(cross_origin()),
        }
    }

    /// Whether a request names the host that the first one did which was accepted, in the same way. Most do,
    /// so that their authority needn't be parsed.
    fn is_usual<B>(&self, request: &Request<B>, secure: bool) -> bool {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let is_it = |(of, known): &(bool, HeaderValue)| *of == secure && known == host;
        let uri = request.uri();
        uri.authority().is_none() && uri.scheme().is_none() && self.usual.0.get().is_some_and(is_it)
    }

    fn check_host<B>(&self, request: &Request<B>, secure: bool) -> Result<(), Rejection> {
        let authority = authority(request)?;
        own_scheme(request, secure)?;
        let status = StatusCode::MISDIRECTED_REQUEST;
        let wrong_host = |why| Err(Rejection::new(status, "wrong_host", why));
        match self.owner(&authority, secure) {
            Owner::Gateway => {
                let host = request.headers().get(header::HOST);
                // Its own copy, because the value shares memory with those of the other headers.
                let host = host.and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok());
                if let Some(host) = host {
                    // The first one stays.
                    let _ = self.usual.0.set((secure, host));
                }
                Ok(())
            }
            Owner::OtherPort => wrong_host(format!(
                "this gateway is called by port {}, and the request is for {authority}; send \
                     the port along, or add the URL of the proxy in front to `listen.names`",
                self.port
            )),
            Owner::Another => wrong_host(format!(
                "this gateway is not {authority}; add the name to `listen.names` if it is"
            )),
        }
    }

    /// Whether the origin of a page is the gateway itself.
    fn is_own_page(&self, origin: &str, secure: bool) -> bool {
        let of = |scheme: &str| {
            let rest = origin.strip_prefix(scheme)?.strip_prefix("://")?;
            rest.parse::<Authority>().ok()
        };
        let own = of(if secure { "https" } else { "http" });
        let is_served_by = |proxy: &Proxy| {
            let origin = of(if proxy.secure { "https" } else { "http" });
            origin.is_some_and(|origin| is_plain(&origin) && proxy.is(&origin))
        };
        own.is_some_and(|own| self.is_directly_own(&own, secure) == Owner::Gateway)
            || self.proxies.iter().any(is_served_by)
    }

    fn owner(&self, authority: &Authority, secure: bool) -> Owner {
        let is_proxy = |proxy: &Proxy| is_plain(authority) && proxy.is(authority);
        if self.proxies.iter().any(is_proxy) {
            return Owner::Gateway;
        }
        self.is_directly_own(authority, secure)
    }

    fn is_directly_own(&self, authority: &Authority, secure: bool) -> Owner {
        let default = if secure { 443 } else { 80 };
        if !is_plain(authority) || !self.has(authority.host()) {
            return Owner::Another;
        }
        let is_ours = match authority.port() {
            None => self.port == default,
            Some(port) => is_written(port.as_str(), self.port),
        };
        if is_ours {
            Owner::Gateway
        } else {
            Owner::OtherPort
        }
    }

    fn has(&self, host: &str) -> bool {
        // Brackets are for the addresses of IPv6 alone (RFC 3986, section 3.2.2).
        let inner = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address = match inner {
            Some(inner) => inner.parse().map(IpAddr::V6).ok(),
            None => host.parse().map(IpAddr::V4).ok(),
        };
        if let Some(address) = address {
            return self.addresses.contains(&address);
        }
        self.names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Whether a text is this port as it is written: `+80` and `080` are numbers too.
fn is_written(text: &str, port: u16) -> bool {
    text.starts_with(|first: char| matches!(first, '1'..='9')) && text.parse() == Ok(port)
}

/// Whether an authority is a host and maybe a port.
fn is_plain(authority: &Authority) -> bool {
    !authority.as_str().contains('@') && !authority.as_str().ends_with(':')
}

/// Where a browser says that a request comes from.
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a browser says that another site's page asks.
#[must_use]
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    // ts.net is a public suffix: another node's page is same-site, and foreign all the same.
    let mut sites = headers.get_all(&SEC_FETCH_SITE).iter();
    !sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether a browser shows the answer in a window of its own, in place of the page that asks and
/// out of its reach: not in a frame, and not for a script. A submitted form isn't a GET.
fn is_followed_link<B>(request: &Request<B>) -> bool {
    let is = |name: &str, value: &[u8]| {
        let mut values = request.headers().get_all(name).iter();
        values.next().is_some_and(|one| one.as_bytes() == value) && values.next().is_none()
    };
    request.method() == Method::GET
        && is("sec-fetch-mode", b"navigate")
        && is("sec-fetch-dest", b"document")
}

/// The one authority that a request names (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
fn authority<B>(request: &Request<B>) -> Result<Authority, Rejection> {
    let bad = |why: &'static str| Rejection::new(StatusCode::BAD_REQUEST, "bad_host", why);
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(
            host.to_str()
                .ok()
                .and_then(|host| host.parse::<Authority>().ok())
                .ok_or_else(|| bad("the Host header is no host"))?,
        ),
        (Some(_), Some(_)) => return Err(bad("there is more than one Host header")),
        (None, _) => None,
    };
    match (host, request.uri().authority()) {
        (Some(host), Some(target)) if &host != target => {
            Err(bad("the request's target and its Host header differ"))
        }
        (Some(host), _) => Ok(host),
        (None, Some(target)) if request.version() == Version::HTTP_2 => Ok(target.clone()),
        (None, _) => Err(bad("the request has no Host header")),
    }
}

/// A target of HTTP/1 that names a scheme may name none but that of its connection (RFC 9110,
/// section 7.4). In HTTP/2 each has one, which a proxy in between may have kept as it was.
fn own_scheme<B>(request: &Request<B>, secure: bool) -> Result<(), Rejection> {
    let own = if secure { "https" } else { "http" };
    let scheme = request.uri().scheme_str().unwrap_or(own);
    if request.version() < Version::HTTP_2 && scheme != own {
        let why = format!("{scheme} is not spoken here");
        let status = StatusCode::MISDIRECTED_REQUEST;
        return Err(Rejection::new(status, "wrong_scheme", why));
    }
    Ok(())
}

/// What the strict reader of `net` finds in HTTP/1 as it came, and what proxies make of HTTP/2.
fn unambiguous_framing(headers: &HeaderMap) -> Result<(), Rejection> {
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    let disguised = headers
        .keys()
        .any(|name| matches!(name.as_str(), "content_length" | "transfer_encoding"));
    if lengths > 1 || codings > 1 || (lengths > 0 && codings > 0) || disguised {
        let why = "the length of the request's body is ambiguous";
        return Err(Rejection::new(StatusCode::BAD_REQUEST, "bad_framing", why));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
