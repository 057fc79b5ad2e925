//! The audit log: what admins did, what they looked at, and who was refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::Response;
use serde_json::{Value, json};

use super::csv::{self, Csv};
use super::query;
use super::{Asked, View};
use crate::base::clock;
use crate::policy::identity::Caller;
use crate::records::{AuditQuery, Audited, EntryId, Ledger};
use crate::wire::{Body, Rejection};

/// Kinds of refusals that are counted apart; beyond it they are counted together. They are written
/// once a minute, which bounds what a refused caller can put into the log.
const KINDS: usize = 200;

/// Refusals since they were last written: counted, because a refused caller can ask again and
/// again.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<Refused, i64>>);

/// Who was refused, where, and why.
type Refused = (Actor, &'static str, &'static str);

/// Who does something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Actor {
    /// Login or tags.
    pub login: String,
    /// The node.
    pub node: String,
    /// What the caller is told apart by.
    pub key: String,
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Self {
            login: caller.name().to_owned(),
            node: caller.node_name().to_owned(),
            key: caller.key().to_owned(),
        }
    }
}

impl Refusals {
    /// Counts one.
    pub fn count(&self, caller: &Caller, route: &'static str, code: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (Actor::from(caller), route, code);
        if counts.len() >= KINDS && !counts.contains_key(&key) {
            key = (Actor::default(), "many", code);
        }
        *counts.entry(key).or_default() += 1;
    }

    /// Writes what was counted. What can't be written is counted on.
    pub async fn write(&self, ledger: &Ledger) {
        let counted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, count) in counted {
            let (actor, route, code) = &key;
            let detail = json!({ "code": code });
            let row = row(actor, "refused", route, (detail, count));
            if let Err(error) = ledger.audit(row).await {
                tracing::warn!(%error, "refusals are not in the audit log yet");
                let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(key).or_default() += count;
            }
        }
    }
}

/// A row of the log, of this moment.
pub(super) fn row(
    actor: &Actor,
    kind: &str,
    subject: &str,
    (detail, count): (Value, i64),
) -> Audited {
    let at = clock::unix_ms();
    Audited {
        id: EntryId::new(at),
        at,
        actor: actor.login.clone(),
        node: actor.node.clone(),
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        detail,
        count,
        caller: actor.key.clone(),
    }
}

/// Notes what an admin is about to do.
///
/// # Errors
/// A 503 when it can't be noted: it must not be done then.
pub(super) async fn note(
    view: &View<'_>,
    asked: &Asked<'_>,
    kind: &str,
    subject: &str,
    detail: Value,
) -> Result<(), Rejection> {
    let actor = Actor::from(asked.caller);
    tracing::info!(
        actor = actor.login,
        node = actor.node,
        kind,
        subject,
        "audit"
    );
    let noted = view
        .ledger
        .audit(row(&actor, kind, subject, (detail, 1)))
        .await;
    noted.map_err(|error| super::records::unavailable(&error))
}

/// The rows of the audit log that were asked for, and the cursor of those before.
pub(crate) async fn page(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<(Vec<Audited>, Option<EntryId>), Rejection> {
    let wanted = query::Wanted::read(&asked.parameters)?;
    let value = |name: &str| {
        let given = asked.parameters.iter().find(|(known, _)| *known == name);
        given.map(|(_, value)| value.clone())
    };
    let limit = wanted.query.limit;
    let rows = view.ledger.audited(AuditQuery {
        actor: value("actor"),
        kind: value("kind"),
        from: wanted.query.from,
        to: wanted.query.to,
        before: wanted.query.before,
        limit,
    });
    let rows = rows
        .await
        .map_err(|error| super::records::unavailable(&error))?;
    let last = rows.last().filter(|_| rows.len() == limit);
    let next = last.map(|last| last.id.clone());
    Ok((rows, next))
}

/// `GET /api/audit`.
pub(super) async fn audit(view: &View<'_>, asked: &Asked<'_>) -> Result<Response<Body>, Rejection> {
    let as_csv = query::Wanted::read(&asked.parameters)?.csv;
    let (rows, next) = page(view, asked).await?;
    if as_csv {
        let mut csv = Csv::new(&[
            "id", "at", "actor", "node", "kind", "subject", "detail", "count", "caller",
        ]);
        for one in &rows {
            csv.row([
                one.id.to_string(),
                csv::time(one.at),
                one.actor.clone(),
                one.node.clone(),
                one.kind.clone(),
                one.subject.clone(),
                one.detail.to_string(),
                one.count.to_string(),
                one.caller.clone(),
            ]);
        }
        return Ok(csv.respond("audit"));
    }
    Ok(super::json(&json!({ "audit": rows, "next": next })))
}
