//! Certificates that a server is trusted by instead of this machine's store: of its authority, or
//! its own. They are given as text, so that `${file:/path}` reads them as it reads keys, and reads
//! them again when the file changes.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::declare::{Kind, Setting};
use super::finding::{Finding, Severity, Subject};
use super::table::{Item, Table};

/// One certificate or several.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Certificates(Arc<Vec<Vec<u8>>>);

impl fmt::Debug for Certificates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Certificates({})", self.0.len())
    }
}

/// What would do in place of what can't be used.
const EXPECTED: &str = "expected PEM (-----BEGIN CERTIFICATE-----) of the server's own certificate \
    or of its authority";

impl Certificates {
    /// Reads PEM.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains("PRIVATE KEY-----") {
            let what =
                "holds a private key, which must stay with the server; write the certificate alone";
            return Err(what.to_owned());
        }
        let mut all = Vec::new();
        for read in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let nth = all.len() + 1;
            let certificate =
                read.map_err(|_| format!("holds PEM that can't be read: {EXPECTED}"))?;
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).map_err(|error| {
                format!(
                    "holds a certificate (number {nth}) that can't be used: {error}; {EXPECTED}"
                )
            })?;
            all.push(certificate.to_vec());
        }
        if all.is_empty() {
            return Err(format!("{}; {EXPECTED}", instead(text)));
        }
        Ok(Self(Arc::new(all)))
    }

    /// Each of them.
    #[must_use]
    pub fn all(&self) -> Vec<CertificateDer<'static>> {
        let each = self.0.iter().cloned();
        each.map(CertificateDer::from).collect()
    }
}

/// What stands there instead of a certificate.
fn instead(text: &str) -> &'static str {
    let text = text.trim();
    if text.is_empty() {
        "is empty"
    } else if text.contains("CERTIFICATE REQUEST-----") {
        "holds a certificate request instead of the certificate that was made from it"
    } else if text.contains("PUBLIC KEY-----") {
        "holds a public key instead of a certificate"
    } else if !text.contains("-----BEGIN") && text.lines().count() == 1 {
        "is not a certificate; to read a file, write \"${file:/path/to/ca.pem}\""
    } else {
        "holds no certificate"
    }
}

/// What can't be read is an error, because trusting others in its place would not be safe.
impl Setting for Certificates {
    const KIND: Kind = Kind::Text;

    fn read(item: &Item<'_>) -> Option<Self> {
        match Self::parse(item.string()?) {
            Ok(read) => Some(read),
            Err(problem) => {
                let message = format!("{} {problem}", item.path);
                let error = Finding::new(Severity::Error, item.node.at, &item.path, message);
                item.findings.add(error.about(Subject::Credential));
                None
            }
        }
    }
}

/// Warns of certificates for a server that is not reached over TLS.
pub(crate) fn check_tls(ca: Option<&Certificates>, url: &str, table: &Table<'_>) {
    if ca.is_some() && url.trim_start().starts_with("http://") {
        let message = format!(
            "{}.ca has no effect: the URL begins with http://, so there is no certificate",
            table.path
        );
        table.warn_at("ca", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Severity};

    const OWN: &str = include_str!("../../tests/fixtures/self-signed.crt");
    const KEY: &str = include_str!("../../tests/fixtures/self-signed.key");

    #[test]
    fn one_or_several_are_read_whatever_surrounds_them() {
        let other = include_str!("../../tests/fixtures/ai.tail.test.crt");
        let count = |text: &str| Certificates::parse(text).unwrap().all().len();
        assert_eq!(count(OWN), 1);
        assert_eq!(count(&format!("subject=x\n{OWN}\nissuer=y\n{other}")), 2);
        assert_eq!(count(&OWN.replace('\n', "\r\n")), 1);
    }

    #[test]
    fn what_is_not_a_certificate_says_what_would_be() {
        let request = OWN.replace("CERTIFICATE-----", "CERTIFICATE REQUEST-----");
        let broken = OWN.replace("MII", "AAA");
        for (text, says) in [
            ("", "is empty"),
            (KEY, "private key"),
            (&format!("{OWN}{KEY}"), "private key"),
            (&request, "certificate request"),
            (&broken, "can't be used"),
            ("/etc/iris/ca.pem", "${file:/path/to/ca.pem}"),
            ("CANARY", "is not a certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nCANARY*\n-----END CERTIFICATE-----",
                "certificate",
            ),
        ] {
            let error = Certificates::parse(text).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
    }

    #[test]
    fn a_broken_one_is_an_error_and_one_without_tls_is_found() {
        let lookup = |name: &str| match name {
            "CA" => Some(OWN.to_owned()),
            _ => Some("CANARY".to_owned()),
        };
        let text = r#"{"providers":{"p":{"baseurl":"URL","models":["m"],"ca":"${CA}"}},
            "hooks":{"h":{"url":"URL","ca":"${CA}"}},
            "exporters":{"otlp":{"endpoint":"URL","ca":"${CA}"},
                "s3":{"endpoint":"URL","bucket_name":"b","access_key_id":"i","access_secret":"s","ca":"${CA}"}}}"#;
        let paths = ["providers.p", "hooks.h", "exporters.otlp", "exporters.s3"];
        let loaded = config::parse(&text.replace("URL", "https://x"), &lookup).unwrap();
        assert!(loaded.file.providers["p"].ca.is_some() && loaded.file.hooks["h"].ca.is_some());
        let has_no_effect = |one: &&Finding| one.message.contains("has no effect");
        assert_eq!(loaded.findings.iter().filter(has_no_effect).count(), 0);
        let loaded = config::parse(&text.replace("URL", "http://x"), &lookup).unwrap();
        let found: Vec<_> = loaded.findings.iter().filter(has_no_effect).collect();
        let mut found_at: Vec<_> = found.iter().map(|one| one.path.as_str()).collect();
        found_at.sort_unstable();
        let mut expected = paths;
        expected.sort_unstable();
        assert_eq!(found_at, expected);
        let findings = config::parse(&text.replace("{CA}", "{OTHER}"), &lookup).unwrap_err();
        let errors = findings
            .iter()
            .filter(|one| one.severity == Severity::Error);
        assert_eq!(errors.count(), 4, "{findings:#?}");
        assert!(!format!("{findings:?}").contains("CANARY"));
    }
}
