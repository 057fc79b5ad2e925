//! From counts and a price to an amount.

use crate::base::money::{Factor, Field, Mode, Money, Price, Rate, Rates};
use crate::formats::Tokens;

/// What a request cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The sum with the adjustment, rounded once, half a nanodollar up.
    pub total: Money,
    /// What it is made of, without the adjustment. Each line is rounded for itself, so that
    /// their sum can differ from the total by some nanodollars.
    pub lines: Vec<CostLine>,
    /// Factor of the provider's pricing rules.
    pub adjustment: Factor,
    /// The provider's bill may say otherwise: a count or a price was missing or is known only
    /// roughly.
    pub estimated: bool,
}

/// One kind of unit in a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostLine {
    /// What was counted.
    pub what: Field,
    /// How many.
    pub count: u64,
    /// What they cost.
    pub unit_price: Rate,
    /// Their product.
    pub amount: Money,
}

/// Settles counts by a price; `None` where the cost is unknown, because nothing was counted
/// or because something counted has no price.
///
/// Counts are the provider's word and may be absurd: sums stop at the largest amount.
pub fn settle(tokens: &Tokens, price: &Price, adjustment: Factor, mode: Mode) -> Option<Cost> {
    let mut lines = Vec::new();
    let (total, estimated) = sum(tokens, price, adjustment, mode, |line| lines.push(line))?;
    Some(Cost {
        total,
        lines,
        adjustment,
        estimated,
    })
}

/// The same without its lines, which only people look at.
pub(super) fn total(
    tokens: &Tokens,
    price: &Price,
    adjustment: Factor,
    mode: Mode,
) -> Option<Money> {
    let (total, _) = sum(tokens, price, adjustment, mode, |_| {})?;
    Some(total)
}

/// The sum, and whether it is estimated. Hands each of its lines over.
fn sum(
    tokens: &Tokens,
    price: &Price,
    adjustment: Factor,
    mode: Mode,
    mut each: impl FnMut(CostLine),
) -> Option<(Money, bool)> {
    let (rates, counts) = parts(tokens, price, mode)?;
    let mut estimated = tokens.estimated
        || price.variable
        || (mode != Mode::Standard && price.of_mode(mode).is_none())
        || silent(tokens.input, &rates, Field::Input)
        || silent(tokens.output, &rates, Field::Output);
    let mut sum: u128 = 0;
    for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        let Some(unit_price) = rates.charged(what) else {
            // Many providers search for free, and the price of a search is small against the sum.
            if what == Field::WebSearch {
                estimated = true;
                continue;
            }
            return None;
        };
        let product = u128::from(count) * u128::from(unit_price.nanodollars());
        sum = sum.saturating_add(product);
        each(CostLine {
            what,
            count,
            unit_price,
            amount: amount(product, Factor::ONE),
        });
    }
    Some((amount(sum, adjustment), estimated))
}

/// Something that has a price was not counted.
fn silent(count: Option<u64>, rates: &Rates, field: Field) -> bool {
    count.is_none() && rates.get(field).is_some_and(|rate| rate.nanodollars() > 0)
}

/// Splits counts that contain each other, as [`Tokens`] describes them; with the rates of the tier that
/// all prompt tokens together choose. `None` if nothing was counted.
fn parts(
    tokens: &Tokens,
    price: &Price,
    mode: Mode,
) -> Option<(Rates, [(Field, u64); Field::ALL.len()])> {
    tokens.counts().iter().flatten().next()?;
    let count = |count: Option<u64>| count.unwrap_or_default();
    let cached = count(tokens.cached);
    let hour = count(tokens.cache_write_1h);
    let known = hour.saturating_add(count(tokens.cache_write_5m));
    let written = count(tokens.cache_write).max(known);
    let input = count(tokens.input);
    let prompt = input.max(cached.saturating_add(written));
    let fresh = input.saturating_sub(cached).saturating_sub(written);
    // It is unknown which of the images a cache served.
    let images = count(tokens.image_input).min(fresh);
    let heard_before = count(tokens.audio_cached).min(cached);
    let heard = count(tokens.audio_input).saturating_sub(heard_before);
    let heard = heard.min(fresh - images);

    // Counted within the output, and priced apart only if that has a price.
    let rates = price.rates(mode, prompt);
    let apart = |field, count| rates.get(field).map_or(0, |_| count);
    let made = count(tokens.image_output).saturating_add(count(tokens.audio_output));
    let inner = count(tokens.reasoning).saturating_add(made);
    let output = tokens.output.unwrap_or(inner);
    let reasoning = apart(Field::Reasoning, count(tokens.reasoning)).min(output);
    let drawn = apart(Field::ImageOutput, count(tokens.image_output)).min(output - reasoning);
    let written_text = output - reasoning - drawn;
    let spoken = apart(Field::AudioOutput, count(tokens.audio_output)).min(written_text);
    let counts = [
        (Field::Input, fresh - images - heard),
        (Field::Image, images),
        (Field::Audio, heard),
        (Field::CacheRead, cached - heard_before),
        (Field::AudioCacheRead, heard_before),
        (Field::CacheWrite, written - hour),
        (Field::CacheWrite1h, hour),
        (Field::Output, written_text - spoken),
        (Field::Reasoning, reasoning),
        (Field::ImageOutput, drawn),
        (Field::AudioOutput, spoken),
        (Field::WebSearch, count(tokens.web_searches)),
    ];
    Some((rates, counts))
}

/// Rounds a count times a rate, which is in millionths of a nanodollar.
fn amount(product: u128, adjustment: Factor) -> Money {
    const UNIT: u128 = 1_000_000 * 1_000_000_000;
    let exact = product.checked_mul(adjustment.billionths().into());
    // Beyond 128 bits it is beyond any amount.
    exact
        .and_then(|exact| i64::try_from(exact.saturating_add(UNIT / 2) / UNIT).ok())
        .map_or(Money::MAX, Money::from_nanodollars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::money::Table;

    fn table(rates: &[(&str, &str)]) -> Table {
        let mut table = Table::default();
        for (name, text) in rates {
            table.set(name, text).unwrap();
        }
        table
    }

    fn price(rates: &[(&str, &str)]) -> Price {
        Price {
            standard: table(rates),
            ..Price::default()
        }
    }

    fn claude() -> Price {
        price(&[
            ("input", "3"),
            ("output", "15"),
            ("input_cache_read", "0.3"),
            ("input_cache_write", "3.75"),
            ("input_cache_write_1h", "6"),
            ("input_above_200k", "6"),
            ("output_above_200k", "22.5"),
            ("web_search", "10"),
        ])
    }

    fn cost(tokens: &Tokens, price: &Price) -> Option<(i64, bool)> {
        let cost = settle(tokens, price, Factor::ONE, Mode::Standard)?;
        Some((cost.total.nanodollars(), cost.estimated))
    }

    fn counted(input: u64, output: u64) -> Tokens {
        Tokens {
            input: Some(input),
            output: Some(output),
            ..Tokens::default()
        }
    }

    #[test]
    fn parts_of_the_input_are_charged_once() {
        let tokens = Tokens {
            cached: Some(5_000),
            cache_write: Some(3_000),
            cache_write_1h: Some(1_000),
            web_searches: Some(2),
            ..counted(10_000, 500)
        };
        let cost = settle(&tokens, &claude(), Factor::ONE, Mode::Standard).unwrap();
        let lines: Vec<_> = cost
            .lines
            .iter()
            .map(|line| (line.what.name(), line.count, line.amount.nanodollars()))
            .collect();
        assert_eq!(
            lines,
            [
                ("input", 2_000, 6_000_000),
                ("input_cache_read", 5_000, 1_500_000),
                ("input_cache_write", 2_000, 7_500_000),
                ("input_cache_write_1h", 1_000, 6_000_000),
                ("output", 500, 7_500_000),
                ("web_search", 2, 20_000_000),
            ]
        );
        assert_eq!(cost.total.nanodollars(), 48_500_000);
        assert!(!cost.estimated);
    }

    #[test]
    fn the_tier_is_chosen_by_the_whole_prompt() {
        let short = counted(200_000, 100);
        assert_eq!(cost(&short, &claude()), Some((601_500_000, false)));
        let long = Tokens {
            cached: Some(200_000),
            ..counted(200_001, 100)
        };
        // One token at 6 dollars, the cached ones without a tier of their own, output at 22.5.
        let expected = 6_000 + 60_000_000 + 2_250_000;
        assert_eq!(cost(&long, &claude()), Some((expected, false)));
    }

    #[test]
    fn what_is_missing_falls_back_or_makes_the_cost_unknown() {
        let plain = price(&[("input", "2"), ("output", "8")]);
        let tokens = Tokens {
            cached: Some(400),
            cache_write: Some(100),
            cache_write_1h: Some(50),
            reasoning: Some(70),
            image_input: Some(20),
            image_output: Some(5),
            ..counted(1_000, 100)
        };
        assert_eq!(cost(&tokens, &plain), Some((2_800_000, false)));
        let searched = Tokens {
            web_searches: Some(1),
            ..tokens
        };
        assert_eq!(cost(&searched, &plain), Some((2_800_000, true)));
        assert_eq!(cost(&tokens, &price(&[("input", "2")])), None);
        assert_eq!(cost(&tokens, &price(&[("output", "2")])), None);
        assert_eq!(cost(&counted(0, 0), &price(&[])), Some((0, false)));
        assert_eq!(cost(&Tokens::default(), &plain), None);
        // Embeddings have no output and no price for it.
        let embedded = Tokens {
            output: None,
            ..counted(1_000, 0)
        };
        let embedding = price(&[("input", "0.02")]);
        assert_eq!(cost(&embedded, &embedding), Some((20_000, false)));
        assert_eq!(cost(&embedded, &plain), Some((2_000_000, true)));
    }

    #[test]
    fn reasoning_and_images_with_a_price_of_their_own() {
        let price = price(&[
            ("input", "1"),
            ("output", "2"),
            ("internal_reasoning", "4"),
            ("image", "10"),
            ("image_output", "40"),
        ]);
        let tokens = Tokens {
            reasoning: Some(30),
            image_input: Some(60),
            image_output: Some(50),
            ..counted(100, 100)
        };
        let expected = 40_000 + 600_000 + 40_000 + 120_000 + 2_000_000;
        assert_eq!(cost(&tokens, &price), Some((expected, false)));
    }

    #[test]
    fn sound_with_a_price_of_its_own() {
        let voice = price(&[
            ("input", "4"),
            ("output", "16"),
            ("input_cache_read", "0.4"),
            ("audio", "32"),
            ("audio_cache_read", "0.5"),
            ("audio_output", "64"),
        ]);
        let tokens = Tokens {
            cached: Some(60),
            audio_input: Some(70),
            audio_cached: Some(50),
            audio_output: Some(80),
            ..counted(200, 100)
        };
        // 120 of text, 20 of sound, 10 and 50 from the cache; 20 of text and 80 of sound.
        let expected = 480_000 + 640_000 + 4_000 + 25_000 + 320_000 + 5_120_000;
        assert_eq!(cost(&tokens, &voice), Some((expected, false)));
        // Without such prices it costs as much as text.
        let plain = price(&[("input", "4"), ("output", "16")]);
        assert_eq!(cost(&tokens, &plain), Some((2_400_000, false)));
    }

    #[test]
    fn a_model_that_only_draws_needs_no_price_for_text() {
        let draws = price(&[("input", "5"), ("image_output", "40")]);
        assert_eq!(cost(&counted(0, 10), &draws), Some((400_000, false)));
    }

    #[test]
    fn batches_cost_less_where_a_price_says_so() {
        let mut price = claude();
        let batch = |price: &Price| {
            let cost = settle(&counted(1_000, 100), price, Factor::ONE, Mode::Batch).unwrap();
            (cost.total.nanodollars(), cost.estimated)
        };
        assert_eq!(batch(&price), (4_500_000, true));
        price.batch = Some(table(&[("input", "1.5"), ("output", "7.5")]));
        assert_eq!(batch(&price), (2_250_000, false));
    }

    #[test]
    fn rounding_happens_once_and_half_goes_up() {
        // A third of a nanodollar each: three make one.
        let tiny = price(&[("input", "0.000333"), ("output", "0.000333")]);
        assert_eq!(cost(&counted(1, 1), &tiny), Some((1, false)));
        assert_eq!(cost(&counted(1, 0), &tiny), Some((0, false)));
        let half = price(&[("input", "0.0005")]);
        assert_eq!(cost(&counted(1, 0), &half), Some((1, false)));
        let adjusted = settle(
            &counted(1_000_000, 0),
            &claude(),
            Factor::parse("0.8").unwrap(),
            Mode::Standard,
        );
        // Above 200,000 tokens: 6 dollars, less a fifth.
        assert_eq!(adjusted.unwrap().total.nanodollars(), 4_800_000_000);
    }

    #[test]
    fn absurd_counts_neither_overflow_nor_turn_negative() {
        let dear = price(&[("input", "1000000000"), ("output", "1000000000")]);
        let big = Factor::parse("999999").unwrap();
        for count in [1 << 63, u64::MAX] {
            let all = Tokens {
                cached: Some(count),
                cache_write: Some(count),
                cache_write_5m: Some(count),
                cache_write_1h: Some(count),
                reasoning: Some(count),
                image_input: Some(count),
                image_output: Some(count),
                audio_input: Some(count),
                audio_cached: Some(count),
                audio_output: Some(count),
                web_searches: Some(count),
                ..counted(count, count)
            };
            for price in [&dear, &claude()] {
                let cost = settle(&all, price, big, Mode::Standard).unwrap();
                assert_eq!(cost.total, Money::MAX);
                assert!(cost.lines.iter().all(|line| line.amount >= Money::ZERO));
            }
        }
        // More from the cache than the prompt has: it is charged as counted, and the rest is zero.
        let odd = Tokens {
            cached: Some(100),
            ..counted(10, 0)
        };
        assert_eq!(cost(&odd, &claude()), Some((30_000, false)));
    }
}
