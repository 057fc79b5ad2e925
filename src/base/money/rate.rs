//! What one unit costs, and what units there are.

use super::{decimal, shortest};

/// What is counted and has a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Prompt tokens that no cache had to do with.
    Input,
    /// Tokens that the model wrote.
    Output,
    /// Prompt tokens read from the provider's cache.
    CacheRead,
    /// Prompt tokens written to it for five minutes, or for an unknown time.
    CacheWrite,
    /// Prompt tokens written to it for an hour.
    CacheWrite1h,
    /// Tokens of reasoning.
    Reasoning,
    /// Prompt tokens that stand for images.
    Image,
    /// Tokens of images that the model made.
    ImageOutput,
    /// Prompt tokens that stand for sound.
    Audio,
    /// Those of them that were read from the provider's cache.
    AudioCacheRead,
    /// Tokens of sound that the model made.
    AudioOutput,
    /// Searches of the web.
    WebSearch,
}

impl Field {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Input,
        Self::Output,
        Self::CacheRead,
        Self::CacheWrite,
        Self::CacheWrite1h,
        Self::Reasoning,
        Self::Image,
        Self::ImageOutput,
        Self::Audio,
        Self::AudioCacheRead,
        Self::AudioOutput,
        Self::WebSearch,
    ];

    /// The name in the table, the configuration and the pricing document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "input_cache_read",
            Self::CacheWrite => "input_cache_write",
            Self::CacheWrite1h => "input_cache_write_1h",
            Self::Reasoning => "internal_reasoning",
            Self::Image => "image",
            Self::ImageOutput => "image_output",
            Self::Audio => "audio",
            Self::AudioCacheRead => "audio_cache_read",
            Self::AudioOutput => "audio_output",
            Self::WebSearch => "web_search",
        }
    }

    /// The field with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// What is counted.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::WebSearch => "searches",
            _ => "tokens",
        }
    }

    /// How many of them a written price is for.
    #[must_use]
    pub const fn quantity(self) -> u64 {
        match self {
            Self::WebSearch => 1_000,
            _ => MILLION,
        }
    }
}

const MILLION: u64 = 1_000_000;

/// A price in nanodollars for a million units; at most [`Rate::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A thousand dollars for a single token. Below it a count of 64 bits times a rate fits
    /// into 128 bits, several times over.
    pub const MAX: Self = Self(1_000_000_000_000_000_000);

    /// Reads dollars for as many units as prices of this field are for.
    #[must_use]
    pub fn parse(field: Field, text: &str) -> Option<Self> {
        let rate = decimal(text, 9)?.checked_mul(MILLION / field.quantity())?;
        (rate <= Self::MAX.0).then_some(Self(rate))
    }

    /// Nanodollars for a million units.
    #[must_use]
    pub const fn nanodollars(self) -> u64 {
        self.0
    }

    /// Dollars for as many units as prices of this field are for.
    #[must_use]
    pub fn dollars(self, field: Field) -> String {
        shortest(u128::from(self.0) * u128::from(field.quantity()), 15)
    }

    /// Dollars for one unit.
    #[must_use]
    pub fn dollars_each(self) -> String {
        shortest(self.0.into(), 15)
    }

    /// The rate with a factor, rounded to the nearest.
    #[must_use]
    pub fn times(self, factor: Factor) -> Self {
        let product = u128::from(self.0) * u128::from(factor.0);
        let rounded = (product + u128::from(Factor::ONE.0) / 2) / u128::from(Factor::ONE.0);
        Self(u64::try_from(rounded).map_or(Self::MAX.0, |rate| rate.min(Self::MAX.0)))
    }
}

/// A factor for prices, in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor(u64);

impl Factor {
    /// Changes nothing.
    pub const ONE: Self = Self(1_000_000_000);

    /// Reads a number with up to nine decimals, below a million.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts = decimal(text, 9)?;
        (parts < MILLION * Self::ONE.0).then_some(Self(parts))
    }

    /// A number of hundredths.
    #[must_use]
    pub const fn hundredths(number: u64) -> Self {
        Self(number * 10_000_000)
    }

    /// Both factors, one after the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let both = u128::from(self.0) * u128::from(other.0) / u128::from(Self::ONE.0);
        Self(u64::try_from(both).unwrap_or(u64::MAX))
    }

    /// The factor in billionths.
    #[must_use]
    pub const fn billionths(self) -> u64 {
        self.0
    }
}

impl Default for Factor {
    fn default() -> Self {
        Self::ONE
    }
}

/// The number as one would write it.
impl std::fmt::Display for Factor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&shortest(self.0.into(), 9))
    }
}

/// A rate for each field, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates([Option<Rate>; Field::ALL.len()]);

impl Rates {
    /// The rate that was written.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<Rate> {
        self.0[field as usize]
    }

    pub(crate) fn set(&mut self, field: Field, rate: Rate) {
        self.0[field as usize] = Some(rate);
    }

    /// Fields with a rate of their own.
    pub fn iter(&self) -> impl Iterator<Item = (Field, Rate)> {
        Field::ALL
            .into_iter()
            .filter_map(|field| Some((field, self.get(field)?)))
    }

    /// These, with those of `upper` laid over them.
    #[must_use]
    pub(super) fn under(mut self, upper: &Self) -> Self {
        for (field, rate) in upper.iter() {
            self.set(field, rate);
        }
        self
    }

    /// The rate to charge: the field's own, else that of the field it is a part of. A web
    /// search is a part of none.
    #[must_use]
    pub fn charged(&self, field: Field) -> Option<Rate> {
        let instead = match field {
            Field::WebSearch | Field::Input => None,
            Field::CacheRead | Field::CacheWrite | Field::Image | Field::Audio => {
                self.get(Field::Input)
            }
            Field::AudioCacheRead => self.get(Field::CacheRead).or(self.get(Field::Input)),
            Field::CacheWrite1h => self.get(Field::CacheWrite).or(self.get(Field::Input)),
            // A model with a price for images alone writes nothing else.
            Field::Output => self.get(Field::ImageOutput),
            Field::Reasoning | Field::ImageOutput | Field::AudioOutput => self.get(Field::Output),
        };
        self.get(field).or(instead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_shown_as_it_was_written() {
        for text in ["3", "0.075", "1.625", "0.0001"] {
            assert_eq!(
                Rate::parse(Field::Input, text)
                    .unwrap()
                    .dollars(Field::Input),
                text
            );
        }
        let search = Rate::parse(Field::WebSearch, "10").unwrap();
        assert_eq!(search.dollars(Field::WebSearch), "10");
        assert_eq!(search.dollars_each(), "0.01");
        let input = Rate::parse(Field::Input, "1.25").unwrap();
        assert_eq!(input.dollars_each(), "0.00000125");
        assert_eq!(Rate::parse(Field::Input, "1000000001"), None);
        assert_eq!(Rate::parse(Field::Input, "-1"), None);
    }

    #[test]
    fn factors_are_exact() {
        let rate = |text| Rate::parse(Field::Input, text).unwrap();
        let factor = |text| Factor::parse(text).unwrap();
        assert_eq!(rate("3").times(factor("1.1")), rate("3.3"));
        assert_eq!(
            rate("0.000000001").times(factor("0.5")),
            rate("0.000000001")
        );
        assert_eq!(rate("0.000000001").times(factor("0.4")), rate("0"));
        assert_eq!(Rate::MAX.times(factor("999999")), Rate::MAX);
        assert_eq!(Factor::parse("1000000"), None);
        assert_eq!(Factor::parse("-0.5"), None);
        assert_eq!(factor("0.80").to_string(), "0.8");
    }
}
