//! `/ui/api`: the endpoints, as the description for programs has them.

use std::collections::BTreeMap;

use http::Method;
use maud::{Markup, html};

use super::page::Page;
use super::parts;
use super::place::{Group, Place};
use crate::web::api::table;

pub(super) const PLACE: Place = Place::for_admins("/ui/api", |_| Box::pin(async { Ok(page()) }))
    .listed("API", "api", Group::Gateway);

fn page() -> Page {
    let columns = parts::words(&["Method", "Path", "What it does", "Parameters"]);
    let named = table::ALL.iter().flat_map(|endpoint| {
        let paths = endpoint.paths();
        paths.map(move |path| ((path, endpoint.method.as_str()), endpoint))
    });
    let rows = html! {
        @for ((path, method), endpoint) in named.collect::<BTreeMap<_, _>>() {
            tr {
                td { (parts::badge(if endpoint.method == Method::GET { parts::Tone::Plain } else { parts::Tone::Accent }, method)) }
                th scope="row" { code { (path) } }
                td.wrap { (with_code(endpoint.about)) }
                td.wrap {
                    @for parameter in endpoint.parameters {
                        code title=(parameter.description) { (parameter.name) } " "
                    }
                }
            }
        }
    };
    let body = html! {
        p.lead {
            "You don't need a key: the gateway knows your device. The description for programs is at "
            a href="/api/openapi.json" { code { "/api/openapi.json" } } " (OpenAPI 3.1)."
        }
        (parts::table("Routes", &columns, &rows))
    };
    Page::new("API", body)
}

/// Text in which code stands between backticks.
fn with_code(text: &str) -> Markup {
    html! {
        @for (nth, part) in text.split('`').enumerate() {
            @if nth % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
