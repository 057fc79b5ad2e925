//! `/ui/sessions/one?login=…&session=…`: a session, with its requests and the tools they called.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::list::ROWS;
use super::page::Page;
use super::place::Place;
use super::query::Query;
use super::sessions::{models, named};
use super::{Visit, activity, format, parts, requests};
use crate::records::Session;
use crate::web::api::records::tools;
use crate::wire::Rejection;

/// Tools of a session that are shown.
const TOOLS: usize = 20;

pub(super) const PLACE: Place =
    Place::for_everyone("/ui/sessions/one", |visit| Box::pin(page(visit)));

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
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
    let listed = visit.requests(&query.with("limit", ROWS)).await?;
    let counts = &session.counts;
    let lasted = (session.last_at - session.started_at).max(0);
    let body = html! {
        (parts::facts(&[
            ("User", html! { @if visit.reader.is_admin() { a href=(activity::user_page(&session.login)) { (session.login) } } @else { (session.login) } }),
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
        (requests::table(visit, "Requests of this session, newest first", &listed.rows))
        (parts::pager(visit.path, &visit.query, listed.next.as_ref()))
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
    let listing = visit.read(&tools::ENDPOINT, &query)?;
    let calls = tools::calls(&visit.reader, listing).await?;
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
