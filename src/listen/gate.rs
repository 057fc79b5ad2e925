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
}

impl Gate {
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
        if !self.is_own(&authority, secure) {
            return Err(Rejection::new(
                StatusCode::MISDIRECTED_REQUEST,
                "wrong_host",
                format!("this gateway is not {authority}; add the name to `listen.names` if it is"),
            ));
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
            let scheme = if secure { "https://" } else { "http://" };
            let own = origin
                .to_str()
                .ok()
                .and_then(|origin| origin.strip_prefix(scheme))
                .and_then(|rest| rest.parse::<Authority>().ok())
                .is_some_and(|origin| self.is_own(&origin, secure));
            if !own {
                return Err(foreign());
            }
        }
        Ok(())
    }

    fn is_own(&self, authority: &Authority, secure: bool) -> bool {
        let default = if secure { 443 } else { 80 };
        if authority.as_str().contains('@') || authority.as_str().ends_with(':') {
            return false;
        }
        // As text, because `+80` and `080` are numbers too.
        let is_ours = match authority.port() {
            None => self.port == default,
            Some(port) => port.as_str() == self.port.to_string(),
        };
        if !is_ours {
            return false;
        }
        let host = authority.host();
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
