//! Refusals outside of any format, and the parts that all formats' refusals share.

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::Refusals;
use crate::wire::{Body, Rejection, body, unpack};

/// Refusals outside of any vendor's shape.
pub(super) const PLAIN: Refusals = Refusals {
    response: plain,
    event: |_| Bytes::new(),
};

/// Builds the response for a refusal around a JSON body in some format's shape.
pub fn respond(rejection: &Rejection, json: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(body::full(json));
    *response.status_mut() = rejection.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert("x-iris-error", HeaderValue::from_static(rejection.code.0));
    if rejection.code.0 == unpack::UNSUPPORTED {
        // What a client may send instead (RFC 7694).
        let accepted = HeaderValue::from_static(unpack::ACCEPTED);
        headers.insert(header::ACCEPT_ENCODING, accepted);
    }
    if let Some(after) = rejection.retry_after {
        // Rounded up: a client that waits the whole second must find the door open.
        let seconds = after.as_millis().div_ceil(1000).max(1);
        if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
            headers.insert(header::RETRY_AFTER, value);
        }
    }
    response
}

/// The end of a stream without names of events.
pub(super) fn event(json: &str) -> Bytes {
    format!("data: {json}\n\n").into()
}

/// The refusal of a request that belongs to no format.
#[must_use]
pub fn plain(rejection: &Rejection) -> Response<Body> {
    let mut json = serde_json::json!({ "error": rejection.message, "code": rejection.code.0 });
    if let Some(details) = &rejection.details {
        json["errors"] = (**details).clone();
    }
    respond(rejection, json.to_string().into_bytes())
}
