//! The node's certificate for HTTPS, fetched when first needed and renewed before it ends.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::Engines;
use crate::tailnet::{Certificate, Node};

/// The node renews by itself and gives what it has; asking costs nothing.
const REFRESH: Duration = Duration::from_hours(12);
const RETRY: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
struct Current(RwLock<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Accepts TLS with the certificate for `domain`; handshakes fail until there is one.
pub(super) fn acceptor(engines: &Engines, node: Node, domain: String) -> TlsAcceptor {
    let current = Arc::new(Current::default());
    let renewed = Arc::clone(&current);
    let keep = async move {
        loop {
            let key = match node.certificate(&domain).await {
                Ok(certificate) => certified(&certificate).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let pause = match key {
                Ok(key) => {
                    tracing::info!(domain, "a certificate is in force");
                    *renewed.0.write().unwrap_or_else(PoisonError::into_inner) =
                        Some(Arc::new(key));
                    REFRESH
                }
                Err(error) => {
                    tracing::warn!(domain, error, "no certificate");
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::spawn(engines.stop.clone().run_until_cancelled_owned(keep));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn certified(certificate: &Certificate) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, key))
}
