//! Responses that a provider keeps: they are asked for by their id, and may be made in the background, after the
//! request for them has ended (<https://platform.openai.com/docs/guides/background>).

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::Method;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{ENDPOINT, FORMAT};
use crate::formats::format::{Background, BackgroundEnd, Begins, NamedResponse};
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
    begins,
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
    status: String,
    #[serde(default)]
    error: Option<Words>,
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    message: Option<String>,
}

fn is_running(status: &str) -> bool {
    matches!(status, "queued" | "in_progress")
}

/// What a response that has begun says of itself. It can repeat megabytes of its request, before or behind
/// these, so that they are read as soon as they have come.
#[derive(Default)]
struct Seen {
    id: Option<String>,
    status: Option<String>,
    background: Option<bool>,
}

impl Seen {
    /// What it comes to; `None` until enough is known.
    fn verdict(&self) -> Option<Begins> {
        let is_running = self.status.as_deref().map(is_running);
        if is_running == Some(false) || self.background == Some(false) {
            return Some(Begins::Other);
        }
        let id = self.id.as_ref()?;
        (is_running? && self.background?).then(|| {
            let is_id = named(&Method::GET, &format!("{ENDPOINT}/{id}")).is_some();
            if is_id {
                Begins::Running(id.clone())
            } else {
                Begins::Other
            }
        })
    }
}

/// Reads a response, or an event that has one, until enough is known.
struct Members<'s> {
    seen: &'s mut Seen,
    is_event: bool,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { seen, is_event } = self;
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "response" if is_event => map.next_value_seed(Members {
                    seen,
                    is_event: false,
                })?,
                "id" if !is_event => seen.id = map.next_value()?,
                "status" if !is_event => seen.status = map.next_value()?,
                "background" if !is_event => seen.background = map.next_value()?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
            if seen.verdict().is_some() {
                return Err(A::Error::custom("the rest is not read"));
            }
        }
        Ok(())
    }
}

/// What JSON says that may not have come whole.
fn told(json: &[u8], is_event: bool) -> Begins {
    let mut seen = Seen::default();
    let members = Members {
        seen: &mut seen,
        is_event,
    };
    let read = members.deserialize(&mut serde_json::Deserializer::from_slice(json));
    match (seen.verdict(), read) {
        (Some(verdict), _) => verdict,
        (None, Err(error)) if error.is_eof() => Begins::More,
        (None, _) => Begins::Other,
    }
}

/// What the beginning of a response tells, or that of a stream by its first event.
fn begins(start: &[u8]) -> Begins {
    if start.trim_ascii_start().starts_with(b"{") {
        return told(start, false);
    }
    let mut event = None;
    let mut decoder = sse::Decoder::new(sse::MAX_EVENT);
    decoder.feed(start, |one| {
        event.get_or_insert_with(|| told(one.data, true));
    });
    if let Some(told) = event {
        return match told {
            Begins::More => Begins::Other,
            told => told,
        };
    }
    let mut lines = start.split(|byte| matches!(byte, b'\n' | b'\r'));
    let data = lines.find_map(|line| line.strip_prefix(b"data:"));
    data.map_or(Begins::More, |data| told(data, true))
}

fn ended(body: &[u8]) -> Option<BackgroundEnd> {
    let progress: Progress = serde_json::from_slice(body).ok()?;
    if is_running(&progress.status) {
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
        let running = || Begins::Running("resp_1".to_owned());
        let words = r#""id":"resp_1","status":"queued","background":true"#;
        let long = format!(r#""instructions":"{}""#, "x".repeat(3 << 20));
        for response in [
            format!("{{{words}}}"),
            format!("{{{words},{long}}}"),
            format!("{{{long},{words}}}"),
        ] {
            assert_eq!(begins(response.as_bytes()), running());
            let event = format!(
                "event: response.created\ndata: {{\"type\":\"x\",\"response\":{response}}}\n\ndata: "
            );
            assert_eq!(begins(event.as_bytes()), running());
            let crlf = event.replace('\n', "\r\n");
            assert_eq!(begins(crlf.as_bytes()), running());
        }
        for other in [
            r#"{"id":"resp_1","status":"completed","background":true}"#,
            r#"{"id":"resp_1","status":"queued","background":false}"#,
            r#"{"id":"resp_1","status":"queued"}"#,
            r#"{"id":"../x","status":"queued","background":true}"#,
            r#"{"id":1,"status":"queued","background":true}"#,
            "data: {\"type\":\"error\"}\n\n",
            "data: [DONE]\n\n",
        ] {
            assert_eq!(begins(other.as_bytes()), Begins::Other, "{other}");
        }
    }

    #[test]
    fn a_beginning_is_known_at_every_length_or_not_yet() {
        let response =
            r#"{"object":"response","id":"resp_12","status":"queued","background":true,"x":[]}"#;
        let event = format!("event: x\ndata: {{\"response\":{response}}}\n\n");
        for text in [response, &event] {
            let is_known = |length: usize| match begins(&text.as_bytes()[..length]) {
                Begins::Running(id) => {
                    assert_eq!(id, "resp_12");
                    true
                }
                Begins::More => false,
                Begins::Other => panic!("{}", &text[..length]),
            };
            let first = (0..=text.len()).find(|length| is_known(*length)).unwrap();
            assert!(text[..first].ends_with("true"), "{}", &text[..first]);
            assert!((first..=text.len()).all(is_known));
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
