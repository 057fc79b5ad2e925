//! The configuration: an editor that shows the problems of a text and who it would affect,
//! and the versions that were in force. What it saves, it saves through the API.

use maud::{Markup, html};

use super::layout::Page;
use super::query::{Query, encoded};
use super::{Visit, activity, parts};
use crate::base::clock;
use crate::web::api::config::{self, history};
use crate::wire::Rejection;

/// `/ui/config`.
pub(super) fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    // The route's own check of who may see it.
    visit.ask("/aperture/config", &Query::default())?;
    let (text, tag) = config::shown(visit.view)?;
    let lines = text.lines().count().max(1);
    let rows = lines.clamp(20, 60);
    let waiting = visit.view.warnings.awaiting_restart(&visit.view.rules.file);
    let body = html! {
        noscript { (parts::notice(parts::Tone::Warn, &html! { "Saving needs JavaScript, or " code { "PUT /aperture/config" } "." })) }
        @if text.is_empty() {
            (parts::notice(parts::Tone::Plain, &html! { "There is no configuration file yet. Saving creates one." }))
        }
        p.lead { "Secrets are shown as placeholders, which stand for what is stored. A save takes effect at once; the editor names the keys that need a restart." }
        @if !waiting.is_empty() {
            (parts::notice(parts::Tone::Warn, &html! {
                "Waiting for a restart of Iris: "
                @for (nth, key) in waiting.iter().enumerate() { @if nth > 0 { ", " } code { (key) } }
                ". The previous values are in use until then."
            }))
        }
        div.editor data-config data-tag=(tag) {
            div.edit {
                pre.lines aria-hidden="true" data-lines {}
                textarea.code-edit id="config-text" aria-label="Configuration" rows=(rows) spellcheck="false" autocomplete="off" wrap="off" { (text) }
            }
            div.editor-foot {
                span data-state role="status" {}
                button type="button" data-review disabled { "Review changes" }
                button.primary type="button" data-save disabled { "Save" }
            }
            ul.findings data-findings {}
            div data-result aria-live="polite" {}
        }
    };
    let history = html! { a.button href="/ui/config/history" { "History" } };
    Ok(Page::new("Configuration", body)
        .actions(history)
        .scripts(&["config.js"]))
}

/// `/ui/config/history`.
pub(super) async fn versions(visit: &Visit<'_>) -> Result<Page, Rejection> {
    visit.ask("/api/config/history", &Query::default())?;
    let versions = history::all(visit.view).await?;
    let now = clock::unix_ms();
    let columns = [
        parts::words("When"),
        parts::words("Who"),
        parts::words("How"),
        parts::words("Hash"),
    ];
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

/// `/ui/config/history/{id}`.
pub(super) async fn version(visit: &Visit<'_>, id: &str) -> Result<Page, Rejection> {
    let path = format!("/api/config/history/{id}");
    let asked = visit.ask(&path, &Query::default())?;
    let told = history::told(visit.view, &asked).await?;
    let version = &told.version;
    let (_, tag) = config::shown(visit.view)?;
    let is_current = told.back.is_empty();
    let body = html! {
        (parts::facts(&[
            ("When", parts::time(version.at)),
            ("Who", who(&version.actor)),
            ("How", html! { (how(&version.how)) }),
            ("Hash", html! { code { (version.hash) } }),
        ]))
        section {
            h2 { "What it changed" }
            (diff("What it changed", &told.diff))
        }
        section {
            h2 { "What going back to it would change" }
            @if is_current {
                p { "Nothing: this version is in use." }
            } @else {
                (diff("What going back would change", &told.back))
                div.row data-rollback=(version.id) data-tag=(tag) hidden {
                    button.danger type="button" { "Go back to this version" }
                    span data-state role="status" {}
                }
            }
        }
        details { summary { "The whole text" } pre.json data-version tabindex="0" role="region" aria-label="The whole text" { (version.text) } }
    };
    Ok(Page::new("Version", body)
        .below("/ui/config", "Configuration")
        .below("/ui/config/history", "History")
        .scripts(&["config.js"]))
}

fn who(actor: &str) -> Markup {
    html! { @if actor.is_empty() { "the file" } @else { a href=(activity::user_page(actor)) { (actor) } } }
}

fn how(how: &str) -> &str {
    match how {
        "saved" => "saved here or through the API",
        "rolled_back" => "went back to an older version",
        "file" => "found in the file",
        "start" => "found in the file at startup",
        other => other,
    }
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
