//! What passes of a request: the lists of its format, with what a provider's configuration adds.

use http::HeaderMap;

use super::context::Asked;
use crate::config::AuthMode;
use crate::formats::{Call, Format, known};
use crate::policy::access::Permit;
use crate::policy::route::{Provider, Route};
use crate::wire::Rejection;
use crate::wire::headers::{self, Passed};

/// The headers for a provider, with the caller's credential if it is to get that.
pub(super) fn headers(
    format: &Format,
    provider: &Provider,
    from: &HeaderMap,
    own_credential: bool,
) -> Passed {
    headers::forwarded(
        from,
        format.known.request,
        &provider.pass_headers,
        own_credential.then_some(format.known.own),
    )
}

/// Whether a provider gets the caller's own credential: only if it is configured to, and in the
/// caller's own format. A credential of one vendor would otherwise reach another with a translation.
pub(super) fn gets_own_credential(asked: &Asked, provider: &Provider) -> bool {
    provider.auth_mode == AuthMode::Passthrough
        && provider.speaks(asked.format)
        && asked.format.known.own.has_credential(&asked.head.headers)
}

/// Refuses what a call chooses beside its model, if it goes to `route`.
pub(super) fn choices(permit: &Permit, route: &Route, call: &Call) -> Result<(), Rejection> {
    let provider = &route.provider;
    let is_granted = |model: &str| permit.covers(provider.subject(model));
    known::conflict(
        &call.choices,
        &route.model,
        call.replaces_lists().then_some(call.model.as_str()),
        &provider.pass_keys,
        &is_granted,
    )
}
