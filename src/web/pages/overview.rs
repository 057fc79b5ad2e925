//! What the gateway does: figures of all users, over time and by whatever tells requests apart.

use maud::html;

use super::activity::{self, Lens};
use super::breakdown::{AGENT, Dimension, LOGIN, MODEL, OUTCOME, PROVIDER, STATUS};
use super::mine::period;
use super::page::Page;
use super::place::{Group, Place};
use super::query::Query;
use super::{Visit, breakdown, connection, format, parts};
use crate::wire::Rejection;

/// What the table can tell apart.
const BY: [Dimension; 6] = [LOGIN, MODEL, AGENT, PROVIDER, STATUS, OUTCOME];

pub(super) const PLACE: Place = Place::for_admins("/ui/overview", |visit| Box::pin(page(visit)))
    .listed("Overview", "overview", Group::Activity);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(visit, Query::default());
    let by = visit.query.get("by").unwrap_or("login");
    let by = BY.iter().find(|one| one.name == by).unwrap_or(&LOGIN);
    let users = visit.sums(&lens.report("login")).await?;
    let groups = if by.name == "login" {
        users.groups.clone()
    } else {
        visit.sums(&lens.report(by.name)).await?.groups
    };
    let totals = &users.totals;
    let names = BY.map(|one| (one.name, one.shown));
    let views = parts::views(&lens.query, &lens.path, "by", names, by.name);
    let split = if by.name == "login" { "model" } else { by.name };
    let body = html! {
        (connection::strip(visit).await)
        (activity::filter_bar(visit, &lens, &activity::FILTERS.map(|(name, _)| name)).await?)
        (activity::cards(totals, &html! { "by " (format::count(users.groups.len() as u64, "user", "users")) }))
        section.panel { (activity::over_time(visit, &lens, split).await?) }
        @if totals.counts.requests == 0 {
            (parts::empty("No requests in this time", &html! {
                "Point an agent at this gateway: " a href="/ui/setup" { "Set up" }
                " has the settings. Or ask something in the " a href="/ui/chat" { "chat" } "."
            }))
        } @else {
            (parts::tabs("What the table tells apart", &views))
            (breakdown::table(&lens, &groups, by))
        }
    };
    Ok(Page::new("Overview", body).live().actions(period(&lens)))
}
