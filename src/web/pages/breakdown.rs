//! Usage by whatever requests are told apart by: a table whose columns are chosen, sorted by any of
//! them, a page at a time.

use maud::{Markup, html};

use super::activity::{self, Lens, measure};
use super::chart::Unit;
use super::query::Query;
use super::{format, parts};
use crate::records::{Counts, Totals, UsageGroup};

/// Rows of a page; the CSV has all.
const ROWS: usize = 50;

/// What requests are told apart by.
#[derive(Clone, Copy)]
pub(super) struct Dimension {
    /// In the address.
    pub name: &'static str,
    /// Its name for people.
    pub shown: &'static str,
    caption: &'static str,
}

pub(super) const AGENT: Dimension = dimension("agent", "Agent", "Usage by agent");
pub(super) const LOGIN: Dimension = dimension("login", "User", "Usage by user");
pub(super) const MODEL: Dimension = dimension("model", "Model", "Usage by model");
pub(super) const OUTCOME: Dimension = dimension("outcome", "Outcome", "Usage by outcome");
pub(super) const PROVIDER: Dimension = dimension("provider", "Provider", "Usage by provider");
pub(super) const STATUS: Dimension = dimension("status", "Status", "Usage by HTTP status");

const fn dimension(name: &'static str, shown: &'static str, caption: &'static str) -> Dimension {
    Dimension {
        name,
        shown,
        caption,
    }
}

/// A column.
struct Figure {
    /// In the address.
    name: &'static str,
    /// On the page.
    shown: &'static str,
    /// What rows are sorted by; none where that would say nothing.
    rank: Option<fn(&Counts) -> u64>,
    /// What it shows; none where that is what rows are sorted by.
    cell: Option<fn(&Totals) -> Markup>,
}

impl Figure {
    fn show(&self, totals: &Totals) -> Markup {
        match (self.cell, self.rank) {
            (Some(cell), _) => cell(totals),
            (None, rank) => count(rank.map_or(0, |rank| rank(&totals.counts))),
        }
    }
}

/// A column of numbers that rows can be sorted by.
const fn counted(name: &'static str, shown: &'static str, rank: fn(&Counts) -> u64) -> Figure {
    Figure {
        name,
        shown,
        rank: Some(rank),
        cell: None,
    }
}

fn tokens(counts: &Counts) -> u64 {
    measure(Unit::Tokens, counts)
}

fn cost(counts: &Counts) -> u64 {
    measure(Unit::Money, counts)
}

fn count(number: u64) -> Markup {
    html! { (format::grouped(number)) }
}

/// All columns, those first that a narrow screen should have.
const FIGURES: [Figure; 10] = [
    Figure {
        cell: Some(|totals| parts::cost_in_column(&totals.counts)),
        ..counted("cost", "Cost", cost)
    },
    counted("requests", "Requests", |counts| counts.requests),
    counted("tokens", "Tokens", tokens),
    counted("input", "Input", |counts| counts.input_tokens),
    counted("cached", "Cached", |counts| counts.cached_tokens),
    counted("output", "Output", |counts| counts.output_tokens),
    counted("reasoning", "Reasoning", |counts| counts.reasoning_tokens),
    Figure {
        name: "million",
        shown: "Per million",
        rank: None,
        cell: Some(|totals| a_million(&totals.counts)),
    },
    Figure {
        cell: Some(|totals| match totals.counts.errors {
            0 => count(0),
            errors => html! { span.bad { (count(errors)) } },
        }),
        ..counted("errors", "Errors", |counts| counts.errors)
    },
    Figure {
        name: "median",
        shown: "p50",
        rank: None,
        cell: Some(|totals| parts::maybe(totals.duration_ms.p50.map(format::span))),
    },
];

/// The columns that are chosen; all, if none is.
fn chosen(query: &Query) -> Vec<&'static Figure> {
    let wanted = |figure: &Figure| {
        let mut pairs = query.pairs();
        pairs.any(|(name, value)| name == "column" && value == figure.name)
    };
    let some: Vec<_> = FIGURES.iter().filter(|figure| wanted(figure)).collect();
    if some.is_empty() {
        FIGURES.iter().collect()
    } else {
        some
    }
}

/// A table of groups by one dimension.
pub(super) fn table(lens: &Lens, groups: &[UsageGroup], dimension: &Dimension) -> Markup {
    let sort = lens.query.get("sort").unwrap_or("cost");
    let figures = chosen(&lens.query);
    let (rows, rank) = (sorted(groups, sort), rank(sort));
    // The bars show what the rows are sorted by.
    let most = rows.iter().map(|group| rank(&group.totals.counts)).max();
    let pages = rows.len().div_ceil(ROWS).max(1);
    let page = lens.query.get("page").and_then(|page| page.parse().ok());
    let page: usize = page.unwrap_or(1).clamp(1, pages);
    let columns = figures
        .iter()
        .fold(parts::words(&[dimension.shown]), |columns, figure| {
            let columns = columns.numbers(&[figure.shown]);
            match figure.rank {
                None => columns,
                Some(_) => columns.sorted(lens.link("sort", figure.name), sort == figure.name),
            }
        });
    let body = html! {
        @for group in rows.iter().skip((page - 1) * ROWS).take(ROWS) {
            @let key = group.key.get(dimension.name).map_or("", String::as_str);
            tr {
                th scope="row" {
                    @if key.is_empty() { span.unknown { (nameless(dimension.name)) } } @else { a href=(lead(lens, dimension.name, key)) title=(key) { (key) } }
                    (parts::bar(rank(&group.totals.counts), most.unwrap_or(0), "thin"))
                }
                @for figure in &figures { td.n { (figure.show(&group.totals)) } }
            }
        }
    };
    let csv = lens
        .report(dimension.name)
        .with("format", "csv")
        .at("/api/usage");
    let turn = |page: usize| lens.query.with("page", &page.to_string()).at(&lens.path);
    html! {
        (parts::table(dimension.caption, &columns, &body))
        @if pages > 1 {
            nav.pager aria-label=(dimension.caption) {
                @if page > 1 { a.button rel="prev" href=(turn(page - 1)) { "Back" } }
                span.note { "Page " (page) " of " (pages) ", " (format::grouped(rows.len() as u64)) " rows" }
                @if page < pages { a.button rel="next" href=(turn(page + 1)) { "Next" } }
            }
        }
        div.under {
            a href=(csv) download { "Download as CSV" }
            (selector(lens, &figures))
        }
    }
}

/// Where a row leads: to the page of its user, or to the requests that it counts.
fn lead(lens: &Lens, dimension: &str, key: &str) -> String {
    if dimension == "login" {
        let days = lens.query.only(&["days", "from", "through"]);
        return days.at(&activity::user_page(key));
    }
    let query = if lens.fixed.is_empty() {
        lens.query.without(&["by", "metric", "sort", "before"])
    } else {
        lens.filters()
    };
    query.with(dimension, key).at("/ui/requests")
}

/// What stands for requests that have nothing under a dimension.
fn nameless(dimension: &str) -> &'static str {
    match dimension {
        "model" => "no model: refused before one was chosen",
        "provider" => "no provider: refused before one was asked",
        _ => "unknown",
    }
}

/// What a column is sorted by; the cost where it can't be.
fn rank(column: &str) -> fn(&Counts) -> u64 {
    let by = FIGURES.iter().find(|figure| figure.name == column);
    by.and_then(|figure| figure.rank).unwrap_or(cost)
}

/// The greatest first.
fn sorted<'a>(groups: &'a [UsageGroup], sort: &str) -> Vec<&'a UsageGroup> {
    let rank = rank(sort);
    let mut rows: Vec<&UsageGroup> = groups.iter().collect();
    rows.sort_by(|a, b| {
        let order = |group: &UsageGroup| {
            let counts = &group.totals.counts;
            (rank(counts), tokens(counts))
        };
        order(b)
            .cmp(&order(a))
            .then(a.key.values().cmp(b.key.values()))
    });
    rows
}

/// The choice of columns.
fn selector(lens: &Lens, figures: &[&Figure]) -> Markup {
    let is_shown = |figure: &Figure| figures.iter().any(|one| one.name == figure.name);
    html! {
        details.select {
            summary { "Columns" @if figures.len() < FIGURES.len() { " (" (figures.len()) ")" } }
            form method="get" action=(lens.path) {
                @for (name, value) in lens.query.without(&["column"]).pairs() {
                    input type="hidden" name=(name) value=(value);
                }
                @for figure in &FIGURES {
                    label {
                        input type="checkbox" name="column" value=(figure.name) checked[is_shown(figure)];
                        " " (figure.shown)
                    }
                }
                button type="submit" { "Show" }
            }
        }
    }
}

/// What a million tokens have cost; nothing is said where some of the requests have no price.
fn a_million(counts: &Counts) -> Markup {
    let tokens = tokens(counts);
    if tokens == 0 || counts.unpriced > 0 {
        return parts::unknown("some requests have no known price, or no tokens");
    }
    let cost = i128::from(counts.cost) * 1_000_000 / i128::from(tokens);
    html! { (format::dollars_in_column(i64::try_from(cost).unwrap_or(i64::MAX))) }
}
