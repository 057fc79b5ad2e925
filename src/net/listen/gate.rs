//! What a request must be before anyone looks at its path. A browser on a tailnet device
//! brings that device's identity with it, whatever page it shows: the exact `Host` is the
//! only defence against DNS rebinding over plain HTTP, and a foreign `Origin` that against
//! a page that spends its visitor's budget.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode, Version, header};

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
        }
    }

    /// Whether a request under this name came to a server in front by HTTPS.
    #[must_use]
    pub fn is_secured_by_proxy(&self, host: &str) -> bool {
        let Ok(host) = host.parse() else { return false };
        let mut proxies = self.proxies.iter();
        proxies.any(|proxy| proxy.secure && proxy.is(&host))
    }

    /// Checks a request's authority, origin and method. `is_page` says that it is for a page that
    /// people read; a link on another site may lead to one.
    ///
    /// # Errors
    /// 400 for a request without exactly one host, 421 for another's host, 403 for another
    /// site's page, 405 for methods that no route has.
    pub fn check<B>(
        &self,
        request: &Request<B>,
        secure: bool,
        is_page: bool,
    ) -> Result<(), Rejection> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Rejection::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this method is not offered",
            ));
        }
        let headers = request.headers();
        unambiguous_framing(headers)?;
        let authority = authority(request)?;
        own_scheme(request, secure)?;
        let wrong_host = |message| {
            Err(Rejection::new(
                StatusCode::MISDIRECTED_REQUEST,
                "wrong_host",
                message,
            ))
        };
        match self.owner(&authority, secure) {
            Owner::Gateway => {}
            Owner::OtherPort => {
                return wrong_host(format!(
                    "this gateway is called by port {}, and the request is for {authority}; send \
                     the port along, or add the URL of the proxy in front to `listen.names`",
                    self.port
                ));
            }
            Owner::Another => {
                return wrong_host(format!(
                    "this gateway is not {authority}; add the name to `listen.names` if it is"
                ));
            }
        }
        let foreign = || {
            Rejection::new(
                StatusCode::FORBIDDEN,
                "cross_origin",
                "requests from other sites' pages are refused",
            )
        };
        // ts.net is a public suffix: another node's page is same-site, and foreign all the same.
        if is_from_elsewhere(headers) && !(is_page && is_followed_link(request)) {
            return Err(foreign());
        }
        for origin in headers.get_all(header::ORIGIN) {
            if !origin
                .to_str()
                .is_ok_and(|origin| self.is_own_page(origin, secure))
            {
                return Err(foreign());
            }
        }
        Ok(())
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
        // As text, because `+80` and `080` are numbers too.
        let is_ours = match authority.port() {
            None => self.port == default,
            Some(port) => port.as_str() == self.port.to_string(),
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

/// Whether an authority is a host and maybe a port.
fn is_plain(authority: &Authority) -> bool {
    !authority.as_str().contains('@') && !authority.as_str().ends_with(':')
}

/// Whether a browser says that another site's page asks.
#[must_use]
pub fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    // ts.net is a public suffix: another node's page is same-site, and foreign all the same.
    let mut sites = headers.get_all("sec-fetch-site").iter();
    !sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether a browser shows the answer in a window of its own, in place of the page that asks and
/// out of its reach: not in a frame, and not for a script. A form that is sent is no GET.
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
        return Err(Rejection::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong_scheme",
            format!("{scheme} is not spoken here"),
        ));
    }
    Ok(())
}

/// What [`super::Strict`] finds in HTTP/1 as it came, and what proxies make of HTTP/2.
fn unambiguous_framing(headers: &HeaderMap) -> Result<(), Rejection> {
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    let disguised = headers
        .keys()
        .any(|name| matches!(name.as_str(), "content_length" | "transfer_encoding"));
    if lengths > 1 || codings > 1 || (lengths > 0 && codings > 0) || disguised {
        return Err(Rejection::new(
            StatusCode::BAD_REQUEST,
            "bad_framing",
            "the length of the request's body is ambiguous",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)]) -> Result<(), u16> {
        check_for(Method::GET, false, headers)
    }

    fn check_for(method: Method, is_page: bool, headers: &[(&str, &str)]) -> Result<(), u16> {
        let gate = Gate {
            names: vec!["ai".into(), "ai.tail.test".into()],
            addresses: vec![
                "100.64.0.7".parse().unwrap(),
                "fd7a:115c:a1e0::7".parse().unwrap(),
            ],
            port: 80,
            ..Gate::default()
        };
        let mut request = Request::builder().method(method).uri("/v1/models");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        gate.check(&request.body(()).unwrap(), false, is_page)
            .map_err(|error| error.status.as_u16())
    }

    #[test]
    fn own_names_and_addresses_only() {
        for host in [
            "ai",
            "AI",
            "ai:80",
            "ai.tail.test",
            "100.64.0.7",
            "[fd7a:115c:a1e0::7]",
        ] {
            assert_eq!(check(&[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "attacker.example",
            "ai.",
            "ai:81",
            "100.64.0.8",
            "ai.attacker.example",
            "[100.64.0.7]",
            "ai:0",
            "ai:+80",
            "ai:080",
        ] {
            assert_eq!(check(&[("host", host)]), Err(421), "{host}");
        }
        for host in ["", "ai/..", "ai?x", "a b"] {
            assert_eq!(check(&[("host", host)]), Err(400), "{host}");
        }
        assert_eq!(check(&[("host", "u@ai")]), Err(421));
        assert_eq!(check(&[]), Err(400));
        assert_eq!(check(&[("host", "ai"), ("host", "ai")]), Err(400));
    }

    #[test]
    fn a_wrong_port_is_named() {
        let gate = Gate::new(vec!["ai".into()], Vec::new(), 8_088, &[]);
        let refused = |host: &str| {
            let request = Request::get("/").header("host", host).body(()).unwrap();
            gate.check(&request, false, false).unwrap_err()
        };
        for host in ["ai", "ai:80", "ai:8089"] {
            let refused = refused(host);
            assert_eq!(refused.status, 421);
            let both = [format!("by port 8088, and the request is for {host};")];
            assert!(refused.message.contains(&both[0]), "{}", refused.message);
        }
        assert!(refused("bi").message.contains("this gateway is not bi;"));
    }

    #[test]
    fn a_proxy_in_front_passes_its_own_name_on() {
        let more = ["https://ai.example.com", "http://ai.lan:8000/", "plain"].map(str::to_owned);
        let gate = Gate::new(vec!["localhost".into()], Vec::new(), 8_088, &more);
        let check = |host: &str, origin: Option<&str>| {
            let mut request = Request::post("/v1/models").header("host", host);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let checked = gate.check(&request.body(()).unwrap(), false, false);
            checked.map_err(|error| error.status.as_u16())
        };
        for (host, origin, expected) in [
            ("ai.example.com", None, Ok(())),
            ("AI.example.com:443", Some("https://ai.example.com"), Ok(())),
            ("ai.lan:8000", Some("http://ai.lan:8000"), Ok(())),
            ("localhost:8088", Some("https://ai.example.com"), Ok(())),
            ("plain:8088", Some("http://plain:8088"), Ok(())),
            ("ai.example.com:80", None, Err(421)),
            ("ai.example.com:8088", None, Err(421)),
            ("u@ai.example.com", None, Err(421)),
            ("ai.lan", None, Err(421)),
            ("plain", None, Err(421)),
            ("ai.example.com", Some("http://ai.example.com"), Err(403)),
            ("ai.example.com", Some("https://u@ai.example.com"), Err(403)),
            ("ai.example.com", Some("https://bi.example.com"), Err(403)),
            ("ai.example.com", Some("https://plain"), Err(403)),
            ("ai.example.com", Some("null"), Err(403)),
        ] {
            assert_eq!(check(host, origin), expected, "{host} {origin:?}");
        }
        assert!(gate.is_secured_by_proxy("ai.example.com"));
        assert!(!gate.is_secured_by_proxy("ai.lan:8000"));
        assert!(!gate.is_secured_by_proxy("localhost:8088"));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let ai = ("host", "ai");
        assert_eq!(check(&[ai, ("origin", "http://ai")]), Ok(()));
        for origin in [
            "null",
            "http://evil.example",
            "https://ai",
            "http://ai:8080",
            "",
        ] {
            assert_eq!(check(&[ai, ("origin", origin)]), Err(403), "{origin}");
        }
        assert_eq!(check(&[ai, ("sec-fetch-site", "none")]), Ok(()));
        for site in ["same-site", "cross-site"] {
            assert_eq!(check(&[ai, ("sec-fetch-site", site)]), Err(403), "{site}");
        }
    }

    #[test]
    fn a_link_on_another_site_leads_to_a_page_and_to_nothing_else() {
        let navigates = ("sec-fetch-mode", "navigate");
        let (window, frame) = (("sec-fetch-dest", "document"), ("sec-fetch-dest", "iframe"));
        for site in ["same-site", "cross-site"] {
            let from = [("host", "ai"), ("sec-fetch-site", site)];
            let with = |more: &[(&'static str, &'static str)]| [&from[..], more].concat();
            let link = with(&[navigates, window]);
            assert_eq!(check_for(Method::GET, true, &link), Ok(()));
            assert_eq!(check_for(Method::GET, false, &link), Err(403));
            assert_eq!(check_for(Method::POST, true, &link), Err(403));
            assert_eq!(check_for(Method::HEAD, true, &link), Err(403));
            for other in [
                with(&[]),
                with(&[window]),
                with(&[navigates]),
                with(&[navigates, frame]),
                with(&[("sec-fetch-mode", "no-cors"), window]),
                with(&[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")]),
                with(&[navigates, window, frame]),
                with(&[navigates, window, ("origin", "null")]),
                with(&[navigates, window, ("origin", "http://evil.example")]),
            ] {
                assert_eq!(check_for(Method::GET, true, &other), Err(403), "{other:?}");
            }
        }
    }

    #[test]
    fn framing_that_can_be_read_in_two_ways_is_refused() {
        let ai = ("host", "ai");
        let long = ("content-length", "5");
        assert_eq!(check(&[ai, long]), Ok(()));
        assert_eq!(check(&[ai, long, long]), Err(400));
        assert_eq!(
            check(&[ai, long, ("transfer-encoding", "chunked")]),
            Err(400)
        );
        assert_eq!(check(&[ai, ("content_length", "5")]), Err(400));
        assert_eq!(check(&[ai, ("transfer_encoding", "chunked")]), Err(400));
        let coding = ("transfer-encoding", "chunked");
        assert_eq!(check(&[ai, coding]), Ok(()));
        assert_eq!(check(&[ai, coding, coding]), Err(400));
    }

    #[test]
    fn a_target_names_the_same_host_and_the_scheme_of_its_connection() {
        let gate = Gate {
            names: vec!["ai".into()],
            port: 443,
            ..Gate::default()
        };
        let check = |version: Version, target: &str, host: Option<&str>, secure: bool| {
            let mut request = Request::builder().version(version).uri(target);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let checked = gate.check(&request.body(()).unwrap(), secure, false);
            checked.map_err(|error| error.status.as_u16())
        };
        let (one, two, ai) = (Version::HTTP_11, Version::HTTP_2, Some("ai"));
        for (version, target, host, secure, expected) in [
            (one, "https://ai/", ai, true, Ok(())),
            (one, "https://other/", ai, true, Err(400)),
            (one, "https://ai/", None, true, Err(400)),
            (two, "https://ai/", None, true, Ok(())),
            (two, "https://ai/", ai, true, Ok(())),
            (two, "https://other/", ai, true, Err(400)),
            (two, "/", None, true, Err(400)),
            (one, "http://ai/", ai, true, Err(421)),
            (one, "https://ai:443/", Some("ai:443"), false, Err(421)),
            (one, "http://ai:443/", Some("ai:443"), false, Ok(())),
            // A proxy in between may have kept it as it was.
            (two, "http://ai/", None, true, Ok(())),
            (Version::HTTP_10, "http://ai/", ai, true, Err(421)),
        ] {
            let found = check(version, target, host, secure);
            assert_eq!(found, expected, "{version:?} {target} {host:?} {secure}");
        }
    }
}
