//! What several pages show of usage: filters, cards, bars over time, and a table by whatever
//! requests are told apart. All figures are those of the API's reports.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::chart::{Chart, Series, Unit};
use super::period::Period;
use super::query::{PLACES, encoded};
use super::{Query, Visit, format, parts};
use crate::records::{Counts, Totals, UsageGroup};
use crate::wire::Rejection;

/// Parameters that reports are filtered by, and their names for people.
pub(super) const FILTERS: [(&str, &str); 10] = [
    ("login", "User"),
    ("model", "Model"),
    ("provider", "Provider"),
    ("agent", "Agent"),
    ("api", "API"),
    ("status", "Status"),
    ("outcome", "Outcome"),
    ("header", "Header"),
    ("label", "Label"),
    ("via", "Application"),
];

/// What a page shows, and by what.
pub(super) struct Lens {
    /// Where the page is.
    pub path: String,
    pub period: Period,
    /// Of the address: filters and the choices of view.
    pub query: Query,
    /// Filters that the page itself sets; the reader can't remove them.
    pub fixed: Query,
}

impl Lens {
    pub(super) fn new(visit: &Visit<'_>, fixed: Query) -> Self {
        Self {
            path: visit.path.to_owned(),
            period: Period::of(&visit.query),
            query: visit.query.clone(),
            fixed,
        }
    }

    /// The filters that are set.
    pub(super) fn filters(&self) -> Query {
        let names: Vec<&str> = FILTERS.iter().map(|(name, _)| *name).collect();
        let mut filters = self.query.only(&names);
        for (name, value) in self.fixed.pairs() {
            filters = filters.with(name, value);
        }
        filters
    }

    /// The query of a report by some dimensions.
    pub(super) fn report(&self, by: &str) -> Query {
        self.period.put_into(&self.filters()).with("by", by)
    }

    /// This page with another view of it.
    pub(super) fn link(&self, name: &str, value: &str) -> String {
        self.query.without(PLACES).with(name, value).at(&self.path)
    }
}

/// The choice of a time, the filters, and those that are set.
pub(super) async fn filter_bar(
    visit: &Visit<'_>,
    lens: &Lens,
    names: &[&str],
) -> Result<Markup, Rejection> {
    let offered: Vec<_> = FILTERS
        .iter()
        .filter(|(name, _)| names.contains(name) && lens.fixed.get(name).is_none())
        .collect();
    let mut known = BTreeMap::new();
    for (name, _) in &offered {
        if !matches!(*name, "header" | "label" | "via" | "outcome") {
            let query = lens.period.put_into(&lens.fixed).with("by", name);
            known.insert(*name, keys(&visit.sums(&query).await?.groups, name));
        }
    }
    let set: Vec<_> = offered
        .iter()
        .filter_map(|(name, shown)| Some((*name, *shown, lens.query.get(name)?)))
        .collect();
    let day = |ms: i64| format::date(ms);
    Ok(html! {
        div.filters {
            (Period::choice(&lens.path, &lens.query))
            details.filter {
                summary { "Filter" @if !set.is_empty() { " (" (set.len()) ")" } }
                form method="get" action=(lens.path) {
                    @for (name, value) in lens.query.only(&["by", "metric", "sort", "column"]).pairs() {
                        input type="hidden" name=(name) value=(value);
                    }
                    (field("from", "From", &html! {
                        input id="f-from" type="date" name="from"
                            value=(lens.query.get("from").map_or_else(|| day(lens.period.from), str::to_owned));
                    }))
                    (field("through", "Through", &html! {
                        input id="f-through" type="date" name="through"
                            value=(lens.query.get("through").map_or_else(|| day(lens.period.to - 1), str::to_owned));
                    }))
                    @for (name, shown) in &offered {
                        (field(name, shown, &input(name, lens.query.get(name), known.get(name))))
                    }
                    button.primary type="submit" { "Apply" }
                }
            }
        }
        @if !set.is_empty() {
            ul.chips aria-label="Filters that are set" {
                @for (name, shown, value) in &set {
                    li {
                        a href=(lens.query.without(&[name]).without(PLACES).at(&lens.path))
                            aria-label={ "Remove the filter " (shown) " " (value) } {
                            (shown) ": " b { (value) } " ×"
                        }
                    }
                }
            }
        }
    })
}

fn field(name: &str, shown: &str, input: &Markup) -> Markup {
    html! { div.field { label for={ "f-" (name) } { (shown) } (input) } }
}

fn input(name: &str, value: Option<&str>, known: Option<&Vec<String>>) -> Markup {
    const OUTCOMES: [&str; 6] = [
        "complete",
        "refused",
        "client_closed",
        "upstream_error",
        "timed_out",
        "failed",
    ];
    let few: Option<Vec<&str>> = match (name, known) {
        ("outcome", _) => Some(OUTCOMES.to_vec()),
        ("provider" | "api" | "status" | "agent", Some(known)) if known.len() <= 40 => {
            Some(known.iter().map(String::as_str).collect())
        }
        _ => None,
    };
    let id = format!("f-{name}");
    let hint = match name {
        "header" => "name or name:value",
        "label" => "key or key=value",
        _ => "any",
    };
    html! {
        @if let Some(few) = few {
            select id=(id) name=(name) {
                option value="" { "any" }
                @for one in &few { option value=(one) selected[value == Some(*one)] { (one) } }
                // What is set and not among them, or it would be lost.
                @if let Some(value) = value.filter(|value| !few.contains(value)) {
                    option value=(value) selected { (value) }
                }
            }
        } @else {
            input id=(id) name=(name) value=[value] placeholder=(hint) autocomplete="off"
                spellcheck="false" list=[known.map(|_| format!("l-{name}"))];
            @if let Some(known) = known {
                datalist id={ "l-" (name) } {
                    @for one in known.iter().take(500) { option value=(one) {} }
                }
            }
        }
    }
}

/// What the groups of a report have in a dimension.
pub(super) fn keys(groups: &[UsageGroup], dimension: &str) -> Vec<String> {
    let keys = groups.iter().filter_map(|group| group.key.get(dimension));
    keys.filter(|key| !key.is_empty()).cloned().collect()
}

/// Requests, tokens, cost, errors and latency; `whose` is a note on the requests.
pub(super) fn cards(totals: &Totals, whose: &Markup) -> Markup {
    let counts = &totals.counts;
    let tokens = counts.input_tokens.saturating_add(counts.output_tokens);
    let span = |ms: Option<f64>| parts::maybe(ms.map(format::span));
    html! {
        dl.cards {
            (parts::card("Requests", format::grouped(counts.requests), whose))
            (parts::card("Tokens", format::compact(tokens), html! {
                (format::compact(counts.input_tokens)) " in (" (format::compact(counts.cached_tokens))
                " cached), " (format::compact(counts.output_tokens)) " out"
                @if counts.reasoning_tokens > 0 { " (" (format::compact(counts.reasoning_tokens)) " reasoning)" }
            }))
            (parts::card("Cost", parts::cost(counts), html! {
                @if counts.unpriced > 0 {
                    (format::count(counts.unpriced, "request", "requests")) " without a price"
                } @else if counts.requests > 0 {
                    (format::dollars(counts.cost / i64::try_from(counts.requests).unwrap_or(1).max(1)))
                    " a request"
                }
            }))
            (parts::card("Errors", format::grouped(counts.errors), html! { (share(counts.errors, counts.requests)) }))
            (parts::card("Duration", span(totals.duration_ms.p50), html! {
                "p50; p95 " (span(totals.duration_ms.p95))
            }))
            (parts::card("First token", span(totals.first_token_ms.p50), html! {
                "p50; p95 " (span(totals.first_token_ms.p95))
            }))
        }
    }
}

/// A part of a whole in percent.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "of none".to_owned();
    }
    let tenths = (u128::from(part) * 1_000 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// What is counted, as the address has it.
fn metric(query: &Query) -> (&'static str, Unit) {
    match query.get("metric") {
        Some("cost") => ("cost", Unit::Money),
        Some("requests") => ("requests", Unit::Requests),
        _ => ("tokens", Unit::Tokens),
    }
}

pub(super) fn measure(unit: Unit, counts: &Counts) -> u64 {
    match unit {
        Unit::Tokens => counts.input_tokens.saturating_add(counts.output_tokens),
        Unit::Money => counts.cost.max(0).cast_unsigned(),
        Unit::Requests | Unit::Users => counts.requests,
    }
}

/// Bars over time, told apart by a dimension, with the choice of what is counted.
pub(super) async fn over_time(
    visit: &Visit<'_>,
    lens: &Lens,
    split: &str,
) -> Result<Markup, Rejection> {
    let (chosen, unit) = metric(&lens.query);
    let step = lens.period.step();
    let by_both = visit.sums(&lens.report(&format!("{step},{split}"))).await;
    // With too many groups for one report, the chart is by time alone.
    let (groups, split) = match by_both {
        Ok(sums) => (sums.groups, split),
        Err(_) => (visit.sums(&lens.report(step)).await?.groups, ""),
    };
    let steps = lens.period.steps();
    let place: BTreeMap<&str, usize> = steps.iter().map(String::as_str).zip(0..).collect();
    let mut series: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for group in &groups {
        let Some(nth) = group.key.get(step).and_then(|key| place.get(key.as_str())) else {
            continue;
        };
        let name = group.key.get(split).cloned().unwrap_or_default();
        let values = series.entry(name).or_insert_with(|| vec![0; steps.len()]);
        values[*nth] = values[*nth].saturating_add(measure(unit, &group.totals.counts));
    }
    let what = match unit {
        Unit::Money => "Cost",
        Unit::Requests | Unit::Users => "Requests",
        Unit::Tokens => "Tokens",
    };
    let chart = Chart {
        title: format!(
            "{what} by {step}{}",
            match split {
                "" => String::new(),
                "login" => " and user".to_owned(),
                other => format!(" and {other}"),
            }
        ),
        unit,
        slots: steps.iter().map(|step| lens.period.label(step)).collect(),
        series: series
            .into_iter()
            .map(|(name, values)| Series { name, values })
            .collect(),
    };
    let metrics = [
        ("tokens", "Tokens"),
        ("cost", "Cost"),
        ("requests", "Requests"),
    ];
    let query = lens.query.without(PLACES);
    let choices = parts::views(&query, &lens.path, "metric", metrics, chosen);
    Ok(html! {
        div.chart-head { (parts::choice("What the chart counts", &choices)) }
        @match chart.draw() {
            Some(figure) => (figure),
            None => (parts::empty(
                &format!("No {} in this time", what.to_lowercase()),
                &html! { "Choose a longer time, or take a filter away." },
            )),
        }
    })
}

/// Where the page of a user is.
pub(super) fn user_page(login: &str) -> String {
    format!("/ui/users/{}", encoded(login))
}
