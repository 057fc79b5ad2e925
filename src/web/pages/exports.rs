//! `/ui/exports`: how exporters do.

use maud::html;

use super::page::Page;
use super::place::{Group, Place};
use super::{Visit, format, parts};
use crate::base::clock;
use crate::web::api::gateway::exporters;
use crate::wire::Rejection;

pub(super) const PLACE: Place = Place::for_admins("/ui/exports", |visit| Box::pin(page(visit)))
    .listed("Exports", "exports", Group::Gateway);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    visit.reader.require_admin()?;
    let all = exporters::all(&visit.reader).await?;
    let now = clock::unix_ms();
    let columns = parts::words(&["Exporter", "State"])
        .numbers(&["Waiting", "Arrived"])
        .words(&["Last batch", "Last failure", "What it was"]);
    let when = |time: Option<i64>| match time {
        Some(time) => parts::ago(now, time),
        None => parts::unknown("none since the start"),
    };
    let rows = html! {
        @for exporters::Exporter { name, waiting, status } in &all {
            tr {
                th scope="row" { (name) }
                td {
                    @if status.failures > 0 {
                        (parts::badge(parts::Tone::Bad, &format::count(status.failures.into(), "failure in a row", "failures in a row")))
                    } @else if status.last_success.is_some() {
                        (parts::badge(parts::Tone::Good, "arrives"))
                    } @else {
                        (parts::badge(parts::Tone::Plain, "nothing sent yet"))
                    }
                }
                td.n { (format::grouped(*waiting)) }
                td.n { (format::grouped(status.records)) }
                td { (when(status.last_success)) }
                td { (when(status.last_failure)) }
                td.wrap { (parts::maybe(status.last_error.clone())) }
            }
        }
    };
    let body = html! {
        @if all.is_empty() {
            (parts::empty("Nothing is exported", &html! {
                "The section " code { "exporters" } " of the " a href="/ui/config" { "configuration" }
                " sends records to S3 or OpenTelemetry as they are written."
            }))
        } @else {
            (parts::table("Exporters", &columns, &rows))
            p.under { "Figures of records that arrived are since the start of the process." }
        }
    };
    Ok(Page::new("Exports", body).live())
}
