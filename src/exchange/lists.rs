//! What passes of a request: the lists of its format, with what a provider's configuration adds.

use http::HeaderMap;

use crate::config::AuthMode;
use crate::formats::{Call, Format, known};
use crate::policy::access::Permit;
use crate::policy::route::{Provider, Route};
use crate::wire::Rejection;
use crate::wire::headers::{self, Passed};

/// The headers for a provider.
pub(super) fn headers(format: &Format, provider: &Provider, from: &HeaderMap) -> Passed {
    let passthrough = provider.auth_mode == AuthMode::Passthrough;
    headers::forwarded(
        from,
        format.known.request,
        &provider.pass_headers,
        passthrough,
    )
}

/// The query for a provider.
pub(super) fn query(format: &Format, provider: &Provider, query: Option<&str>) -> Option<String> {
    known::passed_query(format.known, &provider.pass_query, query)
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
