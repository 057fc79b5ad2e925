//! `/ui/agents`: the programs that ask, with their traffic.

use maud::html;

use super::activity::{self, Lens};
use super::{Group, Page, Place, Query, Visit, breakdown, parts};
use crate::wire::Rejection;

pub(super) const PLACE: Place = Place::for_admins("/ui/agents", |visit| Box::pin(page(visit)))
    .listed("Agents", "agents", Group::Activity);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(visit, Query::default());
    let agents = visit.sums(&lens.report("agent")).await?;
    let groups = &agents.groups;
    let filters = ["login", "model", "provider", "header", "label", "via"];
    let body = html! {
        (activity::filter_bar(visit, &lens, &filters).await?)
        @if groups.is_empty() {
            (parts::empty("No requests in this time", &html! {
                "The page " a href="/ui/setup" { "Set up" } " has settings for each of the usual ones."
            }))
        } @else {
            section.panel { (activity::over_time(visit, &lens, "agent").await?) }
            (breakdown::table(&lens, groups, &breakdown::AGENT))
            p.under { "Programs are recognized by their header " code { "User-Agent" } "." }
        }
    };
    Ok(Page::new("Agents", body).live())
}
