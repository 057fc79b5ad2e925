//! Whose request it is: the caller's, or that of a person for whom the caller may speak.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};

use super::{Gateway, Verified};
use crate::base::panics;
use crate::exchange::rules::{Asker, Rules};
use crate::policy::access::{Permit, USER, login_in};
use crate::wire::Rejection;

/// Whose request it is, and by which rules.
pub(super) struct Identified {
    pub(super) rules: Arc<Rules>,
    pub(super) asker: Asker,
    /// As whom the caller named the person.
    pub(super) named: Option<Named>,
}

/// A person whom a caller has named.
#[derive(Clone)]
pub(super) struct Named {
    header: HeaderName,
    login: String,
}

impl Gateway {
    /// Finds out whose request it is by the rules in force.
    pub(super) async fn identify(
        &self,
        who: &Verified,
        headers: &HeaderMap,
    ) -> Result<Identified, Rejection> {
        panics::point("access");
        let rules = self.rules.borrow().clone();
        let permit = rules.access.cached_permit(&who.caller);
        let permit = permit.map_err(|none| none.rejection(&who.caller))?;
        let named = named(&permit, headers)?;
        let asker = match &named {
            // Boxed, because most callers speak for themselves.
            Some(named) => Box::pin(speaking(&rules, who, named)).await?,
            None => Asker {
                caller: Arc::clone(&who.caller),
                permit,
            },
        };
        Ok(Identified {
            rules,
            asker,
            named,
        })
    }
}

/// The person whom a request names, if it does.
fn named(permit: &Permit, headers: &HeaderMap) -> Result<Option<Named>, Rejection> {
    let mut found = None;
    for header in std::iter::once(&USER).chain(permit.speaking_headers()) {
        for value in headers.get_all(header) {
            let login = login_in(header, value.as_bytes())?;
            let is_other = |before: &Named| before.login != login;
            if found.as_ref().is_some_and(is_other) {
                let why =
                    format!("the header {header} names another person than the one before it");
                return Err(Rejection::new(StatusCode::BAD_REQUEST, "invalid_user", why));
            }
            let header = header.clone();
            found = Some(Named { header, login });
        }
    }
    Ok(found)
}

/// Who asks when the caller speaks for a person: both have to be allowed what they do.
pub(super) async fn speaking(
    rules: &Rules,
    who: &Verified,
    Named { header, login }: &Named,
) -> Result<Asker, Rejection> {
    let caller = &who.caller;
    let own = rules.access.cached_permit(caller);
    let own = own.map_err(|none| none.rejection(caller))?;
    own.check_speaking(caller, Some(header), login)?;
    // The tailnet tells what its policy grants only for a device's address.
    let seen = match &who.resolver {
        Some((resolver, _)) => resolver.named(login, None).await,
        None => None,
    };
    let seen = seen.filter(|seen| seen.own_login() == Some(login.as_str()));
    let person = seen.unwrap_or_else(|| rules.access.unseen(login));
    let permit = rules.access.cached_permit_for(caller, &person);
    let permit = permit.map_err(|none| {
        let why = format!("{none} to {login}");
        Rejection::new(StatusCode::FORBIDDEN, "may_not_speak_for", why)
    })?;
    Ok(Asker {
        caller: Arc::clone(caller),
        permit,
    })
}
