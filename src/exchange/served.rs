//! What all requests have in common that are served over HTTP: an id, which is that of their record, and refusals in
//! the shape of their format.

use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::entry::Ticket;
use crate::base::panics;
use crate::formats::Format;
use crate::wire::{Body, Rejection};

/// With it, a user who asks an admin about an answer can name its record.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-iris-request-id");

/// Serves a request. One that panics is refused, as others go on. The response has the id if `is_named` says so of its
/// status.
pub(super) async fn served<F>(
    format: &Format,
    is_named: impl FnOnce(StatusCode) -> bool,
    serve: impl FnOnce(Ticket) -> F,
) -> Response<Body>
where
    F: Future<Output = Result<Response<Body>, Rejection>>,
{
    let ticket = Ticket::new();
    let id = HeaderValue::from_str(ticket.id.as_str());
    let served = panics::caught("a request", serve(ticket)).await;
    let served = served.unwrap_or_else(|| Err(Rejection::panicked()));
    let mut response = served.unwrap_or_else(|rejection| format.refuse(&rejection));
    if let Ok(id) = id
        && is_named(response.status())
    {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
