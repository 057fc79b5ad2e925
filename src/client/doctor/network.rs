//! Whether a gateway is found: its name, the tailnet, and what answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use super::Finding;
use super::tailscale::{self, Said};
use crate::client::gateway::{Gateway, origin};
use crate::client::place::{self, NAME};
use crate::policy::identity::is_tailnet;
use crate::wire::harmless;

/// Where Tailscale's resolver is on every machine of a tailnet.
const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 100, 100, 100)), 53);

/// Where a gateway was found, if one was, and how.
pub(super) struct Found {
    pub(super) base: Option<String>,
    pub(super) findings: Vec<Finding>,
}

/// Looks for the gateway at `url`, or at the places that need not be named.
pub(super) fn find(url: Option<&str>) -> anyhow::Result<Found> {
    let host = match url {
        Some(url) => host(url),
        None => Some(NAME.to_owned()),
    };
    let Some(host) = host else {
        let url = url.unwrap_or_default();
        let finding = Finding::wrong("name", format!("--url or IRIS_URL is {}", origin(url)));
        let findings = vec![finding.fix("write it as http://ai")];
        return Ok(Found {
            base: None,
            findings,
        });
    };
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![address]),
        Err(_) => place::addresses(&host)?,
    };
    let places = match url {
        Some(url) => vec![url.to_owned()],
        None => place::usual()?.0,
    };
    let mut failed = Vec::new();
    let mut base = None;
    for url in places {
        let gateway = Gateway {
            url: Some(url),
            json: false,
        };
        match gateway.ask("/healthz") {
            Ok((found, status, body)) if status.is_success() && body.starts_with(b"ok") => {
                base = Some(found);
                break;
            }
            Ok((found, status, _)) => {
                failed.push(format!(
                    "{} is not an Iris gateway (HTTP {status})",
                    origin(&found)
                ));
            }
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    let is_local = addresses
        .as_ref()
        .is_ok_and(|all| all.iter().any(IpAddr::is_loopback));
    // What works needs no other program's opinion.
    let said = match &base {
        Some(_) => Said::default(),
        None if is_local => Said::default(),
        None => tailscale::ask(),
    };
    let mut findings = vec![
        name(&host, addresses, base.as_deref(), said.has_no_names),
        tailnet(own_address(), is_local, base.is_some(), said),
    ];
    findings.push(match &base {
        Some(base) => Finding::good("gateway", format!("answers at {}", origin(base))),
        None => Finding::wrong("gateway", failed.join("; ")).fix(
            "`tailscale ping ai` shows whether the node is up; if it is, the tailnet policy has to let you \
             reach its port 80",
        ),
    });
    Ok(Found { base, findings })
}

fn host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.scheme()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    Some(host.to_owned())
}

/// Whether the name leads to the tailnet.
fn name(
    host: &str,
    addresses: Result<Vec<IpAddr>, String>,
    base: Option<&str>,
    has_no_names: bool,
) -> Finding {
    const CHECK: &str = "name";
    const FIX: &str = "`tailscale dns status` shows whether MagicDNS is on here; an admin of the tailnet turns it \
        on under DNS. Meanwhile --url takes the gateway's address or full name";
    let verdict = |what: String| {
        if base.is_some() {
            Finding::odd(CHECK, what)
        } else {
            let off = "; MagicDNS is off in your tailnet";
            let off = if has_no_names { off } else { "" };
            Finding::wrong(CHECK, what + off).fix(FIX)
        }
    };
    let found = match addresses {
        Err(why) => return verdict(format!("{host} was not found: {}", harmless(&why))),
        Ok(found) if found.is_empty() => return verdict(format!("{host} has no address")),
        Ok(found) => found,
    };
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    let shown = shown.join(" and ");
    let is_on_tailnet = |address: &IpAddr| is_tailnet(*address);
    if found.iter().any(is_on_tailnet) {
        Finding::good(CHECK, format!("{host} is {shown}, on the tailnet"))
    } else if found.iter().any(IpAddr::is_loopback) {
        Finding::good(CHECK, format!("{host} is {shown}, on this machine"))
    } else {
        verdict(format!(
            "{host} is {shown} here, which is not an address of a tailnet: another network's resolver says so"
        ))
    }
}

/// Whether this machine is on a tailnet, by the address that it would use there and by what Tailscale says.
fn tailnet(own: Option<IpAddr>, is_local: bool, is_found: bool, said: Said) -> Finding {
    const CHECK: &str = "tailnet";
    match (own, said.trouble) {
        (Some(address), Some(trouble)) => {
            let what = format!("this machine is {address}, but {}", trouble.what);
            Finding::wrong(CHECK, what).fix(trouble.fix)
        }
        (Some(address), None) => Finding::good(CHECK, format!("this machine is {address}")),
        (None, _) if is_local || is_found => Finding::skipped(
            CHECK,
            "this machine isn't on a tailnet, and the gateway is found without it",
        ),
        (None, Some(trouble)) => {
            let what = format!("this machine isn't on a tailnet: {}", trouble.what);
            Finding::wrong(CHECK, what).fix(trouble.fix)
        }
        (None, None) => Finding::wrong(CHECK, "this machine isn't on a tailnet")
            .fix("start Tailscale and sign in: `tailscale up`, then `tailscale status`"),
    }
}

/// This machine's address on the tailnet. Connecting a UDP socket asks for the route and sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(RESOLVER).ok()?;
    let own = socket.local_addr().ok()?.ip();
    is_tailnet(own).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_name_is_judged_by_its_address_and_by_what_answers() {
        let addresses = |text: &str| Ok(vec![text.parse().unwrap()]);
        for (addresses, base, verdict) in [
            (addresses("100.64.0.1"), None, Verdict::Good),
            (addresses("127.0.0.1"), None, Verdict::Good),
            (addresses("203.0.113.7"), None, Verdict::Wrong),
            (
                addresses("203.0.113.7"),
                Some("http://127.0.0.1:8088"),
                Verdict::Odd,
            ),
            (Err("no such host".to_owned()), None, Verdict::Wrong),
            (
                Err("no such host".to_owned()),
                Some("http://127.0.0.1:8088"),
                Verdict::Odd,
            ),
            (Ok(Vec::new()), None, Verdict::Wrong),
        ] {
            let finding = name("ai", addresses.clone(), base, false);
            assert_eq!(finding.verdict, verdict, "{addresses:?} {finding:?}");
            assert_eq!(finding.fix.is_some(), verdict == Verdict::Wrong);
        }
    }

    #[test]
    fn a_machine_off_the_tailnet_is_wrong_only_where_that_hinders() {
        let own = Some("100.64.0.9".parse().unwrap());
        let verdict =
            |own, is_local, is_found| tailnet(own, is_local, is_found, Said::default()).verdict;
        assert_eq!(verdict(own, false, false), Verdict::Good);
        assert_eq!(verdict(None, true, false), Verdict::Skipped);
        assert_eq!(verdict(None, false, true), Verdict::Skipped);
        assert_eq!(verdict(None, false, false), Verdict::Wrong);
    }

    #[test]
    fn the_host_of_a_url_is_read() {
        assert_eq!(host("http://ai").as_deref(), Some("ai"));
        assert_eq!(host("http://[::1]:80/v1").as_deref(), Some("::1"));
        assert_eq!(host("ai"), None);
    }
}
