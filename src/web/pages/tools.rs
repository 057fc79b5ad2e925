//! Which tools answers called, over time.

use std::collections::BTreeMap;

use maud::html;

use super::activity::{self, Lens};
use super::chart::{Chart, Series, Unit};
use super::page::Page;
use super::place::{Group, Place};
use super::query::Query;
use super::{Visit, format, parts};
use crate::web::api::records::tools;
use crate::wire::Rejection;

/// Rows of the table at most.
const ROWS: usize = 200;

pub(super) const PLACE: Place = Place::for_admins("/ui/tools", |visit| Box::pin(page(visit)))
    .listed("Tool use", "tools", Group::Activity);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let mut lens = Lens::new(visit, Query::default());
    // The API looks through a month at most.
    lens.period = lens.period.whole_days(31);
    let filters = lens
        .filters()
        .only(&["login", "model", "provider", "agent"]);
    let filters = match visit.query.get("tool") {
        Some(tool) => filters.with("tool", tool),
        None => filters,
    };
    let asked = lens.period.put_into(&filters);
    let listing = visit.read(&tools::ENDPOINT, &asked)?;
    let calls = tools::calls(&visit.reader, listing).await?;
    let steps = lens.period.steps();
    let place: BTreeMap<&str, usize> = steps.iter().map(String::as_str).zip(0..).collect();
    let mut by_tool: BTreeMap<&str, (u64, u64, Vec<u64>)> = BTreeMap::new();
    for row in &calls.rows {
        let entry = by_tool
            .entry(&row.name)
            .or_insert_with(|| (0, 0, vec![0; steps.len()]));
        entry.0 += row.calls;
        entry.1 += row.requests;
        if let Some(nth) = place.get(row.day.as_str()) {
            entry.2[*nth] += row.calls;
        }
    }
    let mut rows: Vec<_> = by_tool.into_iter().collect();
    rows.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(b.0)));
    let most = rows.first().map_or(1, |row| row.1.0).max(1);
    let chart = Chart {
        title: "Calls of tools by day".to_owned(),
        unit: Unit::Requests,
        slots: steps,
        series: rows
            .iter()
            .map(|(name, (_, _, values))| Series {
                name: (*name).to_owned(),
                values: values.clone(),
            })
            .collect(),
    };
    let columns = parts::words(&["Tool"]).numbers(&["Calls", "Requests"]);
    let body = html! {
        (activity::filter_bar(visit, &lens, &["login", "model", "provider", "agent"]).await?)
        @if let Some(tool) = visit.query.get("tool") {
            ul.chips aria-label="The tool that is shown" {
                li { a href=(lens.query.without(&["tool"]).at(&lens.path)) aria-label={ "Remove the filter Tool " (tool) } { "Tool: " b { (tool) } " ×" } }
            }
        }
        @match chart.draw() {
            None => (parts::empty("No tool was called in this time", &html! {
                "Tools are read from the answers of models. The section "
                code { "database.retention" } " says how long they are kept."
            })),
            Some(figure) => {
                section.panel.plain { (figure) }
                (parts::table("Tools by calls", &columns, &html! {
                    @for (name, (calls, requests, _)) in rows.iter().take(ROWS) {
                        tr {
                            th scope="row" {
                                a href=(lens.query.without(&["before"]).with("tool", name).at("/ui/requests")) { (name) }
                                " " a.note href=(lens.query.with("tool", name).at(&lens.path)) aria-label={ "only this: " (name) " over time" } { "only this" }
                                (parts::bar(*calls, most, "thin"))
                            }
                            td.n { (format::grouped(*calls)) }
                            td.n { (format::grouped(*requests)) }
                        }
                    }
                }))
                p.under { "A month at most; " (lens.period.words()) ", UTC." }
            }
        }
    };
    Ok(Page::new("Tool use", body).live())
}
