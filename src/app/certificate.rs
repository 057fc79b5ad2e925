//! The node's certificate for HTTPS, fetched when first needed and renewed before it ends.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode;

use super::{Engines, keep};
use crate::net::tailnet::{Certificate, Node};
use crate::web::alerts::Signals;

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
    let (renewed, signals) = (Arc::clone(&current), engines.signals.clone());
    keep(engines, "the renewal of a certificate", move || {
        let (node, domain) = (node.clone(), domain.clone());
        renew(node, domain, Arc::clone(&renewed), signals.clone())
    });
    accepting(current)
}

async fn renew(node: Node, domain: String, current: Arc<Current>, signals: Signals) {
    loop {
        let key = match node.certificate(&domain).await {
            Ok(certificate) => certified(&certificate).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let pause = match key {
            Ok(key) => {
                signals.certificate(&domain, ends_at(&key));
                tracing::info!(domain, "a certificate is in force");
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
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

/// When a certificate ends, in Unix milliseconds.
fn ends_at(key: &CertifiedKey) -> Option<i64> {
    let leaf = x509_cert::Certificate::from_der(key.end_entity_cert().ok()?).ok()?;
    let end = leaf.tbs_certificate().validity().not_after;
    i64::try_from(end.to_unix_duration().as_millis()).ok()
}

fn accepting(current: Arc<Current>) -> TlsAcceptor {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn certified(certificate: &Certificate) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!chain.is_empty(), "the certificate is empty");
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, key))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use tokio_rustls::TlsConnector;

    use super::*;

    const CHAIN: &str = include_str!("../../tests/fixtures/ai.tail.test.crt");
    const KEY: &str = include_str!("../../tests/fixtures/ai.tail.test.key");

    async fn handshake(acceptor: &TlsAcceptor) -> std::io::Result<Option<Vec<u8>>> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(CHAIN.as_bytes()).unwrap())
            .unwrap();
        let mut config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (client, server) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("ai.tail.test").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let (client, _server) =
            tokio::try_join!(connector.connect(name, client), acceptor.accept(server))?;
        Ok(client.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    }

    #[tokio::test]
    async fn the_certificate_serves_from_when_it_is_there() {
        let current = Arc::new(Current::default());
        let acceptor = accepting(Arc::clone(&current));
        assert!(handshake(&acceptor).await.is_err());
        let certificate = Certificate {
            chain: CHAIN.to_owned(),
            key: KEY.to_owned(),
        };
        assert!(!format!("{certificate:?}").contains("PRIVATE KEY"));
        let key = certified(&certificate).unwrap();
        let end: jiff::Timestamp = "2126-10-31T13:52:10Z".parse().unwrap();
        assert_eq!(ends_at(&key), Some(end.as_millisecond()));
        *current.0.write().unwrap() = Some(Arc::new(key));
        assert_eq!(
            handshake(&acceptor).await.unwrap().as_deref(),
            Some(&b"h2"[..])
        );
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        let broken = Certificate {
            chain: "x".to_owned(),
            key: KEY.to_owned(),
        };
        assert!(certified(&broken).is_err());
        let keyless = Certificate {
            chain: CHAIN.to_owned(),
            key: String::new(),
        };
        assert!(certified(&keyless).is_err());
    }
}
