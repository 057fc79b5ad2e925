//! What admins did and looked at, and who was refused.

use maud::{Markup, html};
use serde_json::Value;

use super::page::Page;
use super::period::Period;
use super::place::{Group, Place};
use super::{Listed, Visit, activity, format, parts};
use crate::base::clock;
use crate::records::Audited;
use crate::web::api::audit;
use crate::wire::Rejection;

const ROWS: &str = "100";

/// Kinds that are offered as a filter, and what they mean.
const KINDS: [(&str, &str); 6] = [
    ("capture_read", "read the content of a request"),
    ("config_saved", "saved the configuration"),
    ("config_rolled_back", "went back to a version"),
    ("config_not_saved", "could not save the configuration"),
    ("quota_refilled", "refilled a budget"),
    ("refused", "was refused"),
];

pub(super) const PLACE: Place = Place::for_admins("/ui/audit", |visit| Box::pin(page(visit)))
    .listed("Audit log", "audit", Group::Gateway);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let period = Period::of(&visit.query);
    let query = period.put_into(&visit.query.only(&["actor", "kind", "before"]));
    visit.reader.require_admin()?;
    let question = visit.read(&audit::ENDPOINT, &query.with("limit", ROWS))?;
    let Listed { rows, next } = audit::page(&visit.reader, question).await?;
    let columns =
        parts::words(&["When", "Who", "Device", "What", "Of", "More"]).numbers(&["Times"]);
    let now = clock::unix_ms();
    let body = html! {
        div.filters { (Period::choice("/ui/audit", &visit.query)) (form(visit)) }
        @if rows.is_empty() {
            (parts::empty("No events in this time", &html! {
                "This page records changes of the configuration, refills, captures that an admin opened, and refusals."
            }))
        } @else {
            (parts::table("Audit log, newest first", &columns, &html! { @for row in &rows { (line(row, now)) } }))
            (parts::pager(visit.path, &visit.query, next.as_ref()))
            p.under { a href=(query.without(&["before"]).with("format", "csv").at("/api/audit")) download { "Download as CSV" } }
        }
    };
    Ok(Page::new("Audit log", body))
}

fn form(visit: &Visit<'_>) -> Markup {
    let kind = visit.query.get("kind");
    html! {
        form.row method="get" action="/ui/audit" {
            @if let Some(days) = visit.query.get("days") { input type="hidden" name="days" value=(days); }
            div.field { label for="a-actor" { "Who" }
                input id="a-actor" name="actor" value=[visit.query.get("actor")] placeholder="any" autocomplete="off"; }
            div.field { label for="a-kind" { "What" }
                select id="a-kind" name="kind" {
                    option value="" { "any" }
                    @for (name, meaning) in KINDS { option value=(name) selected[kind == Some(name)] { (meaning) } }
                } }
            button type="submit" { "Apply" }
        }
    }
}

fn line(row: &Audited, now: i64) -> Markup {
    let kind = KINDS.iter().find(|(name, _)| *name == row.kind);
    let meaning = kind.map_or(row.kind.as_str(), |(_, meaning)| meaning);
    let record = row.kind == "capture_read";
    html! {
        tr {
            th scope="row" { (parts::ago(now, row.at)) }
            td { @if row.actor.is_empty() { "the gateway" } @else { a href=(activity::user_page(&row.actor)) { (row.actor) } } }
            td { (row.node) }
            td { (meaning) }
            td.wrap {
                @if record { a href={ "/ui/requests/" (super::query::encoded(&row.subject)) } { code { (row.subject) } } }
                @else { code { (row.subject) } }
            }
            td.wrap { (detail(&row.detail)) }
            td.n { (format::grouped(row.count.max(0).cast_unsigned())) }
        }
    }
}

/// Names and values; long hashes are cut.
fn detail(detail: &Value) -> Markup {
    let text = |value: &Value| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            text[..10].to_owned()
        } else {
            text
        }
    };
    html! {
        @for (key, value) in detail.as_object().into_iter().flatten() {
            span.note { (key) } " " code { (text(value)) } " "
        }
    }
}
