//! Who was refused: counted here, and written to the audit log once in a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::base::clock;
use crate::policy::identity::Caller;
use crate::records::{Audited, EntryId, Ledger};

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
pub(in crate::web) struct Actor {
    /// Login or tags.
    pub login: String,
    /// The node.
    pub node: String,
    /// Identifies the caller.
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
            let row = row(actor, "refused", route, detail, count);
            if let Err(error) = ledger.audit(row).await {
                tracing::warn!(%error, "refusals are not in the audit log yet");
                let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(key).or_default() += count;
            }
        }
    }
}

/// A row of the log, of this moment.
pub(in crate::web) fn row(
    actor: &Actor,
    kind: &str,
    subject: &str,
    detail: Value,
    count: i64,
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
