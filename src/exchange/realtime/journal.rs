//! What a caller has sent since the turn before, for the record of the next one.

use bytes::Bytes;
use serde_json::Value;

use crate::formats::realtime::{Names, recorded, without_media};

/// Bytes of messages that are kept.
const ROOM: usize = 256 << 10;
/// A longer message is named by its length alone.
const LONGEST: usize = 64 << 10;

/// What was sent.
#[derive(Default)]
pub(super) struct Journal {
    messages: Vec<Value>,
    /// Bytes of those.
    held: usize,
    /// Bytes of sound beside them.
    sound: u64,
    /// All bytes.
    bytes: u64,
    truncated: bool,
}

/// The journal of one turn.
pub(super) struct Page {
    pub(super) body: Bytes,
    pub(super) bytes: u64,
    pub(super) truncated: bool,
}

impl Journal {
    /// Notes a message that a model will read.
    pub(super) fn note(&mut self, message: &Bytes) {
        self.bytes += message.len() as u64;
        if message.len() > LONGEST {
            self.truncated = true;
            return;
        }
        let Ok(mut message) = serde_json::from_slice(message) else {
            return;
        };
        without_media(&mut message);
        let size = message.to_string().len();
        if self.held + size > ROOM {
            self.truncated = true;
            return;
        }
        self.held += size;
        self.messages.push(message);
    }

    /// Notes a message with sound.
    pub(super) fn heard(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.sound += bytes as u64;
    }

    /// Notes a message that a model neither reads nor hears.
    pub(super) fn beside(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Bytes of sound.
    pub(super) fn sound(&self) -> u64 {
        self.sound
    }

    /// Begins another turn, and returns what was sent for this one.
    pub(super) fn turn_page(&mut self, names: &Names) -> Page {
        let this = std::mem::take(self);
        Page {
            body: recorded(names, &this.messages, this.sound)
                .to_string()
                .into(),
            bytes: this.bytes,
            truncated: this.truncated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            asked: "voice".into(),
            served: "m".into(),
            provider: "p".into(),
        }
    }

    #[test]
    fn sound_is_kept_by_its_size_and_text_as_far_as_there_is_room() {
        let mut journal = Journal::default();
        journal.heard(4_000);
        journal.beside(30);
        let spoken = format!(
            r#"{{"item":{{"content":[{{"text":"hi"}},{{"audio":"{}"}},{{"image_url":"{}"}}]}}}}"#,
            "A".repeat(400),
            "B".repeat(4_000)
        );
        journal.note(&spoken.into());
        let page = journal.turn_page(&names());
        let body = String::from_utf8(page.body.to_vec()).unwrap();
        for part in [
            "\"hi\"",
            "[400 bytes]",
            "[4000 bytes]",
            "\"audio_bytes\":4000",
            "\"voice\"",
        ] {
            assert!(body.contains(part), "{part}: {body}");
        }
        assert!(!body.contains("AAAA") && !body.contains("BBBB") && !page.truncated);
        assert!(page.bytes > 8_000);
        // The next turn has a page of its own.
        assert_eq!(journal.turn_page(&names()).bytes, 0);

        let long = format!(r#"{{"text":"{}"}}"#, "so it goes ".repeat(5_000));
        for _ in 0..20 {
            journal.note(&long.clone().into());
        }
        journal.note(&Bytes::from_static(b"\xff"));
        let page = journal.turn_page(&names());
        assert!(page.truncated && page.body.len() < ROOM + 1_000);
    }
}
