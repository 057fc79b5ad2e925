//! Sessions and requests, newest first: one's own, or everyone's for an admin.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::activity::{self, Lens};
use super::layout::Page;
use super::query::Query;
use super::{Visit, format, parts};
use crate::base::clock;
use crate::records::{Entry, Session};
use crate::web::api::tools;
use crate::wire::Rejection;

/// Tools of a session that are shown.
const TOOLS: usize = 20;

/// Rows of a page.
const ROWS: &str = "50";

const SESSION_FILTERS: [&str; 7] = [
    "login", "model", "agent", "provider", "api", "status", "outcome",
];
const REQUEST_FILTERS: [&str; 8] = [
    "login", "model", "agent", "provider", "api", "status", "outcome", "header",
];

/// The filters of a list, and the query that it asks.
async fn listed(visit: &Visit<'_>, names: &[&str]) -> Result<(Markup, Query, Lens), Rejection> {
    let lens = Lens::new(visit, Query::default());
    let mut names = names.to_vec();
    if !visit.is_admin() {
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

/// `/ui/sessions`.
pub(super) async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let (bar, query, lens) = listed(visit, &SESSION_FILTERS).await?;
    let found = visit.sessions(&query).await?;
    let body = html! {
        (bar)
        @if found.rows.is_empty() {
            (nothing(visit, "No sessions in this time"))
        } @else {
            (session_table(visit, &found.rows))
            (pages(&lens, found.next.as_ref()))
            p.under { a href=(query.without(&["limit", "before"]).with("format", "csv").at("/api/sessions")) download { "Download as CSV" } }
        }
    };
    Ok(Page::new("Sessions", body).live())
}

/// `/ui/requests`.
pub(super) async fn requests(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let (bar, query, lens) = listed(visit, &REQUEST_FILTERS).await?;
    let found = visit.requests(&query).await?;
    let body = html! {
        (bar)
        @if found.rows.is_empty() {
            (nothing(visit, "No requests in this time"))
        } @else {
            (request_table(visit, "Requests, newest first", &found.rows))
            (pages(&lens, found.next.as_ref()))
            p.under { a href=(query.without(&["limit", "before"]).with("format", "csv").at("/api/requests")) download { "Download as CSV" } }
        }
    };
    Ok(Page::new("Requests", body).live())
}

/// `/ui/sessions/one?login=…&session=…`.
pub(super) async fn one(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let asked = visit.query.only(&["login", "session"]);
    let found = visit.sessions(&asked.with("limit", "1")).await?;
    let Some(session) = found
        .rows
        .first()
        .filter(|_| asked.get("session").is_some())
    else {
        return Err(super::no_such_page("for this session"));
    };
    let query = visit.query.only(&["login", "session", "before"]);
    let requests = visit.requests(&query.with("limit", ROWS)).await?;
    let counts = &session.counts;
    let lasted = (session.last_at - session.started_at).max(0);
    let lens = Lens::new(visit, Query::default());
    let body = html! {
        (parts::facts(&[
            ("User", html! { @if visit.is_admin() { a href=(activity::user_page(&session.login)) { (session.login) } } @else { (session.login) } }),
            ("Device", html! { (session.node_name) }),
            ("Agent", html! { (named(&session.agent)) }),
            ("Models", models(&session.models)),
            ("Started", parts::time(session.started_at)),
            ("Lasted", html! { (format::seconds(lasted / 1_000)) }),
            ("Session", html! { code { (session.id) } }),
        ]))
        dl.cards {
            (parts::card("Requests", format::grouped(counts.requests), html! { (format::count(counts.errors, "error", "errors")) }))
            (parts::card("Input", format::compact(counts.input_tokens), html! { (format::compact(counts.cached_tokens)) " cached" }))
            (parts::card("Output", format::compact(counts.output_tokens), html! { (format::compact(counts.reasoning_tokens)) " reasoning" }))
            (parts::card("Cost", parts::cost(counts), html! {}))
        }
        (tools(visit, session).await?)
        (request_table(visit, "Requests of this session, newest first", &requests.rows))
        (pages(&lens, requests.next.as_ref()))
    };
    Ok(Page::new("Session", body)
        .live()
        .below("/ui/sessions", "Sessions"))
}

/// The API looks through a month at most, in milliseconds.
const MONTH_MS: i64 = 31 * 86_400_000;

/// The tools that the answers of a session called; nothing of one that lasted for too long.
async fn tools(visit: &Visit<'_>, session: &Session) -> Result<Markup, Rejection> {
    let (from, to) = (session.started_at, session.last_at + 1);
    if to - from > MONTH_MS {
        return Ok(html! {});
    }
    let query = Query::default()
        .with("login", &session.login)
        .with("session", &session.id)
        .with("from", &format::rfc3339(from))
        .with("to", &format::rfc3339(to));
    let calls = tools::calls(visit.view, &visit.ask("/api/tools", &query)?).await?;
    let mut by_tool: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &calls.rows {
        *by_tool.entry(&row.name).or_default() += row.calls;
    }
    let mut by_tool: Vec<_> = by_tool.into_iter().collect();
    by_tool.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let one = Query::default()
        .with("login", &session.login)
        .with("session", &session.id);
    Ok(html! {
        @if !by_tool.is_empty() {
            ul.chips aria-label="Tools that were called" {
                @for (name, calls) in by_tool.iter().take(TOOLS) {
                    li { a href=(one.with("tool", name).at("/ui/requests")) { (name) ": " b { (format::grouped(*calls)) } } }
                }
                @if by_tool.len() > TOOLS { li { "and " (by_tool.len() - TOOLS) " more" } }
            }
        }
    })
}

/// A table of sessions.
pub(super) fn session_table(visit: &Visit<'_>, rows: &[Session]) -> Markup {
    let now = clock::unix_ms();
    let mut columns = vec![parts::words("Last request"), parts::words("Agent")];
    if visit.is_admin() {
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
                @if visit.is_admin() { td { a href=(activity::user_page(&row.login)) { (row.login) } } }
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

/// A table of requests.
pub(super) fn request_table(visit: &Visit<'_>, caption: &str, rows: &[Entry]) -> Markup {
    let now = clock::unix_ms();
    let mut columns = vec![parts::words("Started"), parts::words("Outcome")];
    if visit.is_admin() {
        columns.push(parts::words("User"));
    }
    columns.extend([
        parts::words("Model"),
        parts::words("Provider"),
        parts::words("Agent"),
        parts::numbers("Input"),
        parts::numbers("Output"),
        parts::numbers("Tools"),
        parts::numbers("Cost"),
        parts::numbers("First token"),
        parts::numbers("Duration"),
    ]);
    let body = html! {
        @for row in rows {
            tr {
                th scope="row" { a href={ "/ui/requests/" (row.id) } { (parts::ago(now, row.started_at)) } }
                td { (parts::outcome(row)) }
                @if visit.is_admin() { td { a href=(activity::user_page(&row.login)) { (row.login) } } }
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

/// Where the page of a session is.
fn session_page(session: &Session) -> String {
    Query::default()
        .with("login", &session.login)
        .with("session", &session.id)
        .at("/ui/sessions/one")
}

/// The models of a session; of one whose requests were all refused there are none.
fn models(names: &[String]) -> Markup {
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

fn pages(lens: &Lens, next: Option<&crate::records::EntryId>) -> Markup {
    let first = lens
        .query
        .get("before")
        .map(|_| lens.query.without(&["before"]).at(&lens.path));
    let next = next.map(|next| lens.query.with("before", next.as_str()).at(&lens.path));
    parts::pager(first, next)
}

fn nothing(visit: &Visit<'_>, title: &str) -> Markup {
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
