//! The gateway's records against what clients read and providers counted.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::provider::Served;
use crate::world::World;

/// A call as a script prints it: which one, and the counts that the SDK read.
#[derive(Debug, Deserialize)]
pub struct Call {
    pub name: String,
    pub stream: bool,
    pub text: Value,
    pub input: Option<u64>,
    pub output: Option<u64>,
}

/// The records that come after this moment.
pub struct Mark(HashSet<String>);

impl Mark {
    pub async fn set(world: &World) -> anyhow::Result<Self> {
        world.provider.take();
        let records = world.records().await?;
        Ok(Self(records.iter().map(|row| text(row, "id")).collect()))
    }

    /// The new records that reached a provider, in the order in which they came, once there are
    /// `count`; a record is written when its answer has ended, which the client knows first.
    pub async fn routed(&self, world: &World, count: usize) -> anyhow::Result<Vec<Value>> {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let mut rows = self.rows(world).await?;
            rows.retain(|row| row["outcome"] != "refused");
            if rows.len() == count {
                // One too many might still come.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let again = self.rows(world).await?;
                let again = again.iter().filter(|row| row["outcome"] != "refused");
                ensure!(again.count() == count, "more records than {count}");
                return Ok(rows);
            }
            if rows.len() > count || Instant::now() > until {
                bail!(
                    "{} records instead of {count}: {:#}",
                    rows.len(),
                    brief(&rows)
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many new records are of requests that were refused.
    pub async fn refused(&self, world: &World) -> anyhow::Result<usize> {
        let rows = self.rows(world).await?;
        Ok(rows
            .iter()
            .filter(|row| row["outcome"] == "refused")
            .count())
    }

    /// All new records.
    pub async fn all(&self, world: &World) -> anyhow::Result<Vec<Value>> {
        self.rows(world).await
    }

    async fn rows(&self, world: &World) -> anyhow::Result<Vec<Value>> {
        let mut rows = world.records().await?;
        rows.retain(|row| !self.0.contains(&text(row, "id")));
        rows.reverse();
        Ok(rows)
    }
}

/// Whether a record is of a call of this name.
fn is(name: &str, row: &Value) -> bool {
    let path = text(row, "path");
    match name {
        "chat" | "compatible" | "openai_chat" => row["api"] == "openai_chat",
        "responses" | "openai_responses" => row["api"] == "openai_responses",
        "messages" | "anthropic_messages" => row["api"] == "anthropic_messages",
        "generate" | "gemini_generate_content" => row["api"] == "gemini_generate_content",
        "converse" | "bedrock_converse" => row["api"] == "bedrock_converse",
        "invoke" | "bedrock_model_invoke" => row["api"] == "bedrock_model_invoke",
        "ollama_chat" => row["api"] == "ollama",
        "ollama_embed" | "ollama_generate" => row["api"] == name,
        "completions" | "embeddings" | "count_tokens" => path.ends_with(&format!("/{name}")),
        "count" => path.ends_with(":countTokens"),
        "embed" => path.ends_with("mbedContents") || path.ends_with(":embedContent"),
        _ => false,
    }
}

/// Holds what every record must say.
pub fn complete(row: &Value, provider: &str, model: &str, agent: &str) -> anyhow::Result<()> {
    for (column, expected) in [
        ("provider", json!(provider)),
        ("model", json!(model)),
        ("agent", json!(agent)),
        ("outcome", json!("complete")),
    ] {
        ensure!(
            row[column] == expected,
            "{column} is {} instead of {expected} in {row}",
            row[column]
        );
    }
    // A response over a socket has no status of its own.
    let switched = row["method"] == "GET" && row["status"] == 101;
    ensure!(row["status"] == 200 || switched, "a wrong status in {row}");
    Ok(())
}

/// Holds records to the calls of a script: as many, in the same order, with the same counts.
pub fn as_called(rows: &[Value], calls: &[Call]) -> anyhow::Result<()> {
    for (row, call) in rows.iter().zip(calls) {
        ensure!(is(&call.name, row), "no {} is {row}", call.name);
        ensure!(
            row["stream"] == call.stream,
            "{call:?} is no stream in {row}"
        );
        for (counted, column) in [(call.input, "input_tokens"), (call.output, "output_tokens")] {
            if let Some(count) = counted {
                let recorded = &row["usage"][column];
                ensure!(*recorded == count, "{call:?}: {column} is {recorded}");
            }
        }
        // What its provider does not count, such as embeddings in Google's format, is an estimate.
        let is_counted = call.input.is_some() || call.output.is_some();
        let is_estimated = row["usage"]["estimated"] == true;
        ensure!(!(is_counted && is_estimated), "{call:?} was estimated");
    }
    Ok(())
}

/// Holds records to what the provider at the wire has counted. Each of its counts is unique, so
/// requests that ran at the same time can be told apart.
pub fn as_served(rows: &[Value], served: &[Served]) -> anyhow::Result<()> {
    for one in served {
        let usage = &one.usage;
        // What is not billed has no counts: any record of the same kind will do.
        let unbilled = matches!(one.format, "count_tokens" | "count" | "embed");
        let row = rows.iter().find(|row| {
            let is_counted = row["usage"]["input_tokens"] == usage.input;
            // Other formats' requests are asked in this one where they are translated.
            let is_served = is(one.format, row) || text(row, "api").starts_with("ollama");
            is_served && (unbilled || is_counted)
        });
        let Some(row) = row else {
            bail!("no record of {} {usage:?} in {:#}", one.format, brief(rows));
        };
        if unbilled {
            continue;
        }
        ensure!(row["stream"] == one.stream, "stream is wrong in {row}");
        let mut expected = vec![
            ("output_tokens", usage.output),
            ("cached_tokens", usage.cached),
            ("cache_creation_input_tokens", usage.written),
            ("reasoning_tokens", usage.reasoning),
        ];
        // A format that has no such count leaves it empty.
        expected.retain(|(column, count)| *count > 0 || !row["usage"][column].is_null());
        for (column, count) in expected {
            let recorded = &row["usage"][column];
            ensure!(
                *recorded == count,
                "{} {usage:?}: {column} is {recorded}",
                one.format
            );
        }
    }
    Ok(())
}

/// The record counts what the provider at the wire did.
pub fn as_counted(row: &Value, served: &Served) -> anyhow::Result<()> {
    let usage = &served.usage;
    for (column, count) in [
        ("input_tokens", usage.input),
        ("output_tokens", usage.output),
        ("cached_tokens", usage.cached),
        ("cache_creation_input_tokens", usage.written),
        ("reasoning_tokens", usage.reasoning),
    ] {
        let recorded = row["usage"][column].as_u64().unwrap_or(0);
        ensure!(recorded == count, "{column} is {recorded} in {usage:?}");
    }
    Ok(())
}

/// A column's text.
pub fn text(row: &Value, column: &str) -> String {
    row[column].as_str().unwrap_or_default().to_owned()
}

/// The columns that tell records apart.
fn brief(rows: &[Value]) -> Value {
    let columns = ["path", "api", "status", "outcome", "stream", "usage"];
    rows.iter()
        .map(|row| columns.map(|column| (column.to_owned(), row[column].clone())))
        .map(|columns| Value::Object(columns.into_iter().collect()))
        .collect()
}
