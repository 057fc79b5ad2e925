//! What speaks against a text: findings of the check, which a save takes more seriously than a
//! start does, and what only concerns who saves it.

use crate::access::Role;
use crate::admin::{Asked, View};
use crate::config::{self, Finding, LONGEST, Position, Severity};
use crate::rules::Rules;

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
pub(super) fn compile(view: &View<'_>, text: &str, stored: &str) -> Result<Change, Vec<Finding>> {
    if text.trim().is_empty() {
        return Err(vec![error("", "config must not be empty")]);
    }
    let access = &view.rules.file.access;
    let text = config::restored(text, stored, &|name| access.may_refer(name))?;
    if text.len() > LONGEST {
        let message = format!("the configuration is longer than {LONGEST} bytes");
        return Err(vec![error("", &message)]);
    }
    let loaded = config::check(&text, view.control.path())?;
    if loaded.file.access.references != access.references {
        let message = "access.references can be changed only in the file, on the machine itself";
        return Err(vec![error("access.references", message)]);
    }
    let rules = Rules::compile(loaded, view.rules.generation);
    Ok(Change { text, rules })
}

/// What would be a warning at a start, and keeps a save from being taken.
pub(super) fn warnings(change: &Change) -> Vec<Finding> {
    let findings = change.rules.findings.iter();
    let warnings = findings.filter(|finding| finding.severity != Severity::Note);
    warnings.cloned().collect()
}

/// Whoever saves a configuration is an admin afterwards, so that one is always left.
pub(super) fn lockout(change: &Change, asked: &Asked<'_>) -> Option<Finding> {
    let permit = change.rules.access.permit(asked.caller);
    if permit.is_ok_and(|permit| permit.role() == Role::Admin) {
        return None;
    }
    let name = asked.caller.name();
    let message = format!("this configuration would take the role admin from you ({name})");
    Some(error("grants", &message))
}

fn error(path: &str, message: &str) -> Finding {
    Finding::new(Severity::Error, Position::default(), path, message)
}
