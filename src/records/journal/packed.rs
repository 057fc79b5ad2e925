//! A group of records as the journal holds it: bytes, compressed. The reader of a version stays as long as
//! a database can have rows of it.
//!
//! The encoding is ours, because it is small and every record passes through it twice: numbers of variable
//! length, texts and lists behind their length, no names. Reasons are the JSON that the table of entries
//! holds, so that nobody has to read them on the way.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::Compressor;

use super::retention::Policy;
use crate::base::text::Text;
use crate::formats::{Tokens, ToolCall};
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
    /// Without reasons and settlement.
    pub(crate) record: Record,
    /// JSON.
    pub(crate) reasons: String,
}

impl Packed {
    /// Packs what the policy keeps of records.
    pub(crate) fn new(
        id: EntryId,
        records: &[&Record],
        policy: &Policy,
    ) -> Result<Packed, Failure> {
        let keep = policy.keep();
        let mut plain = Vec::with_capacity(1_024 * records.len());
        policy.exporters.put(&mut plain);
        (records.len() as u64).put(&mut plain);
        for record in records {
            put_entry(&record.entry, &mut plain);
            json(&record.entry.reasons)?.put(&mut plain);
            let tools = Some(&record.tools).filter(|_| keep.tools);
            put_list(tools.map_or(&[], Vec::as_slice), &mut plain);
            record.headers.put(&mut plain);
            let capture = record.capture.as_ref().filter(|_| keep.captures);
            put_capture(capture, keep.raws, &mut plain);
            record.deliveries.put(&mut plain);
        }
        let mut content = vec![VERSION];
        (plain.len() as u64).put(&mut content);
        compress(&plain, &mut content)?;
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
            Some((&VERSION, mut rest)) => u64::get(&mut rest).filter(|size| *size <= UNPACKED),
            _ => None,
        };
        size.and_then(|size| usize::try_from(size).ok())
            .unwrap_or(0)
    }

    pub(crate) fn read(content: &[u8]) -> Result<Unpacked, Failure> {
        let damaged = || Failure::Value("a row of the journal that is damaged".to_owned());
        let (version, mut rest) = content.split_first().ok_or_else(damaged)?;
        if *version != VERSION {
            let what = format!("a row of the journal of version {version}");
            return Err(Failure::Value(what));
        }
        let size = u64::get(&mut rest).filter(|size| *size <= UNPACKED);
        let size = usize::try_from(size.ok_or_else(damaged)?).map_err(|_| damaged())?;
        let plain = zstd::bulk::decompress(rest, size)?;
        Unpacked::get(&mut &*plain).ok_or_else(damaged)
    }

    fn get(from: &mut &[u8]) -> Option<Unpacked> {
        let exporters = Field::get(from)?;
        let count = u64::get(from)?;
        let mut records = Vec::new();
        for _ in 0..count {
            let entry = get_entry(from)?;
            let reasons = Field::get(from)?;
            let record = Record {
                entry,
                tools: Field::get(from)?,
                headers: Field::get(from)?,
                capture: Field::get(from)?,
                settlement: None,
                deliveries: Field::get(from)?,
            };
            records.push(Journaled { record, reasons });
        }
        from.is_empty().then_some(Unpacked { exporters, records })
    }
}

fn json(what: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(what).map_err(|error| Failure::Value(error.to_string()))
}

/// Appends what is compressed.
fn compress(plain: &[u8], to: &mut Vec<u8>) -> std::io::Result<()> {
    thread_local! {
        /// Making one takes longer than a small group does.
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(LEVEL)?),
        };
        to.extend(compressor.compress(plain)?);
        Ok(())
    })
}

/// What is written one behind the other, and read in the same order.
trait Field: Sized {
    fn put(&self, to: &mut Vec<u8>);
    /// `None` where it isn't there.
    fn get(from: &mut &[u8]) -> Option<Self>;
}

/// Declares the fields of an entry once. The order is that of version 1.
macro_rules! fields {
    ($($field:ident),* $(,)?) => {
        fn put_entry(entry: &Entry, to: &mut Vec<u8>) {
            $(entry.$field.put(to);)*
        }

        fn get_entry(from: &mut &[u8]) -> Option<Entry> {
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

fn put_capture(capture: Option<&Capture>, raws: bool, to: &mut Vec<u8>) {
    let Some(capture) = capture else {
        return false.put(to);
    };
    true.put(to);
    capture.request_headers.put(to);
    put_bytes(&capture.request_body, to);
    capture.response_headers.put(to);
    put_bytes(&capture.response_body, to);
    capture.raw.as_ref().is_some_and(|_| raws).put(to);
    if let Some(raw) = capture.raw.as_ref().filter(|_| raws) {
        put_bytes(raw, to);
    }
    capture.truncated.put(to);
}

impl Field for Capture {
    fn put(&self, to: &mut Vec<u8>) {
        put_capture(Some(self), true, to);
    }

    fn get(from: &mut &[u8]) -> Option<Capture> {
        Some(Capture {
            request_headers: Field::get(from)?,
            request_body: Field::get(from)?,
            response_headers: Field::get(from)?,
            response_body: Field::get(from)?,
            raw: Field::get(from)?,
            truncated: Field::get(from)?,
        })
    }
}

fn put_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    (bytes.len() as u64).put(to);
    to.extend_from_slice(bytes);
}

fn get_bytes<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(u64::get(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

fn put_list<T: Field>(list: &[T], to: &mut Vec<u8>) {
    (list.len() as u64).put(to);
    for one in list {
        one.put(to);
    }
}

impl Field for u64 {
    fn put(&self, to: &mut Vec<u8>) {
        let mut left = *self;
        while left >= 0x80 {
            to.push(left.to_le_bytes()[0] | 0x80);
            left >>= 7;
        }
        to.push(left.to_le_bytes()[0]);
    }

    fn get(from: &mut &[u8]) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = from.split_first()?;
            *from = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

impl Field for i64 {
    /// Small ones below zero are short too.
    fn put(&self, to: &mut Vec<u8>) {
        ((self << 1) ^ (self >> 63)).cast_unsigned().put(to);
    }

    fn get(from: &mut &[u8]) -> Option<i64> {
        let number = u64::get(from)?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }
}

/// Smaller numbers, as larger ones.
macro_rules! small {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn put(&self, to: &mut Vec<u8>) {
                u64::from(*self).put(to);
            }

            fn get(from: &mut &[u8]) -> Option<$type> {
                <$type>::try_from(u64::get(from)?).ok()
            }
        }
    )*};
}

small!(u16, u32);

impl Field for bool {
    fn put(&self, to: &mut Vec<u8>) {
        to.push((*self).into());
    }

    fn get(from: &mut &[u8]) -> Option<bool> {
        Some(u64::get(from)? != 0)
    }
}

impl Field for f64 {
    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.to_bits().to_le_bytes());
    }

    fn get(from: &mut &[u8]) -> Option<f64> {
        let (bytes, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(f64::from_bits(u64::from_le_bytes(*bytes)))
    }
}

impl Field for String {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), to);
    }

    fn get(from: &mut &[u8]) -> Option<String> {
        String::from_utf8(get_bytes(from)?.to_vec()).ok()
    }
}

impl Field for Text {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), to);
    }

    fn get(from: &mut &[u8]) -> Option<Text> {
        str::from_utf8(get_bytes(from)?).ok().map(Text::from)
    }
}

impl Field for HeaderList {
    fn put(&self, to: &mut Vec<u8>) {
        (self.iter().count() as u64).put(to);
        for (name, value) in self.iter() {
            put_bytes(name.as_bytes(), to);
            put_bytes(value.as_bytes(), to);
        }
    }

    fn get(from: &mut &[u8]) -> Option<HeaderList> {
        let mut list = HeaderList::default();
        for _ in 0..u64::get(from)? {
            let name = str::from_utf8(get_bytes(from)?).ok()?;
            list.push(name, str::from_utf8(get_bytes(from)?).ok()?);
        }
        Some(list)
    }
}

impl Field for EntryId {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }

    fn get(from: &mut &[u8]) -> Option<EntryId> {
        Field::get(from).map(EntryId)
    }
}

impl Field for Bytes {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(self, to);
    }

    fn get(from: &mut &[u8]) -> Option<Bytes> {
        get_bytes(from).map(Bytes::copy_from_slice)
    }
}

impl Field for u8 {
    fn put(&self, to: &mut Vec<u8>) {
        to.push(*self);
    }

    fn get(from: &mut &[u8]) -> Option<u8> {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        Some(*byte)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        if let Some(one) = self {
            one.put(to);
        }
    }

    fn get(from: &mut &[u8]) -> Option<Option<T>> {
        if bool::get(from)? {
            return T::get(from).map(Some);
        }
        Some(None)
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, to: &mut Vec<u8>) {
        put_list(self, to);
    }

    fn get(from: &mut &[u8]) -> Option<Vec<T>> {
        let count = u64::get(from)?;
        (0..count).map(|_| T::get(from)).collect()
    }
}

impl Field for (String, String) {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn get(from: &mut &[u8]) -> Option<(String, String)> {
        Some((Field::get(from)?, Field::get(from)?))
    }
}

impl Field for Outcome {
    fn put(&self, to: &mut Vec<u8>) {
        (*self as u8).put(to);
    }

    fn get(from: &mut &[u8]) -> Option<Outcome> {
        Outcome::ALL.get(usize::from(u8::get(from)?)).copied()
    }
}

impl Field for Tokens {
    fn put(&self, to: &mut Vec<u8>) {
        for count in self.counts() {
            count.put(to);
        }
        self.estimated.put(to);
    }

    fn get(from: &mut &[u8]) -> Option<Tokens> {
        let mut counts = [None; Tokens::COUNTS];
        for count in &mut counts {
            *count = Field::get(from)?;
        }
        Some(Tokens::of_counts(counts, Field::get(from)?))
    }
}

impl Field for ToolCall {
    fn put(&self, to: &mut Vec<u8>) {
        self.name.put(to);
        self.params.put(to);
    }

    fn get(from: &mut &[u8]) -> Option<ToolCall> {
        Some(ToolCall {
            name: Field::get(from)?,
            params: Field::get(from)?,
        })
    }
}

impl Field for Delivery {
    fn put(&self, to: &mut Vec<u8>) {
        self.hook.put(to);
        self.event.put(to);
        put_bytes(&self.payload, to);
    }

    fn get(from: &mut &[u8]) -> Option<Delivery> {
        Some(Delivery {
            hook: Field::get(from)?,
            event: Field::get(from)?,
            payload: get_bytes(from)?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests;
