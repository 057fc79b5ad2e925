//! What the gateway does: figures of all users, over time and by whatever tells requests apart.

use maud::html;

use super::activity::{self, Lens};
use super::page::Page;
use super::place::{Group, Place};
use super::query::Query;
use super::{Visit, breakdown, connection, format, parts};
use crate::wire::Rejection;

/// Dimensions of the table: name, its name for people, and the caption.
const BY: [(&str, &str, &str); 6] = [
    ("login", "User", "Usage by user"),
    ("model", "Model", "Usage by model"),
    ("agent", "Agent", "Usage by agent"),
    ("provider", "Provider", "Usage by provider"),
    ("status", "Status", "Usage by HTTP status"),
    ("outcome", "Outcome", "Usage by outcome"),
];

const FILTERS: [&str; 8] = [
    "login", "model", "agent", "provider", "api", "status", "outcome", "header",
];

pub(super) const PLACE: Place = Place::for_admins("/ui/overview", |visit| Box::pin(page(visit)))
    .listed("Overview", "overview", Group::Activity);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(visit, Query::default());
    let by = visit.query.get("by").unwrap_or("login");
    let by = BY.iter().find(|(name, ..)| *name == by).unwrap_or(&BY[0]);
    let users = visit.sums(&lens.report("login")).await?;
    let groups = if by.0 == "login" {
        users.usage.groups.clone()
    } else {
        visit.sums(&lens.report(by.0)).await?.usage.groups
    };
    let totals = &users.usage.totals;
    let tabs: Vec<_> = BY
        .iter()
        .map(|(name, shown, _)| {
            let address = lens.query.with("by", name).at(&lens.path);
            (address, *shown, *name == by.0)
        })
        .collect();
    let split = if by.0 == "login" { "model" } else { by.0 };
    let body = html! {
        (connection::strip(visit).await)
        (activity::filter_bar(visit, &lens, &FILTERS).await?)
        (activity::cards(totals, &html! { "by " (format::count(users.usage.groups.len() as u64, "user", "users")) }))
        section.panel { (activity::over_time(visit, &lens, split).await?) }
        @if totals.counts.requests == 0 {
            (parts::empty("No requests in this time", &html! {
                "Point an agent at this gateway: " a href="/ui/setup" { "Set up" }
                " has the settings. Or ask something in the " a href="/ui/chat" { "chat" } "."
            }))
        } @else {
            (parts::tabs("What the table tells apart", &tabs))
            (breakdown::table(&lens, &groups, *by, |key| lead(&lens, by.0, key)))
        }
    };
    Ok(Page::new("Overview", body)
        .live()
        .actions(html! { span.period { (lens.period.words()) ", UTC" } }))
}

/// Where a row leads: to the page of its user, or to the requests that it counts.
fn lead(lens: &Lens, dimension: &str, key: &str) -> String {
    if dimension == "login" {
        let days = lens.query.only(&["days", "from", "through"]);
        return days.at(&activity::user_page(key));
    }
    let query = lens.query.without(&["by", "metric", "sort", "before"]);
    query.with(dimension, key).at("/ui/requests")
}
