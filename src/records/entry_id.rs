//! Ids of records, which are in the order of their times.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::text::Text;

/// The name of a record: `req_` and 26 characters that sort by time.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct EntryId(pub(super) Text);

impl EntryId {
    /// A new id: 48 bits of `unix_ms`, then 80 random bits, in Crockford's base 32. The time is
    /// the entry's [`started_at`](super::Entry::started_at): queries by time are ranges of places. A later time
    /// than 2248 becomes the last that entries have.
    pub fn new(unix_ms: i64) -> EntryId {
        Self::with(unix_ms, random_bytes())
    }

    /// The id of what has a name: always the same for a time and a name. Its bits are a digest of the name.
    pub fn of(unix_ms: i64, name: &str) -> EntryId {
        let digest = Sha256::digest(name);
        Self::with(unix_ms, digest.first_chunk().copied().unwrap_or_default())
    }

    fn with(unix_ms: i64, bits: [u8; 10]) -> EntryId {
        let mut number = [0; 16];
        number[6..].copy_from_slice(&bits);
        let id = spell(unix_ms.min(Self::LAST), u128::from_be_bytes(number));
        EntryId(first(&id, LENGTH).into())
    }

    /// What sorts before every id of `unix_ms` and of later, and after all others.
    pub(super) fn floor(unix_ms: i64) -> String {
        // Ten characters hold the time, and nothing but.
        first(&spell(unix_ms, 0), 10).to_owned()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the entry of an id stands among all others: 43 bits of its time, then 20 random ones. Entries are
    /// stored in this order, which is that of their ids. An entry whose place is taken has one of the next.
    ///
    /// Any text has a place. A letter that ids don't have counts as the next that they have, or as the last.
    pub(super) fn place_of(id: &str) -> i64 {
        let digits = match id.strip_prefix("req_") {
            Some(digits) => digits.bytes(),
            None if id < "req_" => return 0,
            None => return i64::MAX,
        };
        let mut digits = digits.map(value);
        let mut number =
            |count: u32| (0..count).fold(0, |number, _| number << 5 | digits.next().unwrap_or(0));
        let time = number(10).min(Self::LAST);
        time << Self::RANDOM_BITS | number(4)
    }

    /// The first place of a time.
    pub(super) fn place_at(unix_ms: i64) -> i64 {
        unix_ms.clamp(0, Self::LAST + 1) << Self::RANDOM_BITS
    }

    /// The last time that entries have, in 2248: one more, and places that follow it are no numbers.
    const LAST: i64 = (1 << 43) - 2;

    /// Bits of a place that are not its time.
    pub(super) const RANDOM_BITS: u32 = 20;

    /// How far behind its place an entry may stand.
    pub(super) const PROBED: i64 = 256;

    /// The time in it, in Unix milliseconds.
    pub fn started_at(&self) -> i64 {
        let digits = self.0.bytes().skip(4).take(10);
        let time = digits.fold(0, |time, digit| time << 5 | value(digit));
        time.min(Self::LAST)
    }

    /// Its letters, to be shared.
    pub fn text(&self) -> Text {
        self.0.clone()
    }
}

/// The random part of an id. The operating system is asked for those of many ids at once.
fn random_bytes() -> [u8; 10] {
    thread_local! {
        /// The number is the index of the first that is unused.
        static KEPT: RefCell<(usize, [[u8; 10]; 64])> = const { RefCell::new((64, [[0; 10]; 64])) };
    }
    KEPT.with_borrow_mut(|(next, kept)| {
        if *next == kept.len() {
            getrandom::fill(kept.as_flattened_mut())
                .expect("the operating system gave no random bytes");
            *next = 0;
        }
        *next += 1;
        kept[*next - 1]
    })
}

/// The digits of an id.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What a digit stands for. One that ids don't have counts as the next that they have, or as the last.
fn value(digit: u8) -> i64 {
    const VALUES: [u8; 256] = {
        let mut values = [0; 256];
        let mut digit = 0;
        while digit < values.len() {
            while values[digit] < 31 && (ALPHABET[values[digit] as usize] as usize) < digit {
                values[digit] += 1;
            }
            digit += 1;
        }
        values
    };
    VALUES[usize::from(digit)].into()
}

/// How ids begin.
const START: &str = "req_";
/// Characters of an id behind its start.
const LENGTH: usize = 26;

/// An id, whose first characters are its time.
fn spell(unix_ms: i64, random: u128) -> [u8; START.len() + LENGTH] {
    let time = unix_ms.max(0).cast_unsigned().min((1 << 48) - 1);
    let mut bits = u128::from(time) << 80 | random;
    let mut id = [0; START.len() + LENGTH];
    let (start, letters) = id.split_at_mut(START.len());
    start.copy_from_slice(START.as_bytes());
    for letter in letters.iter_mut().rev() {
        *letter = ALPHABET[bits as usize & 31];
        bits >>= 5;
    }
    id
}

/// The first characters of an id as text.
fn first(id: &[u8], letters: usize) -> &str {
    let text = str::from_utf8(id).unwrap_or_default();
    text.get(..START.len() + letters).unwrap_or_default()
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let early = EntryId::new(1_700_000_000_000);
        let late = EntryId::new(1_700_000_000_001);
        assert!(early < late);
        assert_eq!(early.as_str().len(), 30);
        assert!(early.as_str().starts_with("req_"));
        assert_ne!(EntryId::new(5), EntryId::new(5));
        assert_eq!(EntryId::of(5, "a"), EntryId::of(5, "a"));
        assert_ne!(EntryId::of(5, "a"), EntryId::of(5, "b"));
        assert_ne!(EntryId::of(5, "a"), EntryId::of(6, "a"));
        assert_eq!(EntryId::of(5, "a").started_at(), 5);
        assert_eq!(EntryId::new(i64::MAX).started_at(), EntryId::LAST);
    }

    #[test]
    fn the_floor_of_a_time_lies_between_it_and_the_time_before() {
        for time in [0, 1, 31, 32, 1_700_000_000_000] {
            let floor = EntryId::floor(time);
            assert!(floor.as_str() < EntryId::new(time).as_str());
            assert!(time == 0 || floor.as_str() > EntryId::new(time - 1).as_str());
        }
    }

    #[test]
    fn an_id_is_its_time_and_what_is_random_in_base_32() {
        let time = 1_700_000_000_123;
        let id = spell(time, 0x0123_4567_89ab_cdef_0123);
        assert_eq!(&id, b"req_01hf7yat3v04hmasw9nf6yy093");
        assert_eq!(EntryId::floor(time), "req_01hf7yat3v");
        assert_eq!(EntryId::floor(-5), "req_0000000000");
        let many: std::collections::HashSet<_> = (0..1_000).map(|_| EntryId::new(7)).collect();
        assert_eq!(many.len(), 1_000);
    }

    #[test]
    fn places_are_in_the_order_of_ids() {
        let place = |id: &EntryId| EntryId::place_of(id.as_str());
        let mut ids: Vec<_> = (0..500).map(|nth| EntryId::new(nth % 50)).collect();
        ids.sort_unstable();
        assert!(ids.is_sorted_by_key(place));
        for time in [0, 1, 1_700_000_000_123, EntryId::LAST] {
            let id = EntryId::new(time);
            assert_eq!(id.started_at(), time);
            assert_eq!(place(&id) >> EntryId::RANDOM_BITS, time);
            assert_eq!(
                EntryId::place_of(&EntryId::floor(time)),
                EntryId::place_at(time)
            );
        }
        let last = EntryId::place_at(i64::MAX);
        assert!(place(&EntryId::new(i64::MAX)) < last);
        let beyond = EntryId("req_7zzzzzzzzz0123456789abcdef".into());
        assert_eq!(beyond.started_at(), EntryId::LAST);
        assert_eq!(place(&beyond) >> EntryId::RANDOM_BITS, EntryId::LAST);
        assert_eq!(EntryId::place_at(-1), 0);
        assert_eq!(EntryId::place_of("a"), 0);
        assert_eq!(EntryId::place_of("req_"), 0);
        assert_eq!(EntryId::place_of("req_z"), EntryId::place_at(EntryId::LAST));
        assert_eq!(EntryId::place_of("s"), i64::MAX);
    }
}
