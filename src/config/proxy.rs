//! HTTP proxies on the way to providers: one that a provider names, or those of the environment
//! (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, and `NO_PROXY` for exceptions; lower case counts first).

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use percent_encoding::percent_decode_str;

use crate::base::secret::Secret;

const EXPECTED: &str = "expected http://host:port, https://host:port or \"none\"";

/// How a provider is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Proxying {
    /// Over the environment's proxies, if it has any and the provider is public.
    #[default]
    Environment,
    /// Over none.
    Never,
    /// Over this one, wherever the provider is.
    Over(Proxy),
}

impl Proxying {
    /// The words of the configuration.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Ok(Self::Environment),
            "none" => Ok(Self::Never),
            text if text.contains("://") => Proxy::parse(text).map(Self::Over),
            _ => Err(format!("not the URL of a proxy: {EXPECTED}")),
        }
    }
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// It is reached over TLS.
    pub secure: bool,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of `Proxy-Authorization`; empty for none.
    pub authorization: Secret,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`; without a scheme it is `http`.
    ///
    /// # Errors
    /// What is wrong with it, without its password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = whole
            .parse()
            .map_err(|_| format!("not the URL of a proxy: {EXPECTED}"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let secure = match scheme {
            "http" => false,
            "https" => true,
            other => {
                return Err(format!(
                    "proxies of the kind {other:?} are not supported: {EXPECTED}"
                ));
            }
        };
        let authority = uri
            .authority()
            .ok_or_else(|| format!("names no proxy: {EXPECTED}"))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!("the URL of a proxy has no path: {EXPECTED}"));
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let authorization = user.map_or_else(Secret::default, |user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let plain: Vec<u8> = percent_decode_str(name)
                .chain([b':'])
                .chain(percent_decode_str(password))
                .collect();
            Secret::new(format!("Basic {}", aws_smithy_types::base64::encode(plain)))
        });
        if authority.host().is_empty() {
            return Err(format!("names no proxy: {EXPECTED}"));
        }
        Ok(Self {
            secure,
            host: bare(authority.host()).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            authorization,
        })
    }
}

/// Without its credential.
impl fmt::Display for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let host = &self.host;
        if host.contains(':') {
            write!(out, "{scheme}://[{host}]:{}", self.port)
        } else {
            write!(out, "{scheme}://{host}:{}", self.port)
        }
    }
}

/// The proxies of the environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<String>,
}

impl Environment {
    /// Those of this process, as [`Environment::read`] gives them.
    #[must_use]
    pub fn of_process() -> (Self, Vec<String>) {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the variables. With it come the names of those that can't be used, and why.
    #[must_use]
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let value = |name: &str| {
            [name.to_ascii_lowercase(), name.to_owned()]
                .into_iter()
                .find_map(|name| {
                    let text = variable(&name)?;
                    let text = text.trim();
                    (!text.is_empty()).then(|| (name, text.to_owned()))
                })
        };
        let mut proxy = |name: &str| {
            let (name, text) = value(name)?;
            match Proxy::parse(&text) {
                Ok(proxy) => Some(proxy),
                Err(why) => {
                    problems.push(format!("{name} is ignored: {why}"));
                    None
                }
            }
        };
        let (http, https) = (proxy("HTTP_PROXY"), proxy("HTTPS_PROXY"));
        let all = if http.is_none() || https.is_none() {
            proxy("ALL_PROXY")
        } else {
            None
        };
        let except = value("NO_PROXY").map_or_else(Vec::new, |(_, text)| {
            text.split([',', ' '])
                .map(|one| one.trim().to_ascii_lowercase())
                .filter(|one| !one.is_empty())
                .collect()
        });
        let environment = Self {
            http: http.or_else(|| all.clone()),
            https: https.or(all),
            except,
        };
        (environment, problems)
    }

    /// The proxy on the way to a server, if it is public and no exception.
    #[must_use]
    pub fn proxy(&self, secure: bool, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = if secure { &self.https } else { &self.http };
        let proxy = proxy.as_ref()?;
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let excepted = self.except.iter().any(|one| covers(one, &host, port));
        (!is_private(&host) && !excepted).then_some(proxy)
    }

    /// Each proxy with the kind of URL that it is for, for the log.
    pub fn used(&self) -> impl Iterator<Item = (&'static str, &Proxy)> {
        let all = [("https", &self.https), ("http", &self.http)];
        all.into_iter()
            .filter_map(|(scheme, proxy)| Some((scheme, proxy.as_ref()?)))
    }
}

/// A host without the brackets of IPv6.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a server is this machine's or a local network's: by its address, or by a name that no
/// public one has.
fn is_private(host: &str) -> bool {
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                // Of carriers, and of tailnets.
                || (a == 100 && (64..128).contains(&b))
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
        Err(_) => {
            let suffixes = [".localhost", ".local", ".internal", ".lan", ".home.arpa"];
            !host.contains('.') || suffixes.iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

/// Whether an entry of `NO_PROXY` is about a server: `*`, a name with all below it, an address, or
/// a network; each may name a port.
fn covers(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let both = (bare(network).parse::<IpAddr>(), host.parse::<IpAddr>());
        return match (both, bits.parse::<u32>()) {
            ((Ok(network), Ok(address)), Ok(bits)) => is_within(address, network, bits),
            _ => false,
        };
    }
    let is_address = bare(entry).parse::<IpAddr>().is_ok();
    let (name, only) = match entry.rsplit_once(':') {
        Some((name, only)) if !is_address && only.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, only.parse::<u16>().ok())
        }
        _ => (entry, None),
    };
    if only.is_some_and(|only| only != port) {
        return false;
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    let name = bare(name.trim_start_matches('.').trim_end_matches('.'));
    if let (Ok(one), Ok(other)) = (name.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        return one == other;
    }
    !name.is_empty()
        && host
            .strip_suffix(name)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(bits))
                .unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(bits))
                .unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read() {
        for (text, expected, authorization) in [
            ("http://proxy:3128", "http://proxy:3128", ""),
            ("proxy:3128/", "http://proxy:3128", ""),
            ("https://proxy.example", "https://proxy.example:443", ""),
            ("http://[fd00::1]:8080", "http://[fd00::1]:8080", ""),
            (
                "http://me:p%40ss@proxy",
                "http://proxy:80",
                "Basic bWU6cEBzcw==",
            ),
            ("http://me@proxy", "http://proxy:80", "Basic bWU6"),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!(proxy.to_string(), expected, "{text}");
            assert_eq!(proxy.authorization.expose(), authorization, "{text}");
            assert!(!format!("{proxy:?}").contains("bWU6"), "{text}");
        }
        for (text, why) in [
            ("socks5://me:hunter2@proxy:1080", "\"socks5\""),
            ("http://me:hunter2@proxy/path", "no path"),
            ("http://", "not the URL"),
            ("ht tp://x", "not the URL"),
        ] {
            let error = Proxy::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Proxying::parse("proxy:3128").is_err());
        assert_eq!(Proxying::parse("none"), Ok(Proxying::Never));
        assert_eq!(Proxying::parse(" "), Ok(Proxying::Environment));
    }

    #[test]
    fn the_environment_is_for_public_servers_alone() {
        let variables = |name: &str| {
            let value = match name {
                "https_proxy" => "http://lower:1",
                "HTTPS_PROXY" => "http://upper:1",
                "ALL_PROXY" => "http://all:1",
                "NO_PROXY" => {
                    "quiet.example, .below.example,8.8.8.0/24 ported.example:8443,2001:4860::/32"
                }
                _ => return None,
            };
            Some(value.to_owned())
        };
        let (environment, problems) = Environment::read(variables);
        assert!(problems.is_empty());
        let proxy = |secure, host: &str, port| {
            let proxy = environment.proxy(secure, host, port);
            proxy.map(|proxy| proxy.host.clone())
        };
        for (secure, host, port, expected) in [
            (true, "api.example", 443, Some("lower")),
            (false, "api.example", 80, Some("all")),
            (true, "quiet.example", 443, None),
            (true, "API.Quiet.example.", 443, None),
            (true, "notquiet.example", 443, Some("lower")),
            (true, "a.below.example", 443, None),
            (true, "8.8.8.8", 443, None),
            (true, "8.8.9.8", 443, Some("lower")),
            (true, "2001:4860::1", 443, None),
            (true, "2001:4861::1", 443, Some("lower")),
            (true, "ported.example", 8443, None),
            (true, "ported.example", 443, Some("lower")),
            (true, "localhost", 443, None),
            (true, "127.0.0.1", 443, None),
            (true, "::1", 443, None),
            (true, "::ffff:10.0.0.1", 443, None),
            (true, "10.1.2.3", 443, None),
            (true, "172.16.0.1", 443, None),
            (true, "192.168.0.1", 443, None),
            (true, "169.254.169.254", 443, None),
            (true, "100.64.0.1", 443, None),
            (true, "fd7a:115c:a1e0::1", 443, None),
            (true, "fe80::1", 443, None),
            (true, "vllm", 443, None),
            (true, "vllm.lan", 443, None),
        ] {
            assert_eq!(
                proxy(secure, host, port).as_deref(),
                expected,
                "{host}:{port}"
            );
        }
        let used: Vec<_> = environment.used().map(|(scheme, _)| scheme).collect();
        assert_eq!(used, ["https", "http"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let (environment, problems) = Environment::read(|name| {
            (name == "ALL_PROXY").then(|| "socks5h://user:hunter2@proxy:1080".to_owned())
        });
        assert_eq!(environment.used().count(), 0);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("ALL_PROXY is ignored"),
            "{problems:?}"
        );
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
        let (all_but, _) = Environment::read(|name| match name {
            "HTTPS_PROXY" => Some("proxy".to_owned()),
            "NO_PROXY" => Some("*".to_owned()),
            _ => None,
        });
        assert!(all_but.proxy(true, "api.example", 443).is_none());
    }
}
