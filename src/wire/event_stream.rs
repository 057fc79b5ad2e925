//! Amazon's event stream (`application/vnd.amazon.eventstream`): binary messages with headers,
//! decoded as they come into the same events as those of a text stream.

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;

use super::sse::Event;

/// Length of a whole message, length of its headers, and a checksum of the two.
const PRELUDE: usize = 12;
/// What a message can have at most: 16 MiB of payload, 128 KiB of headers, two checksums.
const MAX_MESSAGE: usize = (16 << 20) + (128 << 10) + PRELUDE + 4;

/// Splits a byte stream into messages, whatever the pieces it arrives in. A message's event is
/// named after its `:event-type`, else its `:exception-type` or `:error-code`.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    /// Bytes of a message that is too long to hold, which have yet to come.
    skip: usize,
    /// Bytes of messages that were not read.
    pub unread: u64,
    /// A message was broken: nothing after it can be told apart any more.
    pub lost: bool,
}

impl Decoder {
    /// Takes the next piece and calls `each` for every message that it completes. Returns how many
    /// bytes at the piece's end belong to a message that has not ended.
    pub fn feed(&mut self, piece: &[u8], mut each: impl FnMut(Event<'_>)) -> usize {
        if self.lost {
            self.unread += piece.len() as u64;
            return 0;
        }
        let skipped = self.skip.min(piece.len());
        self.skip -= skipped;
        self.unread += skipped as u64;
        let piece = &piece[skipped..];
        if self.skip > 0 {
            return skipped;
        }
        self.held.extend_from_slice(piece);
        let mut from = 0;
        while let Some(length) = length(&self.held[from..]) {
            let Some(prelude) = self.held[from..].first_chunk::<PRELUDE>() else {
                break;
            };
            // Of rubbish no such length is waited for.
            if length < PRELUDE + 4 || !is_sound(prelude) {
                self.lost = true;
                break;
            }
            if length > MAX_MESSAGE {
                let there = length.min(self.held.len() - from);
                self.skip = length - there;
                self.unread += there as u64;
                from += there;
                if self.skip > 0 {
                    self.held.clear();
                    return piece.len();
                }
                continue;
            }
            let Some(frame) = self.held.get(from..from + length) else {
                break;
            };
            from += length;
            // Both checksums are looked at.
            let Ok(message) = read_message_from(frame) else {
                self.lost = true;
                break;
            };
            let error = error_of(&message);
            each(Event {
                name: name(&message).as_bytes(),
                data: error.as_deref().unwrap_or(message.payload()),
            });
        }
        if self.lost {
            self.unread += (self.held.len() - from) as u64;
            self.held = Vec::new();
        } else {
            self.held.drain(..from);
        }
        self.held.len().min(piece.len())
    }
}

/// Whether a body starts with a message; `None` while too little has come to tell.
#[must_use]
pub fn begins(start: &[u8]) -> Option<bool> {
    // A message's length comes first, of which no sound one needs the first byte.
    match (start.first(), start.first_chunk::<PRELUDE>()) {
        (None, _) | (Some(0), None) => None,
        (Some(0), Some(prelude)) => Some(is_sound(prelude)),
        (Some(_), _) => Some(false),
    }
}

/// Whether the checksum of a message's start is right.
fn is_sound(prelude: &[u8; PRELUDE]) -> bool {
    let (lengths, sum) = prelude.split_at(PRELUDE - 4);
    let mut expected = flate2::Crc::new();
    expected.update(lengths);
    sum == expected.sum().to_be_bytes()
}

fn length(bytes: &[u8]) -> Option<usize> {
    let first = bytes.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*first)).ok()
}

fn name(message: &Message) -> &str {
    [":event-type", ":exception-type", ":error-code"]
        .into_iter()
        .find_map(|name| header(message, name))
        .unwrap_or_default()
}

fn header<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    message
        .headers()
        .iter()
        .find(|header| header.name().as_str() == name)
        .and_then(|header| header.value().as_string().ok())
        .map(aws_smithy_types::str_bytes::StrBytes::as_str)
}

/// What a message of the type `error` says: it has its words in its headers, and no payload.
fn error_of(message: &Message) -> Option<Vec<u8>> {
    let code = header(message, ":error-code")?;
    if !message.payload().is_empty() {
        return None;
    }
    let words = header(message, ":error-message").unwrap_or(code);
    serde_json::to_vec(&serde_json::json!({ "code": code, "message": words })).ok()
}

/// A message with a JSON payload and these headers, besides its content type. Empty if it
/// cannot be written, as with a payload over 16 MiB.
#[must_use]
pub fn encode(headers: &[(&'static str, &str)], json: String) -> Bytes {
    let mut message = Message::new(json);
    for (name, value) in headers {
        let value = HeaderValue::String((*value).to_owned().into());
        message = message.add_header(Header::new(*name, value));
    }
    let kind = HeaderValue::String("application/json".into());
    message = message.add_header(Header::new(":content-type", kind));
    let mut out = Vec::new();
    match write_message_to(&message, &mut out) {
        Ok(()) => out.into(),
        Err(_) => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> (Vec<(String, String)>, bool) {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for piece in pieces {
            decoder.feed(piece, |event| {
                seen.push((
                    String::from_utf8_lossy(event.name).into_owned(),
                    String::from_utf8_lossy(event.data).into_owned(),
                ));
            });
        }
        (seen, decoder.lost)
    }

    fn stream() -> Vec<u8> {
        let mut stream = encode(&[(":event-type", "chunk")], r#"{"a":1}"#.to_owned()).to_vec();
        let more = [
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
        ];
        stream.extend_from_slice(&encode(&more, "{}".to_owned()));
        stream
    }

    #[test]
    fn every_split_gives_the_same_messages() {
        let stream = stream();
        let whole = events(&[&stream]);
        let expected = [("chunk", r#"{"a":1}"#), ("throttlingException", "{}")];
        assert_eq!(
            whole.0,
            expected.map(|(name, data)| (name.to_owned(), data.to_owned()))
        );
        for at in 0..stream.len() {
            assert_eq!(
                events(&[&stream[..at], &stream[at..]]),
                whole,
                "split at {at}"
            );
        }
    }

    #[test]
    fn an_error_has_its_words_in_its_headers() {
        let headers = [
            (":message-type", "error"),
            (":error-code", "InternalError"),
            (":error-message", "it broke"),
        ];
        let (seen, _) = events(&[&encode(&headers, String::new())]);
        let data = r#"{"code":"InternalError","message":"it broke"}"#;
        assert_eq!(seen, [("InternalError".to_owned(), data.to_owned())]);
    }

    #[test]
    fn a_long_message_is_read_and_none_is_awaited_of_rubbish() {
        let json = format!(r#"{{"a":"{}"}}"#, "A".repeat(3 << 20));
        let (seen, lost) = events(&[&encode(&[(":event-type", "chunk")], json.clone())]);
        assert!(!lost && seen[0].1 == json);
        let (seen, lost) = events(&[&[0, 0x50, 0, 0], &[0; 8]]);
        assert!(seen.is_empty() && lost);
    }

    #[test]
    fn a_message_that_is_too_long_is_skipped_and_what_follows_is_read() {
        let length = u32::try_from(MAX_MESSAGE + 1).unwrap();
        let mut stream = length.to_be_bytes().to_vec();
        stream.extend_from_slice(&[0; 4]);
        let mut sum = flate2::Crc::new();
        sum.update(&stream);
        stream.extend_from_slice(&sum.sum().to_be_bytes());
        stream.resize(MAX_MESSAGE + 1, b'x');
        stream.extend_from_slice(&self::stream());
        for split in [1, 12, 13, MAX_MESSAGE, MAX_MESSAGE + 1, MAX_MESSAGE + 20] {
            let (first, second) = stream.split_at(split);
            let mut decoder = Decoder::default();
            let mut names = Vec::new();
            for piece in [first, second] {
                decoder.feed(piece, |event| names.push(event.name.to_vec()));
            }
            assert_eq!(names.len(), 2, "split at {split}");
            assert_eq!(decoder.unread, u64::from(length), "split at {split}");
            assert!(!decoder.lost);
        }
    }

    #[test]
    fn a_broken_message_ends_the_reading() {
        let good = stream();
        for at in 0..good.len() {
            let mut broken = good.clone();
            broken[at] ^= 0x40;
            let (seen, _) = events(&[&broken]);
            assert!(seen.len() <= 1, "byte {at} changed and nobody noticed");
        }
        let (seen, lost) = events(&[&[0xff; 64]]);
        assert!(seen.is_empty() && lost);
    }
}
