//! A group of records as it is read from the journal. Records borrow from the row: almost none of their texts is copied on
//! the way to the tables.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use super::fields::{Get, Plain, Put as _, Rest, Shared, Texts, number};
use super::{StoredCapture, VERSION};
use crate::formats::Tokens;
use crate::records::body::StoredBody;
use crate::records::{Entry, EntryId, Failure, Outcome};

/// Bytes that one row unpacks to at most: many times what the writer puts into a group.
const UNPACKED: u64 = 1 << 30;

/// A row, decompressed.
#[derive(Debug)]
pub(crate) struct Unpacked {
    plain: Bytes,
    version: u8,
}

/// A record.
pub(crate) struct Journaled<'b> {
    /// Where it stands among all entries ([`EntryId::place_of`]).
    pub(in crate::records) place: i64,
    pub(in crate::records) entry: JournaledEntry<'b>,
    /// JSON.
    pub(in crate::records) reasons: Shared<'b>,
    pub(in crate::records) tools: Vec<JournaledTool<'b>>,
    pub(in crate::records) headers: Vec<(Shared<'b>, Shared<'b>)>,
    pub(in crate::records) capture: Option<StoredCapture>,
    pub(in crate::records) deliveries: Vec<JournaledDelivery<'b>>,
}

impl Journaled<'_> {
    /// When it started, in Unix milliseconds.
    pub(in crate::records) fn started_at(&self) -> i64 {
        self.place >> EntryId::RANDOM_BITS
    }
}

pub(in crate::records) struct JournaledTool<'b> {
    pub(in crate::records) name: &'b str,
    pub(in crate::records) params: &'b str,
}

pub(in crate::records) struct JournaledDelivery<'b> {
    pub(in crate::records) hook: &'b str,
    pub(in crate::records) event: &'b str,
    pub(in crate::records) payload: &'b [u8],
}

/// Whether a request went with the caller's own credential. Version 1 has no such field: there it is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::records) struct OwnCredential(pub(in crate::records) bool);

impl Get<'_> for OwnCredential {
    fn get(from: &mut Rest<'_, '_>) -> Option<Self> {
        let is_known = from.version >= 2;
        let own = is_known.then(|| bool::get(from));
        own.unwrap_or(Some(false)).map(Self)
    }
}

/// Declares the fields of an entry once, in the order in which they are written.
macro_rules! fields {
    ($($field:ident: $type:ty),* $(,)?) => {
        /// An entry, without its reasons.
        #[derive(Debug)]
        #[cfg_attr(
            not(test),
            expect(dead_code, reason = "ids have the time of `started_at` too, and are what counts")
        )]
        pub(in crate::records) struct JournaledEntry<'b> {
            $(pub(in crate::records) $field: $type,)*
        }

        pub(super) fn put_entry(entry: &Entry, to: &mut Plain) {
            $(entry.$field.put(to);)*
        }

        impl<'b> Get<'b> for JournaledEntry<'b> {
            fn get(from: &mut Rest<'b, '_>) -> Option<Self> {
                Some(Self { $($field: Get::get(from)?,)* })
            }
        }
    };
}

fields! {
    id: &'b str,
    session: Shared<'b>,
    started_at: i64,
    caller: Shared<'b>,
    login: Shared<'b>,
    node_id: Shared<'b>,
    node_name: Shared<'b>,
    tags: Vec<&'b str>,
    agent: Shared<'b>,
    api: Shared<'b>,
    model_requested: Shared<'b>,
    model: Shared<'b>,
    provider: Shared<'b>,
    method: Shared<'b>,
    path: Shared<'b>,
    status: u16,
    outcome: Outcome,
    stream: bool,
    tokens: Tokens,
    cost: Option<i64>,
    cost_basis: Option<Shared<'b>>,
    finish_reason: Option<&'b str>,
    tool_calls: u32,
    first_byte_ms: Option<f64>,
    first_token_ms: Option<f64>,
    duration_ms: f64,
    overhead_ms: Option<f64>,
    request_bytes: u64,
    response_bytes: u64,
    user_agent: Shared<'b>,
    error: Option<&'b str>,
    own_credential: OwnCredential,
}

impl Unpacked {
    /// Bytes that a row unpacks to; 0 where it can't be read.
    pub(crate) fn size(content: &[u8]) -> usize {
        let size = match content.split_first() {
            Some((1..=VERSION, mut rest)) => number(&mut rest),
            _ => None,
        };
        let size = size.filter(|size| *size <= UNPACKED);
        size.and_then(|size| usize::try_from(size).ok())
            .unwrap_or(0)
    }

    pub(crate) fn read(content: &[u8]) -> Result<Unpacked, Failure> {
        let (version, mut rest) = content.split_first().ok_or_else(damaged)?;
        if !(1..=VERSION).contains(version) {
            let what = format!("a row of the journal of version {version}");
            return Err(Failure::Value(what));
        }
        let size = number(&mut rest).filter(|size| *size <= UNPACKED);
        let size = usize::try_from(size.ok_or_else(damaged)?).map_err(|_| damaged())?;
        let plain = decompress(rest, size)?;
        if plain.len() != size {
            return Err(damaged());
        }
        Ok(Unpacked {
            plain: plain.into(),
            version: *version,
        })
    }

    /// Reads what is in it. Texts get their numbers from `texts`, and records are added to `records`, if all can be
    /// read. Returns those who were to get the records when they were written.
    pub(in crate::records) fn read_into<'b>(
        &'b self,
        texts: &mut Texts<'b>,
        records: &mut Vec<Journaled<'b>>,
    ) -> Result<Vec<&'b str>, Failure> {
        let before = records.len();
        let mut rest = Rest::new(&self.plain, self.version, texts);
        let exporters = read_all(&mut rest, records).filter(|_| rest.bytes.is_empty());
        exporters.ok_or_else(|| {
            records.truncate(before);
            damaged()
        })
    }
}

fn damaged() -> Failure {
    Failure::Value("a row of the journal that is damaged".to_owned())
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

fn read_all<'b>(from: &mut Rest<'b, '_>, records: &mut Vec<Journaled<'b>>) -> Option<Vec<&'b str>> {
    let exporters = Get::get(from)?;
    for _ in 0..u64::get(from)? {
        records.push(Get::get(from)?);
    }
    Some(exporters)
}

impl<'b> Get<'b> for Journaled<'b> {
    fn get(from: &mut Rest<'b, '_>) -> Option<Self> {
        let entry = JournaledEntry::get(from)?;
        Some(Self {
            place: EntryId::place_of(entry.id),
            entry,
            reasons: Get::get(from)?,
            tools: Get::get(from)?,
            headers: Get::get(from)?,
            capture: Get::get(from)?,
            deliveries: Get::get(from)?,
        })
    }
}

impl<'b> Get<'b> for JournaledTool<'b> {
    fn get(from: &mut Rest<'b, '_>) -> Option<Self> {
        Some(Self {
            name: Get::get(from)?,
            params: Get::get(from)?,
        })
    }
}

impl<'b> Get<'b> for JournaledDelivery<'b> {
    fn get(from: &mut Rest<'b, '_>) -> Option<Self> {
        Some(Self {
            hook: Get::get(from)?,
            event: Get::get(from)?,
            payload: Get::get(from)?,
        })
    }
}

impl Get<'_> for StoredCapture {
    fn get(from: &mut Rest<'_, '_>) -> Option<Self> {
        Some(Self {
            request_headers: Get::get(from)?,
            request_body: Get::get(from)?,
            response_headers: Get::get(from)?,
            response_body: Get::get(from)?,
            raw: Get::get(from)?,
            truncated: Get::get(from)?,
        })
    }
}

impl Get<'_> for StoredBody {
    fn get(from: &mut Rest<'_, '_>) -> Option<Self> {
        Some(Self {
            size: usize::try_from(u64::get(from)?).ok()?,
            bytes: Get::get(from)?,
        })
    }
}

impl Get<'_> for Outcome {
    fn get(from: &mut Rest<'_, '_>) -> Option<Self> {
        Outcome::ALL.get(usize::from(u8::get(from)?)).copied()
    }
}

impl Get<'_> for Tokens {
    fn get(from: &mut Rest<'_, '_>) -> Option<Self> {
        let mut counts = [None; Tokens::COUNTS];
        for count in &mut counts {
            *count = Get::get(from)?;
        }
        let flags = u8::get(from)?;
        let tokens = Tokens::of_counts(counts, flags & 1 != 0);
        if flags & 2 == 0 {
            return Some(tokens);
        }
        let mut sound = [None; 3];
        for count in &mut sound {
            *count = Get::get(from)?;
        }
        Some(tokens.with_sound(sound))
    }
}
