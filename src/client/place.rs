//! Where to look for a gateway without a URL. Off the tailnet, any network's resolver can answer for
//! `ai`, so only addresses of a tailnet and of this machine are used. From then on the address is used
//! instead of the name, which could lead elsewhere a moment later.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::LOOPBACK;
use crate::policy::identity::is_tailnet;

/// The name that gateways usually have on their tailnet.
pub(super) const NAME: &str = "ai";
const PATIENCE: Duration = Duration::from_secs(5);

/// Base URLs to try, and why others are left out.
pub(super) fn usual() -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (addresses, mut left_out) = match addresses(NAME)? {
        Ok(found) => usable(&found),
        Err(why) => (Vec::new(), vec![format!("http://{NAME}: {why}")]),
    };
    let mut places: Vec<String> = addresses.into_iter().map(base).collect();
    places.push(format!("http://{LOOPBACK}"));
    left_out.dedup();
    Ok((places, left_out))
}

pub(super) fn addresses(name: &str) -> anyhow::Result<Result<Vec<IpAddr>, String>> {
    let runtime = super::runtime()?;
    let looking = tokio::net::lookup_host((name, 80));
    let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, looking).await });
    let found = match found {
        Ok(Ok(found)) => Ok(found.map(|place| place.ip().to_canonical()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("its address was not found within {PATIENCE:?}")),
    };
    // The system's resolver can't be called off.
    runtime.shutdown_background();
    Ok(found)
}

/// The addresses that may be a gateway's, and a reason for each of the others.
fn usable(found: &[IpAddr]) -> (Vec<IpAddr>, Vec<String>) {
    let (usable, others): (Vec<_>, Vec<_>) =
        found.iter().partition(|address| is_trusted(**address));
    let others = others.iter().map(|address: &IpAddr| {
        format!(
            "http://{NAME} is {address} here, which is not an address of a tailnet or of this \
             machine; if that is your gateway, pass --url http://{NAME}"
        )
    });
    (usable, others.collect())
}

/// Whether an address can be a gateway's without being named: a node's, without those that
/// Tailscale keeps for services of its own, or this machine's.
fn is_trusted(address: IpAddr) -> bool {
    let is_reserved = match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [100, 100, 0 | 100, _]),
        IpAddr::V6(v6) => v6.segments() == [0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0x53],
    };
    address.is_loopback() || (is_tailnet(address) && !is_reserved)
}

fn base(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("http://{v4}"),
        IpAddr::V6(v6) => format!("http://[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tailnet_and_this_machine_are_believed() {
        for (address, expected) in [
            ("100.64.0.1", Some("http://100.64.0.1")),
            ("100.127.255.254", Some("http://100.127.255.254")),
            ("fd7a:115c:a1e0::7", Some("http://[fd7a:115c:a1e0::7]")),
            ("127.0.0.1", Some("http://127.0.0.1")),
            ("::1", Some("http://[::1]")),
            ("203.0.113.7", None),
            ("192.168.1.1", None),
            ("10.0.0.1", None),
            ("169.254.169.254", None),
            ("100.63.255.255", None),
            ("100.128.0.0", None),
            ("100.100.100.100", None),
            ("100.100.0.9", None),
            ("100.115.92.1", None),
            ("fd7a:115c:a1e0::53", None),
            ("fd7a:115c:a1e1::7", None),
            ("2001:db8::1", None),
            ("0.0.0.0", None),
            ("::", None),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let (usable, others) = usable(&[address]);
            let found = usable.first().map(|address| base(*address));
            assert_eq!(found.as_deref(), expected, "{address}");
            assert_eq!(others.is_empty(), expected.is_some());
        }
        // One that is believed says nothing for another.
        let both = ["203.0.113.7", "100.64.0.1"].map(|text| text.parse().unwrap());
        assert_eq!(usable(&both).0, both[1..]);
    }
}
