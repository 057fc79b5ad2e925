//! Who reads: a caller with a role. The API and the pages answer the same reader by the same
//! functions, so a page never shows more than the API would.

use std::sync::Arc;

use http::StatusCode;

use super::engines::Engines;
use crate::exchange::rules::Rules;
use crate::policy::access::{Permit, Role};
use crate::policy::identity::Caller;
use crate::records::{Ledger, Scope};
use crate::wire::Rejection;

/// A caller with a role, under the rules that gave it, and the engines that they read.
pub(super) struct Reader<'a> {
    pub engines: Engines<'a>,
    pub rules: Arc<Rules>,
    pub caller: &'a Caller,
    pub permit: Permit,
    /// The keys of the caller's records.
    own: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Admits a caller who has a role.
    ///
    /// # Errors
    /// A 403 for all others.
    pub(super) async fn admit(engines: Engines<'a>, caller: &'a Caller) -> Result<Self, Rejection> {
        let rules = engines.gateway.rules.borrow().clone();
        let permit = permitted(&rules, caller)?;
        let ledger = &engines.gateway.ledger;
        // Records from before users had numbers.
        if let Some(login) = caller.own_login() {
            let taken = ledger.take_earlier(caller.key(), login, caller.node_id());
            if let Err(error) = taken.await {
                tracing::warn!(%error, login, "earlier records could not be looked for");
            }
        }
        Ok(Self {
            engines,
            rules,
            caller,
            permit,
            own: ledger.keys_of(caller.key()),
        })
    }

    pub(super) fn ledger(&self) -> &'a Ledger {
        &self.engines.gateway.ledger
    }

    pub(super) fn is_admin(&self) -> bool {
        self.permit.role() == Role::Admin
    }

    /// Refuses all but admins.
    pub(super) fn require_admin(&self) -> Result<(), Rejection> {
        if self.is_admin() {
            return Ok(());
        }
        let why = "access denied: admin role required";
        Err(Rejection::new(StatusCode::FORBIDDEN, "not_admin", why))
    }

    /// Whose records the reader sees. Decided here alone.
    pub(super) fn scope(&self) -> Scope {
        if self.is_admin() {
            Scope::Everyone
        } else {
            Scope::Own(self.own.clone())
        }
    }

    /// Whether a record with this key is the reader's own.
    pub(super) fn owns(&self, key: &str) -> bool {
        self.own.iter().any(|own| own == key)
    }
}

/// The permit of a caller who has a role.
pub(super) fn permitted(rules: &Rules, caller: &Caller) -> Result<Permit, Rejection> {
    let permit = rules.access.permit(caller);
    permit.map_err(|none| none.rejection(caller))
}
