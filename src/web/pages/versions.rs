//! `/ui/config/history`: the versions of the configuration that were in force.

use maud::{Markup, html};

use super::page::Page;
use super::place::Place;
use super::query::encoded;
use super::{Visit, activity, parts};
use crate::base::clock;
use crate::web::api::config::history;
use crate::wire::Rejection;

pub(super) const PLACE: Place =
    Place::for_admins("/ui/config/history", |visit| Box::pin(page(visit)));

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    visit.reader.require_admin()?;
    let versions = history::all(&visit.reader).await?;
    let now = clock::unix_ms();
    let columns = parts::words(&["When", "Who", "How", "Hash"]);
    let rows = html! {
        @for version in &versions {
            tr {
                th scope="row" { a href={ "/ui/config/history/" (encoded(version.id.as_str())) } { (parts::ago(now, version.at)) } }
                td { (who(&version.actor)) @if !version.node.is_empty() { " on " (version.node) } }
                td { (how(&version.how)) }
                td { code { (version.hash.get(..12).unwrap_or(&version.hash)) } }
            }
        }
    };
    let body = html! {
        @if versions.is_empty() {
            (parts::empty("There is no history yet", &html! { "Every version of the configuration is kept here, without its secrets." }))
        } @else { (parts::table("Versions, newest first", &columns, &rows)) }
    };
    Ok(Page::new("History", body).below("/ui/config", "Configuration"))
}

pub(super) fn who(actor: &str) -> Markup {
    html! { @if actor.is_empty() { "the file" } @else { a href=(activity::user_page(actor)) { (actor) } } }
}

pub(super) fn how(how: &str) -> &str {
    match how {
        "saved" => "saved here or through the API",
        "rolled_back" => "went back to an older version",
        "file" => "found in the file",
        "start" => "found in the file at startup",
        other => other,
    }
}
