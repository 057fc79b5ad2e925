//! The node's certificate for HTTPS: fetched when it is first needed, and renewed before it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;

use super::{Engines, keep};
use crate::net::tailnet::Node;
use crate::net::tls::{ServerKey, certified, ends_at};

/// The node renews by itself and gives what it has; asking costs nothing.
const REFRESH: Duration = Duration::from_hours(12);
const RETRY: Duration = Duration::from_mins(1);

/// Accepts TLS with the certificate for `domain`; handshakes fail until there is one.
pub(super) fn acceptor(engines: &Arc<Engines>, node: Node, domain: String) -> TlsAcceptor {
    let current = ServerKey::default();
    let renewed = current.clone();
    keep(engines, "the renewal of a certificate", move |engines| {
        renew(engines, node.clone(), domain.clone(), renewed.clone())
    });
    current.acceptor()
}

async fn renew(engines: Arc<Engines>, node: Node, domain: String, current: ServerKey) {
    let signals = &engines.management.signals;
    loop {
        let key = match node.certificate(&domain).await {
            Ok(certificate) => certified(&certificate).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let pause = match key {
            Ok(key) => {
                signals.certificate(&domain, ends_at(&key));
                tracing::info!(domain, "a certificate is in force");
                current.set(key);
                REFRESH
            }
            Err(error) => {
                signals.no_certificate(&domain, &error);
                tracing::warn!(domain, error, "no certificate");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}
