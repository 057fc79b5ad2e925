//! `GET /api/usage`: requests, tokens, cost and latency by dimension and time.

use http::Response;
use serde_json::json;

use super::csv::{self, Csv};
use super::records::unavailable;
use super::{Asked, View, query};
use crate::records::{Group, Totals, Usage};
use crate::wire::{Body, Rejection};

/// The sums that were asked for.
pub(crate) struct Sums {
    /// Start of their time in unix milliseconds.
    pub from: i64,
    /// Its end, which is not included.
    pub to: i64,
    pub groups: Vec<Group>,
    pub usage: Usage,
    csv: bool,
}

/// Adds up what was asked for.
pub(crate) async fn sums(view: &View<'_>, asked: &Asked<'_>) -> Result<Sums, Rejection> {
    let (report, csv) = query::report(&asked.parameters)?;
    let (groups, from, to) = (report.groups.clone(), report.from, report.to);
    let usage = view.ledger.usage(asked.scope(), report).await;
    Ok(Sums {
        from,
        to,
        groups,
        usage: usage.map_err(|error| unavailable(&error))?,
        csv,
    })
}

pub(super) async fn usage(view: &View<'_>, asked: &Asked<'_>) -> Result<Response<Body>, Rejection> {
    let sums = sums(view, asked).await?;
    if sums.csv {
        return Ok(table(&sums.groups, &sums.usage).respond("usage"));
    }
    Ok(super::json(&json!({
        "from": csv::time(sums.from),
        "to": csv::time(sums.to),
        "by": sums.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
        "rows": sums.usage.groups,
        "totals": sums.usage.totals,
    })))
}

fn table(groups: &[Group], usage: &Usage) -> Csv {
    let mut columns: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
    columns.extend([
        "requests",
        "errors",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cache_creation_input_tokens",
        "reasoning_tokens",
        "image_input_tokens",
        "image_output_tokens",
        "web_search_count",
        "cost_usd",
        "unpriced",
        "duration_p50_ms",
        "duration_p95_ms",
        "first_token_p50_ms",
        "first_token_p95_ms",
    ]);
    let mut csv = Csv::new(&columns);
    for row in &usage.groups {
        csv.row(row.key.values().cloned().chain(cells(&row.totals)));
    }
    csv
}

fn cells(totals: &Totals) -> impl Iterator<Item = String> {
    let counts = &totals.counts;
    [
        counts.requests.to_string(),
        counts.errors.to_string(),
        counts.input_tokens.to_string(),
        counts.output_tokens.to_string(),
        counts.cached_tokens.to_string(),
        counts.cache_creation_input_tokens.to_string(),
        counts.reasoning_tokens.to_string(),
        counts.image_input_tokens.to_string(),
        counts.image_output_tokens.to_string(),
        counts.web_search_count.to_string(),
        csv::dollars(counts.cost),
        counts.unpriced.to_string(),
        csv::known(totals.duration_ms.p50),
        csv::known(totals.duration_ms.p95),
        csv::known(totals.first_token_ms.p50),
        csv::known(totals.first_token_ms.p95),
    ]
    .into_iter()
}
