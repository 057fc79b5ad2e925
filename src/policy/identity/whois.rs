//! What a tailnet knows about a device, and which addresses can be a device's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::value::RawValue;

/// The node behind an address, and whose it is.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of the node"
)]
pub struct WhoIs {
    /// The node's id, which no other node ever gets.
    pub stable_id: String,
    /// First label of its name.
    pub node_name: String,
    /// Full MagicDNS name, with no dot at the end.
    pub node_fqdn: String,
    /// Its tags; a tagged node has no owner.
    pub tags: Vec<String>,
    /// Its tailnet addresses.
    pub addresses: Vec<IpAddr>,
    /// Whose it is.
    pub user: Option<User>,
    /// Capabilities that the policy grants it towards this node, as JSON.
    pub capabilities: BTreeMap<String, Vec<Box<RawValue>>>,
    /// Its key has expired.
    pub expired: bool,
    /// An admin has approved it, where that is needed.
    pub authorized: bool,
    /// Tailnet lock has not signed it.
    pub unsigned: bool,
    /// It may not connect to us.
    pub jailed: bool,
    /// It is a plain WireGuard peer.
    pub wireguard_only: bool,
    /// A user of another tailnet shares it.
    pub shared_in: bool,
    /// RFC 3339; `None` if it never expires.
    pub key_expiry: Option<String>,
    /// Groups of the user that the tailnet shows us.
    pub groups: Vec<String>,
}

/// A person.
#[derive(Clone, Debug)]
pub struct User {
    /// Number at the control server.
    pub id: i64,
    /// Name that grants use.
    pub login: String,
    /// Name for people.
    pub display_name: String,
    /// Where their picture is.
    pub picture: Option<String>,
}

/// Whether an address can be a node's: 100.64.0.0/10, without the part for `ChromeOS`'s
/// containers, or `fd7a:115c:a1e0::/48`.
pub fn is_tailnet(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            a == 100 && b & 0xc0 == 64 && !(b == 115 && (c == 92 || c == 93))
        }
        IpAddr::V6(v6) => v6.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tailnets_ranges_are_asked_about() {
        for inside in [
            "100.64.0.1",
            "100.127.255.255",
            "fd7a:115c:a1e0::1",
            "::ffff:100.64.0.1",
        ] {
            assert!(is_tailnet(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "100.63.0.1",
            "100.128.0.1",
            "127.0.0.1",
            "100.115.92.5",
            "fd7b::1",
        ] {
            assert!(!is_tailnet(outside.parse().unwrap()), "{outside}");
        }
    }
}
