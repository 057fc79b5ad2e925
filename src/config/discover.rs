//! The section `discover`: where model servers may be looked for, besides this machine and the
//! nodes that providers name.

use std::net::IpAddr;

use super::section;
use super::table::Table;

/// Hosts that may be named.
const MOST: usize = 32;

section! {
    /// Where model servers are looked for when an admin asks.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Discover {
        /// Names or addresses, besides this machine and the nodes that providers name; 32 at most.
        hosts: Vec<String>,
    }
    check: check
}

fn check(read: Discover, table: &Table<'_>) -> Option<Discover> {
    let error = |message: String| {
        let (at, path) = (table.position("hosts"), format!("{}.hosts", table.path));
        table.findings.error(at, &path, message);
    };
    if read.hosts.len() > MOST {
        error(format!("{} hosts are more than {MOST}", read.hosts.len()));
    }
    for host in &read.hosts {
        if let Some(why) = unfit(host) {
            error(format!("{host:?} {why}"));
        }
    }
    Some(read)
}

/// What is wrong with a host.
fn unfit(host: &str) -> Option<&'static str> {
    if let Ok(address) = host.parse::<IpAddr>() {
        let is_odd = match address.to_canonical() {
            // Where clouds answer with credentials.
            IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let is_odd = is_odd || address.is_unspecified() || address.is_multicast();
        return is_odd.then_some("is not the address of a model server");
    }
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(is_part)
    };
    let is_name = host.len() <= 253 && host.split('.').all(is_label);
    (!is_name)
        .then_some("is neither the name of a host nor an address; write it without scheme and port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_and_nothing_else() {
        for host in [
            "gpu-box",
            "gpu.tail.ts.net",
            "100.64.0.9",
            "fd7a:115c:a1e0::9",
            "10.0.0.3",
        ] {
            assert_eq!(unfit(host), None, "{host}");
        }
        for host in [
            "http://gpu",
            "gpu:8080",
            "gpu/v1",
            "",
            "a..b",
            "169.254.169.254",
            "0.0.0.0",
            "::ffff:169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "user@gpu",
        ] {
            assert!(unfit(host).is_some(), "{host}");
        }
        let many = vec!["\"h\""; MOST + 1].join(",");
        let text = format!(r#"{{"discover":{{"hosts":[{many}]}}}}"#);
        assert!(super::super::parse(&text, &|_| None).is_err());
    }
}
