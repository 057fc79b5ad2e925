//! What the lists of sessions and of requests have in common: filters, pages, and a table of rows
//! as CSV. A list shows the reader's own, or everyone's to an admin.

use maud::{Markup, html};

use super::activity::{self, Lens};
use super::page::Page;
use super::query::Query;
use super::{Visit, parts};
use crate::records::EntryId;
use crate::wire::Rejection;

/// Rows of a page.
pub(super) const ROWS: &str = "50";

/// A list that is asked for.
pub(super) struct List {
    lens: Lens,
    filter_bar: Markup,
    /// What the API is asked.
    pub query: Query,
}

impl List {
    /// A list that can be filtered by some parameters.
    pub(super) async fn of(visit: &Visit<'_>, filters: &[&str]) -> Result<Self, Rejection> {
        let lens = Lens::new(visit, Query::default());
        let mut names = filters.to_vec();
        names.retain(|name| visit.reader.is_admin() || *name != "login");
        let filter_bar = activity::filter_bar(visit, &lens, &names).await?;
        names.extend(["session", "tool", "before", "from", "to"]);
        let query = lens.period.put_into(&visit.query).only(&names);
        Ok(Self {
            lens,
            filter_bar,
            query: query.with("limit", ROWS),
        })
    }

    /// The page of `what`, such as `requests`; without a table there are no rows.
    pub(super) fn page(
        &self,
        what: &str,
        title: &str,
        table: Option<&Markup>,
        next: Option<&EntryId>,
    ) -> Page {
        let csv = self.query.without(&["limit", "before"]);
        let csv = csv.with("format", "csv").at(&format!("/api/{what}"));
        let body = html! {
            (self.filter_bar)
            @if let Some(table) = table {
                (table)
                (parts::pager(&self.lens.path, &self.lens.query, next))
                p.under { a href=(csv) download { "Download as CSV" } }
            } @else {
                (parts::empty(&format!("No {what} in this time"), &self.advice()))
            }
        };
        Page::new(title, body).live()
    }

    fn advice(&self) -> Markup {
        html! {
            @if self.lens.query.is_empty() {
                "Point an agent at this gateway: " a href="/ui/setup" { "Set up" } " has the settings."
            } @else {
                "Choose a longer time, or take a filter away: " a href=(self.lens.path) { "show all" } "."
            }
        }
    }
}
