//! The built-in price table, and how a model is found in it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::names::shorter;
use crate::base::money::{CostBasis, Price, Table};

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose list it is from.
    pub basis: CostBasis,
    /// The model as that list names it.
    pub model: String,
    /// Other names with the same price.
    pub aliases: Vec<String>,
    /// The page that the figures are from.
    pub source: String,
    /// When they were seen, as `2026-11-25`.
    pub date: String,
    /// The figures.
    pub price: Arc<Price>,
}

/// The table.
#[derive(Debug, Default)]
pub struct Book {
    /// When the table was last checked.
    pub date: String,
    /// All rows, by basis and model.
    pub rows: Vec<Row>,
    by_name: HashMap<CostBasis, HashMap<String, usize>>,
}

/// A row, and how a name led to it.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The row.
    pub row: &'a Row,
    /// What was done to the name, in words; empty for the row's own name.
    pub how: String,
    /// The row is of another list than was asked for.
    pub elsewhere: bool,
}

#[derive(Deserialize)]
struct Written {
    date: String,
    rows: Vec<WrittenRow>,
}

#[derive(Deserialize)]
struct WrittenRow {
    basis: String,
    model: String,
    #[serde(default)]
    aliases: Vec<String>,
    source: String,
    date: String,
    #[serde(default)]
    variable: bool,
    #[serde(default)]
    modes: Modes,
    context_window_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    #[serde(flatten)]
    rates: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct Modes {
    batch: Option<Map<String, Value>>,
}

impl Book {
    /// The table that was built in.
    pub fn built_in() -> &'static Self {
        static BOOK: LazyLock<Book> = LazyLock::new(|| {
            Book::parse(include_str!("prices.json")).unwrap_or_else(|error| {
                // A test reads the same text, so this is a build that never passed it.
                tracing::error!(
                    error,
                    "the built-in price table is broken; costs are unknown"
                );
                Book::default()
            })
        });
        &BOOK
    }

    /// Reads a table.
    ///
    /// # Errors
    /// A sentence about the first row that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut book = Self {
            date: written.date,
            ..Self::default()
        };
        for row in written.rows {
            let name = format!("{}/{}", row.basis, row.model);
            let row = read(row).map_err(|problem| format!("{name}: {problem}"))?;
            let names = book.by_name.entry(row.basis).or_default();
            for key in std::iter::once(&row.model).chain(&row.aliases) {
                if names.insert(key.clone(), book.rows.len()).is_some() {
                    return Err(format!("{name}: {key:?} is there twice"));
                }
            }
            book.rows.push(row);
        }
        Ok(book)
    }

    /// The row for a model.
    ///
    /// The name is tried as it is, then without what providers put around it, one part after
    /// the other: `models/`, the region of a Bedrock profile, Vertex's `@date`, a date at the
    /// end, `-latest`. A Bedrock profile of a region has that region's price, whatever list
    /// was asked for; a regional list that lacks a model is filled from the one without.
    pub fn find(&self, basis: CostBasis, model: &str) -> Option<Match<'_>> {
        let mut how = Vec::new();
        let mut name = model;
        let mut list = basis;
        loop {
            if let Some(found) = self.listed(list, name, &how) {
                return Some(found);
            }
            let (step, shorter) = shorter(basis, name)?;
            if let Some(region) = step.region {
                list = region;
            }
            how.push(step.what);
            name = shorter;
        }
    }

    /// The row with exactly this name, in the list or in the one without a region.
    fn listed(&self, list: CostBasis, name: &str, how: &[String]) -> Option<Match<'_>> {
        let exact = |list| Some(&self.rows[*self.by_name.get(&list)?.get(name)?]);
        let (row, elsewhere) = match exact(list) {
            Some(row) => (row, None),
            None => (exact(list.without_region()?)?, list.without_region()),
        };
        let mut how = how.to_vec();
        if row.model != name {
            how.push(format!("{name:?} is an alias"));
        }
        if let Some(other) = elsewhere {
            how.push(format!(
                "{} has no price for it, taken from {}",
                list.as_str(),
                other.as_str()
            ));
        }
        Some(Match {
            row,
            how: how.join("; "),
            elsewhere: elsewhere.is_some(),
        })
    }
}

fn read(row: WrittenRow) -> Result<Row, String> {
    Ok(Row {
        basis: CostBasis::parse(&row.basis).ok_or("unknown basis")?,
        model: row.model,
        aliases: row.aliases,
        source: row.source,
        date: row.date,
        price: Arc::new(Price {
            standard: table(&row.rates)?,
            batch: row.modes.batch.as_ref().map(table).transpose()?,
            variable: row.variable,
            context_window: row.context_window_tokens,
            max_output: row.max_output_tokens,
            ..Price::default()
        }),
    })
}

fn table(written: &Map<String, Value>) -> Result<Table, String> {
    let mut table = Table::default();
    for (name, value) in written {
        let text = value.as_str().ok_or(format!("{name} is not a string"))?;
        table
            .set(name, text)
            .map_err(|problem| format!("{name}: {problem:?}"))?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::money::{Field, Rate};

    fn book() -> Book {
        Book::parse(include_str!("prices.json")).unwrap()
    }

    #[test]
    fn the_table_is_sorted_sourced_and_plausible() {
        let book = book();
        assert!(book.rows.len() > 300);
        assert!(
            book.rows
                .is_sorted_by(|a, b| (a.basis.as_str(), &a.model) < (b.basis.as_str(), &b.model)),
            "not sorted"
        );
        let most = Rate::parse(Field::Input, "1000").unwrap();
        for row in &book.rows {
            let name = format!("{}/{}", row.basis.as_str(), row.model);
            assert!(row.source.starts_with("https://"), "{name}");
            let date: Vec<_> = row.date.split('-').map(str::len).collect();
            assert_eq!(date, [4, 2, 2], "{name}");
            assert!(row.date <= book.date, "{name}");
            let tables = [Some(&row.price.standard), row.price.batch.as_ref()];
            for table in tables.into_iter().flatten() {
                for (field, key, rate) in table.named() {
                    let searches = key == Field::WebSearch;
                    assert!(rate.nanodollars() > 0, "{name} {field}");
                    assert!(searches || rate <= most, "{name} {field}");
                }
                let rate = |field| table.base.get(field);
                let input = rate(Field::Input).expect(&name);
                assert!(
                    rate(Field::CacheRead).is_none_or(|read| read <= input),
                    "{name}"
                );
                assert!(
                    rate(Field::CacheWrite).is_none_or(|write| write >= input),
                    "{name}"
                );
                assert!(
                    rate(Field::CacheWrite1h) >= rate(Field::CacheWrite)
                        || rate(Field::CacheWrite1h).is_none(),
                    "{name}"
                );
                assert!(
                    rate(Field::Output).is_none_or(|output| output >= input),
                    "{name}"
                );
                for tier in &table.tiers {
                    let above = tier.rates.get(Field::Input);
                    assert!(above.is_none_or(|above| above >= input), "{name}");
                }
            }
            if let Some(batch) = &row.price.batch {
                for (field, rate) in batch.base.iter() {
                    let full = row.price.standard.base.charged(field);
                    assert!(full.is_none_or(|full| rate <= full), "{name} {field:?}");
                }
            }
        }
        let known = |basis| book.rows.iter().any(|row| row.basis == basis);
        assert!(CostBasis::ALL.into_iter().all(known));
    }

    #[test]
    fn names_are_found_as_people_write_them() {
        use CostBasis::{Anthropic, AzureEu, Bedrock, BedrockEu, Google, OpenAi, Vertex};
        let book = book();
        for (basis, name, list, model) in [
            (OpenAi, "gpt-4o", "openai", "gpt-4o"),
            (OpenAi, "gpt-4o-2099-01-31", "openai", "gpt-4o"),
            (
                Anthropic,
                "claude-sonnet-4-5-20250929",
                "anthropic",
                "claude-sonnet-4-5",
            ),
            (
                Anthropic,
                "claude-sonnet-4-5-20991231",
                "anthropic",
                "claude-sonnet-4-5",
            ),
            (
                Anthropic,
                "claude-3-5-haiku-latest",
                "anthropic",
                "claude-3-5-haiku",
            ),
            (Google, "models/gemini-2.5-pro", "google", "gemini-2.5-pro"),
            (
                Vertex,
                "claude-haiku-4-5@20251001",
                "vertex",
                "claude-haiku-4-5",
            ),
            (
                Bedrock,
                "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "bedrock",
                "anthropic.claude-sonnet-4-5-20250929-v1:0",
            ),
            (
                Bedrock,
                "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "bedrock-eu",
                "anthropic.claude-sonnet-4-5-20250929-v1:0",
            ),
            (
                BedrockEu,
                "eu.meta.llama3-3-70b-instruct-v1:0",
                "bedrock",
                "meta.llama3-3-70b-instruct-v1:0",
            ),
            (AzureEu, "gpt-image-1", "azure", "gpt-image-1"),
        ] {
            let found = book.find(basis, name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(
                (found.row.basis.as_str(), found.row.model.as_str()),
                (list, model)
            );
            assert_eq!(
                found.how.is_empty(),
                name == model && list == basis.as_str(),
                "{name}"
            );
        }
        for (basis, name) in [
            (OpenAi, "qwen3-coder-30b"),
            (OpenAi, ""),
            (OpenAi, "-latest"),
            (OpenAi, "-20250101"),
            (OpenAi, "eu.gpt-4o"),
            (Anthropic, "gpt-4o"),
            (OpenAi, "é-2025-01-01"),
        ] {
            assert!(book.find(basis, name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_broken_table_names_its_row() {
        let with = |row: &str| {
            let text = format!(r#"{{"date":"2026-01-01","rows":[{row}]}}"#);
            Book::parse(&text).unwrap_err()
        };
        let row = |fields: &str| {
            format!(r#"{{"basis":"openai","model":"m","source":"s","date":"d",{fields}}}"#)
        };
        let good = row(r#""input":"1""#);
        assert!(with(&row(r#""inptu":"1""#)).contains("openai/m: inptu"));
        assert!(with(&row(r#""input":1"#)).contains("input is not a string"));
        assert!(with(&format!("{good},{good}")).contains("twice"));
        assert!(with(r#"{"basis":"acme","model":"m","source":"s","date":"d"}"#).contains("basis"));
    }
}
