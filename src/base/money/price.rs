//! What a model costs: rates, those above a number of tokens, and those of batches.

use super::{Field, Rate, Rates};

/// How a request was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// An answer at once.
    #[default]
    Standard,
    /// An answer some hours later, usually for less.
    Batch,
    /// An answer before those of others, for more.
    Priority,
    /// An answer when there is room, for less.
    Flex,
}

impl Mode {
    /// The mode that a provider's word for a service tier stands for, in any API: `priority`,
    /// `ON_DEMAND_PRIORITY`, `flex`.
    #[must_use]
    pub fn of(tier: &str) -> Self {
        if tier.is_empty() {
            return Self::Standard;
        }
        let words = words(tier);
        let is = |any: &[&str]| words.iter().any(|word| any.contains(&word.as_str()));
        if is(&["priority", "fast", "performance"]) && !is(&["low", "no", "non", "not"]) {
            Self::Priority
        } else if is(&["flex"]) {
            Self::Flex
        } else if is(&["batch"]) {
            Self::Batch
        } else {
            Self::Standard
        }
    }
}

/// The words of a name in any style, in lower case: `ON_DEMAND`, `on-demand`, `onDemand`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for char in name.chars() {
        if !char.is_ascii_alphanumeric() || (was_lower && char.is_ascii_uppercase()) {
            words.push(String::new());
        }
        was_lower = char.is_ascii_lowercase();
        if let Some(word) = words.last_mut().filter(|_| char.is_ascii_alphanumeric()) {
            word.push(char.to_ascii_lowercase());
        }
    }
    words
}

/// What a model costs, and how much it takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Rates of a request that is answered at once.
    pub standard: Table,
    /// Rates of batches, as far as they differ; `None` if nothing is known of them.
    pub batch: Option<Table>,
    /// Rates of the tier `priority`, as far as they differ; `None` for those that its vendor usually
    /// takes.
    pub priority: Option<Table>,
    /// Rates of the tier `flex`, as far as they differ.
    pub flex: Option<Table>,
    /// Some of what the model is asked costs something else, as sound does, and the counts do
    /// not tell it apart.
    pub variable: bool,
    /// Tokens that fit into a request and its response.
    pub context_window: Option<u64>,
    /// Tokens that fit into a response.
    pub max_output: Option<u64>,
}

/// Rates, and those that replace them above a number of prompt tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Rates of the shortest prompts.
    pub base: Rates,
    /// The others, the lowest bound first.
    pub tiers: Vec<Tier>,
}

/// Rates for long prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Prompt tokens up to which they do not hold.
    pub above: u64,
    /// What they replace.
    pub rates: Rates,
}

/// Why a written price is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No field has that name.
    UnknownField,
    /// The text isn't a decimal number, or is an absurd one.
    NoNumber,
}

impl Table {
    /// Takes a price as it is written: `input`, or `input_above_200k` for more than 200,000
    /// prompt tokens, in dollars for a million tokens or a thousand searches.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), Problem> {
        let (name, above) = match name.split_once("_above_") {
            Some((name, bound)) => (name, Some(thousands(bound).ok_or(Problem::UnknownField)?)),
            None => (name, None),
        };
        let field = Field::parse(name).ok_or(Problem::UnknownField)?;
        let rate = Rate::parse(field, text).ok_or(Problem::NoNumber)?;
        let Some(above) = above else {
            self.base.set(field, rate);
            return Ok(());
        };
        let nth = match self.tiers.binary_search_by_key(&above, |tier| tier.above) {
            Ok(nth) => nth,
            Err(nth) => {
                let rates = Rates::default();
                self.tiers.insert(nth, Tier { above, rates });
                nth
            }
        };
        self.tiers[nth].rates.set(field, rate);
        Ok(())
    }

    /// All rates with the names under which they are written.
    pub fn named(&self) -> impl Iterator<Item = (String, Field, Rate)> {
        let base = self
            .base
            .iter()
            .map(|(field, rate)| (field.name().to_owned(), field, rate));
        let tiers = self.tiers.iter().flat_map(|tier| {
            let bound = tier.above / 1_000;
            tier.rates
                .iter()
                .map(move |(field, rate)| (format!("{}_above_{bound}k", field.name()), field, rate))
        });
        base.chain(tiers)
    }

    /// The rates that replace the base for a prompt of that length.
    fn above(&self, prompt: u64) -> Rates {
        self.tiers
            .iter()
            .filter(|tier| prompt > tier.above)
            .fold(Rates::default(), |rates, tier| rates.under(&tier.rates))
    }
}

/// `200k`.
fn thousands(text: &str) -> Option<u64> {
    let number = text.strip_suffix('k')?;
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| number.parse::<u64>().ok()?.checked_mul(1_000))?
}

impl Price {
    /// The table of a mode of its own.
    #[must_use]
    pub fn of_mode(&self, mode: Mode) -> Option<&Table> {
        match mode {
            Mode::Standard => None,
            Mode::Batch => self.batch.as_ref(),
            Mode::Priority => self.priority.as_ref(),
            Mode::Flex => self.flex.as_ref(),
        }
    }

    /// The rates for a prompt of that many tokens. What a mode's table leaves out is as dear
    /// as without it; a long prompt's rate stays where the mode knows only short ones.
    #[must_use]
    pub fn rates(&self, mode: Mode, prompt: u64) -> Rates {
        let other = self.of_mode(mode);
        let mut rates = self.standard.base;
        if let Some(other) = other {
            rates = rates.under(&other.base);
        }
        rates = rates.under(&self.standard.above(prompt));
        if let Some(other) = other {
            rates = rates.under(&other.above(prompt));
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_recognized_by_whole_words() {
        let priority =
            "priority PRIORITY ON_DEMAND_PRIORITY SERVICE_TIER_PRIORITY onDemandPriority fast";
        let standard = "default standard low_priority lowPriority non-priority breakfast flexible";
        assert_eq!(Mode::of(""), Mode::Standard);
        for (mode, tiers) in [
            (Mode::Priority, priority),
            (Mode::Flex, "flex ON_DEMAND_FLEX"),
            (Mode::Batch, "batch"),
            (Mode::Standard, standard),
        ] {
            for tier in tiers.split(' ') {
                assert_eq!(Mode::of(tier), mode, "{tier}");
            }
        }
    }

    #[test]
    fn tiers_replace_what_they_name() {
        let mut table = Table::default();
        for (name, text) in [
            ("input_above_272k", "9"),
            ("input", "3"),
            ("input_above_200k", "6"),
            ("output", "15"),
        ] {
            table.set(name, text).unwrap();
        }
        let price = Price {
            standard: table,
            ..Price::default()
        };
        let input = |prompt| {
            let rates = price.rates(Mode::Standard, prompt);
            assert_eq!(
                rates.get(Field::Output).unwrap().dollars(Field::Output),
                "15"
            );
            rates.get(Field::Input).unwrap().dollars(Field::Input)
        };
        assert_eq!(input(200_000), "3");
        assert_eq!(input(200_001), "6");
        assert_eq!(input(u64::MAX), "9");
        let names: Vec<String> = price.standard.named().map(|(name, ..)| name).collect();
        assert_eq!(
            names,
            ["input", "output", "input_above_200k", "input_above_272k"]
        );
    }

    #[test]
    fn what_is_no_price_is_refused() {
        let mut table = Table::default();
        assert_eq!(table.set("inptu", "1"), Err(Problem::UnknownField));
        assert_eq!(
            table.set("input_above_200", "1"),
            Err(Problem::UnknownField)
        );
        assert_eq!(table.set("input_above_k", "1"), Err(Problem::UnknownField));
        assert_eq!(
            table.set("input_above_99999999999999999999k", "1"),
            Err(Problem::UnknownField)
        );
        assert_eq!(table.set("input", "$1"), Err(Problem::NoNumber));
    }

    #[test]
    fn a_batch_pays_full_where_nothing_else_is_known() {
        let mut price = Price::default();
        price.standard.set("input", "4").unwrap();
        price.standard.set("output", "8").unwrap();
        price.standard.set("input_above_200k", "6").unwrap();
        let mut batch = Table::default();
        batch.set("input", "2").unwrap();
        price.batch = Some(batch);
        let rate = |field, prompt| {
            let rates = price.rates(Mode::Batch, prompt);
            rates.get(field).unwrap().dollars(field)
        };
        assert_eq!(rate(Field::Input, 1), "2");
        assert_eq!(rate(Field::Output, 1), "8");
        assert_eq!(rate(Field::Input, 200_001), "6");
    }
}
