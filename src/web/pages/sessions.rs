//! `/ui/sessions`: sessions, newest first: one's own, or everyone's for an admin.

use maud::{Markup, html};

use super::activity::{self, Lens};
use super::page::Page;
use super::place::{Group, Place};
use super::query::Query;
use super::{Visit, format, parts};
use crate::base::clock;
use crate::records::Session;
use crate::wire::Rejection;

/// Rows of a page.
pub(super) const ROWS: &str = "50";

const FILTERS: [&str; 7] = [
    "login", "model", "agent", "provider", "api", "status", "outcome",
];

pub(super) const PLACE: Place = Place::for_everyone("/ui/sessions", |visit| Box::pin(page(visit)))
    .listed("Sessions", "sessions", Group::Activity);

/// The filters of a list, and the query that it asks.
pub(super) async fn listed(
    visit: &Visit<'_>,
    names: &[&str],
) -> Result<(Markup, Query, Lens), Rejection> {
    let lens = Lens::new(visit, Query::default());
    let mut names = names.to_vec();
    if !visit.reader.is_admin() {
        names.retain(|name| *name != "login");
    }
    let bar = activity::filter_bar(visit, &lens, &names).await?;
    let mut allowed = names;
    allowed.extend(["session", "tool", "before"]);
    let query = lens.period.put_into(&visit.query).only(&{
        allowed.extend(["from", "to"]);
        allowed
    });
    Ok((bar, query.with("limit", ROWS), lens))
}

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let (bar, query, lens) = listed(visit, &FILTERS).await?;
    let found = visit.sessions(&query).await?;
    let body = html! {
        (bar)
        @if found.rows.is_empty() {
            (nothing(visit, "No sessions in this time"))
        } @else {
            (table(visit, &found.rows))
            (pages(&lens, found.next.as_ref()))
            p.under { a href=(query.without(&["limit", "before"]).with("format", "csv").at("/api/sessions")) download { "Download as CSV" } }
        }
    };
    Ok(Page::new("Sessions", body).live())
}

/// A table of sessions.
pub(super) fn table(visit: &Visit<'_>, rows: &[Session]) -> Markup {
    let now = clock::unix_ms();
    let mut columns = vec![parts::words("Last request"), parts::words("Agent")];
    if visit.reader.is_admin() {
        columns.push(parts::words("User"));
    }
    columns.extend([
        parts::words("Models"),
        parts::numbers("Requests"),
        parts::numbers("Input"),
        parts::numbers("Cached"),
        parts::numbers("Output"),
        parts::numbers("Cost"),
        parts::numbers("Errors"),
    ]);
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

pub(super) fn pages(lens: &Lens, next: Option<&crate::records::EntryId>) -> Markup {
    let first = lens
        .query
        .get("before")
        .map(|_| lens.query.without(&["before"]).at(&lens.path));
    let next = next.map(|next| lens.query.with("before", next.as_str()).at(&lens.path));
    parts::pager(first, next)
}

pub(super) fn nothing(visit: &Visit<'_>, title: &str) -> Markup {
    parts::empty(
        title,
        &html! {
            @if visit.query.is_empty() {
                "Point an agent at this gateway: " a href="/ui/setup" { "Set up" } " has the settings."
            } @else {
                "Choose a longer time, or take a filter away: " a href=(visit.path) { "show all" } "."
            }
        },
    )
}
