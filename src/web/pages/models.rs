//! The models that the reader may use: who serves them, in which formats, and for what.

use std::collections::HashSet;

use maud::{Markup, html};
use serde_json::Value;

use super::layout::Page;
use super::query::Query;
use super::{Visit, chat, format, parts};
use crate::policy::access::Subject;
use crate::web::api::listing;

/// `/ui/models`.
pub(super) fn page(visit: &Visit<'_>) -> Page {
    let list = listing::models(&visit.view.rules, visit.permit);
    let all = list["data"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let wanted = visit.query.get("q").map(str::to_lowercase);
    let rows: Vec<&Value> = all
        .iter()
        .filter(|row| {
            wanted.as_ref().is_none_or(|wanted| {
                let name = format!("{}/{}", text(&row["owned_by"]), text(&row["id"]));
                name.to_lowercase().contains(wanted)
            })
        })
        .collect();
    let chats = chat::offered(visit);
    let columns = [
        parts::words("Model"),
        parts::words("Provider"),
        parts::words("Endpoints"),
        parts::numbers("Input"),
        parts::numbers("Cached"),
        parts::numbers("Output"),
        parts::numbers("Context"),
        parts::words("Paid from"),
        parts::words("Use"),
    ];
    let body = html! {
        @if all.is_empty() {
            (parts::empty("You don't have access to a model yet", &html! {
                "Ask an admin of this gateway for a grant with " code { "models" } ". Your login is " b { (visit.caller.name()) } "."
            }))
        } @else {
            @if all.len() > 12 || wanted.is_some() {
                form.row method="get" action="/ui/models" role="search" {
                    div.field { label for="m-q" { "Model or provider" }
                        input id="m-q" type="search" name="q" value=[visit.query.get("q")] autocomplete="off"; }
                    button type="submit" { "Find" }
                }
            }
            (parts::table("Models that you may use", &columns, &html! { @for row in &rows { (line(visit, row, &chats)) } }))
            p.under { "Prices are dollars per million tokens of a short request. A dash means that the price is unknown." }
        }
    };
    Page::new("Models", body)
}

fn line(visit: &Visit<'_>, row: &Value, chats: &HashSet<String>) -> Markup {
    let (model, provider) = (text(&row["id"]), text(&row["owned_by"]));
    let about = &row["metadata"]["provider"];
    let endpoints = row["supported_endpoints"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut buckets: Vec<&str> = visit
        .permit
        .quotas(Subject::model(provider, model))
        .flat_map(|(bucket, _)| bucket.names())
        .collect();
    buckets.sort_unstable();
    buckets.dedup();
    let full = format!("{provider}/{model}");
    let requests = Query::default()
        .with("model", model)
        .with("provider", provider);
    html! {
        tr {
            th scope="row" title=(model) { code { (model) } }
            td.wrap title=(text(&about["description"])) {
                @match text(&about["name"]) { "" => (provider), name => (name) }
                @if about["requires_client_auth"] == true { br; span.note { "takes your own credential" } }
            }
            td.wrap { @for one in endpoints { code { @for part in text(one).split_inclusive('/') { (part) wbr; } } " " } }
            td.n { (price(&row["pricing"]["input"])) }
            td.n { (price(&row["pricing"]["input_cache_read"])) }
            td.n { (price(&row["pricing"]["output"])) }
            td.n { (parts::maybe(row["context_window_tokens"].as_u64().map(format::compact))) }
            td.wrap {
                @for bucket in &buckets { a href="/ui/budgets" { (bucket) } " " }
                @if buckets.is_empty() { (parts::unknown("no budget")) }
            }
            td {
                @if chats.contains(&full) {
                    a href=(Query::default().with("model", &full).at("/ui/chat")) { "Chat" } " · "
                }
                a href=(requests.at("/ui/requests")) { "Requests" }
            }
        }
    }
}

/// Dollars for one token, as those for a million.
fn price(each: &Value) -> Markup {
    let dollars = each.as_str().and_then(|text| text.parse::<f64>().ok());
    parts::maybe(dollars.map(|dollars| format::price(dollars * 1e6)))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
