//! Providers that are the operator's own machines, recognized by their addresses. They send no bill,
//! so their models are free unless a price says otherwise. A name that could belong to another
//! company doesn't count: an unknown cost is visible and can be corrected, a wrong zero isn't.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use crate::base::money::{Field, Price, Rate};
use crate::formats::BaseUrl;
use crate::policy::identity::is_tailnet;

/// The source of such a price.
pub(super) const SOURCE: &str = "local";

/// Ends of names that no public server has: mDNS, private networks, and `MagicDNS`.
const DOMAINS: [&str; 5] = [".localhost", ".local", ".internal", ".home.arpa", ".ts.net"];

/// Whether a provider's URL leads to loopback, a private network or the tailnet.
pub(super) fn is_local(base: &BaseUrl) -> bool {
    let host = base.host();
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if is_tailnet(address) => true,
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local(),
        // A name of one label is in the machine's own domain, or the tailnet's.
        Err(_) if !host.contains('.') => !host.is_empty(),
        Err(_) => DOMAINS.iter().any(|domain| host.ends_with(domain)),
    }
}

/// The price of what is free.
pub(super) fn free() -> Arc<Price> {
    static FREE: LazyLock<Arc<Price>> = LazyLock::new(|| {
        let mut price = Price::default();
        for field in [Field::Input, Field::Output] {
            price.standard.base.set(field, Rate::ZERO);
        }
        Arc::new(price)
    });
    Arc::clone(&FREE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn your_own_machines_are_told_from_others() {
        for local in [
            "http://127.0.0.1:11434",
            "http://localhost:8080/v1",
            "http://[::1]:8000",
            "http://10.0.0.5",
            "http://172.16.9.9:8080",
            "https://192.168.1.7",
            "http://100.64.0.9:8000",
            "http://[fd7a:115c:a1e0::9]:8000",
            "http://[fd12::1]",
            "http://gpu:8080",
            "https://gpu.tail1.ts.net",
            "http://Box.LOCAL:1234",
            "http://vllm.svc.cluster.internal",
        ] {
            assert!(is_local(&BaseUrl::parse(local).unwrap()), "{local}");
        }
        for other in [
            "https://api.openai.com",
            "https://llm.example.com",
            "http://8.8.8.8",
            "http://172.32.0.1",
            "http://100.128.0.1",
            "http://[2001:db8::1]",
            "https://ts.net.example.com",
            "https://local.example.com",
        ] {
            assert!(!is_local(&BaseUrl::parse(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn what_is_free_has_a_price_of_zero() {
        let price = free();
        for field in [Field::Input, Field::Output, Field::CacheRead, Field::Image] {
            let rate = price.standard.base.charged(field).unwrap();
            assert_eq!(rate, Rate::ZERO, "{field:?}");
        }
    }
}
