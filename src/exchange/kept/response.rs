//! A response that is kept.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::formats::translate::{Codec, Request, ResponseTranslator, Translator};

/// A response in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::exchange) struct Kept {
    /// When the provider gave it, in Unix milliseconds.
    pub(in crate::exchange) made: i64,
    /// Until when it may be given again, in Unix milliseconds.
    pub(in crate::exchange) until: i64,
    /// The body, in the caller's format.
    pub(in crate::exchange) body: Bytes,
}

/// What stands in front of the body in a file: one line of JSON.
#[derive(Serialize, Deserialize)]
struct Front {
    made: i64,
    until: i64,
}

impl Kept {
    pub(in crate::exchange) fn new(body: Bytes, now: i64, lasts: Duration) -> Self {
        let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        Self {
            made: now,
            until: now.saturating_add(lasts),
            body,
        }
    }

    /// The body as the stream that a caller asks for; `None` if it can't be read as a response.
    pub(in crate::exchange) fn as_stream(
        &self,
        codec: &'static Codec,
        request: &Request,
    ) -> Option<Bytes> {
        let mut stream = ResponseTranslator::new(codec, codec, request.clone(), None, 0);
        let mut out = Vec::new();
        stream.feed(&self.body, &mut out).ok()?;
        stream.finish(&mut out).ok()?;
        Some(out.into())
    }

    /// A file of it.
    pub(in crate::exchange) fn written(&self) -> Vec<u8> {
        let front = Front {
            made: self.made,
            until: self.until,
        };
        let mut file = serde_json::to_vec(&front).unwrap_or_default();
        file.push(b'\n');
        file.extend_from_slice(&self.body);
        file
    }

    /// What a file holds.
    pub(in crate::exchange) fn read(file: &Bytes) -> Option<Self> {
        let end = memchr::memchr(b'\n', file)?;
        let front: Front = serde_json::from_slice(&file[..end]).ok()?;
        Some(Self {
            made: front.made,
            until: front.until,
            body: file.slice(end + 1..),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats;
    use crate::formats::translate::Delivery;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let kept = Kept::new(Bytes::from("one\ntwo"), 5, Duration::from_secs(1));
        assert_eq!(Kept::read(&kept.written().into()), Some(kept));
        for damaged in ["", "{}", "{}\n", "\n", "{\"made\":1}\nx"] {
            assert_eq!(Kept::read(&Bytes::from(damaged)), None, "{damaged:?}");
        }
    }

    #[test]
    fn a_response_becomes_the_stream_that_its_caller_asks_for() {
        let codec = formats::named("openai_chat").unwrap().codec.unwrap();
        let body = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
            "message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;
        let kept = Kept::new(body.into(), 0, Duration::ZERO);
        let request = Request {
            delivery: Delivery::Events { usage: true },
            ..Request::default()
        };
        let stream = kept.as_stream(codec, &request).unwrap();
        let stream = String::from_utf8(stream.to_vec()).unwrap();
        assert!(stream.contains(r#""content":"hello""#), "{stream}");
        assert!(stream.ends_with("data: [DONE]\n\n"), "{stream}");
        let odd = Kept::new("not json".into(), 0, Duration::ZERO);
        assert_eq!(odd.as_stream(codec, &request), None);
    }
}
