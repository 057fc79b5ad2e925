//! Money in whole numbers: amounts, prices, and the lists that prices come from. No part of it
//! is a float, because sums of floats drift and a budget is a promise.

mod basis;
mod price;
mod rate;

use std::fmt;

pub use basis::CostBasis;
pub use price::{Mode, Price, Problem, Table, Tier};
pub use rate::{Factor, Field, Rate, Rates};

/// Nanodollars in a dollar.
const DOLLAR: u64 = 1_000_000_000;

/// An amount in nanodollars; negative for what is owed.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than anything costs: what absurd counts come to.
    pub const MAX: Self = Self(i64::MAX);

    /// An amount from nanodollars.
    #[must_use]
    pub const fn from_nanodollars(nanodollars: i64) -> Self {
        Self(nanodollars)
    }

    /// The amount in nanodollars.
    #[must_use]
    pub const fn nanodollars(self) -> i64 {
        self.0
    }

    /// Reads `$5.00`: a dollar sign, digits, and up to nine more after a point.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('$')?;
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            return None;
        }
        decimal(text, 9)?.try_into().ok().map(Self)
    }

    /// The sum, if it fits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, if it fits.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum, or the nearest amount that fits.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Dollars with at least cents, and with as many more digits as the amount has.
impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let amount = self.0.unsigned_abs();
        let part = format!("{:09}", amount % DOLLAR);
        let digits = part.trim_end_matches('0').len().max(2);
        write!(out, "{sign}${}.{}", amount / DOLLAR, &part[..digits])
    }
}

/// A decimal number in units of 10^-`places`, exactly: `None` for anything else, and for what has
/// more places than that, or does not fit. Exponents are read, because JSON may write them.
fn decimal(text: &str, places: i32) -> Option<u64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let part = part.trim_end_matches('0');
    let value: u64 = format!("{whole}{part}").parse().ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    let shift = places
        .checked_sub(i32::try_from(part.len()).ok()?)?
        .checked_add(exponent)?;
    if value == 0 {
        return Some(0);
    }
    let power = 10_u64.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 {
        value.checked_mul(power)
    } else {
        value.is_multiple_of(power).then_some(value / power)
    }
}

/// The number of which [`decimal`] makes `value`, in its shortest form.
fn shortest(value: u128, places: usize) -> String {
    let digits = format!("{value:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    let part = part.trim_end_matches('0');
    if part.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_whole_nanodollars() {
        let parse = |text| Money::parse(text).map(Money::nanodollars);
        assert_eq!(parse("$5.00"), Some(5_000_000_000));
        assert_eq!(parse("$0.000000001"), Some(1));
        assert_eq!(parse("$7"), Some(7_000_000_000));
        for text in "5 $ $.5 $5. $-1 $1e3 $1.0000000001 $99999999999 $1,5".split(' ') {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_shown_with_as_many_digits_as_they_have() {
        for (nanodollars, shown) in [
            (0, "$0.00"),
            (12_300_000, "$0.0123"),
            (5_000_000_000, "$5.00"),
            (1, "$0.000000001"),
            (-1_500_000_000, "-$1.50"),
            (i64::MIN, "-$9223372036.854775808"),
        ] {
            assert_eq!(Money::from_nanodollars(nanodollars).to_string(), shown);
        }
    }

    #[test]
    fn sums_never_wrap() {
        let one = Money::from_nanodollars(1);
        assert_eq!(Money::MAX.checked_add(one), None);
        assert_eq!(Money::MAX.saturating_add(one), Money::MAX);
        assert_eq!(Money::from_nanodollars(i64::MIN).checked_sub(one), None);
        assert_eq!(one.checked_sub(one), Some(Money::ZERO));
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, value) in [
            ("1.25", Some(1_250_000_000)),
            ("0", Some(0)),
            ("0.10", Some(100_000_000)),
            ("1e-7", Some(100)),
            ("2.5E2", Some(250_000_000_000)),
            ("10e-1", Some(1_000_000_000)),
            ("1e-10", None),
            ("0.0000000001", None),
            ("-1", None),
            ("+1", None),
            ("1.", None),
            ("", None),
            ("1e99", None),
            ("1e-99", None),
            ("1e9999999999", None),
            ("0e99", Some(0)),
            ("99999999999999999999", None),
        ] {
            assert_eq!(decimal(text, 9), value, "{text}");
        }
        assert_eq!(shortest(1_250_000_000, 9), "1.25");
        assert_eq!(shortest(7, 15), "0.000000000000007");
        assert_eq!(shortest(0, 9), "0");
    }
}
