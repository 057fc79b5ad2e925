//! A save, from the text that was sent to the rules in force.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::check::{Change, compile, lockout, warnings};
use super::{invalid, probe, stored_text, unreadable, version_of};
use crate::config;
use crate::records::Ledger;
use crate::web::engines::{Actor, Control, SaveError, hash, row};
use crate::web::reader::Reader;
use crate::wire::Rejection;

/// How a version came to be, in the history and in the audit log.
#[derive(Clone, Copy)]
pub(in crate::web::api) enum How {
    Saved,
    RolledBack,
}

impl How {
    fn version(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::RolledBack => "rolled_back",
        }
    }

    fn audited(self) -> &'static str {
        match self {
            Self::Saved => "config_saved",
            Self::RolledBack => "config_rolled_back",
        }
    }
}

/// Saves a text in place of the one whose hash is `expected`, and puts it in force. Answers with
/// its hash.
pub(in crate::web::api) async fn save(
    reader: &Reader<'_>,
    expected: &str,
    text: &str,
    how: How,
) -> Result<String, Rejection> {
    reader.ledger().writable()?;
    let stored = stored_text(reader)?.unwrap_or_default();
    if hash(&stored) != expected {
        return Err(rejection(&SaveError::Changed));
    }
    let change = compile(reader, text, &stored).map_err(|findings| invalid(&findings))?;
    let mut against = warnings(&change);
    against.extend(lockout(&change, reader));
    if against.is_empty() {
        against = probe::obstacles(reader, &change.rules.file).await;
    }
    if !against.is_empty() {
        return Err(invalid(&against));
    }
    let work = Work {
        ledger: reader.ledger().clone(),
        control: Arc::clone(&reader.engines.management.control),
        actor: Actor::from(reader.caller),
        expected: expected.to_owned(),
        how,
    };
    // The caller may disconnect: the save goes on, and the audit log has its result.
    let done = tokio::spawn(work.run(change)).await;
    done.map_err(|error| unreadable(format!("the save broke off: {error}")))?
}

/// A save without the request that asked for it.
struct Work {
    ledger: Ledger,
    control: Arc<Control>,
    actor: Actor,
    expected: String,
    how: How,
}

impl Work {
    async fn run(self, change: Change) -> Result<String, Rejection> {
        let tag = hash(&change.text);
        let shown = config::redacted(&change.text).unwrap_or_default();
        // Noted first: what can't be noted isn't done.
        self.audit(self.how.audited(), &tag, None).await?;
        if let Err(error) = self.control.save(&self.expected, change.text).await {
            let why = error.to_string();
            self.audit("config_not_saved", &tag, Some(&why)).await?;
            return Err(rejection(&error));
        }
        let how = self.how.version();
        let version = version_of(&self.actor.login, &self.actor.node, how, &tag, shown);
        if let Err(error) = self.ledger.add_version(version).await {
            tracing::error!(%error, "a version of the configuration is not in its history");
        }
        Ok(tag)
    }

    async fn audit(&self, kind: &str, after: &str, why: Option<&str>) -> Result<(), Rejection> {
        let mut detail = json!({ "before": self.expected, "after": after });
        if let Some(why) = why {
            detail["error"] = why.into();
        }
        let actor = &self.actor;
        tracing::info!(actor = actor.login, node = actor.node, kind, "audit");
        let row = row(actor, kind, "configuration", detail, 1);
        Ok(self.ledger.audit(row).await?)
    }
}

fn rejection(error: &SaveError) -> Rejection {
    let (status, code) = match error {
        SaveError::Changed => (StatusCode::PRECONDITION_FAILED, "configuration_changed"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "not_saved"),
    };
    Rejection::new(status, code, error.to_string())
}
