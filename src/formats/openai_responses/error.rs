//! The error event of a stream of responses.

use bytes::Bytes;
use serde_json::json;

use crate::formats::openai;
use crate::formats::refusal;
use crate::wire::Rejection;

/// A refusal in the middle of a stream, for each of its readers: the API's reference has `code`
/// and `message` in the event itself; its SDKs raise an exception for an `error` object; and
/// over a WebSocket Codex ends its turn only if there is a `status` too.
pub(super) fn event(rejection: &Rejection) -> Bytes {
    let event = json!({
        "type": "error",
        "status": rejection.status.as_u16(),
        "code": rejection.code.0,
        "message": rejection.message,
        "param": null,
        "error": openai::error::object(rejection),
    });
    refusal::event("error", &event)
}
