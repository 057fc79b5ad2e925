//! TLS of the HTTPS doors: a certificate that can be replaced while connections are accepted.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode;

use super::tailnet::Certificate;

/// The certificate that new connections get, with its key; none at first.
#[derive(Clone, Debug, Default)]
pub struct ServerKey(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl ResolvesServerCert for ServerKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ServerKey {
    /// Replaces the certificate for connections from now on.
    pub fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
    }

    /// Accepts TLS; handshakes fail until there is a certificate.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// When a certificate ends, in Unix milliseconds.
#[must_use]
pub fn ends_at(key: &CertifiedKey) -> Option<i64> {
    let leaf = x509_cert::Certificate::from_der(key.end_entity_cert().ok()?).ok()?;
    let end = leaf.tbs_certificate().validity().not_after;
    i64::try_from(end.to_unix_duration().as_millis()).ok()
}

/// Reads a certificate and its key.
///
/// # Errors
/// When one of them can't be read or used.
pub fn certified(certificate: &Certificate) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!chain.is_empty(), "the certificate is empty");
    let key = PrivateKeyDer::from_pem_slice(certificate.key.expose().as_bytes())?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, key))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::base::secret::Secret;

    const CHAIN: &str = include_str!("../../tests/fixtures/ai.tail.test.crt");
    const KEY: &str = include_str!("../../tests/fixtures/ai.tail.test.key");

    fn of(chain: &str, key: &str) -> Certificate {
        Certificate {
            chain: chain.to_owned(),
            key: Secret::new(key.to_owned()),
        }
    }

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
        let current = ServerKey::default();
        let acceptor = current.acceptor();
        assert!(handshake(&acceptor).await.is_err());
        let certificate = of(CHAIN, KEY);
        assert!(!format!("{certificate:?}").contains("PRIVATE KEY"));
        let key = certified(&certificate).unwrap();
        let end: jiff::Timestamp = "2126-10-31T13:52:10Z".parse().unwrap();
        assert_eq!(ends_at(&key), Some(end.as_millisecond()));
        current.set(key);
        assert_eq!(
            handshake(&acceptor).await.unwrap().as_deref(),
            Some(&b"h2"[..])
        );
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        assert!(certified(&of("x", KEY)).is_err());
        assert!(certified(&of(CHAIN, "")).is_err());
    }
}
