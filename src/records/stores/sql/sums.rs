//! Sums as columns, in one order; and those of reports as four columns and bytes.

use super::Failure;
use super::value::{Row, Value};
use crate::records::reports::sums::{ALL, OWN_COST, PLAIN, Sums};

/// The columns of the counts of tokens, in the order of `Tokens::counts`.
const COUNTERS: [&str; PLAIN - 5] = [
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "image_input_tokens",
    "image_output_tokens",
    "web_searches",
];

/// The columns that hold sums of sessions, in the order of [`Sums`].
pub(super) fn columns() -> Vec<&'static str> {
    let named = ["requests", "errors"].into_iter().chain(COUNTERS);
    let last = ["cost", "priced", "unpriced", "own_credential_cost"];
    named.chain(last).collect()
}

/// How many columns those are.
pub(super) const COLUMNS: usize = PLAIN + 1;

/// `requests = sessions.requests + excluded.requests, …`: adds a row to the one that is there.
pub(super) fn additions(table: &str) -> String {
    let added = columns()
        .into_iter()
        .map(|column| format!("{column} = {table}.{column} + excluded.{column}"));
    added.collect::<Vec<_>>().join(", ")
}

/// The sums of reports that have a column of their own, for people who read the database: requests,
/// tokens of input and of output, and cost.
const SHOWN: [usize; 4] = [0, 2, 3, PLAIN - 3];

/// The columns of sums of reports.
pub(super) const REPORTED: &str = "requests, input_tokens, output_tokens, cost, rest";

/// Marks a number that stands in eight bytes, as a migration writes it.
const WIDE: u8 = 0x80;

const _: () = assert!(ALL <= WIDE as usize);

impl Sums {
    /// The sums of a session, to be written.
    pub(super) fn values<'v>(&self) -> impl Iterator<Item = Value<'v>> {
        let own = &self.0[OWN_COST..];
        self.0[..PLAIN].iter().chain(own).copied().map(Value::from)
    }

    /// The sums of a session.
    pub(super) fn read(row: &mut Row) -> Result<Sums, Failure> {
        let mut sums = Sums::default();
        for sum in &mut sums.0[..PLAIN] {
            *sum = row.integer()?;
        }
        sums.0[OWN_COST] = row.integer()?;
        Ok(sums)
    }

    /// All sums, for the columns [`REPORTED`].
    pub(super) fn reported<'v>(&self) -> [Value<'v>; 5] {
        let [requests, input, output, cost] = SHOWN.map(|nth| Value::from(self.0[nth]));
        let mut rest = Vec::with_capacity(64);
        self.encode(&mut rest, |nth| !SHOWN.contains(&nth));
        [requests, input, output, cost, Value::Bytes(rest.into())]
    }

    /// Adds what stands in the columns [`REPORTED`]. False where only the requests are known.
    pub(super) fn add_reported(&mut self, row: &mut Row) -> Result<bool, Failure> {
        for nth in SHOWN {
            self.0[nth] = self.0[nth].saturating_add(row.integer()?);
        }
        let Some(rest) = row.maybe_bytes()? else {
            return Ok(false);
        };
        self.decode(&rest)?;
        Ok(true)
    }

    /// Appends the sums that are `wanted` and not zero: each its place and its number.
    fn encode(&self, out: &mut Vec<u8>, wanted: impl Fn(usize) -> bool) {
        for (nth, &sum) in self.0.iter().enumerate() {
            if sum != 0 && wanted(nth) {
                out.push(nth.to_le_bytes()[0]);
                put(out, ((sum << 1) ^ (sum >> 63)).cast_unsigned());
            }
        }
    }

    /// Adds what [`encode`](Self::encode) wrote.
    fn decode(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while let Some((&mark, rest)) = bytes.split_first() {
            bytes = rest;
            let more = if mark & WIDE == 0 {
                let coded = take(&mut bytes)?;
                (coded >> 1).cast_signed() ^ -(coded & 1).cast_signed()
            } else {
                let (wide, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
                bytes = rest;
                i64::from_be_bytes(*wide)
            };
            let sum = self.0.get_mut(usize::from(mark & !WIDE)).ok_or_else(cut)?;
            *sum = sum.saturating_add(more);
        }
        Ok(())
    }
}

/// Sums by kind as bytes, with more `added`: of each kind its number, the length of its sums, and those, in
/// the order of their numbers.
pub(super) fn with_kinds(mut before: &[u8], added: &[(i64, Sums)]) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::with_capacity(before.len() + 64 * added.len());
    let mut one = Vec::new();
    let mut added = added.iter().peekable();
    loop {
        // What comes next of both, or the two together.
        let start = before;
        let there = if before.is_empty() {
            None
        } else {
            Some(next(&mut before)?)
        };
        let kind = there.map_or(i64::MAX, |(kind, _)| kind);
        while let Some((more, sums)) = added.next_if(|(more, _)| *more < kind || there.is_none()) {
            append(&mut all, &mut one, *more, sums);
        }
        let Some((_, sums)) = there else {
            return Ok(all);
        };
        match added.next_if(|(more, _)| *more == kind) {
            Some((_, more)) => {
                let mut both = more.clone();
                both.decode(sums)?;
                append(&mut all, &mut one, kind, &both);
            }
            None => all.extend_from_slice(&start[..start.len() - before.len()]),
        }
    }
}

fn append(all: &mut Vec<u8>, one: &mut Vec<u8>, kind: i64, sums: &Sums) {
    one.clear();
    sums.encode(one, |_| true);
    put(all, kind.cast_unsigned());
    put(all, one.len() as u64);
    all.extend_from_slice(one);
}

/// Takes the next kind and the bytes of its sums.
fn next<'b>(bytes: &mut &'b [u8]) -> Result<(i64, &'b [u8]), Failure> {
    let kind = take(bytes)?.cast_signed();
    let length = usize::try_from(take(bytes)?).map_err(|_| cut())?;
    let (one, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
    *bytes = rest;
    Ok((kind, one))
}

/// Calls `each` with every kind, and what adds its sums to others.
pub(super) fn each_kind(
    mut bytes: &[u8],
    mut each: impl FnMut(i64, &dyn Fn(&mut Sums) -> Result<(), Failure>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let (kind, one) = next(&mut bytes)?;
        each(kind, &|sums| sums.decode(one))?;
    }
    Ok(())
}

/// Seven bits a byte, the lowest first; all bytes but the last have the eighth bit.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Result<u64, Failure> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(cut)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(cut())
}

fn cut() -> Failure {
    Failure::Value("sums that are no sums".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(numbers: &[(usize, i64)]) -> Sums {
        let mut sums = Sums::default();
        for (nth, number) in numbers {
            sums.0[*nth] = *number;
        }
        sums
    }

    #[test]
    fn sums_come_back_as_they_were_written() {
        for numbers in [
            &[][..],
            &[(0, 1)],
            &[
                (0, 7),
                (2, 1 << 40),
                (12, -5),
                (ALL - 1, 300),
                (40, i64::MAX),
                (41, i64::MIN),
            ],
        ] {
            let written = sums(numbers);
            let mut row = Row::new(written.reported().map(Value::into_owned).into());
            let mut read = Sums::default();
            assert!(read.add_reported(&mut row).unwrap());
            assert_eq!(read.0, written.0);
            let added = [(3, written.clone()), (1 << 40, written.clone())];
            let bytes = with_kinds(&[], &added).unwrap();
            let mut kinds = Vec::new();
            each_kind(&bytes, |kind, add| {
                let mut read = Sums::default();
                add(&mut read)?;
                assert_eq!(read.0, written.0);
                kinds.push(kind);
                Ok(())
            })
            .unwrap();
            assert_eq!(kinds, [3, 1 << 40]);
        }
    }

    #[test]
    fn kinds_are_added_to_those_that_are_there() {
        let of = |kinds: &[(i64, i64)]| {
            let kinds = kinds.iter().map(|(kind, sum)| (*kind, sums(&[(0, *sum)])));
            kinds.collect::<Vec<_>>()
        };
        let read = |bytes: &[u8]| {
            let mut found = Vec::new();
            each_kind(bytes, |kind, add| {
                let mut read = Sums::default();
                add(&mut read)?;
                found.push((kind, read.0[0]));
                Ok(())
            })
            .unwrap();
            found
        };
        let first = with_kinds(&[], &of(&[(2, 20), (5, 50), (400, 1)])).unwrap();
        assert_eq!(read(&first), [(2, 20), (5, 50), (400, 1)]);
        let both = with_kinds(&first, &of(&[(1, 10), (5, 7), (6, 60), (900, 9)])).unwrap();
        let expected = [(1, 10), (2, 20), (5, 57), (6, 60), (400, 1), (900, 9)];
        assert_eq!(read(&both), expected);
        assert_eq!(with_kinds(&both, &of(&[])).unwrap(), both);
        assert!(with_kinds(&both[..both.len() - 1], &of(&[])).is_err());
    }

    #[test]
    fn what_a_migration_writes_is_read_and_what_is_cut_is_not() {
        let mut read = Sums::default();
        read.decode(&[0x85, 0, 0, 0, 0, 0, 0, 1, 2, 6, 4]).unwrap();
        assert_eq!((read.0[5], read.0[6]), (258, 2));
        // A number that takes more bytes than it needs.
        let padded = [
            0x83, 0x80, 0x80, 0x80, 0x00, 0x82, 0x80, 0x80, 0x80, 0x00, 6, 4,
        ];
        let mut kinds = Vec::new();
        each_kind(&padded, |kind, _| {
            kinds.push(kind);
            Ok(())
        })
        .unwrap();
        assert_eq!(kinds, [3]);
        for bytes in [&[0x85, 0, 0][..], &[5], &[5, 0x80], &[0x7f, 2]] {
            assert!(Sums::default().decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
