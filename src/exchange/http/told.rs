//! A provider's error, in the caller's format.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::base::clock::within;
use crate::exchange::relay::Begun;
use crate::formats::{self, Format};
use crate::wire::Rejection;

/// Bytes of a provider's error in which its words are looked for.
const ERROR: usize = 64 << 10;

/// A provider's error in the caller's format, with the provider's status and words.
pub(super) async fn error(
    response: Response<Begun>,
    format: &Format,
    limit: Duration,
) -> Response<Begun> {
    let (mut head, mut body) = response.into_parts();
    let read = within(limit, body.peek(ERROR)).await.unwrap_or_default();
    let words = formats::error_words(read);
    let words = words.unwrap_or_else(|| format!("the provider answered {}", head.status));
    let rejection = Rejection::new(head.status, "provider_error", words);
    let told = (format.refusals.body)(&rejection).to_string();
    (format.refusals.head)(&rejection, &mut head.headers);
    head.headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Begun::from(Bytes::from(told)))
}
