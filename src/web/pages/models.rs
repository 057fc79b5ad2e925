//! The models that the reader may use: who serves them, in which formats, and for what.

use std::collections::HashSet;

use maud::{Markup, html};

use super::page::Page;
use super::place::{Group, Place};
use super::query::Query;
use super::{Visit, chat, format, parts};
use crate::policy::access::Subject;
use crate::web::api::models::rows::{self, Model};

pub(super) const PLACE: Place = Place::for_everyone("/ui/models", |visit| {
    Box::pin(async move { Ok(page(visit)) })
})
.listed("Models", "models", Group::You);

fn page(visit: &Visit<'_>) -> Page {
    let all = rows::models(&visit.reader.rules, &visit.reader.permit);
    let wanted = visit.query.get("q").map(str::to_lowercase);
    let rows: Vec<&Model> = all
        .iter()
        .filter(|row| {
            wanted.as_ref().is_none_or(|wanted| {
                let name = format!("{}/{}", row.owned_by, row.id);
                name.to_lowercase().contains(wanted)
            })
        })
        .collect();
    let chats = chat::offered(visit);
    let columns = parts::words(&["Model", "Provider", "Endpoints"])
        .numbers(&["Input", "Cached", "Output", "Context"])
        .words(&["Paid from", "Use"]);
    let body = html! {
        @if all.is_empty() {
            (parts::empty("You don't have access to a model yet", &html! {
                "Ask an admin of this gateway for a grant with " code { "models" } ". Your login is " b { (visit.reader.caller.name()) } "."
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

fn line(visit: &Visit<'_>, row: &Model, chats: &HashSet<String>) -> Markup {
    let (model, provider) = (&*row.id, &*row.owned_by);
    let about = &row.metadata.provider;
    let mut buckets: Vec<&str> = visit
        .reader
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
            td.wrap title=(about.description) {
                @match &*about.name { "" => (provider), name => (name) }
                @if about.requires_client_auth { br; span.note { "takes your own credential" } }
            }
            td.wrap { @for one in &row.supported_endpoints { code { @for part in one.split_inclusive('/') { (part) wbr; } } " " } }
            td.n { (price(row, "input")) }
            td.n { (price(row, "input_cache_read")) }
            td.n { (price(row, "output")) }
            td.n { (parts::maybe(row.context_window_tokens.map(format::compact))) }
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
fn price(row: &Model, of: &str) -> Markup {
    let each = row
        .pricing
        .as_ref()
        .and_then(|pricing| pricing[of].as_str());
    let dollars = each.and_then(|text| text.parse::<f64>().ok());
    parts::maybe(dollars.map(|dollars| format::price(dollars * 1e6)))
}
