//! `/ui/sessions`: sessions, newest first: one's own, or everyone's for an admin.

use maud::{Markup, html};

use super::list::List;
use super::page::Page;
use super::place::{Group, Place};
use super::query::Query;
use super::{Listed, Visit, activity, format, parts};
use crate::base::clock;
use crate::records::Session;
use crate::wire::Rejection;

const FILTERS: [&str; 7] = [
    "login", "model", "agent", "provider", "api", "status", "outcome",
];

pub(super) const PLACE: Place = Place::for_everyone("/ui/sessions", |visit| Box::pin(page(visit)))
    .listed("Sessions", "sessions", Group::Activity);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let list = List::of(visit, &FILTERS).await?;
    let Listed { rows, next } = visit.sessions(&list.query).await?;
    let table = (!rows.is_empty()).then(|| table(visit, &rows));
    Ok(list.page("sessions", "Sessions", table.as_ref(), next.as_ref()))
}

/// A table of sessions.
pub(super) fn table(visit: &Visit<'_>, rows: &[Session]) -> Markup {
    let now = clock::unix_ms();
    let columns = parts::words(&["Last request", "Agent"])
        .words(visit.for_admins(&["User"]))
        .words(&["Models"])
        .numbers(&["Requests", "Input", "Cached", "Output", "Cost", "Errors"]);
    let body = html! {
        @for row in rows {
            tr {
                th scope="row" { a href=(session_page(row)) { (parts::ago(now, row.last_at)) } }
                td { (named(&row.agent)) }
                @if visit.reader.is_admin() { td { a href=(activity::user_page(&row.login)) { (row.login) } } }
                td title=(row.models.join(", ")) { (models(&row.models)) }
                td.n { (format::grouped(row.counts.requests)) }
                td.n { (format::compact(row.counts.input_tokens)) }
                td.n { (format::compact(row.counts.cached_tokens)) }
                td.n { (format::compact(row.counts.output_tokens)) }
                td.n { (parts::cost_in_column(&row.counts)) }
                td.n { @if row.counts.errors > 0 { span.bad { (row.counts.errors) } } @else { "0" } }
            }
        }
    };
    parts::table("Sessions, newest first", &columns, &body)
}

/// Where the page of a session is.
fn session_page(session: &Session) -> String {
    Query::default()
        .with("login", &session.login)
        .with("session", &session.id)
        .at("/ui/sessions/one")
}

/// The models of a session; of one whose requests were all refused there are none.
pub(super) fn models(names: &[String]) -> Markup {
    let names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return parts::unknown("every request was refused before a model was chosen");
    }
    html! { (names.join(", ")) }
}

/// A name, or that it is missing.
pub(super) fn named(name: &str) -> Markup {
    html! { @if name.is_empty() { span.unknown { "unknown" } } @else { (name) } }
}
