//! A group of records as the journal holds it: bytes, compressed. The reader of a version stays as long as
//! a database can have rows of it.
//!
//! The encoding is ours, because it is small and every record passes through it twice (see `fields`). Reasons
//! are the JSON that the table of entries holds, so that they aren't parsed on the way.

mod fields;

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use self::fields::{Field, Plain, Rest, get_bytes, put_bytes, put_list};
use super::retention::Policy;
use crate::base::text::Text;
use crate::formats::{Tokens, ToolCall};
use crate::records::body::{self, StoredBody};
use crate::records::{Capture, Delivery, Entry, EntryId, Failure, Outcome, Record};
use crate::wire::HeaderList;

/// The first byte of what is packed.
const VERSION: u8 = 1;

/// Fast: what is in the journal stays there for a second.
const LEVEL: i32 = 1;

/// Bytes that one row unpacks to at most: many times what the writer puts into a group.
const UNPACKED: u64 = 1 << 30;

/// A group of records, to be appended to the journal.
pub(crate) struct Packed {
    /// Stays with the group while it is tried again. It begins with the time, as an entry's does.
    pub(crate) id: EntryId,
    /// How many records.
    pub(crate) count: usize,
    pub(crate) content: Vec<u8>,
}

/// A group as it is read from the journal.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Unpacked {
    /// Those who were to get the records when they were written.
    pub(crate) exporters: Vec<String>,
    pub(crate) records: Vec<Journaled>,
}

/// A record from the journal.
#[derive(Debug, PartialEq)]
pub(crate) struct Journaled {
    /// Without reasons, settlement and capture.
    pub(crate) record: Record,
    /// JSON.
    pub(crate) reasons: Text,
    pub(in crate::records) capture: Option<StoredCapture>,
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
        let mut plain = Plain::default();
        policy.exporters.put(&mut plain);
        (records.len() as u64).put(&mut plain);
        for record in records {
            put_entry(&record.entry, &mut plain);
            Text::from(json(&record.entry.reasons)?).put(&mut plain);
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

impl Unpacked {
    /// Bytes that a row unpacks to; 0 where it can't be read.
    pub(crate) fn size(content: &[u8]) -> usize {
        let size = match content.split_first() {
            Some((&VERSION, rest)) => u64::get(&mut Rest::new(rest)),
            _ => None,
        };
        let size = size.filter(|size| *size <= UNPACKED);
        size.and_then(|size| usize::try_from(size).ok())
            .unwrap_or(0)
    }

    pub(crate) fn read(content: &[u8]) -> Result<Unpacked, Failure> {
        let damaged = || Failure::Value("a row of the journal that is damaged".to_owned());
        let (version, rest) = content.split_first().ok_or_else(damaged)?;
        if *version != VERSION {
            let what = format!("a row of the journal of version {version}");
            return Err(Failure::Value(what));
        }
        let mut rest = Rest::new(rest);
        let size = u64::get(&mut rest).filter(|size| *size <= UNPACKED);
        let size = usize::try_from(size.ok_or_else(damaged)?).map_err(|_| damaged())?;
        let plain = decompress(rest.bytes, size)?;
        Unpacked::get(&mut Rest::new(&plain)).ok_or_else(damaged)
    }

    fn get(from: &mut Rest<'_>) -> Option<Unpacked> {
        let exporters = Field::get(from)?;
        let count = u64::get(from)?;
        let mut records = Vec::new();
        for _ in 0..count {
            let entry = get_entry(from)?;
            let reasons = Field::get(from)?;
            let (tools, headers) = (Field::get(from)?, Field::get(from)?);
            let capture = Field::get(from)?;
            let record = Record {
                entry,
                tools,
                headers,
                capture: None,
                settlement: None,
                deliveries: Field::get(from)?,
            };
            records.push(Journaled {
                record,
                reasons,
                capture,
            });
        }
        from.bytes
            .is_empty()
            .then_some(Unpacked { exporters, records })
    }
}

fn json(what: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(what).map_err(|error| Failure::Value(error.to_string()))
}

fn decompress(bytes: &[u8], size: usize) -> std::io::Result<Vec<u8>> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(bytes, size)
    })
}

/// Declares the fields of an entry once. The order is that of version 1.
macro_rules! fields {
    ($($field:ident),* $(,)?) => {
        fn put_entry(entry: &Entry, to: &mut Plain) {
            $(entry.$field.put(to);)*
        }

        fn get_entry(from: &mut Rest<'_>) -> Option<Entry> {
            Some(Entry {
                $($field: Field::get(from)?,)*
                reasons: Vec::new(),
                captured: false,
            })
        }
    };
}

fields! {
    id, session, started_at, caller, login, node_id, node_name, tags, agent, api, model_requested,
    model, provider, method, path, status, outcome, stream, tokens, cost, cost_basis, finish_reason,
    tool_calls, first_byte_ms, first_token_ms, duration_ms, overhead_ms, request_bytes,
    response_bytes, user_agent, error,
}

impl Field for StoredCapture {
    fn put(&self, to: &mut Plain) {
        self.request_headers.put(to);
        self.request_body.put(to);
        self.response_headers.put(to);
        self.response_body.put(to);
        self.raw.put(to);
        self.truncated.put(to);
    }

    fn get(from: &mut Rest<'_>) -> Option<StoredCapture> {
        Some(StoredCapture {
            request_headers: Field::get(from)?,
            request_body: Field::get(from)?,
            response_headers: Field::get(from)?,
            response_body: Field::get(from)?,
            raw: Field::get(from)?,
            truncated: Field::get(from)?,
        })
    }
}

impl Field for StoredBody {
    fn put(&self, to: &mut Plain) {
        (self.size as u64).put(to);
        put_bytes(&self.bytes, to);
    }

    fn get(from: &mut Rest<'_>) -> Option<StoredBody> {
        Some(StoredBody {
            size: usize::try_from(u64::get(from)?).ok()?,
            bytes: Bytes::copy_from_slice(get_bytes(from)?),
        })
    }
}

/// No two are the same.
impl Field for EntryId {
    fn put(&self, to: &mut Plain) {
        put_bytes(self.as_str().as_bytes(), to);
    }

    fn get(from: &mut Rest<'_>) -> Option<EntryId> {
        let id = str::from_utf8(get_bytes(from)?).ok()?;
        Some(EntryId(id.into()))
    }
}

impl Field for Outcome {
    fn put(&self, to: &mut Plain) {
        (*self as u8).put(to);
    }

    fn get(from: &mut Rest<'_>) -> Option<Outcome> {
        Outcome::ALL.get(usize::from(u8::get(from)?)).copied()
    }
}

impl Field for Tokens {
    fn put(&self, to: &mut Plain) {
        for count in self.counts() {
            count.put(to);
        }
        self.estimated.put(to);
    }

    fn get(from: &mut Rest<'_>) -> Option<Tokens> {
        let mut counts = [None; Tokens::COUNTS];
        for count in &mut counts {
            *count = Field::get(from)?;
        }
        Some(Tokens::of_counts(counts, Field::get(from)?))
    }
}

impl Field for ToolCall {
    fn put(&self, to: &mut Plain) {
        self.name.put(to);
        self.params.put(to);
    }

    fn get(from: &mut Rest<'_>) -> Option<ToolCall> {
        Some(ToolCall {
            name: Field::get(from)?,
            params: Field::get(from)?,
        })
    }
}

impl Field for Delivery {
    fn put(&self, to: &mut Plain) {
        self.hook.put(to);
        self.event.put(to);
        put_bytes(&self.payload, to);
    }

    fn get(from: &mut Rest<'_>) -> Option<Delivery> {
        Some(Delivery {
            hook: Field::get(from)?,
            event: Field::get(from)?,
            payload: get_bytes(from)?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests;
