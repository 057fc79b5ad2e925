//! How the gateway is set up: agents and providers with their traffic, and the API.

use maud::{Markup, html};
use serde_json::Value;

use super::activity::{self, Lens};
use super::layout::Page;
use super::query::Query;
use super::{Visit, breakdown, format, parts};
use crate::base::clock;
use crate::config::AuthMode;
use crate::policy::route::Provider;
use crate::web::api::{openapi, outlets};
use crate::wire::Rejection;

/// `/ui/agents`.
pub(super) async fn agents(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(visit, Query::default());
    let agents = visit.sums(&lens.report("agent")).await?;
    let groups = &agents.usage.groups;
    let filters = ["login", "model", "provider", "header"];
    let body = html! {
        (activity::filter_bar(visit, &lens, &filters).await?)
        @if groups.is_empty() {
            (parts::empty("No requests in this time", &html! {
                "The page " a href="/ui/setup" { "Set up" } " has settings for each of the usual ones."
            }))
        } @else {
            section.panel { (activity::over_time(visit, &lens, "agent").await?) }
            (breakdown::table(&lens, groups, ("agent", "Agent", "Usage by agent"), |agent| {
                let query = lens.query.without(&["metric", "sort", "before"]);
                query.with("agent", agent).at("/ui/requests")
            }))
            p.under { "Programs are recognized by their header " code { "User-Agent" } "." }
        }
    };
    Ok(Page::new("Agents", body).live())
}

/// `/ui/providers`.
pub(super) async fn providers(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(visit, Query::default());
    let used = visit.sums(&lens.report("provider")).await?;
    let columns = [
        parts::words("Provider"),
        parts::words("State"),
        parts::words("Formats"),
        parts::numbers("Models"),
        parts::numbers("Open"),
        parts::numbers("Since start"),
        parts::numbers("Failed"),
        parts::words("Last failure"),
    ];
    let all = visit.view.rules.routes.providers();
    let rows = html! { @for provider in all { (provider_row(visit, provider)) } };
    let body = html! {
        @if all.is_empty() {
            (parts::empty("No providers are configured", &html! {
                "Add one in the section " code { "providers" } " of the " a href="/ui/config" { "configuration" } ", or "
                a href="/ui/providers/discover" { "look for servers" } " nearby."
            }))
        } @else {
            (parts::table("Providers and how they are", &columns, &rows))
        }
        h2 { "Traffic" }
        (activity::filter_bar(visit, &lens, &["login", "model", "agent", "header"]).await?)
        @if used.usage.groups.is_empty() {
            (parts::empty("No requests in this time", &html! { "Choose a longer time." }))
        } @else {
            section.panel { (activity::over_time(visit, &lens, "provider").await?) }
            (breakdown::table(&lens, &used.usage.groups, ("provider", "Provider", "Usage by provider"), |id| {
                let query = lens.query.without(&["metric", "sort", "before"]);
                query.with("provider", id).at("/ui/requests")
            }))
        }
    };
    let find = html! { a.button href="/ui/providers/discover" { "Look for servers" } };
    Ok(Page::new("Providers", body).live().actions(find))
}

fn provider_row(visit: &Visit<'_>, provider: &Provider) -> Markup {
    let health = visit.view.traffic.health(provider);
    let state = match &health {
        _ if provider.disabled => parts::badge(parts::Tone::Plain, "disabled"),
        Some(health) if health.ejected => {
            let again = health
                .retry_in
                .map(|seconds| format!("tried again in {seconds} s"));
            html! { (parts::badge(parts::Tone::Bad, "paused")) " " span.note { (again.unwrap_or_default()) } }
        }
        Some(health) if health.paused_models().next().is_some() => {
            parts::badge(parts::Tone::Warn, "some models paused")
        }
        Some(health) if health.limited_models().next().is_some() => {
            parts::badge(parts::Tone::Warn, "rate limited")
        }
        Some(health) if health.failed > 0 => parts::badge(parts::Tone::Warn, "some failures"),
        Some(_) => parts::badge(parts::Tone::Good, "healthy"),
        None => parts::badge(parts::Tone::Plain, "not asked yet"),
    };
    html! {
        tr {
            th scope="row" {
                (provider.id)
                @if !provider.name.is_empty() { br; span.note { (provider.name) } }
                @if provider.auth_mode == AuthMode::Passthrough { br; span.note { "callers' own credentials" } }
            }
            td {
                (state)
                @if let Some(health) = &health {
                    @for model in health.paused_models() {
                        br; span.note { (model.model) " is paused" }
                    }
                    @for model in health.limited_models() {
                        br; span.note {
                            (model.model) " is limited for " (model.limited_for.unwrap_or_default()) " s"
                        }
                    }
                }
            }
            td.wrap { @for flag in &provider.flags { code { (flag) } " " } }
            td.n { (provider.models.len()) }
            @match &health {
                Some(health) => {
                    td.n { (health.open) }
                    td.n { (format::grouped(health.requests)) }
                    td.n { @if health.failed > 0 { span.bad { (format::grouped(health.failed)) } } @else { "0" } }
                    td.wrap { (parts::maybe(health.last_error.clone())) }
                }
                None => { td.n { "0" } td.n { "0" } td.n { "0" } td { (parts::unknown("none")) } }
            }
        }
    }
}

/// `/ui/exports`.
pub(super) async fn exports(visit: &Visit<'_>) -> Result<Page, Rejection> {
    visit.ask("/api/exporters", &Query::default())?;
    let all = outlets::exporting(visit.view).await?;
    let now = clock::unix_ms();
    let columns = [
        parts::words("Exporter"),
        parts::words("State"),
        parts::numbers("Waiting"),
        parts::numbers("Arrived"),
        parts::words("Last batch"),
        parts::words("Last failure"),
        parts::words("What it was"),
    ];
    let when = |time: Option<i64>| match time {
        Some(time) => parts::ago(now, time),
        None => parts::unknown("none since the start"),
    };
    let rows = html! {
        @for (name, waiting, status) in &all {
            tr {
                th scope="row" { (name) }
                td {
                    @if status.failures > 0 {
                        (parts::badge(parts::Tone::Bad, &format::count(status.failures.into(), "failure in a row", "failures in a row")))
                    } @else if status.last_success.is_some() {
                        (parts::badge(parts::Tone::Good, "arrives"))
                    } @else {
                        (parts::badge(parts::Tone::Plain, "nothing sent yet"))
                    }
                }
                td.n { (format::grouped(*waiting)) }
                td.n { (format::grouped(status.records)) }
                td { (when(status.last_success)) }
                td { (when(status.last_failure)) }
                td.wrap { (parts::maybe(status.last_error.clone())) }
            }
        }
    };
    let body = html! {
        @if all.is_empty() {
            (parts::empty("Nothing is exported", &html! {
                "The section " code { "exporters" } " of the " a href="/ui/config" { "configuration" }
                " sends records to S3 or OpenTelemetry as they are written."
            }))
        } @else {
            (parts::table("Exporters", &columns, &rows))
            p.under { "Figures of records that arrived are since the start of the process." }
        }
    };
    Ok(Page::new("Exports", body).live())
}

/// `/ui/api`: from the same description that programs read.
pub(super) fn api() -> Page {
    let document = openapi::document();
    let columns = [
        parts::words("Method"),
        parts::words("Path"),
        parts::words("What it does"),
        parts::words("Parameters"),
    ];
    let empty = serde_json::Map::new();
    let paths = document["paths"].as_object().unwrap_or(&empty);
    let rows = html! {
        @for (path, methods) in paths {
            @for (method, operation) in methods.as_object().unwrap_or(&empty) {
                tr {
                    td { (parts::badge(if method == "get" { parts::Tone::Plain } else { parts::Tone::Accent }, &method.to_uppercase())) }
                    th scope="row" { code { (path) } }
                    td.wrap { (with_code(operation["summary"].as_str().or(operation["description"].as_str()).unwrap_or_default())) }
                    td.wrap { (parameters(operation)) }
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

fn parameters(operation: &Value) -> Markup {
    let all = operation["parameters"].as_array();
    html! {
        @for parameter in all.into_iter().flatten() {
            @if parameter["in"] == "query" {
                code title=(parameter["description"].as_str().unwrap_or_default()) {
                    (parameter["name"].as_str().unwrap_or_default())
                }
                " "
            }
        }
    }
}
