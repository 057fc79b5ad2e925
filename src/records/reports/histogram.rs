//! Latencies as counts by bucket, from which percentiles are read.
//!
//! The first bucket ends at 32 ms and each next one √2 later; the last but one ends at
//! 2^14 · 32 ms, which is nearly nine minutes, and the last never. A percentile is a place on the
//! line between the bounds of the bucket that holds it. So it is off by less than a factor of √2
//! (by 32 ms at most in the first bucket); beyond nine minutes it is only known to be more.

use std::f64::consts::SQRT_2;
use std::sync::LazyLock;

use serde::Serialize;

use crate::base::clock::to_microsecond;

/// Buckets of a histogram.
pub(crate) const BUCKETS: usize = 30;

/// Where the first bucket ends, in milliseconds.
const FIRST_MS: f64 = 32.0;

/// The bucket of a latency.
pub(super) fn bucket(ms: f64) -> usize {
    ENDS_MS.partition_point(|&end| ms > end || ms.is_nan())
}

/// The longest latency of each bucket but the last, in milliseconds.
static ENDS_MS: LazyLock<[f64; BUCKETS - 1]> = LazyLock::new(|| {
    let mut end = FIRST_MS;
    std::array::from_fn(|nth| {
        // Two buckets at a time, so that no error adds up.
        let this = if nth % 2 == 0 { end } else { end * SQRT_2 };
        if nth % 2 == 1 {
            end *= 2.0;
        }
        this
    })
});

/// Percentiles in milliseconds; null where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

impl Percentiles {
    pub(super) fn of(counts: &[i64]) -> Percentiles {
        Percentiles {
            p50: percentile(counts, 50),
            p90: percentile(counts, 90),
            p95: percentile(counts, 95),
            p99: percentile(counts, 99),
        }
    }
}

fn percentile(counts: &[i64], percent: i64) -> Option<f64> {
    let total: i64 = counts.iter().sum();
    if total <= 0 {
        return None;
    }
    // The nearest rank: the smallest latency that `percent` of all do not exceed.
    let mut rank = (total.saturating_mul(percent) + 99) / 100;
    for (nth, &count) in counts.iter().enumerate() {
        if rank <= count {
            let start = nth.checked_sub(1).map_or(0.0, |before| ENDS_MS[before]);
            let end = ENDS_MS.get(nth).copied().unwrap_or(start);
            return Some(to_microsecond(start + (end - start) * share(rank, count)));
        }
        rank -= count;
    }
    None
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of up to 2^53 requests is exact enough"
)]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_without_a_gap() {
        assert_eq!((bucket(0.0), bucket(32.0), bucket(32.1)), (0, 0, 1));
        assert_eq!((bucket(524_288.0), bucket(524_289.0)), (28, 29));
        assert_eq!(bucket(f64::NAN), 29);
    }

    #[test]
    fn a_rank_within_a_bucket_is_a_share_of_its_width() {
        let mut counts = [0; BUCKETS];
        (counts[0], counts[1]) = (4, 4);
        let second = FIRST_MS * (SQRT_2 - 1.0);
        for (percent, expected) in [
            (1, FIRST_MS / 4.0),
            (50, FIRST_MS),
            (51, FIRST_MS + second / 4.0),
            (75, FIRST_MS + second / 2.0),
            (100, FIRST_MS + second),
        ] {
            let read = percentile(&counts, percent).unwrap();
            assert!(
                (read - expected).abs() < 1e-3,
                "{percent}: {read}, not {expected}"
            );
        }
    }

    #[test]
    fn percentiles_keep_their_bound() {
        // Three shapes: even, skewed as latencies are, and all the same.
        let shapes: [fn(u32) -> f64; 3] = [
            |n| f64::from(n) * 3.0,
            |n| 40.0 * 1.004_f64.powf(f64::from(n)),
            |_| 700.0,
        ];
        for shape in shapes {
            let mut latencies: Vec<f64> = (1..=2_000).map(shape).collect();
            latencies.sort_by(f64::total_cmp);
            let mut counts = [0; BUCKETS];
            for &ms in &latencies {
                counts[bucket(ms)] += 1;
            }
            for percent in [1_usize, 50, 90, 95, 99, 100] {
                let exact = latencies[(2_000 * percent).div_ceil(100) - 1];
                let read = percentile(&counts, i64::try_from(percent).unwrap()).unwrap();
                let off = if exact <= FIRST_MS {
                    (read - exact).abs() <= FIRST_MS
                } else {
                    read / exact < SQRT_2 + 1e-9 && exact / read < SQRT_2 + 1e-9
                };
                assert!(off || exact > 524_288.0, "{percent}: {read} for {exact}");
            }
        }
        assert_eq!(percentile(&[0; BUCKETS], 50), None);
    }
}
