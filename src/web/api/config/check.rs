//! What speaks against a text: findings of the check, which a save takes more seriously than a
//! start does, and what only concerns who saves it.

use http::header;
use http::request::Parts;

use crate::config::{self, Finding, LONGEST, Mode, Position, Severity};
use crate::exchange::rules::Rules;
use crate::policy::access::Role;
use crate::policy::identity::Principal;
use crate::web::reader::Reader;

/// A text that could be in force.
pub(super) struct Change {
    /// With the secrets that its placeholders stand for.
    pub text: String,
    pub rules: Rules,
}

/// Compiles a text that comes back, with its placeholders for the secrets of `stored`.
///
/// # Errors
/// All findings, when an error is among them.
pub(super) fn compile(
    reader: &Reader<'_>,
    text: &str,
    stored: &str,
) -> Result<Change, Vec<Finding>> {
    if text.trim().is_empty() {
        return Err(vec![error("", "config must not be empty")]);
    }
    let access = &reader.rules.file.access;
    let text = config::restored(text, stored, &|name| access.may_refer(name))?;
    if text.len() > LONGEST {
        let message = format!("the configuration is longer than {LONGEST} bytes");
        return Err(vec![error("", &message)]);
    }
    let loaded = config::check(&text, reader.engines.management.control.path())?;
    if loaded.file.access.references != access.references {
        let message = "access.references can be changed only in the file, on the machine itself";
        return Err(vec![error("access.references", message)]);
    }
    let rules = Rules::compile(loaded, reader.rules.generation);
    Ok(Change { text, rules })
}

/// What would be a warning at a start, and keeps a save from being taken.
pub(super) fn warnings(change: &Change) -> Vec<Finding> {
    let findings = change.rules.findings.iter();
    let warnings = findings.filter(|finding| finding.severity != Severity::Note);
    warnings.cloned().collect()
}

/// The name under which a request came, without its port.
pub(super) fn host(head: &Parts) -> Option<&str> {
    let host = head.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.or_else(|| head.uri.authority().map(http::uri::Authority::as_str))?;
    let end = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    Some(end.map_or(host, |at| &host[..at]))
}

/// How the caller of a save would lose the address under which they reach the gateway, though not
/// their role. It is a warning, which they may ignore.
pub(super) fn ways_lost(change: &Change, reader: &Reader<'_>, host: Option<&str>) -> Vec<Finding> {
    let (old, new) = (&reader.rules.file, &change.rules.file);
    let warn = |path: &str, message: String| {
        Finding::new(Severity::Warning, Position::default(), path, message)
    };
    let mut found = Vec::new();
    if let Some(host) = host {
        let names = |file: &config::File| {
            let mut names = file.listen.names.iter();
            names.any(|name| config::host_of(name).eq_ignore_ascii_case(host))
        };
        if names(old) && !names(new) {
            let message = format!(
                "you came here as {host:?}, which listen.names no longer has: requests under that \
                 name are refused as soon as this is saved"
            );
            found.push(warn("listen.names", message));
        }
    }
    if *reader.caller.principal() == Principal::Loopback {
        let (before, after) = (old.listen.loopback, new.listen.loopback);
        match after {
            Some(address) if Some(address) != before && before.is_some() => {
                let message = format!(
                    "after the next restart local callers are served at {address}, not where you are now"
                );
                found.push(warn("listen.loopback", message));
            }
            None if new.tailnet.mode != Mode::Off => {
                let message = "after the next restart local callers like you are no longer served";
                found.push(warn("listen.loopback", message.to_owned()));
            }
            _ => {}
        }
    } else {
        let is_served = new.listen.http.is_some() || new.listen.https.is_some();
        if new.tailnet.mode == Mode::Off || !is_served {
            let message = "after the next restart nobody on the tailnet can reach the gateway, \
                which includes you";
            found.push(warn("tailnet.mode", message.to_owned()));
        } else if new.tailnet.hostname != old.tailnet.hostname {
            let message = format!(
                "after the next restart the gateway is called {:?} on the tailnet, not {:?}",
                new.tailnet.hostname, old.tailnet.hostname
            );
            found.push(warn("tailnet.hostname", message));
        }
    }
    found
}

/// The caller of a save must still be an admin afterwards, so that there is always one.
pub(super) fn lockout(change: &Change, reader: &Reader<'_>) -> Option<Finding> {
    let permit = change.rules.access.permit(reader.caller);
    if permit.is_ok_and(|permit| permit.role() == Role::Admin) {
        return None;
    }
    let name = reader.caller.name();
    let message = format!("this configuration would take the role admin from you ({name})");
    Some(error("grants", &message))
}

fn error(path: &str, message: &str) -> Finding {
    Finding::new(Severity::Error, Position::default(), path, message)
}
