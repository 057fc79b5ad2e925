//! `/ui/config/history/{id}`: a version of the configuration, and the way back to it.

use maud::{Markup, html};

use super::page::Page;
use super::place::Place;
use super::query::encoded;
use super::versions::{how, who};
use super::{Visit, parts};
use crate::web::api::config::{self, history};
use crate::wire::Rejection;

pub(super) const PLACE: Place =
    Place::for_admins("/ui/config/history/{id}", |visit| Box::pin(page(visit)));

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    visit.reader.require_admin()?;
    let detail = history::detail(&visit.reader, &encoded(&visit.id)).await?;
    let version = &detail.version;
    let (_, tag) = config::shown(&visit.reader)?;
    let is_current = detail.back.is_empty();
    let body = html! {
        (parts::facts(&[
            ("When", parts::time(version.at)),
            ("Who", who(&version.actor)),
            ("How", html! { (how(&version.how)) }),
            ("Hash", html! { code { (version.hash) } }),
        ]))
        section {
            h2 { "What it changed" }
            (diff("What it changed", &detail.diff))
        }
        section {
            h2 { "What going back to it would change" }
            @if is_current {
                p { "Nothing: this version is in use." }
            } @else {
                (diff("What going back would change", &detail.back))
                div.row data-rollback=(version.id) data-tag=(tag) hidden {
                    button.danger type="button" { "Go back to this version" }
                    span data-state role="status" {}
                }
            }
        }
        details { summary { "The whole text" } pre.json data-version tabindex="0" role="region" aria-label="The whole text" { (detail.text) } }
    };
    Ok(Page::new("Version", body)
        .below("/ui/config", "Configuration")
        .below("/ui/config/history", "History")
        .scripts(&["config.js"]))
}

/// A unified diff, line by line.
fn diff(label: &str, text: &str) -> Markup {
    if text.is_empty() {
        return html! { p.unknown { "nothing" } };
    }
    html! {
        pre.diff tabindex="0" role="region" aria-label=(label) {
            @for line in text.lines() {
                @let is_name = line.starts_with("--- ") || line.starts_with("+++ ");
                @match line.as_bytes().first().filter(|_| !is_name) {
                    Some(b'+') => span.add { (line) "\n" },
                    Some(b'-') => span.del { (line) "\n" },
                    Some(b'@') => span.at { (line) "\n" },
                    _ => { (line) "\n" },
                }
            }
        }
    }
}
