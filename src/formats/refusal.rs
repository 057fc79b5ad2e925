//! Refusals, each in the shape that a vendor's clients read, and what all shapes share.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Value, json};

use crate::wire::{Body, Rejection, body, unpack};

/// How a vendor's clients are told that a request failed.
#[derive(Clone, Copy, Debug)]
pub struct Refusals {
    /// The body of the response.
    pub body: fn(&Rejection) -> Value,
    /// Adds to the head of the response.
    pub head: fn(&Rejection, &mut HeaderMap),
    /// The end of a stream that has failed, in the stream's own framing; empty if the format has
    /// nothing of the kind.
    pub event: fn(&Rejection) -> Bytes,
    /// The words for a model that doesn't exist, or that the caller may not use, where clients look for
    /// those of the vendor.
    pub missing_model: Option<fn(&str) -> String>,
}

/// Refusals outside of any vendor's shape.
pub(super) const PLAIN: Refusals = Refusals {
    body: |rejection| {
        let mut body = json!({ "error": rejection.message, "code": rejection.code.0 });
        if let Some(details) = &rejection.details {
            body["errors"] = (**details).clone();
        }
        body
    },
    head: |_, _| {},
    event: |_| Bytes::new(),
    missing_model: None,
};

impl Refusals {
    /// The response.
    pub(super) fn response(&self, rejection: &Rejection) -> Response<Body> {
        let mut response = respond(rejection, (self.body)(rejection).to_string().into_bytes());
        (self.head)(rejection, response.headers_mut());
        response
    }
}

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

/// The end of a stream, with the name of its event, if it has one.
pub(super) fn event(name: &str, data: &Value) -> Bytes {
    let name = if name.is_empty() {
        String::new()
    } else {
        format!("event: {name}\n")
    };
    format!("{name}data: {data}\n\n").into()
}

/// The refusal of a request that belongs to no format.
#[must_use]
pub fn plain(rejection: &Rejection) -> Response<Body> {
    PLAIN.response(rejection)
}
