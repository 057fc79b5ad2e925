//! Responses that a provider keeps: they are asked for by their id, and may be made in the background, after the
//! request for them has ended (<https://platform.openai.com/docs/guides/background>).

use std::borrow::Cow;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use super::{ENDPOINT, FORMAT};
use crate::formats::format::{Background, BackgroundEnd, NamedResponse};
use crate::formats::meter::Unread;
use crate::formats::{Call, Format, Head, Path, known};
use crate::wire::{Rejection, sse};

/// Bytes of an id.
const LONGEST_ID: usize = 256;

/// A response by its id: what it cost was counted when it was made.
pub(in crate::formats) static STORED: Format = Format {
    recognises_place: |method, path| named(method, path).is_some(),
    named_response: named,
    accepts: &[],
    background: Some(BACKGROUND),
    flags: FORMAT.flags,
    longest_event: FORMAT.longest_event,
    refusals: FORMAT.refusals,
    operation: "retrieve",
    ..Format::new(
        "openai_stored_responses",
        &known::STORED_RESPONSES,
        read,
        |_| Box::new(Unread),
    )
};

/// How responses are made in the background.
pub(super) const BACKGROUND: Background = Background {
    running,
    ended,
    path: |id| format!("{ENDPOINT}/{id}"),
    cancel: |id| format!("{ENDPOINT}/{id}/cancel"),
};

/// The response that a request is for.
fn named<'p>(method: &Method, path: &'p str) -> Option<NamedResponse<'p>> {
    let below = path.strip_prefix("/codex").unwrap_or(path);
    let below = below.strip_prefix("/v1").unwrap_or(below);
    let below = below.strip_prefix("/responses/")?;
    let (id, action) = below.split_once('/').unwrap_or((below, ""));
    let is_asked = match action {
        "" => *method == Method::GET || *method == Method::DELETE,
        "cancel" => *method == Method::POST,
        "input_items" => *method == Method::GET,
        _ => false,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_id = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_plain);
    (is_asked && is_id).then_some(NamedResponse {
        id,
        deletes: *method == Method::DELETE,
    })
}

/// None of these requests has a body.
#[expect(clippy::unnecessary_wraps, reason = "so a format declares it")]
fn read(head: &Head<'_>, _: Bytes) -> Result<Call, Rejection> {
    let path = head.path.strip_prefix("/codex").unwrap_or(head.path);
    let path = match path.strip_prefix("/v1") {
        Some(_) => path.to_owned(),
        None => format!("/v1{path}"),
    };
    let query = head.query.unwrap_or_default();
    Ok(Call {
        stream: query.split('&').any(|one| one == "stream=true"),
        path: Path::Fixed(Cow::Owned(path)),
        ..Call::default()
    })
}

/// What tells how far a response is.
#[derive(Deserialize)]
struct Progress {
    id: String,
    status: String,
    #[serde(default)]
    background: Option<bool>,
    #[serde(default)]
    error: Option<Words>,
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    message: Option<String>,
}

impl Progress {
    fn is_running(&self) -> bool {
        matches!(&*self.status, "queued" | "in_progress")
    }
}

/// The id of a response that is made in the background, by the whole of what came, or by its first event.
fn running(start: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Event {
        response: Progress,
    }
    let mut event = None;
    let mut decoder = sse::Decoder::new(sse::MAX_EVENT);
    let progress = if let Ok(progress) = serde_json::from_slice::<Progress>(start) {
        progress
    } else {
        decoder.feed(start, |one| {
            if event.is_none() {
                event = serde_json::from_slice::<Event>(one.data).ok();
            }
        });
        event?.response
    };
    let is_followed = progress.is_running()
        && progress.background == Some(true)
        && named(&Method::GET, &format!("{ENDPOINT}/{}", progress.id)).is_some();
    is_followed.then_some(progress.id)
}

fn ended(body: &[u8]) -> Option<BackgroundEnd> {
    let progress: Progress = serde_json::from_slice(body).ok()?;
    if progress.is_running() {
        return None;
    }
    Some(match &*progress.status {
        "completed" | "incomplete" => BackgroundEnd::Complete,
        "cancelled" => BackgroundEnd::Cancelled,
        status => {
            let words = progress.error.and_then(|error| error.message);
            BackgroundEnd::Failed(
                words.unwrap_or_else(|| format!("the response has the status {status:?}")),
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_named_by_method_and_path() {
        for (method, path, expected) in [
            (Method::GET, "/v1/responses/resp_1", Some("resp_1")),
            (Method::DELETE, "/responses/resp_1", Some("resp_1")),
            (Method::POST, "/v1/responses/resp_1/cancel", Some("resp_1")),
            (
                Method::GET,
                "/v1/responses/resp_1/input_items",
                Some("resp_1"),
            ),
            (Method::POST, "/v1/responses/resp_1", None),
            (Method::GET, "/v1/responses/resp_1/cancel", None),
            (Method::POST, "/v1/responses/compact", None),
            (Method::GET, "/v1/responses/", None),
            (Method::GET, "/v1/responses/..", None),
            (Method::GET, "/v1/responses/a%2fb", None),
            (Method::GET, "/v1/responses/a/b/c", None),
        ] {
            let id = named(&method, path).map(|named| named.id);
            assert_eq!(id, expected, "{method} {path}");
        }
    }

    #[test]
    fn a_background_response_is_known_by_its_first_words() {
        let response = r#"{"id":"resp_1","status":"queued","background":true}"#;
        assert_eq!(running(response.as_bytes()).as_deref(), Some("resp_1"));
        let event = format!(
            "event: response.created\ndata: {{\"type\":\"x\",\"response\":{response}}}\n\ndata: "
        );
        assert_eq!(running(event.as_bytes()).as_deref(), Some("resp_1"));
        for other in [
            r#"{"id":"resp_1","status":"completed","background":true}"#,
            r#"{"id":"resp_1","status":"queued","background":false}"#,
            r#"{"id":"resp_1","status":"queued"}"#,
            r#"{"id":"../x","status":"queued","background":true}"#,
            "[]",
            "",
        ] {
            assert_eq!(running(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_end_is_told_by_its_status() {
        let end = |status: &str| ended(format!(r#"{{"id":"r","status":"{status}"}}"#).as_bytes());
        assert_eq!(end("queued"), None);
        assert_eq!(end("in_progress"), None);
        assert_eq!(end("completed"), Some(BackgroundEnd::Complete));
        assert_eq!(end("incomplete"), Some(BackgroundEnd::Complete));
        assert_eq!(end("cancelled"), Some(BackgroundEnd::Cancelled));
        assert!(matches!(end("failed"), Some(BackgroundEnd::Failed(_))));
        assert_eq!(ended(b"<html>"), None);
    }
}
