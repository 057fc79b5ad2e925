//! The error event of a stream of responses.

use bytes::Bytes;

use crate::wire::Rejection;

/// A refusal in the middle of a stream.
pub(super) fn event(rejection: &Rejection) -> Bytes {
    let event = serde_json::json!({
        "type": "error",
        "code": rejection.code.0,
        "message": rejection.message,
        "param": null,
    });
    format!("event: error\ndata: {event}\n\n").into()
}
