//! `/ui/users/{login}`: the page of one user, for admins.

use maud::html;

use super::Visit;
use super::activity::Lens;
use super::mine::{period, usage};
use super::page::Page;
use super::place::Place;
use super::query::Query;
use crate::wire::Rejection;

pub(super) const PLACE: Place =
    Place::for_admins("/ui/users/{login}", |visit| Box::pin(page(visit)));

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(visit, Query::default().with("login", &visit.id));
    let body = usage(visit, &lens, &html! {}).await?;
    Ok(Page::new(&visit.id, body)
        .live()
        .below("/ui/users", "Users")
        .actions(period(&lens)))
}
