//! `GET /api/usage`: requests, tokens, cost and latency by dimension and time.

use schemars::JsonSchema;
use serde::Serialize;

use crate::records::{Group, Report, Totals, Usage, UsageGroup};
use crate::web::api::csv::{self, Column, Csv, dollars, known};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::parameters::{
    FORMAT, FROM, FromQuery, HEADER, Listing, TO, bad, days, header, outcome, parameter, status,
};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/usage",
    name: "Usage",
    about: "Requests, tokens, cost and latency, summed up by dimension and time.",
    parameters: &[
        parameter(
            "by",
            "Dimensions to group by, with commas: day, hour, login, model, provider, agent, api, status, outcome, header.",
        ),
        parameter(
            "login",
            "Only these callers'. A user always gets their own.",
        )
        .many(),
        parameter("model", "Only these models.").many(),
        parameter("provider", "Only these providers.").many(),
        parameter("agent", "Only these client programs.").many(),
        parameter("api", "Only these API formats.").many(),
        parameter("status", "Only these HTTP statuses.").many(),
        parameter("outcome", "Only these outcomes.").many(),
        HEADER,
        FROM,
        TO,
        FORMAT,
    ],
    answer: json_of::<UsageReport>(),
    csv: true,
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

/// What is to be summed up.
#[derive(Default)]
pub(in crate::web) struct Question {
    report: Report,
    /// Its time and form.
    listing: Listing,
}

impl FromQuery for Question {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Rejection> {
        let report = &mut self.report;
        match name {
            "agent" => report.agents.push(value.to_owned()),
            "api" => report.apis.push(value.to_owned()),
            "by" => report.groups = groups(value)?,
            "header" => {
                let (name, value) = header(value);
                report.header = Some(name);
                report.header_values.extend(value);
            }
            "login" => report.logins.push(value.to_owned()),
            "model" => report.models.push(value.to_owned()),
            "outcome" => report.outcomes.push(outcome(value)?),
            "provider" => report.providers.push(value.to_owned()),
            "status" => report.statuses.push(status(value)?),
            _ => return self.listing.set(name, value),
        }
        Ok(())
    }
}

impl Question {
    /// The report that answers it.
    ///
    /// # Errors
    /// A 400 for a time that ends before it begins.
    pub(in crate::web) fn report(mut self) -> Result<Report, Rejection> {
        (self.report.from, self.report.to) = days(&self.listing.query, None)?;
        Ok(self.report)
    }
}

#[derive(Serialize, JsonSchema)]
struct UsageReport {
    from: String,
    to: String,
    by: Vec<&'static str>,
    rows: Vec<UsageGroup>,
    totals: Totals,
}

/// Sums over the requests that the reader may see.
pub(in crate::web) async fn sums(reader: &Reader<'_>, report: Report) -> Result<Usage, Rejection> {
    Ok(reader.ledger().usage(reader.scope(), report).await?)
}

async fn answer(call: Call<'_>) -> Reply {
    let question: Question = call.given.read()?;
    let csv = question.listing.csv;
    let report = question.report()?;
    let (groups, from, to) = (report.groups.clone(), report.from, report.to);
    let usage = sums(call.reader, report).await?;
    if csv {
        return Ok(table(&groups, &usage).respond("usage"));
    }
    Ok(crate::web::api::json(&UsageReport {
        from: csv::time(from),
        to: csv::time(to),
        by: groups.iter().map(|group| group.as_str()).collect(),
        rows: usage.groups,
        totals: usage.totals,
    }))
}

fn groups(text: &str) -> Result<Vec<Group>, Rejection> {
    let mut groups = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let group = Group::parse(name).ok_or_else(|| bad(format!("cannot group by {name:?}")))?;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok(groups)
}

fn table(groups: &[Group], usage: &Usage) -> Csv {
    let columns = FIGURES.iter().map(|(name, _)| *name);
    let columns: Vec<&str> = groups
        .iter()
        .map(|group| group.as_str())
        .chain(columns)
        .collect();
    let mut csv = Csv::new(&columns);
    for row in &usage.groups {
        let figures = FIGURES.iter().map(|(_, cell)| cell(&row.totals));
        csv.row(row.key.values().cloned().chain(figures));
    }
    csv
}

const FIGURES: [Column<Totals>; 17] = [
    ("requests", |row| row.counts.requests.to_string()),
    ("errors", |row| row.counts.errors.to_string()),
    ("input_tokens", |row| row.counts.input_tokens.to_string()),
    ("output_tokens", |row| row.counts.output_tokens.to_string()),
    ("cached_tokens", |row| row.counts.cached_tokens.to_string()),
    ("cache_creation_input_tokens", |row| {
        row.counts.cache_creation_input_tokens.to_string()
    }),
    ("reasoning_tokens", |row| {
        row.counts.reasoning_tokens.to_string()
    }),
    ("image_input_tokens", |row| {
        row.counts.image_input_tokens.to_string()
    }),
    ("image_output_tokens", |row| {
        row.counts.image_output_tokens.to_string()
    }),
    ("web_search_count", |row| {
        row.counts.web_search_count.to_string()
    }),
    ("cost_usd", |row| dollars(row.counts.cost)),
    ("own_credential_cost_usd", |row| {
        dollars(row.counts.own_credential_cost)
    }),
    ("unpriced", |row| row.counts.unpriced.to_string()),
    ("duration_p50_ms", |row| known(row.duration_ms.p50)),
    ("duration_p95_ms", |row| known(row.duration_ms.p95)),
    ("first_token_p50_ms", |row| known(row.first_token_ms.p50)),
    ("first_token_p95_ms", |row| known(row.first_token_ms.p95)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::api::parameters::Given;

    fn report(query: &str) -> Result<Report, Rejection> {
        let given = Given::in_query(ENDPOINT.parameters, query)?;
        given.read::<Question>()?.report()
    }

    #[test]
    fn a_report_covers_whole_days_unless_told_otherwise() {
        let thirty_days = report("by=day,model").unwrap();
        assert_eq!(thirty_days.groups, [Group::Day, Group::Model]);
        let day = 86_400_000;
        assert_eq!(thirty_days.to - thirty_days.from, 30 * day);
        assert!(thirty_days.to % day == 0);
        assert!(report("from=2026-01-02&to=2026-01-01").is_err());
    }
}
