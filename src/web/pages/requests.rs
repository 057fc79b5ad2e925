//! `/ui/requests`: requests, newest first: one's own, or everyone's for an admin.

use maud::{Markup, html};

use super::list::List;
use super::page::Page;
use super::place::{Group, Place};
use super::sessions::named;
use super::{Listed, Visit, activity, format, parts};
use crate::base::clock;
use crate::records::Entry;
use crate::wire::Rejection;

pub(super) const PLACE: Place = Place::for_everyone("/ui/requests", |visit| Box::pin(page(visit)))
    .listed("Requests", "requests", Group::Activity);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let list = List::of(visit, &activity::FILTERS.map(|(name, _)| name)).await?;
    let Listed { rows, next } = visit.requests(&list.query).await?;
    let table = (!rows.is_empty()).then(|| table(visit, "Requests, newest first", &rows));
    Ok(list.page("requests", "Requests", table.as_ref(), next.as_ref()))
}

/// A table of requests.
pub(super) fn table(visit: &Visit<'_>, caption: &str, rows: &[Entry]) -> Markup {
    let now = clock::unix_ms();
    let columns = parts::words(&["Started", "Outcome"])
        .words(visit.for_admins(&["User"]))
        .words(&["Model", "Provider", "Agent"])
        .numbers(&["Input", "Output", "Tools"])
        .numbers(&["Cost", "First token", "Duration"]);
    let body = html! {
        @for row in rows {
            tr {
                th scope="row" { a href={ "/ui/requests/" (row.id) } { (parts::ago(now, row.started_at)) } }
                td { (parts::outcome(row)) }
                @if visit.reader.is_admin() { td { a href=(activity::user_page(&row.login)) { (row.login) } } }
                td title=(row.model_requested) { (named(if row.model.is_empty() { &row.model_requested } else { &row.model })) }
                td { (named(&row.provider)) }
                td { (named(&row.agent)) }
                td.n { (parts::tokens(row.tokens.input)) }
                td.n { (parts::tokens(row.tokens.output)) }
                td.n { (row.tool_calls) }
                td.n { (parts::entry_cost_in_column(row)) }
                td.n { (parts::maybe(row.first_token_ms.map(format::span))) }
                td.n { (format::span(row.duration_ms)) }
            }
        }
    };
    parts::table(caption, &columns, &body)
}
