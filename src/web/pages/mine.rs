//! `/ui/`: the reader's own usage, shown like that of any user.

use maud::{Markup, html};

use super::activity::{self, Lens};
use super::{Group, Page, Place, Query, Visit, breakdown, budgets, format, parts, sessions};
use crate::wire::Rejection;

/// Sessions that are shown of a person.
const RECENT: &str = "8";

pub(super) const PLACE: Place = Place::for_everyone("/ui/", |visit| Box::pin(page(visit))).listed(
    "My usage",
    "usage",
    Group::You,
);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(
        visit,
        Query::default().with("login", visit.reader.caller.name()),
    );
    let own = budgets::own(visit).await?;
    let body = usage(visit, &lens, &own).await?;
    Ok(Page::new("My usage", body).actions(period(&lens)).live())
}

/// The time that a page is of.
pub(super) fn period(lens: &Lens) -> Markup {
    html! { span.period { (lens.period.words()) ", UTC" } }
}

/// The usage of one user.
pub(super) async fn usage(
    visit: &Visit<'_>,
    lens: &Lens,
    budgets: &Markup,
) -> Result<Markup, Rejection> {
    let models = visit.sums(&lens.report("model")).await?;
    let totals = &models.totals;
    let query = lens.period.put_into(&lens.filters().without(&["header"]));
    let recent = visit.sessions(&query.with("limit", RECENT)).await?;
    let more = lens
        .filters()
        .with("days", lens.query.get("days").unwrap_or(""))
        .at("/ui/sessions");
    let filters = [
        "model", "agent", "provider", "outcome", "header", "label", "via",
    ];
    let in_sessions = in_sessions(visit, lens).await?;
    Ok(html! {
        (activity::filter_bar(visit, lens, &filters).await?)
        (activity::cards(totals, &in_sessions))
        (budgets)
        @if totals.counts.requests == 0 {
            (parts::empty("No requests in this time", &html! {
                "Point an agent at this gateway: " a href="/ui/setup" { "Set up" }
                " has the settings for it. Or ask something in the " a href="/ui/chat" { "chat" } "."
            }))
        } @else {
            section.panel { (activity::over_time(visit, lens, "model").await?) }
            (parts::section("Models", &breakdown::table(lens, &models.groups, &breakdown::MODEL)))
            section {
                h2 { "Recent sessions" }
                (sessions::table(visit, &recent.rows))
                p.under { a href=(more) { "All sessions" } }
            }
        }
    })
}

/// How many sessions the requests are of; nothing where filters leave some of the requests out.
async fn in_sessions(visit: &Visit<'_>, lens: &Lens) -> Result<Markup, Rejection> {
    let filters = lens.filters();
    let login = filters.get("login");
    if !filters.without(&["login"]).is_empty() {
        return Ok(html! {});
    }
    let time = lens.period.from..lens.period.to;
    let scope = visit.reader.scope();
    // What an admin sees here is of one login; a user's own is all that they see.
    let login = login.filter(|_| visit.reader.is_admin());
    let ledger = visit.reader.ledger();
    let count = ledger.session_count(scope, login, time).await?;
    Ok(html! { "in " (format::count(count, "session", "sessions")) })
}
