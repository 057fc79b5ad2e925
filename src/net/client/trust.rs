//! Which servers are trusted: those whose certificate comes from an authority that this machine
//! trusts, and those whose own certificate is in the store. `openssl req -x509` makes certificates
//! of authorities, which the usual check accepts from no server. A person who put exactly that one
//! into the store meant it.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_cert::der::Decode;

/// Certificates of servers and of authorities.
#[derive(Debug)]
pub(super) struct Trust {
    authorities: Arc<WebPkiServerVerifier>,
    store: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// What this machine trusts: its own store (or `SSL_CERT_FILE`), and the public authorities
    /// where it has none, as in a bare container.
    pub(super) fn of_machine() -> Option<Self> {
        let native = rustls_native_certs::load_native_certs();
        for error in native.errors {
            tracing::warn!(%error, "a part of the certificate store cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(native.certs.iter().cloned());
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self::new(native.certs, roots)
    }

    /// What these certificates vouch for, and nothing else.
    pub(super) fn only(certificates: Vec<CertificateDer<'static>>) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        Self::new(certificates, roots)
    }

    fn new(store: Vec<CertificateDer<'static>>, roots: RootCertStore) -> Option<Self> {
        // It fails for an empty store.
        let authorities = WebPkiServerVerifier::builder(Arc::new(roots))
            .build()
            .ok()?;
        Some(Self { authorities, store })
    }

    /// Whether a server's certificate is in the store, for this name and now.
    fn is_pinned(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<bool, Error> {
        if !self.store.iter().any(|known| known == certificate) {
            return Ok(false);
        }
        let read = x509_cert::Certificate::from_der(certificate);
        let read = read.map_err(|_| CertificateError::BadEncoding)?;
        let validity = read.tbs_certificate().validity();
        let now = Duration::from_secs(now.as_secs());
        if now < validity.not_before.to_unix_duration() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > validity.not_after.to_unix_duration() {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        Ok(true)
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if verified.is_err() && self.is_pinned(end_entity, server_name, now)? {
            return Ok(ServerCertVerified::assertion());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// What to do about a certificate that was refused; `None` for another kind of failure.
pub(super) fn explained(error: &std::io::Error, has_own: bool) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let Error::InvalidCertificate(why) = error else {
        return None;
    };
    let hint = match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate needs the host of the URL as a subject alternative name \
             (openssl req -x509 -addext subjectAltName=DNS:HOST, or IP:ADDRESS)"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid at this time; renew it, or set this machine's clock"
        }
        _ if has_own => {
            "it is neither one of the certificates in `ca`, nor signed by one of them; put the \
             server's own certificate, or that of its authority, as PEM into the file that `ca` names"
        }
        _ => {
            "to trust it, set `ca` to \"${file:/path}\" with the server's own certificate, or that of \
             its authority, as PEM; or add it to this machine's store, or to the file that \
             SSL_CERT_FILE names"
        }
    };
    Some(format!("{error}: {hint}"))
}
