//! Sums as columns, in one order.

use super::Failure;
use super::row::COUNTERS;
use super::value::{Row, Value};
use crate::records::reports::histogram::BUCKETS;
use crate::records::reports::sums::Sums;
pub(super) use crate::records::reports::sums::{ALL, PLAIN};

/// The columns that hold sums, in the order of [`Sums`].
pub(super) fn columns(count: usize) -> Vec<String> {
    let named = ["requests", "errors"].into_iter().chain(COUNTERS);
    let named = named.chain(["cost", "priced", "unpriced"]);
    let buckets = |kind| (0..BUCKETS).map(move |nth| format!("{kind}{nth:02}"));
    let all = named.map(str::to_owned);
    all.chain(buckets('d'))
        .chain(buckets('t'))
        .take(count)
        .collect()
}

/// `requests = usage_daily.requests + excluded.requests, …`: adds a row to the one that is there.
pub(super) fn additions(table: &str, count: usize) -> String {
    let added = columns(count)
        .into_iter()
        .map(|column| format!("{column} = {table}.{column} + excluded.{column}"));
    added.collect::<Vec<_>>().join(", ")
}

impl Sums {
    /// The first `count` sums, to be written.
    pub(super) fn values<'v>(&self, count: usize) -> impl Iterator<Item = Value<'v>> {
        self.0[..count].iter().copied().map(Value::from)
    }

    pub(super) fn read(row: &mut Row, count: usize) -> Result<Sums, Failure> {
        let mut sums = Sums::default();
        for sum in &mut sums.0[..count] {
            *sum = row.integer()?;
        }
        Ok(sums)
    }
}
