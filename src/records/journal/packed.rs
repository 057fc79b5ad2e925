//! A group of records as the journal holds it: bytes, compressed. The reader of a version stays as long as
//! a database can have rows of it.
//!
//! The encoding is ours, because it is small and every record passes through it twice (see `fields`). Reasons
//! are the JSON that the table of entries holds, so that they aren't parsed on the way. What is read borrows from
//! the row (see `unpacked`).

mod fields;
pub(in crate::records) mod unpacked;

use std::cell::RefCell;

use self::fields::{Plain, Put, put_bytes, put_list, put_shared};
pub(in crate::records) use self::fields::{Shared, Texts};
use super::retention::Policy;
use crate::formats::{Tokens, ToolCall};
use crate::records::body::{self, StoredBody};
use crate::records::{Capture, Delivery, EntryId, Failure, Outcome, Record};
use crate::wire::HeaderList;

/// The first byte of what is packed.
const VERSION: u8 = 2;

/// Fast: what is in the journal stays there for a second.
const LEVEL: i32 = 1;

/// Bytes that are expected of a record before they are compressed.
const PLAIN: usize = 256;

/// A group of records, to be appended to the journal.
pub(crate) struct Packed {
    /// Stays with the group while it is tried again. It begins with the time, as an entry's does.
    pub(crate) id: EntryId,
    /// How many records.
    pub(crate) count: usize,
    pub(crate) content: Vec<u8>,
}

/// A capture whose bodies are compressed as the archive keeps them, so that folding only moves them.
#[derive(Debug, PartialEq)]
pub(in crate::records) struct StoredCapture {
    pub(in crate::records) request_headers: HeaderList,
    pub(in crate::records) request_body: StoredBody,
    pub(in crate::records) response_headers: HeaderList,
    pub(in crate::records) response_body: StoredBody,
    pub(in crate::records) raw: Option<StoredBody>,
    pub(in crate::records) truncated: bool,
}

impl StoredCapture {
    /// Compresses what may be kept.
    fn of(capture: &Capture, raws: bool) -> std::io::Result<Self> {
        let raw = capture.raw.as_ref().filter(|_| raws);
        Ok(Self {
            request_headers: capture.request_headers.clone(),
            request_body: StoredBody::of(&capture.request_body)?,
            response_headers: capture.response_headers.clone(),
            response_body: StoredBody::of(&capture.response_body)?,
            raw: raw.map(StoredBody::of).transpose()?,
            truncated: capture.truncated,
        })
    }
}

impl Packed {
    /// Packs what the policy keeps of records.
    pub(crate) fn new(
        id: EntryId,
        records: &[&Record],
        policy: &Policy,
    ) -> Result<Packed, Failure> {
        let keep = policy.keep();
        let mut plain = Plain::with_capacity(PLAIN * records.len());
        let mut reasons = Vec::new();
        policy.exporters.put(&mut plain);
        (records.len() as u64).put(&mut plain);
        for record in records {
            unpacked::put_entry(&record.entry, &mut plain);
            put_shared(json(&record.entry.reasons, &mut reasons)?, &mut plain);
            let tools = Some(&record.tools).filter(|_| keep.tools);
            put_list(tools.map_or(&[], Vec::as_slice), &mut plain);
            record.headers.put(&mut plain);
            let capture = record.capture.as_ref().filter(|_| keep.captures);
            let capture = capture.map(|capture| StoredCapture::of(capture, keep.raws));
            capture.transpose()?.put(&mut plain);
            record.deliveries.put(&mut plain);
        }
        let mut head = Plain::default();
        VERSION.put(&mut head);
        (plain.bytes.len() as u64).put(&mut head);
        let mut content = head.bytes;
        thread_local! { static COMPRESSOR: body::Kept = const { RefCell::new(None) }; }
        content.extend(body::compress(&COMPRESSOR, LEVEL, &plain.bytes)?);
        Ok(Packed {
            id,
            count: records.len(),
            content,
        })
    }
}

/// The JSON of something. `text` is written over.
fn json<'t>(what: &impl serde::Serialize, text: &'t mut Vec<u8>) -> Result<&'t str, Failure> {
    text.clear();
    let wrong = |error: &dyn std::fmt::Display| Failure::Value(error.to_string());
    serde_json::to_writer(&mut *text, what).map_err(|error| wrong(&error))?;
    str::from_utf8(text).map_err(|error| wrong(&error))
}

impl Put for StoredCapture {
    fn put(&self, to: &mut Plain) {
        self.request_headers.put(to);
        self.request_body.put(to);
        self.response_headers.put(to);
        self.response_body.put(to);
        self.raw.put(to);
        self.truncated.put(to);
    }
}

impl Put for StoredBody {
    fn put(&self, to: &mut Plain) {
        (self.size as u64).put(to);
        put_bytes(&self.bytes, to);
    }
}

/// No two are the same.
impl Put for EntryId {
    fn put(&self, to: &mut Plain) {
        put_bytes(self.as_str().as_bytes(), to);
    }
}

impl Put for Outcome {
    fn put(&self, to: &mut Plain) {
        (*self as u8).put(to);
    }
}

impl Put for Tokens {
    fn put(&self, to: &mut Plain) {
        for count in self.counts() {
            count.put(to);
        }
        // Records from before had no counts of sound, and a flag alone.
        let sound = self.sound();
        let has_sound = sound.iter().any(Option::is_some);
        (u8::from(self.estimated) | (u8::from(has_sound) << 1)).put(to);
        if has_sound {
            for count in sound {
                count.put(to);
            }
        }
    }
}

impl Put for ToolCall {
    fn put(&self, to: &mut Plain) {
        self.name.put(to);
        self.params.put(to);
    }
}

impl Put for Delivery {
    fn put(&self, to: &mut Plain) {
        self.hook.put(to);
        self.event.put(to);
        put_bytes(&self.payload, to);
    }
}

#[cfg(test)]
pub(in crate::records) mod tests;
