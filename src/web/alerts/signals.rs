//! What happens once and is seen nowhere else: reported here by whatever it happens to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Warning, ends, warning};

/// What was reported. Clones share it.
#[derive(Clone, Default)]
pub struct Signals(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By domain: the end of the certificate in force, and why there is no newer one.
    certificates: BTreeMap<String, Certificate>,
    /// Why the configuration in the file is not in force.
    refused: Option<String>,
    /// Which values from files are older than the files.
    stale: Vec<String>,
}

/// A certificate, in force or not.
#[derive(Clone, Debug, Default)]
pub struct Certificate {
    /// When it ends, in Unix milliseconds; `None` without a certificate.
    pub ends_at: Option<i64>,
    /// Why it could not be had or renewed, the last time.
    pub error: Option<String>,
}

impl Signals {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A certificate is in force until then, in Unix milliseconds.
    pub fn certificate(&self, domain: &str, ends_at: Option<i64>) {
        let certificate = Certificate {
            ends_at,
            error: None,
        };
        let mut state = self.lock();
        state.certificates.insert(domain.to_owned(), certificate);
    }

    /// There was no certificate to be had; the one before, if any, stays in force.
    pub fn no_certificate(&self, domain: &str, why: &str) {
        let mut state = self.lock();
        let certificate = state.certificates.entry(domain.to_owned()).or_default();
        certificate.error = Some(why.to_owned());
    }

    /// Why the file's configuration is not in force; `None` once it is.
    pub fn refused(&self, why: Option<String>) {
        self.lock().refused = why;
    }

    /// Which values from files are older than the files, and why.
    pub fn stale(&self, values: Vec<String>) {
        self.lock().stale = values;
    }

    /// The certificates, by domain.
    #[must_use]
    pub fn certificates(&self) -> BTreeMap<String, Certificate> {
        self.lock().certificates.clone()
    }

    pub(super) fn warnings(&self, now: i64) -> Vec<Warning> {
        let state = self.lock();
        let certificates = state.certificates.iter();
        let mut found: Vec<Warning> = certificates
            .filter_map(|(domain, certificate)| of_certificate(domain, certificate, now))
            .collect();
        found.extend(state.refused.as_ref().map(|why| {
            let message = format!(
                "the configuration in the file is newer than the one in force, and has errors: {why}"
            );
            let hint = "correct it: it takes effect at once, while a restart with it would fail";
            warning("configuration_refused", message, hint)
        }));
        found.extend(state.stale.iter().map(|what| {
            let hint =
                "put the value into the file; it takes effect at once, while a restart would fail";
            warning("secret_stale", what.clone(), hint)
        }));
        found
    }
}

fn of_certificate(domain: &str, certificate: &Certificate, now: i64) -> Option<Warning> {
    let hint = "HTTPS certificates have to be enabled in the tailnet, and its control server must \
        reach the authority";
    let error = certificate.error.as_deref();
    let Some(at) = certificate.ends_at else {
        return error.map(|why| {
            let message =
                format!("there is no certificate for {domain}, so that https fails: {why}");
            warning("no_certificate", message, hint).of(domain)
        });
    };
    let (severity, when) = ends(at, now)?;
    let why = error.map_or_else(String::new, |why| format!(": {why}"));
    let message = format!("the certificate for {domain} {when} and was not renewed{why}");
    let warning = warning("certificate_expires", message, hint);
    Some(warning.of(domain).severity(severity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::alerts::Severity;

    const DAY: i64 = super::super::DAY_MS;

    #[test]
    fn certificates_that_end_or_are_missing_are_told_of() {
        let signals = Signals::default();
        let kinds = || {
            let found = signals.warnings(0).into_iter();
            found
                .map(|one| (one.kind, one.severity))
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(), []);
        signals.no_certificate("ai.x.ts.net", "HTTPS is not enabled");
        assert_eq!(kinds(), [("no_certificate", Severity::Warning)]);
        signals.certificate("ai.x.ts.net", Some(80 * DAY));
        assert_eq!(kinds(), []);
        // Renewed is tried long before the end: one failure is nothing to tell of.
        signals.no_certificate("ai.x.ts.net", "rate limited");
        assert_eq!(kinds(), []);
        signals.certificate("ai.x.ts.net", Some(10 * DAY));
        assert_eq!(kinds(), [("certificate_expires", Severity::Warning)]);
        signals.certificate("ai.x.ts.net", Some(2 * DAY));
        signals.no_certificate("ai.x.ts.net", "rate limited");
        assert_eq!(kinds(), [("certificate_expires", Severity::Critical)]);
        assert!(signals.warnings(0)[0].message.contains("rate limited"));
    }
}
