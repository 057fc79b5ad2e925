//! `/ui/config`: an editor that shows the problems of a text and who it would affect. What it saves,
//! it saves through the API.

use maud::html;

use super::page::Page;
use super::place::{Group, Place};
use super::{Visit, parts};
use crate::web::api::config;
use crate::wire::Rejection;

pub(super) const PLACE: Place =
    Place::for_admins("/ui/config", |visit| Box::pin(async move { page(visit) })).listed(
        "Configuration",
        "config",
        Group::Gateway,
    );

fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    visit.reader.require_admin()?;
    let (text, tag) = config::shown(&visit.reader)?;
    let lines = text.lines().count().max(1);
    let rows = lines.clamp(20, 60);
    let warnings = &visit.reader.engines.management.warnings;
    let waiting = warnings.awaiting_restart(&visit.reader.rules.file);
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
